"""Packages: what a customer bought, as limits that are enforced."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hosthold.types.base import Frozen


class Limits(Frozen):
    """What one site of a package may use at most."""

    memory_mb: Annotated[int, Field(ge=16, le=1_048_576)] = 256
    """Memory of one PHP request, in MiB: the ceiling of `memory_limit`."""
    processes: Annotated[int, Field(ge=1, le=1000)] = 5
    """Requests that run at the same time."""
    upload_mb: Annotated[int, Field(ge=1, le=16_384)] = 64
    """The largest upload, in MiB."""
    execution_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """How long one request may run, in seconds."""
