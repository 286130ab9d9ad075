"""A plugin that was written for an earlier version of the SDK works as it did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, distributions
from pathlib import Path

import pytest
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.plugins.manager import PluginRegistry
from hosthold.plugins.record import PluginState
from hosthold_sdk import Condition, DriverCall, Event, PageRequest, Rejected
from hosthold_sdk.testing import sample_actor, sample_node, sample_site

HERE = Path(__file__).parent
EVENT = Event(id="0" * 32, at=datetime(2030, 1, 1, tzinfo=UTC))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginRegistry:
    """A platform that has the frozen plugin, as it was installed with the requirement of its time."""
    metadata = tmp_path / "frozen-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: frozen\nVersion: 1.0\nRequires-Dist: hosthold-sdk>=0.1,<1\n\n"
    )
    (metadata / "entry_points.txt").write_text("[hosthold.plugins]\nfrozen = frozen_plugin:plugin\n")
    monkeypatch.syspath_prepend(str(HERE))

    def entry_points() -> Iterator[EntryPoint]:
        for distribution in distributions(path=[str(tmp_path)]):
            yield from distribution.entry_points

    return discover(PluginSettingsSource(plugins={"frozen": {"refused": "no.example.com"}}), entry_points)


def test_it_is_ready_with_all_that_it_declares(registry: PluginRegistry) -> None:
    record = registry.record("frozen")
    assert (record.state, record.message) == (PluginState.ready, "")
    for hook in ("permissions", "pages", "menu_items", "health_checks", "jobs", "commands"):
        assert len(registry.declarations(f"register_{hook}")) == 1


def test_its_hooks_are_called_as_they_were(registry: PluginRegistry) -> None:
    site, node = sample_site("example.com"), sample_node()
    registry.check("check_site", site=site, actor=sample_actor("Ada"))
    with pytest.raises(Rejected, match="It is refused"):
        registry.check("check_site", site=sample_site("no.example.com"), actor=sample_actor("Ada"))
    ((name, (folder,)),) = registry.contribute("contribute_site", site=site, node=node)
    assert (name, folder.key) == ("frozen", f"path:{node.layout.site(site.name)}/frozen")
    condition = Condition(reason="Broken", message="It broke.", hint="Mend it.")
    for hook in ("on_site_ready", "on_site_failed", "on_site_deleted"):
        registry.call_plugin("frozen", hook, site=site, condition=condition, event=EVENT)
    call = DriverCall("webserver", "nginx", "render_site", "site:1")
    assert registry.hooks.hook.call_driver.call_extra([lambda: "rendered"], {"call": call}) == "rendered"
    assert registry.loaded("frozen").plugin.told[-4:] == [  # type: ignore[attr-defined]
        "ready example.com", "failed example.com Broken", "deleted example.com", "webserver nginx render_site",
    ]  # fmt: skip


def test_its_page_gets_what_it_got(registry: PluginRegistry) -> None:
    ((_, page),) = registry.declarations("register_pages")
    content = page.handler(PageRequest(actor=sample_actor("Ada", "frozen:read"), query={"a": "b"}))
    assert (content.template, content.context) == ("look.html", {"label": "Ada", "query": {"a": "b"}})
