"""Finding plugins and drivers: from entry points to a registry, each with the state in which it ended.

Nothing is imported before an entry point is alone in its name, enabled, and compatible by its package metadata. A bad
plugin never stops the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any, NoReturn

from stevedore import ExtensionManager, NamedExtensionManager

from hosthold.drivers.base import Driver
from hosthold.plugins.candidate import Candidate, examine_entry_point, installed_entry_points, require_usable
from hosthold.plugins.drivers import construct
from hosthold.plugins.hooks import WRAPPED, admit, specified_hooks
from hosthold.plugins.manager import LoadedPlugin, PluginRegistry
from hosthold.plugins.record import PLUGIN, PluginRecord, PluginState, Refusal, traceback_of
from hosthold.settings import Settings


@dataclass(frozen=True, slots=True)
class PluginSettingsSource:
    """What the operator set: the names that may be used (`None`: all), plugins' tables, drivers' tables by kind."""

    enabled: tuple[str, ...] | None = None
    plugins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    drivers: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> PluginSettingsSource:
        """The part of the platform's settings that concerns plugins."""
        return cls(settings.enabled_plugins, settings.plugins, settings.drivers)


def discover(
    settings: PluginSettingsSource, list_entry_points: Callable[[], Iterable[EntryPoint]] = installed_entry_points
) -> PluginRegistry:
    """Find, check and load everything that is installed and enabled. Never raises because of a plugin."""
    hooks = specified_hooks()
    records: list[PluginRecord] = []
    plugins: dict[str, LoadedPlugin] = {}
    drivers: dict[tuple[str, str], Driver[Any]] = {}
    candidates = [examine_entry_point(entry_point) for entry_point in list_entry_points()]
    for candidate in candidates:
        name = candidate.name
        try:
            require_usable(candidate, candidates, settings.enabled)
            loaded = _Loader(candidate.entry_point)[name].plugin
            if candidate.kind == PLUGIN:
                plugins[name] = admit(name, loaded, candidate.entry_point.module, settings.plugins.get(name, {}))
            else:
                kind = candidate.kind.removeprefix("driver:")
                table = settings.drivers.get(kind, {}).get(name, {})
                drivers[kind, name] = construct(kind, name, loaded, table, getattr(hooks.hook, WRAPPED))
        except (Exception, SystemExit) as error:
            refusal = _as_refusal(error, candidate)
            records.append(_record(candidate, refusal.state, refusal))
        else:
            implemented = plugins[name].implementations if candidate.kind == PLUGIN else ()
            records.append(_record(candidate, PluginState.ready, hooks=tuple(sorted(implemented))))
    records.extend(_named_but_missing(settings, candidates))
    registry = PluginRegistry(hooks, records, plugins, drivers)
    registry.check_drivers()
    return registry


class _Loader(NamedExtensionManager[object]):
    """Loads the one entry point it is given; stevedore would look in a cache of its own, which drops distributions."""

    def __init__(self, entry_point: EntryPoint) -> None:
        self._entry_point = entry_point
        super().__init__(
            entry_point.group,
            names=[entry_point.name],
            on_load_failure_callback=_raise,
            on_missing_entrypoints_callback=None,
        )

    def list_entry_points(self) -> list[EntryPoint]:
        return [self._entry_point]


def _raise(_manager: ExtensionManager[object], _entry_point: EntryPoint, error: BaseException) -> NoReturn:
    raise error


def _as_refusal(error: BaseException, candidate: Candidate) -> Refusal:
    """The refusal that an error while loading a candidate amounts to, with the cause in its message."""
    match error:
        case Refusal():
            return error
        case ModuleNotFoundError():
            message = f"It needs the Python module {error.name}, which is not installed."
            hint = f"Install {candidate.distribution} again with all its dependencies."
        case _:
            message = f"Loading {candidate.entry_point.value} failed: {type(error).__name__}: {error}."
            hint = f"Upgrade {candidate.distribution}, or report this to its author."
    refusal = Refusal(PluginState.failed_to_load, message, hint=hint)
    refusal.__cause__ = error
    return refusal


def _named_but_missing(settings: PluginSettingsSource, candidates: Sequence[Candidate]) -> Iterator[PluginRecord]:
    """A record for every name in the settings that no installed distribution provides: most are spelling mistakes."""
    installed = {(candidate.kind, candidate.name) for candidate in candidates}
    mentioned = [(PLUGIN, name) for name in settings.plugins]
    mentioned += [(f"driver:{kind}", name) for kind, tables in settings.drivers.items() for name in tables]
    names = {name for _, name in installed}
    mentioned += [(PLUGIN, name) for name in settings.enabled or () if name not in names]
    for kind, name in dict.fromkeys(mentioned):
        if (kind, name) not in installed:
            yield PluginRecord(
                name=name,
                kind=kind,
                distribution="",
                version="",
                sdk_requirement="",
                state=PluginState.not_installed,
                message="hosthold.toml names it, and no installed distribution provides it.",
                hint="Install the distribution that provides it, or correct the name in hosthold.toml.",
            )


def _record(
    candidate: Candidate, state: PluginState, refusal: Refusal | None = None, hooks: tuple[str, ...] = ()
) -> PluginRecord:
    return PluginRecord(
        name=candidate.name,
        kind=candidate.kind,
        distribution=candidate.distribution,
        version=candidate.version,
        sdk_requirement=candidate.sdk_range,
        state=state,
        message=refusal.detail if refusal else "",
        hint=refusal.hint if refusal else "",
        hooks=hooks,
        traceback=traceback_of(refusal) if refusal else "",
    )
