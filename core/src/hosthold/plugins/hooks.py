"""Admitting one plugin: its hooks, settings and declarations are checked before any of its hooks is called."""

from __future__ import annotations

import copy
import difflib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pluggy import HookCaller, HookImpl, PluginManager, PluginValidationError

from hosthold.hookspecs import MODULES, PROJECT
from hosthold.plugins.configuration import parse_settings
from hosthold.plugins.declarations import collect
from hosthold.plugins.manager import LoadedPlugin
from hosthold.plugins.record import PluginState, Refusal
from hosthold.types.manifest import Plugin

WRAPPED = "call_driver"
"""The one hook that surrounds something, and so takes wrappers, and nothing else."""


def specified_hooks() -> PluginManager:
    """A plugin manager that knows every hook specification and no plugin."""
    manager = PluginManager(PROJECT)
    for module in MODULES:
        manager.add_hookspecs(module)
    return manager


def admit(name: str, loaded: object, module: str, settings: Mapping[str, Any]) -> LoadedPlugin:
    """Check the plugin that an entry point of `module` names, give it its settings, and ask for its declarations.

    The platform uses a copy of the plugin, so that two platforms in one process share no settings. Raises `Refusal`.
    """
    if not isinstance(loaded, Plugin):
        raise _refusal(f"Its entry point names {loaded!r}, which is not an instance of hosthold_sdk.Plugin.")
    plugin = copy.copy(loaded)
    implementations = _implementations(name, plugin)
    plugin.settings = parse_settings(plugin.settings_model, settings, f"plugins.{name}")
    specifications = {hook: caller.spec.function for hook, caller in vars(specified_hooks().hook).items()}
    return LoadedPlugin(
        plugin=plugin,
        folder=Path(inspect.getfile(sys.modules[module])).parent,
        implementations=implementations,
        declarations=collect(name, specifications, implementations),
    )


def _implementations(name: str, plugin: Plugin) -> Mapping[str, HookImpl]:
    """What the plugin implements, by hook; found by registering it alone, so that a mistake touches no other plugin."""
    alone = specified_hooks()
    hooks = sorted(vars(alone.hook).items())
    known = [hook for hook, _ in hooks]
    try:
        alone.register(plugin, name)
    except PluginValidationError as error:
        _, definition, reason = str(error).split("\n", 2)
        raise _refusal(
            f"A hook is implemented wrongly: {definition.removeprefix('hookimpl definition: ')}: {reason}.",
            f"Hooks and their arguments: {', '.join(_signature(hook, caller) for hook, caller in hooks)}.",
        ) from error
    callers = alone.get_hookcallers(plugin) or []
    try:
        alone.check_pending()
    except PluginValidationError as error:
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        nearest = {hook: difflib.get_close_matches(hook, known, n=1) for hook in unknown}
        raise _refusal(
            f"It implements hooks that do not exist: {', '.join(unknown)}.",
            " ".join(f"Did you mean {near[0]} instead of {hook}?" for hook, near in nearest.items() if near)
            or f"There are: {', '.join(known)}.",
        ) from error
    found: dict[str, HookImpl] = {}
    for caller in callers:
        for implementation in caller.get_hookimpls() if caller.has_spec() else ():  # the others are optional
            if caller.name in found:
                raise _refusal(f"It implements {caller.name} twice.", "Keep one implementation of each hook.")
            _check_discipline(caller.name, implementation)
            found[caller.name] = implementation
    return found


def _check_discipline(hook: str, implementation: HookImpl) -> None:
    is_wrapper = implementation.wrapper or implementation.hookwrapper
    if hook == WRAPPED and not implementation.wrapper:
        raise _refusal(
            f"It implements {hook} without being a wrapper.",
            "Mark it @hookimpl(wrapper=True), yield once, return the result.",
        )
    if hook != WRAPPED and (is_wrapper or implementation.tryfirst or implementation.trylast):
        raise _refusal(
            f"It wants to wrap or precede others in {hook}, where plugins are called in the order of their names.",
            "Mark it @hookimpl without options.",
        )


def _signature(hook: str, caller: HookCaller) -> str:
    return f"{hook}({', '.join(caller.spec.argnames if caller.spec else ())})"


def _refusal(detail: str, hint: str = "Upgrade the plugin, or report this to its author.") -> Refusal:
    return Refusal(PluginState.failed_to_load, detail, hint=hint)
