"""Shares out the web server's logs: each line to the site that it is about. A program of its own.

The web server writes one log of all requests and one of all errors, so a site costs it no descriptor. This program
reads both, appends each line to the log of its site, and cuts logs that have become large or old. What it has read is
punched out of the server's logs (fallocate(2)), so nothing needs to be renamed or reopened, and no line is lost between
two files. It notes its position after each portion: killed in between, it repeats that portion.

Only the standard library is imported: `python -I -S logs.py CONFIGURATION`, until its standard input ends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gzip
import json
import os
import re
import select
import shutil
import stat
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

PORTION = 1 << 20
HOLE = 16 << 20
"""So much must have been read before it is punched out."""
BACKLOG = 512 << 20
"""The most that may wait to be read; of more, the oldest lines are dropped, so that a flood cannot fill the disk."""
LONGEST_LINE = 16 << 10
_PAUSE = 0.5
_NAMES_HOLD = 5.0
"""For how long it is remembered whose name is whose."""
_OPEN_FILES = 256
_SWEEP_SECONDS = 600.0
_HOST = re.compile(rb"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_ERROR_HOST = b', host: "'
_UNSAFE = re.compile(r'[^ -~]|["\\]')
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Configuration:
    """Where everything is, and when logs are cut."""

    sites: str
    hosts: str
    access: str
    error: str
    position: str
    max_bytes: int
    max_days: int
    max_files: int
    fields: dict[str, list[str]] | None = None
    """Where the parts of a request are in logs of JSON objects (`LogFields` of the web-server driver)."""


@dataclass
class Source:
    """One log of the web server, and how far it was read."""

    path: str
    target: str
    """The name of the log below each site's folder of logs."""
    host_of: Callable[[bytes], tuple[bytes, bytes] | None]
    inode: int = 0
    offset: int = 0
    punched: int = 0

    def read(self) -> list[bytes]:
        """The next whole lines; none if there are none yet."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        try:
            status = os.fstat(file)
            if status.st_ino != self.inode or status.st_size < self.offset:
                self.inode, self.offset, self.punched = status.st_ino, 0, 0
            if status.st_size - self.offset > BACKLOG:
                _say(f"{self.path}: {status.st_size - self.offset} bytes of old lines are dropped")
                self.offset = status.st_size - PORTION
                self.offset += os.pread(file, PORTION, self.offset).find(b"\n") + 1
            text = os.pread(file, PORTION, self.offset)
            end = text.rfind(b"\n") + 1
            if not end and len(text) == PORTION:
                end = PORTION  # no line is that long
            self.offset += end
            return text[:end].splitlines()
        finally:
            os.close(file)

    def forget_read(self) -> None:
        """Give back the space of what was read; where holes cannot be punched, when everything was."""
        if self.offset - self.punched < HOLE:
            return
        file = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(file).st_ino != self.inode:
                return
            length = ctypes.c_long(self.offset // 4096 * 4096)
            if not _libc.fallocate(file, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_long(0), length):
                self.punched = self.offset
            elif ctypes.get_errno() != errno.EOPNOTSUPP:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), self.path)
            elif os.fstat(file).st_size == self.offset:
                os.ftruncate(file, 0)
                self.offset = self.punched = 0
        finally:
            os.close(file)


def request_host(line: bytes) -> tuple[bytes, bytes] | None:
    """The name that begins a line about a request, and the rest of the line."""
    host, _, rest = line.partition(b" ")
    return (host, rest) if rest else None


def error_host(line: bytes) -> tuple[bytes, bytes] | None:
    """The name in a line about an error. Requests can contain what looks like one, so a line with two is nobody's."""
    before, found, rest = line.partition(_ERROR_HOST)
    if not before or not found or _ERROR_HOST in rest:
        return None
    return rest.partition(b'"')[0].partition(b":")[0].rstrip(b".").lower(), line


@dataclass(frozen=True)
class JsonLines:
    """Reads logs of JSON objects, and writes each as the line that it would be in a log of text."""

    fields: dict[str, list[str]]

    def request(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The name that was asked for, and the request in the combined format."""
        if (named := self._named(line)) is None:
            return None
        host, part = named
        moment = time.strftime("%d/%b/%Y:%H:%M:%S %z", _moment(part("time")))
        asked = f'"{part("method")} {part("target")} {part("protocol")}" {part("status")} {part("size")}'
        text = f'{part("address")} - {part("user")} [{moment}] {asked} "{part("referer")}" "{part("agent")}"'
        return host, text.encode()

    def error(self, line: bytes) -> tuple[bytes, bytes] | None:
        """The name that was asked for, and what went wrong."""
        if (named := self._named(line)) is None:
            return None
        host, part = named
        moment = time.strftime("%Y/%m/%d %H:%M:%S", _moment(part("time")))
        asked = f'client: {part("address")}, request: "{part("method")} {part("target")} {part("protocol")}"'
        return host, f'{moment} [{part("level")}] {part("message")}, {asked}, host: "{part("host")}"'.encode()

    def _named(self, line: bytes) -> tuple[bytes, Callable[[str], str]] | None:
        try:
            entry = json.loads(line)
        except ValueError:
            return None

        def part(name: str) -> str:
            value = entry
            for key in self.fields[name]:
                value = value.get(key) if isinstance(value, dict) else None
            value = value[0] if isinstance(value, list) and value else value
            is_plain = isinstance(value, str | int | float) and value != ""
            return _UNSAFE.sub(_escaped, str(value)) if is_plain else "-"

        return part("host").partition(":")[0].rstrip(".").lower().encode(), part


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _moment(seconds: str) -> time.struct_time:
    """The local time; 1970 for what is no time at all."""
    return time.localtime(float(seconds) if re.fullmatch(r"[0-9]{1,10}(\.[0-9]+)?", seconds) else 0.0)


@dataclass
class Log:
    """An open log of a site."""

    descriptor: int
    size: int
    day: int


@dataclass
class Splitter:
    """Reads what is new, again and again."""

    configuration: Configuration
    sources: tuple[Source, ...] = ()
    _names: dict[bytes, str | None] = field(default_factory=dict)
    _names_since: float = 0.0
    _open: OrderedDict[tuple[str, str], Log] = field(default_factory=OrderedDict)
    _swept: float = 0.0
    is_ended: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        given = self.configuration
        lines = JsonLines(given.fields) if given.fields else None
        self.sources = (
            Source(given.access, "access.log", lines.request if lines else request_host),
            Source(given.error, "error.log", lines.error if lines else error_host),
        )
        with suppress(OSError, ValueError, KeyError):
            positions = json.loads(Path(given.position).read_text("ascii"))
            for source in self.sources:
                source.inode, source.offset = map(int, positions[source.target])

    def run(self) -> None:
        """Until it is told to end."""
        while not self.is_ended():
            if not self.share_out():
                self.sweep()
                time.sleep(_PAUSE)

    def share_out(self) -> bool:
        """Share out one portion of each log; whether there was anything."""
        was_any = False
        for source in self.sources:
            lines = source.read()
            if lines:
                was_any = True
                for site, text in self._by_site(source, lines).items():
                    self._append(site, source.target, b"".join(text))
                self._note()
                source.forget_read()
        return was_any

    def _by_site(self, source: Source, lines: list[bytes]) -> dict[str, list[bytes]]:
        if time.monotonic() - self._names_since > _NAMES_HOLD:
            self._names.clear()
            self._names_since = time.monotonic()
        found: dict[str, list[bytes]] = {}
        for line in lines:
            named = source.host_of(line)
            if named is None:
                continue
            host, rest = named
            if host not in self._names:
                self._names[host] = self._site_of(host)
            site = self._names[host]
            if site is not None:
                found.setdefault(site, []).append(rest[:LONGEST_LINE] + b"\n")
        return found

    def _site_of(self, host: bytes) -> str | None:
        """The site that has the name. It comes from a visitor, so it must look like a name before it is looked for."""
        if not _HOST.fullmatch(host) or b".." in host:
            return None
        for prefix in ("", "SUSPENDED."):
            with suppress(OSError):
                target = str(Path(f"{self.configuration.hosts}/{prefix}{host.decode('ascii')}").readlink())
                if target.startswith(f"{self.configuration.sites}/"):
                    return target[len(self.configuration.sites) + 1 :].split("/")[0]
        return None

    def _append(self, site: str, name: str, text: bytes) -> None:
        """Append to the site's log. Waits while the disk is full; a site that is gone has no log."""
        key = (site, name)
        log = self._open.pop(key, None)
        today = int(time.time() // 86_400)
        if log is not None and (log.size > self.configuration.max_bytes or log.day < today):
            os.close(log.descriptor)
            self._with_folder(site, lambda folder: self._cut(folder, name))
            log = None
        if log is None:
            self._with_folder(site, lambda folder: self._open_log(folder, key, today))
            log = self._open.pop(key, None)
            if log is None:
                return
        rest = memoryview(text)
        while rest and not self.is_ended():
            try:
                written = os.write(log.descriptor, rest)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                time.sleep(_PAUSE)
                continue
            rest, log.size, log.day = rest[written:], log.size + written, today
        self._open[key] = log
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1].descriptor)

    def _open_log(self, folder: int, key: tuple[str, str], today: int) -> None:
        descriptor = os.open(key[1], _APPEND, 0o640, dir_fd=folder)
        status = os.fstat(descriptor)
        if status.st_size and int(status.st_mtime // 86_400) < today:
            os.close(descriptor)
            self._cut(folder, key[1])
            self._open_log(folder, key, today)
            return
        if status.st_gid != os.fstat(folder).st_gid:
            os.fchown(descriptor, -1, os.fstat(folder).st_gid)
        self._open[key] = Log(descriptor, status.st_size, today)

    def _with_folder(self, site: str, act: Callable[[int], None]) -> None:
        """Act on the site's folder of logs, if nobody but the node's own user can change what is in it."""
        with suppress(FileNotFoundError, NotADirectoryError):
            folder = os.open(f"{self.configuration.sites}/{site}/logs", _FOLDER)
            try:
                status = os.fstat(folder)
                if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                    act(folder)
            finally:
                os.close(folder)

    def _cut(self, folder: int, name: str) -> None:
        """Put a log away, compressed, and remove the oldest ones; its writer goes on in the same file."""
        source = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        status = os.fstat(source)
        stem = name.removesuffix(".log")
        kept = f"{stem}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.{time.time_ns() % 10**9:09d}.log.gz"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(source, "r+b") as text:
            if not stat.S_ISREG(status.st_mode):
                return
            text.seek(max(0, status.st_size - 4 * self.configuration.max_bytes))
            with os.fdopen(os.open(kept, flags, 0o640, dir_fd=folder), "wb") as file:
                os.fchown(file.fileno(), -1, os.fstat(folder).st_gid)
                with gzip.GzipFile(stem, "wb", 6, file) as packed:
                    shutil.copyfileobj(text, packed, PORTION)
            text.truncate(0)
        self._remove_old(folder, stem)

    def _remove_old(self, folder: int, stem: str) -> None:
        kept = sorted(each for each in os.listdir(folder) if each.startswith(f"{stem}-") and each.endswith(".log.gz"))
        oldest = time.time() - self.configuration.max_days * 86_400
        for index, name in enumerate(reversed(kept)):
            is_old = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < oldest
            if index >= self.configuration.max_files or is_old:
                os.unlink(name, dir_fd=folder)

    def sweep(self) -> None:
        """Now and then: cut what programs write themselves, and remove what has become too old."""
        if time.monotonic() - self._swept < _SWEEP_SECONDS and self._swept:
            return
        self._swept = time.monotonic()
        today = int(time.time() // 86_400)

        def look(folder: int) -> None:
            with suppress(FileNotFoundError):
                status = os.stat("php-error.log", dir_fd=folder, follow_symlinks=False)
                is_old = bool(status.st_size) and int(status.st_mtime // 86_400) < today
                if status.st_size > self.configuration.max_bytes or is_old:
                    self._cut(folder, "php-error.log")
            for stem in ("access", "error", "php-error"):
                self._remove_old(folder, stem)

        with suppress(FileNotFoundError):
            for site in Path(self.configuration.sites).iterdir():
                try:
                    self._with_folder(site.name, look)
                except OSError as error:
                    _say(f"logs of {site.name}: {error}")

    def _note(self) -> None:
        text = json.dumps({source.target: (source.inode, source.offset) for source in self.sources})
        temporary = f"{self.configuration.position}.hosthold"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "w") as file:
            file.write(text)
        Path(temporary).replace(self.configuration.position)


def _say(words: str) -> None:
    sys.stderr.write(words + "\n")


def main() -> None:
    """Until standard input ends, which is when the node ends."""
    os.setpriority(os.PRIO_PROCESS, 0, 10)
    ended = select.poll()
    ended.register(0, select.POLLIN | select.POLLHUP)
    configuration = Configuration(**json.loads(sys.argv[1]))
    lock = os.open(f"{configuration.position}.lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the program of a node that was killed is about to end
    splitter = Splitter(configuration, is_ended=lambda: bool(ended.poll(0)))
    while not splitter.is_ended():
        try:
            splitter.run()
        except OSError as error:
            _say(f"logs are not shared out: {error}")
            time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
