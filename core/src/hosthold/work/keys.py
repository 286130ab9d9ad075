"""Keys that sign the messages of a queue: one file per queue, readable by those alone who may write to it."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from hosthold.errors import Misconfigured
from hosthold.settings import Settings

KEY_BYTES = 32
_LINE = re.compile(r"(?P<id>[0-9a-f]{8}) (?P<key>[0-9a-f]{64,128})")
_LEAST_DISTINCT_BYTES = 16
"""Thirty-two random bytes have fewer distinct values than this once in 10^10 times; a typed or repeated key has."""


class Keyring:
    """The keys of one queue. The newest signs, every one verifies, so that keys can be changed while messages wait."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._keys = keys

    @property
    def signing_key(self) -> tuple[str, bytes]:
        """The identifier and the bytes of the newest key."""
        return next(iter(self._keys.items()))

    def key(self, key_id: str) -> bytes | None:
        """The key of this identifier, if it is known."""
        return self._keys.get(key_id)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    @classmethod
    def load(cls, path: Path) -> Keyring:
        """Read a key file: lines of a key's identifier and its hexadecimal digits, the newest first.

        Raises `Misconfigured` if it is missing, if its group or others may read it, or if a key can be guessed.
        """
        keys = {}
        for number, line in enumerate(_read_private(path).splitlines(), start=1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise Misconfigured(
                    f"Line {number} of {path} is not a key identifier and a hexadecimal key.",
                    hint="Make a new key file with `hosthold init`.",
                )
            key = bytes.fromhex(match["key"])
            if len(set(key)) < _LEAST_DISTINCT_BYTES:
                raise Misconfigured(
                    f"The key in line {number} of {path} is not random.",
                    hint="Make a new key file with `hosthold init`.",
                )
            keys[match["id"]] = key
        if not keys:
            raise Misconfigured(f"{path} holds no key.", hint="Make a new key file with `hosthold init`.")
        return cls(keys)


def key_file(settings: Settings, queue: str) -> Path:
    """Where the keys of a queue lie."""
    return Path(settings.state) / "keys" / f"{queue}.key"


def make_key(path: Path) -> None:
    """Put a new random key before those that the file holds, and make the file if there is none.

    The older keys still verify; take their lines away once no message signed with them can be waiting.
    """
    make_private_folder(path.parent)
    older = _read_private(path) if path.exists() else ""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = create_private(fresh)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{secrets.token_hex(4)} {secrets.token_hex(KEY_BYTES)}\n{older}")
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def make_private_folder(path: Path) -> None:
    """Make a folder for its owner alone, unless it is there; what root makes belongs to the owner of its parent."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            above = path.parent.stat()
            os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)


def create_private(path: Path) -> int:
    """Create a file that must not exist yet, for its owner alone, and open it for writing.

    What root creates belongs to the owner of the folder, so that the platform's own user can open it as well.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def _read_private(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Misconfigured(
            f"The key file {path} cannot be opened: {error.strerror}.",
            hint="Make one with `hosthold init`, or copy the platform's.",
        ) from None
    with os.fdopen(descriptor) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise Misconfigured(f"The key file {path} may be read by others than its owner.", hint=f"chmod 600 {path}")
        return file.read()
