"""What every web-server driver's rendering must be: pure, complete, and safe whatever a customer sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given, settings

from hosthold_sdk import (
    Access,
    BasicAuth,
    BasicAuthUser,
    Directory,
    Domain,
    Driver,
    File,
    Header,
    Limits,
    Link,
    Match,
    NotSupported,
    PathRule,
    Proxy,
    Redirect,
    RelativePath,
    Rendered,
    Runtime,
    Service,
    Site,
    UnixName,
    Upstream,
    UrlPath,
    WebOptions,
    WebServerDriver,
)
from hosthold_sdk.testing.conformance.driver import DriverConformance, as_text
from hosthold_sdk.testing.conformance.golden import GoldenFiles
from hosthold_sdk.testing.conformance.options import web_options
from hosthold_sdk.testing.effects import effects
from hosthold_sdk.testing.fakes.runtime import PING_PATH
from hosthold_sdk.testing.samples import sample_node

EACH_OPTION: Mapping[str, WebOptions] = {
    "redirects": WebOptions(redirects=(Redirect(path=UrlPath("/old"), to="https://example.org/new?x=1", status=308),)),
    "prefix redirects": WebOptions(redirects=(Redirect(path=UrlPath("/old/"), match=Match.prefix, to="/new/"),)),
    "headers": WebOptions(headers=(Header(name="X-Frame-Options", value="DENY"),)),
    "basic_auth": WebOptions(
        basic_auth=(BasicAuth(users=(BasicAuthUser(name="ann", password_hash="$6$saltsalt$" + "a" * 86),)),)
    ),
    "rules": WebOptions(rules=(PathRule(path=UrlPath("/private"), access=Access.nobody),)),
    "proxies": WebOptions(proxies=(Proxy(path=UrlPath("/app"), socket=RelativePath("run/app.sock")),)),
}
"""The least that sets each kind of option."""

NODE = sample_node()


def sample(**changes: Any) -> Site:
    """A site to render."""
    values: dict[str, Any] = {
        "id": "0" * 32,
        "account_id": "0" * 32,
        "name": UnixName("s1"),
        "uid": 64001,
        "domains": (Domain("a.example"), Domain("www.a.example")),
        "runtime": Runtime(driver="runtime", version="1"),
        "document_root": RelativePath("public"),
        "limits": Limits(),
    }
    return Site.model_validate(values | changes)


class WebServerRendering(DriverConformance, GoldenFiles):
    """Rendering alone: nothing of it needs the server to be installed."""

    driver_class: ClassVar[type[WebServerDriver[Any]]]
    unsupported: ClassVar[frozenset[str]] = frozenset()
    """Which of `EACH_OPTION` the driver refuses: it must say `NotSupported`, and nothing may be done in its place."""
    syntax: ClassVar[Literal["nginx"] | None] = None
    """In which language blocks are written, if the kit can read them back."""

    def make(self) -> WebServerDriver[Any]:
        """A driver with the settings under test."""
        driver = super().make()
        assert isinstance(driver, WebServerDriver)
        return driver

    def use(self, driver: Driver[Any]) -> str:
        """Besides checking: render a node, and sites of all kinds."""
        assert isinstance(driver, WebServerDriver)
        return super().use(driver) + "".join(map(as_text, self.everything(driver)))

    def render(self, site: Site, driver: WebServerDriver[Any] | None = None) -> Rendered:
        """What the driver, or else a new one, makes of the site."""
        upstream = Upstream(protocol="fastcgi", socket=NODE.layout.socket(site.name), ping=PING_PATH)
        return (driver or self.make()).render_site(site, NODE, upstream)

    def supported(self) -> Mapping[str, WebOptions]:
        """The least that sets each kind of option that the driver has."""
        return {kind: web for kind, web in EACH_OPTION.items() if kind not in self.unsupported}

    def everything(self, driver: WebServerDriver[Any]) -> list[object]:
        """The answers of all pure methods, for sites of all kinds."""
        sites = [sample(), sample(is_suspended=True), *(sample(web=web) for web in self.supported().values())]
        return [
            driver.service(NODE),
            driver.check_command(NODE),
            driver.render_node(NODE),
            driver.logs(NODE),
            *(self.render(site, driver) for site in sites),
            *(driver.render_block(site, NODE) for site in sites),
        ]

    def test_rendering_does_nothing_but_compute(self) -> None:
        """Plan, diff and undo are the node's: a driver that opens a file or runs a program takes them away.

        What a driver needs to know of the machine it looks up in `check`, or is told by settings and `node.facts`.
        """
        driver = self.make()
        with effects() as done:
            self.everything(driver)
        assert done == [], "service, check_command, logs and render_* may open, start, connect to and list nothing"

    def test_rendering_depends_on_its_arguments_alone(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The worker renders on one machine, the node judges on another: both must come to the same."""
        before = self.everything(self.make())
        monkeypatch.chdir(tmp_path)
        for variable, value in (("HOME", str(tmp_path)), ("USER", "somebody"), ("TZ", "Asia/Tokyo"), ("LANG", "de_DE")):
            monkeypatch.setenv(variable, value)
        for after, first in zip(self.everything(self.make()), before, strict=True):
            assert after == first, "a second instance, elsewhere, rendered something else"

    def test_the_node_has_all_folders_of_its_layout_and_the_server(self) -> None:
        """Sites, runtimes and certificates are put there; nobody else makes these folders."""
        rendered = self.make().render_node(NODE).resources
        layout = NODE.layout
        folders = {resource.path for resource in rendered if isinstance(resource, Directory)}
        needed = {layout.sites, layout.hosts, layout.challenges, layout.certificates, layout.blocks, layout.sockets}
        assert needed <= folders, f"render_node lacks the folders {sorted(needed - folders)}"
        assert self.make().service(NODE) in rendered, "the server is one of the resources of render_node"
        keys = [resource.key for resource in rendered]
        assert len(set(keys)) == len(keys), "a resource may be declared once"

    def test_a_site_of_default_options_needs_no_reload(self) -> None:
        """The ten-thousandth site must cost what the tenth did, so the server finds standard sites by itself."""
        service = self.make().service(NODE).name
        for site in (sample(), sample(is_suspended=True)):
            resources = self.render(site).resources
            notifying = [one.key for one in resources if isinstance(one, File) and one.notifies == service]
            assert notifying == [], f"{notifying} would reload the server for a standard site"
            assert self.make().render_block(site, NODE) is None
            assert not [one for one in resources if isinstance(one, Service)], "a site brings no server of its own"

    def test_each_name_of_a_site_is_held_by_a_link(self) -> None:
        """Two subjects cannot hold one path, so one link for each name keeps a name from having two sites."""
        site = sample()
        resources = self.render(site).resources
        links = {one.path: one.target for one in resources if isinstance(one, Link)}
        for domain in site.domains:
            target = links.get(NODE.layout.hosts.child(domain))
            assert target is not None, f"there is no link {NODE.layout.hosts}/{domain}"
            assert target.is_below(NODE.layout.site(site.name)), "it leads into the site's own folder"

    def test_a_site_is_proven_by_requests(self) -> None:
        """An apply that succeeded but is not served must be undone: that needs probes, of which some wake nobody."""
        for site in (sample(), sample(is_suspended=True)):
            probes = self.render(site).probes
            assert probes, "render_site names no request that shows that the site is served"
            assert {probe.host for probe in probes} <= set(site.domains), "a probe asks for a name of the site's own"
            assert not all(probe.wakes for probe in probes), "one of them must not wake the site's program"
        assert all(not probe.wakes for probe in self.render(sample(is_suspended=True)).probes), (
            "nobody is there to wake"
        )

    def test_a_block_is_one_of_the_resources_of_its_site(self) -> None:
        """Root's server reads blocks, so the node writes only those that its own driver renders again."""
        for web in self.supported().values():
            site = sample(web=web)
            block = self.make().render_block(site, NODE)
            below = [one for one in self.render(site).resources if one.key.startswith(f"path:{NODE.layout.blocks}/")]
            assert below == ([] if block is None else [block]), "below blocks lies exactly what render_block returns"
            if block is not None:
                assert block.notifies == self.make().service(NODE).name, "the server must read it"

    def test_a_site_stays_in_its_own_folder(self) -> None:
        """What lies outside of it could be another site's, or the platform's; the node refuses such an order whole."""
        for site in (sample(), sample(is_suspended=True), *(sample(web=web) for web in self.supported().values())):
            assert_confined(self.render(site), site)

    @pytest.mark.parametrize("kind", EACH_OPTION)
    def test_an_option_is_rendered_or_refused(self, kind: str) -> None:
        """An option that is left out in silence is the worst of all: a page that should ask for a password does not."""
        site = sample(web=EACH_OPTION[kind])
        if kind in self.unsupported:
            with pytest.raises(NotSupported) as raised:
                self.render(site)
            assert raised.value.hint, "the hint says what the customer can do in its place"
            with pytest.raises(NotSupported):
                self.make().render_block(site, NODE)
        else:
            assert self.render(site).resources != self.render(sample()).resources, (
                f"{kind} changes nothing: raise NotSupported, and name it in `unsupported`"
            )

    def test_an_upstream_of_another_protocol_is_refused(self) -> None:
        """Only what is known to work is written."""
        strange = Upstream(protocol="http", socket=NODE.layout.socket(UnixName("s1")), ping="/other")
        try:
            rendered = self.make().render_site(sample(), NODE, strange)
        except NotSupported:
            return
        assert strange.socket in str(rendered), "the upstream appears nowhere in what was rendered"

    def test_hostile_options_are_refused_or_mean_what_they_say(self) -> None:
        """Whatever the types accept, no value ends its own place in the text: it is refused, or read back as it was."""

        @settings(deadline=None, max_examples=100)
        @given(web_options())
        def check(web: WebOptions) -> None:
            site = sample(web=web)
            try:
                rendered = self.render(site)
            except NotSupported:
                return
            assert_confined(rendered, site)
            block = self.make().render_block(site, NODE)
            if block is not None and self.syntax == "nginx":
                from hosthold_sdk.testing.conformance.nginx_syntax import check_block  # needs crossplane

                check_block(block, site)

        check()


def assert_confined(rendered: Rendered, site: Site) -> None:
    """Only paths, and none outside of the site's folder but links of its names and its block."""
    layout = NODE.layout
    for one in rendered.resources:
        assert isinstance(one, Directory | File | Link), f"{one.key}: what a web server renders for a site is paths"
        is_routed = isinstance(one, Link) and one.path.parent in (layout.hosts, layout.certificates)
        is_block = isinstance(one, File) and one.path.parent == layout.blocks
        assert is_routed or is_block or one.path.is_below(layout.site(site.name)), f"{one.path} is not the site's"
