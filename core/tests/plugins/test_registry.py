"""Asking and telling plugins: in the order of names, one plugin's crash kept from the others, vetoes failing closed."""

from __future__ import annotations

import pytest
from hosthold.errors import PluginError, Rejected
from hosthold.plugins.manager import PluginRegistry
from hosthold.plugins.record import PluginState

from .conftest import Installation

NAMES = ("beta", "alpha", "gamma")
SAY = """
@hookimpl
def contribute_site(self, site, node): return [self.__class__.__module__, site]
"""


def refusing(body: str) -> str:
    return f"@hookimpl\ndef check_site(self, site, actor): {body}\n"


def test_contributions_come_in_the_order_of_names(installation: Installation) -> None:
    for name in NAMES:
        installation.plugin(name, SAY)
    registry = installation.discover()
    contributions = registry.contribute("contribute_site", site="s", node="n")
    assert [name for name, _ in contributions] == ["alpha", "beta", "gamma"]
    assert contributions[0][1] == ["installed_alpha", "s"]


def test_crash_in_a_contribution_names_the_plugin(installation: Installation) -> None:
    installation.plugin("crash", "@hookimpl\ndef contribute_site(self): return 1 / 0")
    with pytest.raises(PluginError, match="The plugin crash failed in contribute_site: ZeroDivisionError") as failed:
        installation.discover().contribute("contribute_site", site="s", node="n")
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


def test_veto_passes_through_with_its_reason(installation: Installation) -> None:
    installation.plugin("agrees", refusing("return None"))
    installation.plugin("refuses", refusing("raise Rejected('no such name', hint='choose another')"))
    with pytest.raises(Rejected, match="no such name") as refused:
        installation.discover().check("check_site", site="s", actor="a")
    assert refused.value.hint == "choose another"


def test_plugin_that_crashes_in_a_check_has_refused(installation: Installation) -> None:
    installation.plugin("crash", refusing("raise OSError('secret')"))
    with pytest.raises(Rejected, match="The plugin crash failed in check_site") as refused:
        installation.discover().check("check_site", site="s", actor="a")
    assert isinstance(refused.value.__cause__, OSError)
    assert "secret" not in refused.value.detail


def test_nobody_objecting_is_agreement(installation: Installation) -> None:
    installation.discover().check("check_site", site="s", actor="a")


@pytest.mark.parametrize("hook", ["on_site_ready", "on_site_failed", "on_site_deleted"])
def test_each_plugin_is_told_separately(installation: Installation, hook: str) -> None:
    for name in NAMES:
        body = "raise ValueError" if name == "alpha" else "return site"
        installation.plugin(name, f"@hookimpl\ndef {hook}(self, site): {body}")
    registry = installation.discover()
    assert registry.implementing(hook) == ("alpha", "beta", "gamma")
    with pytest.raises(ValueError):  # noqa: PT011  # the plugin's own
        registry.call_plugin("alpha", hook, site="s", condition="c", event="e")
    assert registry.call_plugin("beta", hook, site="s", condition="c", event="e") == "s"


def test_hook_that_does_not_exist_is_a_mistake_of_the_caller(installation: Installation) -> None:
    with pytest.raises(KeyError):
        installation.discover().implementing("on_site_redy")


DECLARING = """
@hookimpl
def register_permissions(self): return [Permission('shop:read', 'Read')]
@hookimpl
def register_pages(self): return [Page('', 'Shop', 'shop:read', print), Page('carts/all', 'Carts', 'site:read', print)]
@hookimpl
def register_menu_items(self): return (MenuItem('Shop', ''),)
@hookimpl
def register_jobs(self): return [Job('tidy', __import__('datetime').timedelta(hours=1), print)]
@hookimpl
def register_commands(self): return [Command('sell', 'Sell something', len)]
@hookimpl
def register_health_checks(self): return [HealthCheck('open', self.open)]
def open(self):
    if self.is_closed: raise ValueError('closed')
is_closed = False
@hookimpl
def check_site(self): raise Rejected('asked')
"""


def test_declarations_are_collected_once_with_the_name_of_their_plugin(installation: Installation) -> None:
    installation.plugin("shop", DECLARING)
    registry = installation.discover()
    assert registry.record("shop").state is PluginState.ready
    pages = registry.declarations("register_pages")
    assert [(plugin, page.path) for plugin, page in pages] == [("shop", ""), ("shop", "carts/all")]
    assert registry.declarations("register_pages")[0][1] is pages[0][1]
    for hook in ("permissions", "menu_items", "jobs", "commands", "health_checks"):
        assert len(registry.declarations(f"register_{hook}")) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'shop:read', 'Read'", "'site:delete', 'Read'", "must be 'shop:' and an action"),
        ("MenuItem('Shop', '')", "MenuItem('Shop', '../../admin')", "is not a page of the plugin"),
        ("'carts/all'", "'../sites'", "must be a relative path"),
        ("'carts/all'", "''", "declares the path '' twice"),
        ("'site:read'", "'shop:buy'", "which the plugin does not register"),
        ("'site:read'", "''", "has not the form noun:action"),
        ("hours=1", "hours=0", "longer than nothing"),
        ("return [Command(", "return {}[Command(", "KeyError"),
        ("(MenuItem('Shop', ''),)", "MenuItem('Shop', '')", "must return a sequence of MenuItem"),
        ("(MenuItem('Shop', ''),)", "[Page('x', 'X', 'shop:read', print)]", "must return a sequence of MenuItem"),
    ],
)
def test_s75_plugin_that_declares_beyond_its_namespace_is_refused_whole(
    installation: Installation, old: str, new: str, message: str
) -> None:
    assert old in DECLARING
    installation.plugin("shop", DECLARING.replace(old, new))
    registry = installation.discover()
    assert registry.record("shop").state is PluginState.failed_to_load
    assert message in registry.record("shop").message
    assert registry.declarations("register_pages") == ()


def shop_of(registry: PluginRegistry) -> object:
    return registry.hooks.get_plugin("shop")


def test_failing_health_check_marks_a_plugin_unhealthy_until_it_passes(installation: Installation) -> None:
    installation.plugin("shop", DECLARING)
    registry = installation.discover()
    shop_of(registry).is_closed = True  # type: ignore[attr-defined]
    assert [(r.state, r.message) for r in registry.health()] == [
        (PluginState.unhealthy, "open: Its check failed: ValueError: closed")
    ]
    shop_of(registry).is_closed = False  # type: ignore[attr-defined]
    assert [(r.state, r.message) for r in registry.health()] == [(PluginState.ready, "")]


def test_veto_of_an_unhealthy_plugin_does_not_lapse(installation: Installation) -> None:
    installation.plugin("shop", DECLARING + "\nis_closed = True")
    registry = installation.discover()
    registry.health()
    assert registry.record("shop").state is PluginState.unhealthy
    with pytest.raises(Rejected, match="asked"):
        registry.check("check_site", site="s", actor="a")


def test_templates_are_found_beside_the_manifest(installation: Installation) -> None:
    installation.plugin("shop", DECLARING)
    registry = installation.discover()
    assert registry.template_directory("shop") is None
    (installation.folder / "templates").mkdir()
    assert registry.template_directory("shop") == installation.folder / "templates"
    assert registry.static_directory("shop") is None
