"""Candidates: entry points of plugins and drivers, and what is known of them before anything is imported."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from hosthold.plugins.record import PLUGIN, PluginState, Refusal

GROUP = "hosthold.plugins"
DRIVER_GROUPS = "hosthold.drivers."
CORE = "hosthold"
SDK = "hosthold-sdk"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry point, and what its distribution's metadata says; `sdk` is `None` if it requires no SDK.

    `fault` says why the metadata cannot be used, and is empty if it can.
    """

    entry_point: EntryPoint
    distribution: str = ""
    version: str = ""
    sdk: SpecifierSet | None = None
    fault: str = ""

    @property
    def name(self) -> str:
        return self.entry_point.name

    @property
    def kind(self) -> str:
        group = self.entry_point.group
        return PLUGIN if group == GROUP else f"driver:{group.removeprefix(DRIVER_GROUPS)}"

    @property
    def sdk_range(self) -> str:
        """The SDK versions it works with, lower bound first, such as `>=1.2,<2`; empty if it does not say."""
        return ",".join(sorted(map(str, self.sdk or ()), reverse=True))

    @property
    def is_core(self) -> bool:
        return canonicalize_name(self.distribution) == CORE


def installed_entry_points() -> Iterator[EntryPoint]:
    """Entry points of plugins and drivers of all installed distributions; each knows its distribution."""
    found = entry_points()
    for group in found.groups:
        if group == GROUP or group.startswith(DRIVER_GROUPS):
            yield from found.select(group=group)


def examine_entry_point(entry_point: EntryPoint) -> Candidate:
    """Read what the metadata of its distribution says of an entry point."""
    distribution = entry_point.dist
    if distribution is None:
        return Candidate(entry_point, fault="it belongs to no distribution")
    try:
        return Candidate(entry_point, distribution.name, distribution.version, _sdk_requirement(distribution))
    except Exception as error:  # a damaged installation fails in many ways, and must not stop the platform
        return Candidate(entry_point, fault=f"{type(error).__name__}: {error}")


def _sdk_requirement(distribution: Distribution) -> SpecifierSet | None:
    required = [
        requirement.specifier
        for requirement in map(Requirement, distribution.requires or ())
        if canonicalize_name(requirement.name) == SDK
        and (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
    ]
    return SpecifierSet(",".join(map(str, required))) if required else None


def require_usable(candidate: Candidate, everyone: Sequence[Candidate], enabled: Sequence[str] | None) -> None:
    """Raise `Refusal` unless the candidate is alone in its name, enabled by the operator, and fits the SDK."""
    if candidate.fault:
        raise Refusal(
            PluginState.failed_to_load,
            f"The metadata of the distribution behind {candidate.entry_point.value} cannot be used: {candidate.fault}.",
            hint="Uninstall it and install it again.",
        )
    if not _NAME.fullmatch(candidate.name):
        raise Refusal(
            PluginState.failed_to_load,
            f"{candidate.name!r} cannot be a name: it must be up to 31 lower-case letters, digits and underscores.",
            hint=f"Report this to the author of {candidate.distribution}.",
        )
    _require_unique(candidate, everyone)
    _require_enabled(candidate, everyone, enabled)
    if not candidate.is_core:
        _require_compatible(candidate)


def _require_unique(candidate: Candidate, everyone: Sequence[Candidate]) -> None:
    claimants = sorted(
        f"{other.distribution} {other.version}"
        for other in everyone
        if (other.kind, other.name) == (candidate.kind, candidate.name)
    )
    if len(claimants) > 1:
        raise Refusal(
            PluginState.failed_to_load,
            f"The name {candidate.name} is claimed by {' and '.join(claimants)}; none of them is used.",
            hint="Uninstall all but one of them.",
        )


def _require_enabled(candidate: Candidate, everyone: Sequence[Candidate], enabled: Sequence[str] | None) -> None:
    """The core's own are always enabled; drivers also by the name of a plugin of the same distribution."""
    if enabled is None or candidate.is_core or candidate.name in enabled:
        return
    siblings = {
        other.name for other in everyone if other.kind == PLUGIN and other.distribution == candidate.distribution
    }
    if candidate.kind == PLUGIN or not siblings.intersection(enabled):
        raise Refusal(
            PluginState.disabled,
            "The list of enabled plugins does not name it.",
            hint=f'Add "{candidate.name}" to enabled_plugins in hosthold.toml to use it.',
        )


def _require_compatible(candidate: Candidate) -> None:
    if candidate.sdk is None:
        raise Refusal(
            PluginState.incompatible,
            f"{candidate.distribution} does not say which {SDK} it needs.",
            hint=f"Report this to its author: its dependencies must name {SDK}.",
        )
    try:
        present = version(SDK)
    except PackageNotFoundError:
        raise Refusal(
            PluginState.incompatible,
            f"It needs {SDK} {candidate.sdk_range}, and no {SDK} is installed.",
            hint=f"Install {SDK}.",
        ) from None
    if not candidate.sdk.contains(present, prereleases=True):
        raise Refusal(
            PluginState.incompatible,
            f"It needs {SDK} {candidate.sdk_range}, this is {present}.",
            hint=f"Upgrade Hosthold, or install another version of {candidate.distribution}.",
        )
