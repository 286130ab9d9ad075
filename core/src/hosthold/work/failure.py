"""What is kept of an exception: enough to find its cause, and nothing that might be a secret."""

from __future__ import annotations

import traceback
from pathlib import Path

from hosthold.errors import HostholdError

_LONGEST = 500


def describe(error: BaseException) -> str:
    """One line: our own errors say what happened; of any other only its type and where it was raised is kept."""
    if isinstance(error, HostholdError):
        return " ".join(error.detail.split())[:_LONGEST]
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    last = frames[-1]
    return f"{type(error).__name__} in {last.name}, line {last.lineno} of {Path(last.filename).name}"[:_LONGEST]
