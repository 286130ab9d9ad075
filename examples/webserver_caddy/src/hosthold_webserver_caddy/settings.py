"""What an operator may set about Caddy."""

from __future__ import annotations

from typing import Annotated

from hosthold_sdk import AbsolutePath, DriverSettings
from pydantic import Field


class CaddySettings(DriverSettings):
    """Where Debian's Caddy lies, and the largest request it lets through to any site."""

    executable: AbsolutePath = AbsolutePath("/usr/bin/caddy")
    python: AbsolutePath = AbsolutePath("/usr/bin/python3")
    """The system's own Python, 3.8 or newer, which starts Caddy so that it follows no link of a site's."""
    max_upload_mb: Annotated[int, Field(ge=1, le=16_384)] = 2048
    """The largest request body, in MiB; the runtime enforces what a site's package allows. A package that allows more
    than this is refused."""
