"""Reading logs of a site: their end, or what was written since."""

from __future__ import annotations

import os
import stat

from hosthold.node.failure import NodeFailure
from hosthold.types.node import NodeLayout
from hosthold.types.resource import LogName, LogPage, LogRequest
from hosthold.types.text import UnixName

MOST_BYTES = 256 * 1024
"""Of one reading."""
_SEARCHED = 4 * 1024 * 1024
"""How far back lines are looked for."""
_FILES = {LogName.access: "access.log", LogName.error: "error.log", LogName.php: "php-error.log"}
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_page(layout: NodeLayout, site: UnixName, request: LogRequest) -> LogPage:
    """The last lines of a log, or those that came after the request's cursor. A log that is not there is empty.

    Raises `NodeFailure` for what is no log.
    """
    try:
        folder = os.open(layout.logs(site), _FOLDER)
    except FileNotFoundError:
        return LogPage(cursor="0:0")
    try:
        file = os.open(_FILES[request.log], _FILE, dir_fd=folder)
    except FileNotFoundError:
        return LogPage(cursor="0:0")
    finally:
        os.close(folder)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise NodeFailure("NotALog", f"{_FILES[request.log]} is no file.", "Remove it; it is made again.")
        text, end = _tail(file, status.st_size, request) if request.after is None else _since(file, status, request)
    finally:
        os.close(file)
    lines = [line.decode("utf-8", "replace") for line in text.splitlines()]
    wanted = request.contains.casefold()
    shown = [line for line in lines if wanted in line.casefold()]
    return LogPage(lines=tuple(_bounded(shown, request.lines)), cursor=f"{status.st_ino}:{end}")


def _tail(file: int, size: int, request: LogRequest) -> tuple[bytes, int]:
    """The end of the file, as far back as lines are looked for, from the beginning of a line on."""
    length = _SEARCHED if request.contains else MOST_BYTES
    start = max(0, size - length)
    text = os.pread(file, size - start, start)
    if start:
        text = text[text.find(b"\n") + 1 :]
    end = text.rfind(b"\n") + 1
    return text[:end], size - (len(text) - end)


def _since(file: int, status: os.stat_result, request: LogRequest) -> tuple[bytes, int]:
    """What follows the cursor; everything, if the file was cut or is another one."""
    inode, offset = map(int, str(request.after).split(":"))
    start = offset if inode == status.st_ino and offset <= status.st_size else 0
    text = os.pread(file, MOST_BYTES, start)
    end = text.rfind(b"\n") + 1
    if not end and len(text) == MOST_BYTES:
        end = MOST_BYTES
    return text[:end], start + end


def _bounded(lines: list[str], count: int) -> list[str]:
    """The last ones, together not larger than one reading may be."""
    kept: list[str] = []
    left = MOST_BYTES
    for line in reversed(lines[-count:]):
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return kept[::-1]
