"""The plugins and drivers of one running platform, and the ways to reach them. `discovery` makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pluggy import HookImpl, PluginManager

from hosthold.drivers.base import Driver
from hosthold.errors import Misconfigured, NotFound, NotInstalled, PluginError, Rejected
from hosthold.plugins.calls import refuse_inside_transaction
from hosthold.plugins.declarations import Declarations
from hosthold.plugins.drivers import examine
from hosthold.plugins.record import PLUGIN, PluginRecord, PluginState
from hosthold.types.manifest import Plugin


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """A plugin whose hooks are called. `folder` is its package, with `templates/` and `static/` if it has them."""

    plugin: Plugin
    folder: Path
    implementations: Mapping[str, HookImpl]
    declarations: Declarations


class PluginRegistry:
    """Every installed plugin and driver with its state, and calls of those that are loaded, in the order of names.

    An unhealthy plugin is still asked and told: a veto must not lapse, nor an event be lost, because a check fails.
    """

    def __init__(
        self,
        hooks: PluginManager,
        records: Sequence[PluginRecord],
        plugins: Mapping[str, LoadedPlugin],
        drivers: Mapping[tuple[str, str], Driver[Any]],
    ) -> None:
        for name in sorted(plugins, reverse=True):  # pluggy calls the last registered first
            hooks.register(plugins[name].plugin, name)
        self.hooks = hooks
        self._records = sorted(records, key=lambda record: (record.kind != PLUGIN, record.kind, record.name))
        self._plugins = dict(sorted(plugins.items()))
        self._drivers = drivers
        self._implementing = {
            hook: tuple(name for name, plugin in self._plugins.items() if hook in plugin.implementations)
            for hook in vars(hooks.hook)
        }

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """All records: plugins, then drivers by kind, each by name."""
        return tuple(self._records)

    def record(self, name: str, kind: str = PLUGIN) -> PluginRecord:
        """The record of a plugin, or of a driver with `kind` such as `driver:webserver`. Raises `NotFound`."""
        for record in self._records:
            if (record.kind, record.name) == (kind, name):
                return record
        raise NotFound(f"There is no {kind.replace(':', ' ')} {name}.")

    def loaded(self, name: str) -> LoadedPlugin:
        """A plugin whose hooks are called. Raises `NotFound` if it is not among them."""
        if name not in self._plugins:
            raise NotFound(f"There is no plugin {name} that is loaded.")
        return self._plugins[name]

    def implementing(self, hook_name: str) -> tuple[str, ...]:
        """Names of the loaded plugins that implement a hook, in order. Raises `KeyError` if there is no such hook."""
        return self._implementing[hook_name]

    def call_plugin(self, plugin_name: str, hook_name: str, **values: Any) -> Any:
        """Call one plugin's implementation of a hook; what it raises is raised."""
        implementation = self._plugins[plugin_name].implementations[hook_name]
        return implementation.function(*(values[argument] for argument in implementation.argnames))

    def check(self, hook_name: str, **values: Any) -> None:
        """Ask all plugins whether they object. Raises the first `Rejected`; a plugin that crashes has refused."""
        for plugin in self.implementing(hook_name):
            try:
                self.call_plugin(plugin, hook_name, **values)
            except Rejected:
                raise
            except Exception as error:
                raise Rejected(
                    f"The plugin {plugin} failed in {hook_name}, which counts as a refusal: {type(error).__name__}.",
                    hint=f"Nothing was changed. Mend, upgrade or disable the plugin {plugin}.",
                ) from error

    def contribute(self, hook_name: str, **values: Any) -> tuple[tuple[str, Any], ...]:
        """What each plugin contributes, with the plugin's name. Raises `PluginError` naming a plugin that crashes."""
        contributions = []
        for plugin in self.implementing(hook_name):
            try:
                contributions.append((plugin, self.call_plugin(plugin, hook_name, **values)))
            except Exception as error:
                raise PluginError(
                    f"The plugin {plugin} failed in {hook_name}: {type(error).__name__}: {error}",
                    hint=f"Mend, upgrade or disable the plugin {plugin}.",
                ) from error
        return tuple(contributions)

    def declarations(self, hook_name: str) -> tuple[tuple[str, Any], ...]:
        """Everything declared with a `register_*` hook, each with the plugin's name; collected once, at start."""
        return tuple(
            (plugin, declaration)
            for plugin in self.implementing(hook_name)
            for declaration in self._plugins[plugin].declarations[hook_name]
        )

    def driver(self, kind: str, name: str) -> Driver[Any]:
        """The driver of this name. Raises `NotInstalled` or `Misconfigured` saying why it cannot be used.

        A driver whose programs are missing on this machine is given all the same: it renders for others that have them.
        """
        try:
            record = self.record(name, f"driver:{kind}")
        except NotFound as error:
            known = ", ".join(self.drivers(kind)) or "none"
            raise NotInstalled(
                f"There is no {kind} driver {name}.",
                hint=f"Install a plugin that provides it, or choose one of those that are ready: {known}.",
            ) from error
        if record.state is not PluginState.misconfigured and (kind, name) in self._drivers:
            return self._drivers[kind, name]
        refusal = Misconfigured if record.state is PluginState.misconfigured else NotInstalled
        raise refusal(f"The {kind} driver {name} is {record.state}: {record.message}", hint=record.hint)

    def drivers(self, kind: str) -> tuple[str, ...]:
        """Names of the drivers of a kind that are ready, in order."""
        return tuple(
            record.name
            for record in self._records
            if record.kind == f"driver:{kind}" and record.state is PluginState.ready
        )

    def template_directory(self, plugin_name: str) -> Path | None:
        """The folder of a loaded plugin's templates, if it has one."""
        return _existing(self._plugins[plugin_name].folder / "templates")

    def static_directory(self, plugin_name: str) -> Path | None:
        """The folder of a loaded plugin's static files, if it has one."""
        return _existing(self._plugins[plugin_name].folder / "static")

    def migrations(self) -> tuple[tuple[str, Path], ...]:
        """The folders of migrations of the loaded plugins that have tables, each with the plugin's name."""
        folders = ((name, _existing(plugin.folder / "migrations")) for name, plugin in self._plugins.items())
        return tuple((name, folder) for name, folder in folders if folder is not None)

    def check_drivers(self) -> None:
        """Let every driver look at this machine, and bring the records of drivers up to date."""
        refuse_inside_transaction("drivers were checked")
        for position, record in enumerate(self._records):
            driver = self._drivers.get((record.kind.removeprefix("driver:"), record.name))
            if record.kind != PLUGIN and driver is not None:
                self._settle(position, *examine(driver.check))

    def health(self) -> tuple[PluginRecord, ...]:
        """Check all drivers, and plugins by what they register; the records as they stand then.

        What fails becomes unhealthy, and ready again once all its checks pass. May take as long as the checks do.
        """
        self.check_drivers()
        for position, record in enumerate(self._records):
            if record.kind != PLUGIN or record.name not in self._plugins:
                continue
            failures = []
            for check in self._plugins[record.name].declarations.get("register_health_checks", ()):
                state, message, hint = examine(check.check)
                if state is not PluginState.ready:
                    failures.append((f"{check.name}: {message}", hint))
            if failures:
                messages, hints = zip(*failures, strict=True)
                self._settle(position, PluginState.unhealthy, " ".join(messages), " ".join(filter(None, hints)))
            else:
                self._settle(position, PluginState.ready, "", "")
        return self.records

    def _settle(self, position: int, state: PluginState, message: str, hint: str) -> None:
        self._records[position] = replace(self._records[position], state=state, message=message, hint=hint)


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None
