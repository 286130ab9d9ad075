"""Hashes of passwords that web servers check by themselves: crypt(3) with SHA-512, the scheme `$6$`.

The steps and their numbers are those of U. Drepper's "Unix crypt using SHA-256 and SHA-512", version 0.6. Python's own
module for it is gone since 3.13.
"""

from __future__ import annotations

import hashlib
import secrets

ROUNDS = 5000
"""The scheme's default, which is left out of a hash: a web server computes it again for every request."""
_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ORDER = tuple(
    ((0, 21, 42), (22, 43, 1), (44, 2, 23))[index % 3][place] + index // 3 * 3
    for index in range(21)
    for place in range(3)
)
"""Which bytes of the digest make up each group of four characters, the highest first."""
LONGEST = 128
"""In bytes: the time that a hash takes grows with the password."""


def sha512_crypt(password: str, salt: str | None = None) -> str:
    """The hash of a password, as `openssl passwd -6` makes it. Raises `ValueError` if the password is too long."""
    key = password.encode()
    if len(key) > LONGEST:
        raise ValueError(f"a password here has {LONGEST} bytes at most")
    salt = salt or "".join(secrets.choice(_ALPHABET) for _ in range(16))
    seed = salt.encode("ascii")
    other = hashlib.sha512(key + seed + key).digest()
    first = hashlib.sha512(key + seed + _repeated(other, len(key)))
    length = len(key)
    while length:
        first.update(other if length & 1 else key)
        length >>= 1
    digest = first.digest()
    keys = _repeated(hashlib.sha512(key * len(key)).digest(), len(key))
    salts = _repeated(hashlib.sha512(seed * (16 + digest[0])).digest(), len(seed))
    for number in range(ROUNDS):
        digest = hashlib.sha512(
            (keys if number & 1 else digest)
            + (salts if number % 3 else b"")
            + (keys if number % 7 else b"")
            + (digest if number & 1 else keys)
        ).digest()
    return f"$6${salt}${_encoded(digest)}"


def _repeated(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _encoded(digest: bytes) -> str:
    groups = [_ORDER[start : start + 3] for start in range(0, 63, 3)]
    text = "".join(_characters(int.from_bytes(bytes(digest[place] for place in group), "big"), 4) for group in groups)
    return text + _characters(digest[63], 2)


def _characters(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(count))
