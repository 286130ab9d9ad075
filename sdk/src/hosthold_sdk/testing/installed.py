"""What is installed in this environment: the entry points and the files of a plugin's distribution."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

from hosthold.plugins.candidate import GROUP, installed_entry_points


def entry_point_of(plugin: str) -> EntryPoint:
    """The entry point of a plugin. Raises `LookupError` saying what to do if none or several have this name."""
    found = [each for each in installed_entry_points() if (each.group, each.name) == (GROUP, plugin)]
    if len(found) != 1:
        raise LookupError(
            f"{len(found)} installed distributions have a plugin {plugin!r}: install yours into this environment, "
            f"`python -m pip install --editable .`, and look at the entry points in its pyproject.toml"
        )
    return found[0]


def entry_points_with(plugin: str) -> Iterator[EntryPoint]:
    """The entry points of the plugin's distribution: the plugin itself, and its drivers."""
    own = entry_point_of(plugin).dist
    assert own is not None
    return (each for each in installed_entry_points() if each.dist is not None and each.dist.name == own.name)


def package_folder(plugin: str) -> Path:
    """The folder of the plugin's Python package."""
    package = find_spec(entry_point_of(plugin).module.split(".")[0])
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent
