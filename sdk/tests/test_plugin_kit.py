"""Each rule of the kit for plugins finds the fault that it is about."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from textwrap import dedent, indent

import pytest
from hosthold.plugins import candidate
from hosthold_sdk.testing import installed
from hosthold_sdk.testing.conformance import PluginConformance
from hosthold_sdk.testing.conformance.plugin import _imported


class Kit(PluginConformance):
    plugin_name = "faulty"


class Faulty:
    """A plugin laid out on disk, of which one thing is wrong."""

    def __init__(self, folder: Path) -> None:
        self.package = folder / "hosthold_faulty"
        self.metadata = folder / "hosthold_faulty-1.0.dist-info"
        self.metadata.mkdir()
        self.package.mkdir()
        (self.package / "py.typed").touch()
        (self.metadata / "entry_points.txt").write_text("[hosthold.plugins]\nfaulty = hosthold_faulty:plugin\n")
        self.write("")

    def write(self, body: str, before: str = "", requires: str = "hosthold-sdk>=0.1,<1") -> None:
        """The plugin, with this body of its class."""
        text = f"from hosthold_sdk import *\nfrom pathlib import Path\n{before}\nclass P(Plugin):\n    title = 'P'\n"
        (self.package / "__init__.py").write_text(f"{text}{indent(dedent(body), '    ')}\nplugin = P()\n")
        (self.metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: hosthold-faulty\nVersion: 1.0\nRequires-Dist: {requires}\n\n"
        )

    def judge(self, rule: str) -> None:
        """Ask one rule of the kit."""
        kit = Kit()
        registry = PluginConformance.registry.__wrapped__(kit)  # type: ignore[attr-defined]
        plugin = PluginConformance.plugin.__wrapped__(kit, registry)  # type: ignore[attr-defined]
        given = {"registry": registry, "plugin": plugin}
        judge = getattr(kit, rule)
        wanted = judge.__code__.co_varnames[1 : judge.__code__.co_argcount]
        judge(*(given[name] for name in wanted))


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A plugin on the import path that can be found like an installed one."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def entry_points() -> Iterator[EntryPoint]:
        for distribution in distributions(path=[str(tmp_path)]):
            yield from distribution.entry_points

    monkeypatch.setattr(candidate, "installed_entry_points", entry_points)
    monkeypatch.setattr(installed, "installed_entry_points", entry_points)
    yield Faulty(tmp_path)
    sys.modules.pop("hosthold_faulty", None)


FAULTS = {
    "test_it_is_ready_and_so_are_its_drivers_if_their_programs_are_here": "@hookimpl\ndef on_site_redy(self): ...",
    "test_declarations_are_pure": (
        "@hookimpl\ndef register_permissions(self):\n    Path('/etc/hostname').read_text()\n    return []"
    ),
    "test_every_page_has_something_to_show": (
        "@hookimpl\ndef register_pages(self):\n"
        "    return [Page('a', 'A', 'site:read', lambda request: PageContent('missing.html'))]"
    ),
    "test_a_veto_says_what_to_do": "@hookimpl\ndef check_site(self): raise Rejected('No.', hint='')",
    "test_contributions_are_pure": (
        "number = 0\n@hookimpl\ndef contribute_site(self, node):\n    self.number += 1\n"
        "    return [Directory(path=node.layout.state.child(f'd{self.number}'), owner=node.root, mode=0o700)]"
    ),
    "test_an_event_may_be_told_twice": (
        "seen = False\n@hookimpl\ndef on_site_ready(self):\n    assert not self.seen\n    self.seen = True"
    ),
    "test_a_wrapper_gives_back_what_the_call_gave": "@hookimpl(wrapper=True)\ndef call_driver(self): yield",
    "test_health_checks_say_what_to_do": (
        "def check(self): raise Unavailable('It is down.', hint='')\n"
        "@hookimpl\ndef register_health_checks(self): return [HealthCheck('it', self.check)]"
    ),
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_rule_finds_its_fault(rule: str, faulty: Faulty) -> None:
    faulty.write(FAULTS[rule])
    with pytest.raises(AssertionError):
        faulty.judge(rule)


SECRET = """
from pydantic import SecretStr
class S(PluginSettings):
    password: SecretStr = SecretStr("correct-horse")
"""
SHOWN = """
    def __str__(self): return self.password.get_secret_value()
"""


def test_a_secret_that_is_shown_is_found(faulty: Faulty) -> None:
    faulty.write("settings_model = S", SECRET)
    faulty.judge("test_no_secret_is_shown")
    sys.modules.pop("hosthold_faulty")
    faulty.write("settings_model = S", SECRET + SHOWN)
    with pytest.raises(AssertionError):
        faulty.judge("test_no_secret_is_shown")


def test_a_plugin_without_fault_passes_every_rule(faulty: Faulty) -> None:
    for rule in (name for name in vars(PluginConformance) if name.startswith("test_")):
        faulty.judge(rule)


def test_an_open_end_of_versions_is_found(faulty: Faulty) -> None:
    faulty.write("", requires="hosthold-sdk>=0.1")
    with pytest.raises(AssertionError, match="first major version"):
        faulty.judge("test_it_says_which_versions_of_the_sdk_it_works_with")


def test_what_is_imported_besides_the_sdk_is_found(faulty: Faulty) -> None:
    faulty.write("", before="import hosthold.settings")
    with pytest.raises(AssertionError):
        faulty.judge("test_it_imports_the_sdk_and_nothing_else_of_hosthold")
    assert "hosthold.settings" in _imported(faulty.package / "__init__.py")


def test_a_template_that_cannot_be_read_and_missing_types_are_found(faulty: Faulty) -> None:
    (faulty.package / "templates").mkdir()
    (faulty.package / "templates" / "page.html").write_text("{% block %}")
    (faulty.package / "py.typed").unlink()
    with pytest.raises(Exception, match="block"):
        faulty.judge("test_every_template_can_be_read")
    with pytest.raises(AssertionError):
        faulty.judge("test_it_is_typed")


def test_a_plugin_that_is_not_installed_is_an_error_that_says_what_to_do(faulty: Faulty) -> None:
    with pytest.raises(LookupError, match="pip install --editable"):
        installed.entry_point_of("elsewhere")
