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
    cpu_percent: Annotated[int, Field(ge=5, le=6400)] = 100
    """Processor time of all processes of the site together; 100 is one processor."""
    total_memory_mb: Annotated[int, Field(ge=64, le=1_048_576)] = 1024
    """Memory of all processes of the site together, in MiB."""
    tasks: Annotated[int, Field(ge=16, le=100_000)] = 128
    """Processes and threads of the site together."""
    io_weight: Annotated[int, Field(ge=1, le=10_000)] = 100
    """The site's share of a busy disk beside others, which have 100 each by default."""
    disk_mb: Annotated[int, Field(ge=1, le=1_073_741_824)] = 10_240
    """Disk space of all files of the site, in MiB."""
    inodes: Annotated[int, Field(ge=100, le=1_000_000_000)] = 500_000
    """Files, folders and links of the site together."""
