"""The navigation: the core's rooms, then what plugins add; each entry only for who may open it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from hosthold.plugins.manager import PluginRegistry
from hosthold.types.actor import Actor


class Entry(NamedTuple):
    """One entry of the navigation."""

    label: str
    path: str
    icon: str
    permission: str


CORE = (
    Entry("Sites", "/sites", "world", "site:read"),
    Entry("Accounts", "/accounts", "users", "account:read"),
    Entry("Packages", "/packages", "package", "package:read"),
    Entry("Nodes", "/nodes", "server", "node:read"),
    Entry("Drift", "/drift", "file-diff", "drift:read"),
    Entry("Plugins", "/plugins", "puzzle", "plugin:read"),
)


class Menu:
    """The navigation of one platform."""

    def __init__(self, registry: PluginRegistry) -> None:
        pages = {(plugin, page.path): page for plugin, page in registry.declarations("register_pages")}
        added = tuple(
            Entry(item.label, plugin_path(plugin, item.page), "puzzle", pages[plugin, item.page].permission)
            for plugin, item in registry.declarations("register_menu_items")
        )
        self._entries = CORE + added
        self._seen: dict[frozenset[str], tuple[Entry, ...]] = {}

    def entries(self, actor: Actor) -> tuple[Entry, ...]:
        """What the actor may open. Sets of permissions are few, so the answer is kept."""
        if actor.permissions not in self._seen:
            self._seen[actor.permissions] = tuple(_allowed(self._entries, actor))
        return self._seen[actor.permissions]


def plugin_path(plugin: str, page: str) -> str:
    """The address of a plugin's page."""
    return f"/x/{plugin}/{page}"


def _allowed(entries: Iterable[Entry], actor: Actor) -> Iterable[Entry]:
    return (entry for entry in entries if actor.may(entry.permission))
