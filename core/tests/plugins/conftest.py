"""Tiny distributions, really laid out on disk: a module and its package metadata."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent, indent

import pytest
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.plugins.manager import PluginRegistry

PREAMBLE = """
from collections.abc import Sequence
from hosthold_sdk import *
"""


class Installation:
    """A folder that distributions are installed into, as pip would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plugin(self, name: str, body: str, requires: str = "hosthold-sdk>=0.1,<1", distribution: str = "") -> None:
        """Install a distribution with one plugin, whose class `P` has this body."""
        source = f"{PREAMBLE}\nclass P(Plugin):\n    title = 'P'\n{indent(dedent(body), '    ')}\n\nplugin = P()\n"
        self.module(name, source, {"hosthold.plugins": "plugin"}, requires, distribution)

    def module(
        self,
        name: str,
        source: str,
        groups: Mapping[str, str],
        requires: str = "hosthold-sdk>=0.1,<1",
        distribution: str = "",
    ) -> None:
        """Install a distribution with one module; `groups` gives the object for the entry point of each group."""
        distribution = distribution or name.replace("_", "-")
        module = f"installed_{distribution.replace('-', '_')}"
        (self.folder / f"{module}.py").write_text(source)
        metadata = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        metadata.mkdir()
        requirement = f"Requires-Dist: {requires}\n" if requires else ""
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n{requirement}\n"
        )
        (metadata / "entry_points.txt").write_text(
            "".join(f"[{group}]\n{name} = {module}:{target}\n" for group, target in groups.items())
        )

    def entry_points(self) -> Iterator[EntryPoint]:
        for distribution in distributions(path=[str(self.folder)]):
            yield from distribution.entry_points

    def discover(self, settings: PluginSettingsSource | None = None) -> PluginRegistry:
        return discover(settings or PluginSettingsSource(), self.entry_points)


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An empty installation on the import path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Installation(tmp_path)
    for name in [name for name in sys.modules if name.startswith("installed_")]:
        del sys.modules[name]
