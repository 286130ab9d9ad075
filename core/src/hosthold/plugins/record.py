"""What became of each installed plugin and driver: its state, and what a person can do about it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import StrEnum

from hosthold.errors import PluginError

PLUGIN = "plugin"
"""The kind of records of plugins; those of drivers are `driver:` and the driver's kind."""


class PluginState(StrEnum):
    """Where a plugin or driver ended. The values are for people."""

    ready = "ready"
    disabled = "disabled"
    """The operator's list of enabled plugins does not name it."""
    incompatible = "incompatible"
    """It needs another version of the SDK; it was not imported."""
    failed_to_load = "failed to load"
    misconfigured = "misconfigured"
    not_installed = "not installed"
    """A program that it needs is missing on this machine, or the plugin itself is named in settings and missing."""
    unhealthy = "unhealthy"
    """It is loaded and used, and one of its checks fails."""


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin or driver as panel, command line and health show it. `traceback` is for staff and may be empty."""

    name: str
    kind: str
    distribution: str
    version: str
    sdk_requirement: str
    state: PluginState
    message: str = ""
    hint: str = ""
    hooks: tuple[str, ...] = ()
    traceback: str = ""


class Refusal(PluginError):
    """Why a plugin or driver ends in `state` instead of being used; `__cause__` is the error behind it, if any."""

    def __init__(self, state: PluginState, detail: str, *, hint: str) -> None:
        super().__init__(detail, hint=hint)
        self.state = state


def traceback_of(error: BaseException) -> str:
    """The traceback of the error behind a refusal; empty if a rule alone refused."""
    return "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else ""
