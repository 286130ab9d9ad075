"""What an operator may set about nginx."""

from __future__ import annotations

from typing import Annotated

from hosthold_sdk import AbsolutePath, DriverSettings
from pydantic import Field


class NginxSettings(DriverSettings):
    """Where Debian's nginx lies, and the largest request it lets through to any site."""

    executable: AbsolutePath = AbsolutePath("/usr/sbin/nginx")
    mime_types: AbsolutePath = AbsolutePath("/etc/nginx/mime.types")
    """The distribution's list of content types, included by the configuration."""
    max_upload_mb: Annotated[int, Field(ge=1, le=16_384)] = 2048
    """The largest request body, in MiB. nginx buffers it on disk, so anybody can fill that much; the runtime enforces
    what a site's package allows. A package that allows more than this is refused."""
    worker_connections: Annotated[int, Field(ge=64, le=65_536)] = 4096
