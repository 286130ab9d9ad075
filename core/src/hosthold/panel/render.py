"""Templates: one environment per platform. What a plugin brings has names of its own and cannot shadow the core's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup

from hosthold.panel.assets import Assets
from hosthold.panel.text import bytes_text, date_text, day_text, moment_text

_CORE = Path(__file__).resolve().parent.parent
STATIC = _CORE / "panel" / "static"
"""The panel's own static files."""
NOUNS = ("sites", "accounts", "packages", "nodes", "drift")
"""The nouns that have pages; their templates are named `<noun>/<file>`."""


class FolderLoader(PrefixLoader):
    """Loaders by the first part of a name; unlike its base, it leaves a template its whole name."""

    load = BaseLoader.load


class PanelEnvironment(Environment):
    """Names in a plugin's template mean the core's template of that name, else one of the plugin's own folder."""

    def __init__(self, core: BaseLoader, plugins: Mapping[str, BaseLoader]) -> None:
        super().__init__(
            loader=ChoiceLoader([core, FolderLoader({"x": FolderLoader(plugins)})]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        self._core_names = frozenset(core.list_templates())

    def join_path(self, template: str, parent: str) -> str:
        """The full name of a template that `parent` extends, includes or imports."""
        if not parent.startswith("x/") or template in self._core_names:
            return template
        _, plugin, _ = parent.split("/", 2)
        return f"x/{plugin}/{template}"


def make_environment(assets: Assets, plugin_templates: Mapping[str, Path]) -> PanelEnvironment:
    """The environment of one platform; `plugin_templates` are the template folders of its plugins."""
    own = FileSystemLoader(_CORE / "panel" / "templates")
    nouns = FolderLoader({noun: FileSystemLoader(_CORE / noun / "templates") for noun in NOUNS})
    environment = PanelEnvironment(
        ChoiceLoader([own, nouns]), {name: FileSystemLoader(folder) for name, folder in plugin_templates.items()}
    )
    environment.globals.update(asset=assets.url, icon=_icons(assets))
    environment.filters.update(moment=moment_text, date=date_text, day=day_text, bytes=bytes_text)
    return environment


def _icons(assets: Assets) -> Callable[[str], Markup]:
    sprite, address = assets.text("vendor/icons.svg"), assets.url("vendor/icons.svg")
    drawn: dict[str, Markup] = {}

    def icon(name: str) -> Markup:
        if name not in drawn:
            if f'<symbol id="{name}"' not in sprite:
                raise LookupError(f"The icon {name!r} is not in the sprite; add it to scripts/vendor.")
            drawn[name] = Markup(
                '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>'
            ).format(address, name)
        return drawn[name]

    return icon
