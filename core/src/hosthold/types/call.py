"""A driver call as `call_driver` wrappers see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriverCall:
    """One call of one method of one driver, on behalf of one subject (such as `site:…`), without its arguments."""

    kind: str
    driver: str
    method: str
    subject: str
