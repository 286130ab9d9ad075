"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`message` says what was found; `cure` is a command or an edit that mends it."""

    part: str
    is_well: bool
    message: str
    cure: str = ""


def well(part: str, message: str) -> Finding:
    """A part that is as it should be."""
    return Finding(part, True, message)


def bad(part: str, message: str, cure: str) -> Finding:
    """A part that is not as it should be."""
    return Finding(part, False, message, cure)
