"""Every plugin ends in one state, with a message and a cure; the platform starts whatever they do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hosthold.errors import Misconfigured, NotInstalled
from hosthold.plugins.discovery import PluginSettingsSource
from hosthold.plugins.record import PluginState
from hosthold.settings import Settings

from .conftest import PREAMBLE, Installation

GOOD = """
@hookimpl
def on_site_deleted(self, site, event): ...
"""


def test_good_plugin_is_ready_and_its_record_names_its_hooks(installation: Installation) -> None:
    installation.plugin("good", GOOD)
    record = installation.discover().record("good")
    assert record.state is PluginState.ready
    assert (record.distribution, record.version, record.sdk_requirement) == ("good", "1.0", ">=0.1,<1")
    assert record.hooks == ("on_site_deleted",)


def test_plugin_that_the_operator_did_not_enable_is_not_imported(installation: Installation) -> None:
    installation.module("spy", "raise SystemExit('imported')", {"hosthold.plugins": "plugin"})
    installation.plugin("good", GOOD)
    registry = installation.discover(PluginSettingsSource(enabled=("good",)))
    assert registry.record("spy").state is PluginState.disabled
    assert "enabled_plugins" in registry.record("spy").hint
    assert "installed_spy" not in sys.modules
    assert registry.record("good").state is PluginState.ready


def test_driver_is_enabled_by_the_plugin_of_its_distribution(installation: Installation) -> None:
    source = f"{PREAMBLE}\nclass D(SupervisorDriver): pass\nplugin = Plugin()\n"
    installation.module("both", source, {"hosthold.plugins": "plugin", "hosthold.drivers.supervisor": "D"})
    enabled = installation.discover(PluginSettingsSource(enabled=("both",)))
    assert enabled.record("both", "driver:supervisor").state is PluginState.failed_to_load
    disabled = installation.discover(PluginSettingsSource(enabled=()))
    assert disabled.record("both", "driver:supervisor").state is PluginState.disabled


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ("hosthold-sdk>=2,<3", "It needs hosthold-sdk >=2,<3, this is 0.1.0."),
        ("", "far-away does not say which hosthold-sdk it needs."),
        ("hosthold-sdk>=0.1; python_version < '3'", "far-away does not say which hosthold-sdk it needs."),
    ],
)
def test_plugin_for_another_sdk_is_incompatible_and_not_imported(
    installation: Installation, requires: str, message: str
) -> None:
    installation.module("far_away", "raise SystemExit('imported')", {"hosthold.plugins": "plugin"}, requires)
    record = installation.discover().record("far_away")
    assert (record.state, record.message) == (PluginState.incompatible, message)
    assert record.hint
    assert "installed_far_away" not in sys.modules


def test_core_itself_needs_no_sdk(installation: Installation) -> None:
    installation.plugin("builtin", GOOD, requires="", distribution="hosthold")
    assert installation.discover(PluginSettingsSource(enabled=())).record("builtin").state is PluginState.ready


def test_same_name_in_two_distributions_refuses_both_and_names_them(installation: Installation) -> None:
    installation.plugin("twin", GOOD, distribution="first-twin")
    installation.plugin("twin", GOOD, distribution="second-twin")
    installation.plugin("good", GOOD)
    registry = installation.discover()
    twins = [record for record in registry.records if record.name == "twin"]
    assert [twin.state for twin in twins] == [PluginState.failed_to_load] * 2
    assert all("first-twin 1.0 and second-twin 1.0" in twin.message for twin in twins)
    assert registry.implementing("on_site_deleted") == ("good",)
    assert "installed_first_twin" not in sys.modules


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "It needs the Python module no_such_module, which is not installed."),
        ("raise AssertionError('at import')", "AssertionError: at import"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("plugin = 3", "names 3, which is not an instance of hosthold_sdk.Plugin"),
        ("other = 3", "AttributeError"),
        ("this is no Python", "SyntaxError"),
        (f"{PREAMBLE}\nclass P(Plugin):\n    settings_model = None\nplugin = P()", "AttributeError"),
    ],
)
def test_plugin_that_cannot_be_loaded_says_why_and_stops_nothing(
    installation: Installation, source: str, message: str
) -> None:
    installation.module("broken", source, {"hosthold.plugins": "plugin"})
    installation.plugin("good", GOOD)
    registry = installation.discover()
    record = registry.record("broken")
    assert record.state is PluginState.failed_to_load
    assert message in record.message
    assert record.hint
    assert registry.record("good").state is PluginState.ready


def test_import_error_keeps_its_traceback_for_staff(installation: Installation) -> None:
    installation.module("broken", "import no_such_module", {"hosthold.plugins": "plugin"})
    assert "installed_broken.py" in installation.discover().record("broken").traceback


def test_damaged_metadata_stops_nothing(installation: Installation) -> None:
    installation.plugin("damaged", GOOD)
    (installation.folder / "damaged-1.0.dist-info" / "METADATA").unlink()
    installation.plugin("unreadable", GOOD, requires="=== nonsense")
    installation.plugin("good", GOOD)
    registry = installation.discover()
    assert registry.record("damaged").state is PluginState.failed_to_load
    assert registry.record("unreadable").state is PluginState.failed_to_load
    assert registry.record("good").state is PluginState.ready


def test_s08_name_that_is_no_identifier_is_refused(installation: Installation) -> None:
    installation.plugin("../evil", GOOD, distribution="evil")
    assert installation.discover().record("../evil").state is PluginState.failed_to_load


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("@hookimpl\ndef on_site_redy(self, site): ...", "on_site_redy", "Did you mean on_site_ready"),
        ("@hookimpl\ndef check_site(self, sit): ...", "check_site(sit)", "check_site(site, actor)"),
        ("@hookimpl\ndef call_driver(self, call): ...", "without being a wrapper", "wrapper=True"),
        ("@hookimpl(wrapper=True)\ndef call_driver(self, call): return 1", "not a generator", "call_driver(call)"),
        ("@hookimpl(tryfirst=True)\ndef check_site(self, site): ...", "order of their names", "without options"),
        ("@hookimpl(wrapper=True)\ndef check_site(self):\n    yield", "order of their names", "without options"),
    ],
)
def test_wrong_hook_is_reported_for_its_plugin_alone(
    installation: Installation, body: str, message: str, hint: str
) -> None:
    installation.plugin("wrong", body + GOOD)
    installation.plugin("good", GOOD)
    registry = installation.discover()
    record = registry.record("wrong")
    assert record.state is PluginState.failed_to_load
    assert message in record.message
    assert hint in record.hint
    assert registry.implementing("on_site_deleted") == ("good",)
    assert registry.hooks.get_plugin("wrong") is None


def test_optional_hook_that_this_version_does_not_have_is_passed_over(installation: Installation) -> None:
    installation.plugin("ahead", "@hookimpl(optionalhook=True)\ndef register_moons(self): return []\n" + GOOD)
    record = installation.discover().record("ahead")
    assert (record.state, record.hooks) == (PluginState.ready, ("on_site_deleted",))


SETTINGS = """
class Settings(PluginSettings):
    greeting: str = 'hello'
    token: str
settings_model = Settings
"""


def test_settings_are_parsed_and_reach_the_plugin(installation: Installation) -> None:
    installation.plugin("chatty", SETTINGS + "@hookimpl\ndef check_site(self): return self.settings.token")
    first = installation.discover(PluginSettingsSource(plugins={"chatty": {"token": "one"}}))
    second = installation.discover(PluginSettingsSource(plugins={"chatty": {"token": "two"}}))
    assert first.call_plugin("chatty", "check_site") == "one"
    assert second.call_plugin("chatty", "check_site") == "two"


def test_tables_of_the_platform_s_settings_reach_plugins_and_drivers(installation: Installation) -> None:
    installation.plugin("chatty", SETTINGS)
    settings = Settings(
        enabled_plugins=("chatty",), plugins={"chatty": {"token": "one"}}, drivers={"runtime": {"perl": {}}}
    )
    registry = installation.discover(PluginSettingsSource.of(settings))
    assert registry.record("chatty").state is PluginState.ready
    assert registry.record("perl", "driver:runtime").state is PluginState.not_installed


def test_s66_wrong_settings_name_the_keys_and_never_the_values(installation: Installation) -> None:
    installation.plugin("chatty", SETTINGS)
    settings = PluginSettingsSource(plugins={"chatty": {"greeting": 5, "tokn": "canary"}})
    record = installation.discover(settings).record("chatty")
    assert record.state is PluginState.misconfigured
    for part in ("greeting", "tokn is an unknown key", "token is required"):
        assert part in record.message
    assert "greeting, token" in record.hint
    assert "canary" not in repr(record)


def test_settings_that_name_nothing_installed_are_reported(installation: Installation) -> None:
    settings = PluginSettingsSource(enabled=("missing",), plugins={"typo": {}}, drivers={"runtime": {"perl": {}}})
    registry = installation.discover(settings)
    for name, kind in (("missing", "plugin"), ("typo", "plugin"), ("perl", "driver:runtime")):
        assert registry.record(name, kind).state is PluginState.not_installed


DRIVER = f"""{PREAMBLE}
class D(SupervisorDriver):
    def check(self):
        CHECK
    def attach(self, node, services): ...
    def start(self, service): ...
    def reload(self, name): ...
    def restart(self, name): ...
    def stop(self, name): ...
    def wake(self, name): ...
    def known(self, names): return {{}}
    def failures(self): return {{}}
    def end(self): ...
    def close(self): ...
"""


@pytest.mark.parametrize(
    ("check", "state"),
    [
        ("pass", PluginState.ready),
        ("raise NotInstalled('There is no initd.', hint='apt-get install initd')", PluginState.not_installed),
        ("raise Misconfigured('No such folder.', hint='mkdir')", PluginState.misconfigured),
        ("raise Unavailable('It does not answer.')", PluginState.unhealthy),
        ("raise ValueError('oops')", PluginState.unhealthy),
        ("raise SystemExit(1)", PluginState.unhealthy),
    ],
)
def test_driver_ends_in_the_state_that_its_check_tells(
    installation: Installation, check: str, state: PluginState
) -> None:
    installation.module("initd", DRIVER.replace("CHECK", check), {"hosthold.drivers.supervisor": "D"})
    registry = installation.discover()
    assert registry.record("initd", "driver:supervisor").state is state
    if state is PluginState.misconfigured:
        with pytest.raises(Misconfigured, match="No such folder"):
            registry.driver("supervisor", "initd")
    else:
        assert registry.driver("supervisor", "initd").kind == "supervisor"


def test_driver_of_an_unknown_kind_or_of_the_wrong_class_fails_to_load(installation: Installation) -> None:
    installation.module("spell", DRIVER.replace("CHECK", "pass"), {"hosthold.drivers.supervizor": "D"})
    installation.module("wrong", DRIVER.replace("CHECK", "pass"), {"hosthold.drivers.webserver": "D"})
    installation.module("half", f"{PREAMBLE}\nclass D(SupervisorDriver): pass", {"hosthold.drivers.supervisor": "D"})
    registry = installation.discover()
    assert "no kind of driver" in registry.record("spell", "driver:supervizor").message
    assert "WebServerDriver" in registry.record("wrong", "driver:webserver").message
    assert "lacks methods of SupervisorDriver: attach" in registry.record("half", "driver:supervisor").message


def test_driver_that_is_not_there_names_those_that_are(installation: Installation) -> None:
    installation.module("initd", DRIVER.replace("CHECK", "pass"), {"hosthold.drivers.supervisor": "D"})
    with pytest.raises(NotInstalled) as refused:
        installation.discover().driver("supervisor", "systemd")
    assert "initd" in refused.value.hint


def test_installed_distributions_are_found_without_help(installation: Installation, tmp_path: Path) -> None:
    """The default way of listing, in a process of its own: stevedore's cache has never heard of this distribution."""
    installation.plugin("found_alone", GOOD)
    script = (
        "from hosthold.plugins.discovery import PluginSettingsSource, discover\n"
        "print(discover(PluginSettingsSource(enabled=('found_alone',))).record('found_alone'))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.defpath, "PYTHONPATH": str(installation.folder), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "distribution='found-alone', version='1.0'" in completed.stdout
    assert "'ready'" in completed.stdout
    assert not (tmp_path / ".cache").exists()
