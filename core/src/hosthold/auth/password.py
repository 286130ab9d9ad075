"""Passwords: argon2id, bounded in length and in how many are computed at once."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from hosthold.errors import FieldError, InvalidInput

MAX_BYTES = 1024
MIN_CHARACTERS = 12

_hasher = PasswordHasher(time_cost=1, memory_cost=46 * 1024, parallelism=1)
"""46 MiB and one pass, one of the settings that OWASP's password storage cheat sheet gives as equal in strength."""
_slots = threading.BoundedSemaphore(2)
_unknown_user = _hasher.hash("nobody has this password")


def hash_password(password: str) -> str:
    """The hash to store. `InvalidInput` if the password is shorter than 12 characters or longer than 1,024 bytes."""
    if len(password) < MIN_CHARACTERS or len(password.encode()) > MAX_BYTES:
        raise InvalidInput(
            "The password cannot be used; nothing was changed.",
            [FieldError("/password", f"must have at least {MIN_CHARACTERS} characters and at most {MAX_BYTES} bytes")],
        )
    with _slots:
        return _hasher.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Whether `password` belongs to the hash; without a hash the same work is done, so that timing tells nothing.

    Takes about 60 ms of one core; more than two at a time wait. Call it outside of a transaction.
    """
    if len(password.encode(errors="replace")) > MAX_BYTES:
        return False
    with _slots:
        try:
            return _hasher.verify(stored or _unknown_user, password) and stored is not None
        except (VerifyMismatchError, InvalidHashError):
            return False


def needs_rehash(stored: str) -> bool:
    """Whether a hash was made with weaker settings than today's."""
    return _hasher.check_needs_rehash(stored)
