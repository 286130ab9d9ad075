"""The web server's program: finds a site by links on disk, sends its files, asks its program for the rest.

Only the standard library is imported: `python -I -S server.py CONFIGURATION [--check]`. Links and files are looked at
anew for each request, so a site comes and goes without a reload; blocks are read at the start and at SIGHUP.
"""

from __future__ import annotations

import json
import mimetypes
import os
import re
import signal
import socket
import stat
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

HOST = re.compile(r"([a-z0-9-]+(?:\.[a-z0-9-]+)+)\.?(:[0-9]{1,5})?")
CHALLENGE = re.compile(r"/\.well-known/acme-challenge/([A-Za-z0-9_-]{1,200})")
SCRIPT = re.compile(r"\.(php[0-9]?|phtml|phar)$", re.IGNORECASE)
LARGEST_BODY = 64 * 2**20
HEADER = struct.Struct("!BBHHBx")  # FastCGI 1.0, section 3.3: version, type, request, length of content, of padding
FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC  # to enter it; most may not be listed


class Server(ThreadingHTTPServer):
    """Listens, and knows its configuration and its blocks."""

    daemon_threads = True
    request_queue_size = 511

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration
        self.blocks = read_blocks(configuration["blocks"])
        self.logs = {name: open_log(configuration[f"{name}_log"]) for name in ("access", "error")}
        if ":" in configuration["address"]:
            self.address_family = socket.AF_INET6
        super().__init__((configuration["address"], configuration["port"]), Handler)

    def reload(self) -> None:
        """Read the blocks again; a mistake leaves the old ones in use."""
        try:
            self.blocks = read_blocks(self.configuration["blocks"])
        except (OSError, ValueError, KeyError) as error:
            self.log("error", f"the blocks cannot be read: {error}")

    def log(self, name: str, line: str) -> None:
        """Append a line, whole, whatever other threads write."""
        os.write(self.logs[name], f"{line}\n".encode())


class Handler(BaseHTTPRequestHandler):
    """One connection, with one request after the other."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 60
    host = ""
    """The name of the site that answers, once it is found."""
    block: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        """All methods of HTTP are answered in the same way."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        """Find whose request this is, and answer it."""
        self.host, self.block = "", {}
        names, length = self.headers.get_all("Host") or [""], self.headers.get("Content-Length", "0")
        found = HOST.fullmatch(names[0].lower()) if len(names) == 1 else None
        path = unquote(urlsplit(self.path).path)
        is_strange = ".." in path.split("/") or "\0" in path or not path.startswith("/")
        if found is None or is_strange or self.headers["Transfer-Encoding"]:
            return self.refuse(400)
        if not re.fullmatch("[0-9]{1,8}", length) or int(length) > LARGEST_BODY:
            return self.refuse(413)
        body = self.rfile.read(int(length))
        if challenge := CHALLENGE.fullmatch(path):
            return self.send_challenge(Path(self.server.configuration["challenges"], found[1], challenge[1]))
        try:
            serve = os.open(f"{self.server.configuration['hosts']}/{found[1]}", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            return self.refuse(421)  # Misdirected Request (RFC 9110, section 15.5.20): no site has this name
        try:
            self.host, self.block = found[1], self.server.blocks.get(found[1], {})
            self.answer_for_site(f"/proc/self/fd/{serve}", path, body)
        finally:
            os.close(serve)

    def answer_for_site(self, serve: str, path: str, body: bytes) -> None:
        """Answer for the site whose `serve` folder this is."""
        redirects = self.block.get("redirects", {})
        if Path(serve, "suspended").exists():
            return self.send(503, b"This site is paused.\n", [("Retry-After", "3600")])
        if path == self.server.configuration["route"]:
            return self.send(204)
        if path in redirects:
            status, to = redirects[path]
            return self.send(status, headers=[("Location", to)])
        file = None if SCRIPT.search(path) or self.command not in ("GET", "HEAD") else self.open_file(serve, path)
        if file is None:
            return self.ask_program(serve, path, body)
        with os.fdopen(file, "rb") as opened:
            kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
            return self.send(200, opened.read(), [("Content-Type", kind)])

    def open_file(self, serve: str, path: str) -> int | None:
        """A descriptor of the file that the path means; no link is followed from the folder of sites on.

        Whoever owns the document root can put links in the place of anything below his home, and at any time.
        """
        sites = self.server.configuration["sites"]
        below = f"{Path(serve, 'root').readlink()}{path}".removeprefix(f"{sites}/")
        *folders, name = [part for part in below.split("/") if part]
        if any(part.startswith(".") for part in path.split("/")):
            return None  # hidden
        folder = os.open(sites, FOLDER)
        try:
            for part in folders:
                inner = os.open(part, FOLDER, dir_fd=folder)
                os.close(folder)
                folder = inner
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return None
        finally:
            os.close(folder)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
        return None

    def ask_program(self, serve: str, path: str, body: bytes) -> None:
        """Send what the site's program answers (FastCGI 1.0; RFC 3875).

        A program knows the path that it answers without the site's code by the name of the script.
        """
        root, url = str(Path(serve, "root").readlink()), urlsplit(self.path)
        is_itself = SCRIPT.search(path) is not None or path.startswith("/.well-known/")
        script = path if is_itself else "/index.php"
        parameters = {
            "REQUEST_METHOD": self.command,
            "REQUEST_URI": self.path,
            "QUERY_STRING": url.query,
            "SCRIPT_NAME": script,
            "SCRIPT_FILENAME": f"{root}{script}",
            "DOCUMENT_ROOT": root,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "REMOTE_ADDR": self.client_address[0],
            "SERVER_NAME": self.host,
            "SERVER_PROTOCOL": self.request_version,
            "GATEWAY_INTERFACE": "CGI/1.1",
        }
        for name, value in self.headers.items():
            is_plain = re.fullmatch("[A-Za-z0-9-]+", name) is not None
            if is_plain and name.lower() != "proxy":  # programs take HTTP_PROXY for something else
                parameters[f"HTTP_{name.upper().replace('-', '_')}"] = value
        try:
            answer = ask(f"{serve}/upstream", parameters, body)
            head, _, page = answer.partition(b"\r\n\r\n")
            lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")]
            headers = [(name, value) for name, _, value in lines]
            status = int(dict(headers).get("Status", "200")[:3])
        except (OSError, ValueError, struct.error) as error:
            self.server.log("error", f'[error] the program does not answer: {error}, host: "{self.host}"')
            self.send(502)
            return
        own = ("status", "content-length", "connection", "transfer-encoding")
        self.send(status, page, [header for header in headers if header[0].lower() not in own])

    def send_challenge(self, file: Path) -> None:
        """What the platform answers to a certificate authority, for names that have no site yet as well."""
        try:
            self.send(200, file.read_bytes(), [("Content-Type", "text/plain")])
        except OSError:
            self.send(404)

    def refuse(self, status: int) -> None:
        """Answer what is no site's, and end the connection: nobody knows where its next request would begin."""
        self.close_connection = True
        self.send(status, b"", [("Connection", "close")])

    def send(self, status: int, body: bytes = b"", headers: list[Any] | tuple[Any, ...] = ()) -> None:
        """One whole answer."""
        self.send_response_only(status)
        for name, value in (*headers, *self.block.get("headers", [])):
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and body:
            self.wfile.write(body)
        if self.host:
            self.log_answer(status, len(body))

    def log_answer(self, status: int, size: int) -> None:
        """A line in the combined format, with the name that was asked for before it."""
        moment = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
        said = [quoted(self.headers.get(name, "-")) for name in ("Referer", "User-Agent")]
        begin = f"{self.host} {self.client_address[0]} - - [{moment}] {quoted(self.requestline)} {status} {size} "
        self.server.log("access", begin + " ".join(said))

    def log_message(self, format: str, *arguments: Any) -> None:
        """What cannot be parsed is no site's, and not logged."""


def ask(address: str, parameters: dict[str, str], body: bytes) -> bytes:
    """What the program behind the socket says to one request."""
    encoded = b""
    for name, value in parameters.items():
        pair = name.encode(), value.encode("latin-1", "replace")
        encoded += b"".join(struct.pack("!I", len(text) | 0x80000000) for text in pair) + b"".join(pair)
    records = [(1, struct.pack("!HB5x", 1, 0))]
    for kind, content in ((4, encoded), (5, body)):
        records += [(kind, content[start : start + 65535]) for start in range(0, len(content), 65535)]
        records.append((kind, b""))
    answer = b""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(address)
        connection.sendall(b"".join(HEADER.pack(1, kind, 1, len(content), 0) + content for kind, content in records))
        with connection.makefile("rb") as stream:
            while True:
                _, kind, _, length, padding = HEADER.unpack(stream.read(HEADER.size))
                content = stream.read(length + padding)[:length]
                if kind == 3:
                    return answer
                answer += content if kind == 6 else b""


def read_blocks(folder: str) -> dict[str, Any]:
    """The blocks of all sites that have one, by host. Raises `ValueError` or `KeyError` for what is none."""
    blocks: dict[str, Any] = {}
    for file in Path(folder).glob("*.json"):
        block = json.loads(file.read_text("utf-8"))
        blocks |= {host: {"redirects": block["redirects"], "headers": block["headers"]} for host in block["hosts"]}
    return blocks


def open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def quoted(text: str) -> str:
    """What a visitor sent, so that it cannot end its own place in a line."""
    return '"' + re.sub(r"[^ !#-\[\]-~]", lambda found: f"\\x{ord(found[0]):02X}", text) + '"'


def main(path: str, *options: str) -> None:
    """Serve until a signal tells to end; or look whether that would work."""
    configuration = json.loads(Path(path).read_text("utf-8"))
    if "--check" in options:
        try:
            read_blocks(configuration["blocks"])
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"error: the blocks cannot be read: {error!r}")
        return
    signals = {signal.SIGHUP, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with Server(configuration) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while signal.sigwait(signals) == signal.SIGHUP:
            server.reload()
        server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
