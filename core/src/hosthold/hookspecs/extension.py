"""Hooks that extend the platform itself. All are asked once, at start; all are pure and return declarations."""

from __future__ import annotations

from collections.abc import Sequence

from hosthold.hookspecs.markers import hookspec
from hosthold.types.extension import Command, HealthCheck, Job, MenuItem, Page, Permission


@hookspec
def register_permissions() -> Sequence[Permission]:  # type: ignore[empty-body]
    """Declare the plugin's permissions. Return them; each name starts with the plugin's name and a colon."""


@hookspec
def register_pages() -> Sequence[Page]:  # type: ignore[empty-body]
    """Add pages to the panel. Return them; each is found at `/x/<plugin>/<path>` and names one permission."""


@hookspec
def register_menu_items() -> Sequence[MenuItem]:  # type: ignore[empty-body]
    """Add entries to the panel's navigation. Return them; each leads to one of the plugin's own pages."""


@hookspec
def register_health_checks() -> Sequence[HealthCheck]:  # type: ignore[empty-body]
    """Add checks to `/health/ready` and `hosthold doctor`. Return them; a failing check marks the plugin unhealthy."""


@hookspec
def register_jobs() -> Sequence[Job]:  # type: ignore[empty-body]
    """Add periodic jobs. Return them; the worker runs each at its pace, one worker at a time."""


@hookspec
def register_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Add commands to the command line. Return them; each is run as `hosthold x <plugin> <name>`."""
