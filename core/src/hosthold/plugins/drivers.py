"""Drivers: from a loaded class to an instance that can be called, and how it stands on this machine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pluggy import HookCaller

from hosthold.drivers import CLASSES
from hosthold.drivers.base import Driver
from hosthold.errors import HostholdError, Misconfigured, NotInstalled
from hosthold.plugins.calls import surround
from hosthold.plugins.configuration import parse_settings
from hosthold.plugins.record import PluginState, Refusal

_BASES: dict[str, type[Driver[Any]]] = {base.kind: base for base in CLASSES}


def construct(
    kind: str, name: str, loaded: object, settings: Mapping[str, Any], call_driver: HookCaller
) -> Driver[Any]:
    """A driver of the class that its entry point names, with its settings and the wrappers around its calls.

    Raises `Refusal` if it is no complete driver of this kind, or its settings cannot be used.
    """
    if kind not in _BASES:
        raise _refusal(f"There is no kind of driver called {kind!r}; there are {', '.join(sorted(_BASES))}.")
    base = _BASES[kind]
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise _refusal(f"Its entry point names {loaded!r}, which is not a class derived from {base.__name__}.")
    if inspect.isabstract(loaded):
        raise _refusal(
            f"{loaded.__name__} lacks methods of {base.__name__}: {', '.join(sorted(loaded.__abstractmethods__))}."
        )
    parsed = parse_settings(loaded.settings_model, settings, f"drivers.{kind}.{name}")
    try:
        driver = loaded(parsed)
    except Exception as error:
        raise _refusal(f"It could not be constructed: {type(error).__name__}: {error}.") from error
    return surround(driver, kind, name, call_driver)


def examine(check: Callable[[], None]) -> tuple[PluginState, str, str]:
    """Run a check: the state that it means, with message and hint."""
    try:
        check()
    except NotInstalled as error:
        return PluginState.not_installed, error.detail, error.hint
    except Misconfigured as error:
        return PluginState.misconfigured, error.detail, error.hint
    except HostholdError as error:
        return PluginState.unhealthy, error.detail, error.hint
    except (Exception, SystemExit) as error:
        return PluginState.unhealthy, f"Its check failed: {type(error).__name__}: {error}", ""
    return PluginState.ready, "", ""


def _refusal(detail: str) -> Refusal:
    return Refusal(PluginState.failed_to_load, detail, hint="Upgrade the plugin, or report this to its author.")
