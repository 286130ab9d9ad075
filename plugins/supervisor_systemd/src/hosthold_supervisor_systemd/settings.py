"""What an operator may set about services under systemd."""

from __future__ import annotations

from typing import Annotated

from hosthold_sdk import DriverSettings
from pydantic import Field


class SystemdSettings(DriverSettings):
    """How patient the supervisor is, in seconds."""

    settle: Annotated[float, Field(gt=0, le=60)] = 3.0
    """A service counts as started when it has lived so long, if nothing shows it before."""
    quiet: Annotated[float, Field(gt=0, le=10)] = 0.015
    """A service with a socket counts as started when it has waited for work so long."""
    stop: Annotated[int, Field(ge=1, le=600)] = 10
    """How long a service may take to end in good order before it is killed."""
