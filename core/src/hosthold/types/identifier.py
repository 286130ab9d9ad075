"""Identifiers of rows: random enough not to be guessed, ordered enough to be paged by."""

from __future__ import annotations

import os
import time
from typing import Annotated

from pydantic import StringConstraints

Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Thirty-two hexadecimal digits: a UUID version 7 (RFC 9562, section 5.7) without its dashes."""


def new_identifier() -> str:
    """A new identifier; later ones sort after earlier ones, to the millisecond."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = milliseconds << 80 | random_bits
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"{value:032x}"
