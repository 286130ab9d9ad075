"""What plugins declare with `register_*`: values that hold functions, collected once at start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hosthold.types.actor import Actor


@dataclass(frozen=True, slots=True)
class Permission:
    """A right that roles can be given. `name` is `<plugin>:<action>`."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A visit to a plugin's page: who asks, and the query string's values."""

    actor: Actor
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PageContent:
    """What a page shows: a template from the plugin's own `templates/` folder, and the values it uses."""

    template: str
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the panel at `/x/<plugin>/<path>`. The platform checks `permission` before `handler` runs."""

    path: str
    title: str
    permission: str
    handler: Callable[[PageRequest], PageContent]


@dataclass(frozen=True, slots=True)
class MenuItem:
    """An entry in the panel's navigation that leads to one of the plugin's own pages, shown to who may open it."""

    label: str
    page: str
    """The page's `path`."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A question with a yes-or-no answer. `check` returns nothing when all is well and raises when it is not."""

    name: str
    check: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A periodic job, run by one worker at a time. It must be harmless to run it twice."""

    name: str
    every: timedelta
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A command `hosthold x <plugin> <name> [ARGUMENT ...]`; what `run` returns is its exit status."""

    name: str
    help: str
    run: Callable[[tuple[str, ...]], int]
