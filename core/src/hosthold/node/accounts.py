"""Unix accounts, as lines in the files that libnss-extrausers reads. The machine's own /etc/passwd is never touched.

The files are read again only if somebody else changed them, so that adding an account costs the same at any number.
"""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hosthold.node import process
from hosthold.node.failure import NodeFailure
from hosthold.types.resource import Account

_FILES = {"passwd": 0o644, "group": 0o644, "shadow": 0o640}
_KILL_SECONDS = 10.0


def lines_of(account: Account) -> dict[str, str]:
    """The account's line in each file (passwd(5), group(5), shadow(5)): no password, no login shell."""
    return {
        "passwd": f"{account.name}:x:{account.uid}:{account.uid}::{account.home}:/usr/sbin/nologin",
        "group": f"{account.name}:x:{account.uid}:",
        "shadow": f"{account.name}:!:::::::",
    }


class AccountFiles:
    """The three files in one folder, indexed by account name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._index: dict[str, dict[str, str]] = {name: {} for name in _FILES}
        self._uids: dict[int, str] = {}
        self._seen: dict[str, tuple[int, int, int] | None] = dict.fromkeys(_FILES)
        self.refresh()

    def lines(self, name: str) -> dict[str, str]:
        """The lines that an account of this name has, by file."""
        return {file: index[name] for file, index in self._index.items() if name in index}

    def holder_of(self, uid: int) -> str | None:
        """The name of the user or group that has this number on the machine, in these files or in any other source."""
        if uid in self._uids:
            return self._uids[uid]
        with suppress(KeyError):
            return pwd.getpwuid(uid).pw_name
        with suppress(KeyError):
            return grp.getgrgid(uid).gr_name
        return None

    def is_foreign(self, name: str) -> bool:
        """Whether the machine knows a user or group of this name from elsewhere than these files.

        A group counts because programs grant rights by its name: sudo's `%sudo` compares names, whatever the number.
        """
        for file, known in (("passwd", pwd.getpwnam), ("group", grp.getgrnam)):
            if name not in self._index[file]:
                with suppress(KeyError):
                    known(name)
                    return True
        return False

    def write(self, accounts: list[Account]) -> None:
        """Add the accounts' lines; lines of the same names that differ are replaced."""
        with self._locked():
            wanted = {str(account.name): lines_of(account) for account in accounts}
            for file in _FILES:
                has = self._index[file]
                stale = {name for name, lines in wanted.items() if has.get(name, lines[file]) != lines[file]}
                if stale:
                    self._rewrite(file, stale)
                new = [lines[file] for name, lines in wanted.items() if name in stale or name not in has]
                if new:
                    self._append(file, new)

    def remove(self, names: set[str]) -> None:
        """Remove the lines of these names; the files are rewritten beside themselves and exchanged."""
        with self._locked():
            for file in _FILES:
                if names & self._index[file].keys():
                    self._rewrite(file, names)

    def remove_leftovers(self) -> None:
        """Remove what a rewrite left behind that was cut off."""
        for file in _FILES:
            (self._directory / f".{file}.hosthold").unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self.refresh()
            yield
        finally:
            os.close(folder)

    def refresh(self) -> None:
        """Read again what somebody else changed. Writing does so too; whoever only looks, looks at what was read."""
        for file in _FILES:
            signature = self._signature(file)
            if signature == self._seen[file]:
                continue
            text = "" if signature is None else (self._directory / file).read_text("utf-8", "surrogateescape")
            self._index[file] = {line.partition(":")[0]: line for line in text.splitlines() if ":" in line}
            self._seen[file] = signature
            if file == "passwd":
                self._uids = {
                    int(fields[2]): name
                    for name, line in self._index[file].items()
                    if len(fields := line.split(":")) > 2 and fields[2].isdigit()
                }

    def _signature(self, file: str) -> tuple[int, int, int] | None:
        try:
            status = (self._directory / file).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _append(self, file: str, lines: list[str]) -> None:
        path = self._directory / file
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, _FILES[file])
        with os.fdopen(descriptor, "r+b", buffering=0) as opened:
            end = os.fstat(descriptor).st_size
            torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            opened.write(("\n" * torn + "".join(f"{line}\n" for line in lines)).encode())
            os.fsync(descriptor)
        self._note(file, lines)

    def _note(self, file: str, lines: list[str]) -> None:
        for line in lines:
            name, _, rest = line.partition(":")
            self._index[file][name] = line
            if file == "passwd":
                self._uids[int(rest.split(":")[1])] = name
        self._seen[file] = self._signature(file)

    def _rewrite(self, file: str, without: set[str]) -> None:
        path, temporary = self._directory / file, self._directory / f".{file}.hosthold"
        text = path.read_text("utf-8", "surrogateescape")
        kept = [line for line in text.splitlines(keepends=True) if line.partition(":")[0].rstrip("\n") not in without]
        temporary.unlink(missing_ok=True)
        status = path.stat()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb", buffering=0) as opened:
            os.fchown(opened.fileno(), status.st_uid, status.st_gid)
            os.fchmod(opened.fileno(), status.st_mode & 0o777)
            opened.write("".join(kept).encode("utf-8", "surrogateescape"))
            os.fsync(opened.fileno())
        temporary.rename(path)
        self._seen[file] = None
        self.refresh()


def kill_all_of(uid: int) -> None:
    """End every process of the user at once. Raises `NodeFailure` if one does not go."""
    left = process.kill_user(uid, _KILL_SECONDS)
    if left:
        raise NodeFailure(
            "ProcessesLeft",
            f"Processes of uid {uid} do not end: {', '.join(map(str, left[:10]))}; the account was left.",
            "Look at them on the node; it is tried again by itself.",
        )
