"""The web-server kit fails drivers that break a rule: each of these breaks one, and passes everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hosthold_sdk import File, Link, Node, Rendered, Site, Upstream, WebOptions
from hosthold_sdk.testing.conformance import WebServerConformance
from hosthold_sdk.testing.fakes import FakeWebServer

UNSUPPORTED = frozenset({"prefix redirects", "basic_auth", "rules", "proxies"})


class ReadsAFile(FakeWebServer):
    """Looks at the machine while it renders."""

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        Path("/etc/passwd").read_text()
        return super().render_site(site, node, upstream)


class Remembers(FakeWebServer):
    """Shares state between its instances."""

    seen: list[str] = []  # noqa: RUF012 - that is the mistake

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        self.seen.append(site.name)
        rendered = super().render_site(site, node, upstream)
        return rendered.model_copy(update={"probes": rendered.probes[:1] * len(self.seen)})


class Reloads(FakeWebServer):
    """Has the server read something for each site."""

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        rendered = super().render_site(site, node, upstream)
        path = node.layout.site(site.name).child("serve", "note")
        note = File(path=path, content="", owner=node.root, mode=0o644, notifies=self.service(node).name)
        return rendered.model_copy(update={"resources": (*rendered.resources, note)})


class LosesAName(FakeWebServer):
    """Routes the first name alone."""

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        return super().render_site(site.model_copy(update={"domains": site.domains[:1]}), node, upstream)


class KeepsSilent(FakeWebServer):
    """Leaves out what it does not know."""

    def render_block(self, site: Site, node: Node) -> File | None:
        web = WebOptions(headers=site.web.headers)
        return super().render_block(site.model_copy(update={"web": web}), node)


class EscapesTheSite(FakeWebServer):
    """Writes outside of the site's folder."""

    def render_site(self, site: Site, node: Node, upstream: Upstream) -> Rendered:
        rendered = super().render_site(site, node, upstream)
        stray = Link(path=node.layout.state.child("stray"), target=upstream.socket, owner=node.root)
        return rendered.model_copy(update={"resources": (*rendered.resources, stray)})


@pytest.mark.parametrize(
    ("driver", "test"),
    [
        (ReadsAFile, "test_rendering_does_nothing_but_compute"),
        (Reloads, "test_a_site_of_default_options_needs_no_reload"),
        (LosesAName, "test_each_name_of_a_site_is_held_by_a_link"),
        (EscapesTheSite, "test_a_site_stays_in_its_own_folder"),
    ],
)
def test_a_driver_that_breaks_a_rule_is_failed(driver: type[FakeWebServer], test: str) -> None:
    kit = kit_of(driver)
    with pytest.raises(AssertionError):
        getattr(kit, test)()


def test_state_that_instances_share_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="a second instance"):
        kit_of(Remembers).test_rendering_depends_on_its_arguments_alone(monkeypatch, tmp_path)


@pytest.mark.parametrize("kind", ["redirects", "basic_auth", "rules", "proxies"])
def test_options_that_are_left_out_in_silence_are_found(kind: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        kit_of(KeepsSilent, frozenset()).test_an_option_is_rendered_or_refused(kind)


def kit_of(driver: type[FakeWebServer], unsupported: frozenset[str] = UNSUPPORTED) -> Any:
    """The kit for this driver, as an author has it."""
    return type("Kit", (WebServerConformance,), {"driver_class": driver, "unsupported": unsupported})()
