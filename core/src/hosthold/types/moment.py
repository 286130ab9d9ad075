"""Moments as the API shows them: RFC 3339, UTC, to the millisecond."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-22T21:30:00.000Z"])]
"""A moment such as `2026-11-22T21:30:00.000Z`."""


def moment(milliseconds: int) -> Moment:
    """The moment that lies this many milliseconds after 1970 began in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
