"""What plugins declare with `register_*`: asked once, checked, and refused as a whole if one declaration is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from hosthold.plugins.record import PluginState, Refusal
from hosthold.types.extension import Job, MenuItem, Page, Permission

_PATH = re.compile(r"(?:[a-z0-9-]+(?:/[a-z0-9-]+)*)?")
_PERMISSION = re.compile(r"[a-z][a-z0-9_]*:[a-z][a-z-]*")

Declarations = Mapping[str, tuple[Any, ...]]
"""What one plugin declared, by the name of the hook."""


def collect(
    plugin: str, specifications: Mapping[str, Callable[..., Any]], implementations: Mapping[str, Any]
) -> Declarations:
    """Ask one plugin for all its declarations.

    Raises `Refusal` for a crash, a value of another type, a name outside of the plugin's own, or one used twice.
    """
    declared = {
        hook: _ask(hook, specifications[hook], implementation.function)
        for hook, implementation in implementations.items()
        if hook.startswith("register_")
    }
    _check_names(plugin, declared)
    return declared


def _ask(hook: str, specification: Callable[..., Any], ask: Callable[[], Any]) -> tuple[Any, ...]:
    (expected,) = get_args(get_type_hints(specification)["return"])
    try:
        returned = ask()
    except Exception as error:
        raise _refusal(f"{hook} failed: {type(error).__name__}: {error}") from error
    if not isinstance(returned, Sequence) or not all(isinstance(declaration, expected) for declaration in returned):
        raise _refusal(f"{hook} must return a sequence of {expected.__name__}, and returned something else")
    identity = fields(expected)[0].name  # the first field of every declaration is what it is known by
    seen: set[str] = set()
    for declaration in returned:
        name = getattr(declaration, identity)
        if name in seen:
            raise _refusal(f"{hook} declares the {identity} {name!r} twice")
        seen.add(name)
    return tuple(returned)


def _check_names(plugin: str, declared: Declarations) -> None:
    registered: tuple[Permission, ...] = declared.get("register_permissions", ())
    added: tuple[Page, ...] = declared.get("register_pages", ())
    items: tuple[MenuItem, ...] = declared.get("register_menu_items", ())
    jobs: tuple[Job, ...] = declared.get("register_jobs", ())
    permissions = {permission.name for permission in registered}
    pages = {page.path: page for page in added}
    for permission in permissions:
        if not (permission.startswith(f"{plugin}:") and _PERMISSION.fullmatch(permission)):
            raise _refusal(f"the permission {permission!r} must be '{plugin}:' and an action in lower case")
    for path, page in pages.items():
        if not _PATH.fullmatch(path):
            raise _refusal(f"the page {path!r} must be a relative path of lower-case letters, digits and hyphens")
        if not _PERMISSION.fullmatch(page.permission):
            raise _refusal(
                f"the page {path!r} names the permission {page.permission!r}, which has not the form noun:action"
            )
        if page.permission.startswith(f"{plugin}:") and page.permission not in permissions:
            raise _refusal(
                f"the page {path!r} names the permission {page.permission!r}, which the plugin does not register"
            )
    for item in items:
        if item.page not in pages:
            raise _refusal(f"the menu item {item.label!r} leads to {item.page!r}, which is not a page of the plugin")
    for job in jobs:
        if job.every.total_seconds() <= 0:
            raise _refusal(f"the job {job.name!r} must run at intervals longer than nothing")


def _refusal(detail: str) -> Refusal:
    return Refusal(
        PluginState.failed_to_load,
        f"It declares something that cannot be used: {detail}.",
        hint="Upgrade the plugin, or report this to its author.",
    )
