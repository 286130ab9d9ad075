"""The program of a site: answers FastCGI requests with what it was asked, and as whom it runs.

Only the standard library is imported: `python -I -S responder.py PING_PATH MEMORY_MB`, with the listening socket as
descriptor 3. Each connection is answered by a child process, so that whoever looks can tell work from idleness; it ends
in good order, once all of them have answered. The records are those of the FastCGI specification 1.0, section 8.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from io import BufferedRWPair

SHOWN = ("REQUEST_METHOD", "REQUEST_URI", "SCRIPT_FILENAME", "DOCUMENT_ROOT", "HTTP_HOST", "REMOTE_ADDR", "HTTP_PROXY")
BEGIN_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6
HEADER = struct.Struct("!BBHHBx")  # version, type, request, length of content, length of padding


def main(ping_path: str, memory_mb: int) -> None:
    """Until a signal tells it to end."""
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGTERM, lambda *_: None)  # the pipe tells
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    listener = socket.socket(fileno=3)
    while told not in select.select([listener.fileno(), told], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
            with connection, connection.makefile("rwb") as stream:
                answer(stream, ping_path)
            os._exit(0)
        connection.close()
    with suppress(ChildProcessError):  # there is none
        os.wait()  # until the last one has answered, because SIGCHLD is ignored


def answer(stream: BufferedRWPair, ping_path: str) -> None:
    """Read one request and answer it."""
    received = {PARAMS: b"", STDIN: b""}
    number, is_read = 0, False
    while not is_read:
        _, kind, number, length, padding = HEADER.unpack(exactly(stream, HEADER.size))
        content = exactly(stream, length)
        exactly(stream, padding)
        if kind in received:
            received[kind] += content
        is_read = kind == STDIN and not content
    asked = parameters(received[PARAMS])
    if asked.get("SCRIPT_NAME") == ping_path or asked.get("REQUEST_URI") == ping_path:
        page = "pong"
    else:
        facts = {"uid": os.geteuid(), "gid": os.getegid(), "body": len(received[STDIN])}
        page = json.dumps(facts | {name: asked[name] for name in SHOWN if name in asked})
    text = f"Content-Type: text/plain\r\nCache-Control: no-store\r\n\r\n{page}".encode()
    ended = struct.pack("!IBxxx", 0, 0)
    for kind, content in ((STDOUT, text), (STDOUT, b""), (END_REQUEST, ended)):
        stream.write(HEADER.pack(1, kind, number, len(content), 0) + content)
    stream.flush()


def parameters(encoded: bytes) -> dict[str, str]:
    """Names and values, each with its length before it: one byte, or four with the first bit set."""
    found, place = {}, 0
    while place < len(encoded):
        lengths = []
        for _ in range(2):
            size = 4 if encoded[place] & 0x80 else 1
            lengths.append(int.from_bytes(encoded[place : place + size], "big") & 0x7FFFFFFF)
            place += size
        name, value = encoded[place : place + lengths[0]], encoded[place + lengths[0] : place + sum(lengths)]
        found[name.decode()] = value.decode("utf-8", "replace")
        place += sum(lengths)
    return found


def exactly(stream: BufferedRWPair, length: int) -> bytes:
    """So many bytes; ends the process if the web server hung up before."""
    content = stream.read(length)
    if len(content) < length:
        os._exit(0)
    return content


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
