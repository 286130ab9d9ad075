"""The room that all pages of one platform share: its database, templates, static files and navigation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hosthold.accounts import service as accounts
from hosthold.drift import service as drift
from hosthold.panel.assets import Assets
from hosthold.panel.menu import Menu
from hosthold.panel.render import STATIC, make_environment
from hosthold.types.actor import Actor
from hosthold.types.site import Phase

if TYPE_CHECKING:
    from hosthold.web.platform import Platform

_NAME_SECONDS = 30
"""How long an account's name in the top bar may be out of date; it spares a query on every page."""
_DRIFT_SECONDS = 2
"""How long the number beside the entry of drift may be out of date, for the same reason."""
_MOST_NAMES = 10_000


class Room:
    """Made once per platform, when the web process starts."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.settings = platform.settings
        self.registry = platform.registry
        self.database = platform.database
        self.execution = platform.execution
        self.authenticator = platform.authenticator
        self.throttle = platform.throttle
        plugins = sorted({plugin for plugin, _ in self.registry.declarations("register_pages")})
        static = {f"x/{name}/": folder for name in plugins if (folder := self.registry.static_directory(name))}
        templates = {name: folder for name in plugins if (folder := self.registry.template_directory(name))}
        self.assets = Assets({"": STATIC, **static})
        self.menu = Menu(self.registry)
        self._environment = make_environment(self.assets, templates)
        badge = self._environment.get_template("components.html").module.phase_badge  # type: ignore[attr-defined]
        self.phase_badges: dict[tuple[str, bool], Markup] = {
            (phase, is_suspended): badge(phase, is_suspended) for phase in Phase for is_suspended in (False, True)
        }
        """The badge of each phase, drawn once: lists show many."""
        self._names: dict[str, tuple[str, float]] = {}
        self._drift: tuple[int, float] = (0, 0.0)

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """The text made of a template and values."""
        return self._environment.get_template(template).render(values)

    def drift_count(self, actor: Actor) -> int:
        """How many sites and nodes wait for a decision about drift; nobody but the provider's people is told."""
        if not actor.may("drift:read"):
            return 0
        if self._drift[1] < time.monotonic():
            with self.database.read() as uow:
                self._drift = (drift.count(uow, actor), time.monotonic() + _DRIFT_SECONDS)
        return self._drift[0]

    def account_name(self, actor: Actor) -> str:
        """The name of the account that the actor acts for."""
        known = self._names.get(actor.account_id)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        with self.database.read() as uow:
            name = accounts.get(uow, actor, actor.account_id).name
        if len(self._names) >= _MOST_NAMES:
            self._names.clear()
        self._names[actor.account_id] = (name, time.monotonic() + _NAME_SECONDS)
        return name
