"""The manifest of a plugin: the object that its entry point names, and on which its hooks are found."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class PluginSettings(BaseModel):
    """Settings of a plugin; an unknown key is an error. Every field needs a default, or the operator must set it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Plugin:
    """A plugin. Subclass it in the package's `__init__.py`, and name one instance in the group `hosthold.plugins`.

    Hooks are methods marked with `@hookimpl`. Each platform uses a copy of the instance, so `self.settings` holds its
    settings in every hook, and two platforms in one process do not share them.
    """

    title: ClassVar[str] = ""
    """What people call it; the entry point's name if empty."""
    settings_model: ClassVar[type[PluginSettings]] = PluginSettings
    settings: Any = None
