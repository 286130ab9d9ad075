"""What surrounds every driver call: wrappers, one family of errors, and no transaction."""

from __future__ import annotations

import pytest
from hosthold.drivers import SupervisorDriver
from hosthold.drivers.base import Driver
from hosthold.errors import DriverError, Unavailable
from hosthold.plugins.calls import forbid_driver_calls, on_behalf_of
from hosthold.plugins.manager import PluginRegistry

from .conftest import PREAMBLE, Installation

DRIVER = f"""{PREAMBLE}
class D(SupervisorDriver):
    limit = 7
    def attach(self, node, services): raise KeyError(node)
    def start(self, service): raise Unavailable('busy', hint='wait')
    def reload(self, name): return self.restart(name)
    def restart(self, name): return 'restarted ' + name
    def stop(self, name): ...
    def wake(self, name): ...
    def known(self, names): return {{}}
    def failures(self): return {{}}
    def end(self): ...
    def close(self): ...
"""

WATCHER = """
def __init__(self): self.seen = []

@hookimpl(wrapper=True)
def call_driver(self, call):
    self.seen.append(call)
    return (yield)

@hookimpl
def check_site(self): return self.seen
"""


def wrapped(installation: Installation, *watchers: str) -> tuple[PluginRegistry, SupervisorDriver[object]]:  # type: ignore[type-var]
    installation.module("initd", DRIVER, {"hosthold.drivers.supervisor": "D"})
    for number, watcher in enumerate(watchers):
        installation.plugin(f"watcher{number}", watcher)
    registry = installation.discover()
    driver = registry.driver("supervisor", "initd")
    assert isinstance(driver, SupervisorDriver)
    return registry, driver


def test_driver_is_seen_as_an_instance_of_its_class(installation: Installation) -> None:
    _, driver = wrapped(installation)
    assert isinstance(driver, Driver)
    assert driver.kind == "supervisor"
    assert getattr(driver, "limit") == 7  # noqa: B009
    assert driver.settings is not None


def test_wrappers_see_each_call_once_with_its_subject_and_give_back_its_result(installation: Installation) -> None:
    registry, driver = wrapped(installation, WATCHER)
    with on_behalf_of("site:1"):
        assert driver.reload("php") == "restarted php"
    assert driver.failures() == {}
    assert driver.stop("php") is None
    seen = [(call.method, call.subject) for call in registry.call_plugin("watcher0", "check_site")]
    assert seen == [("check", ""), ("reload", "site:1"), ("failures", ""), ("stop", "")]


@pytest.mark.parametrize("watchers", [(), (WATCHER,)])
def test_only_driver_errors_leave_a_driver(installation: Installation, watchers: tuple[str, ...]) -> None:
    _, driver = wrapped(installation, *watchers)
    with pytest.raises(Unavailable, match="busy"):
        driver.start("php")  # type: ignore[arg-type]
    with pytest.raises(DriverError, match="supervisor driver initd failed in attach: KeyError") as failed:
        driver.attach("node", ())  # type: ignore[arg-type]
    assert isinstance(failed.value.__cause__, KeyError)


def test_failing_wrapper_is_told_apart_from_a_failing_driver(installation: Installation) -> None:
    crash = "@hookimpl(wrapper=True)\ndef call_driver(self, call):\n    result = yield\n    raise ValueError('oops')"
    _, driver = wrapped(installation, crash)
    with pytest.raises(DriverError, match="A wrapper around failures of the supervisor driver initd failed"):
        driver.failures()


def test_wrappers_surround_each_other_in_the_order_of_their_names(installation: Installation) -> None:
    tag = "@hookimpl(wrapper=True)\ndef call_driver(self, call):\n    return (yield) + ' NAME'"
    check = "\n    if call.method == 'check': return (yield)"
    bodies = [tag.replace("call):", "call):" + check).replace("NAME", name) for name in ("first", "second")]
    _, driver = wrapped(installation, *bodies)
    assert driver.restart("php") == "restarted php second first"


def test_no_driver_is_called_inside_a_transaction(installation: Installation) -> None:
    registry, driver = wrapped(installation)
    token = forbid_driver_calls.set(True)
    try:
        with pytest.raises(RuntimeError, match="inside a transaction"):
            driver.failures()
        with pytest.raises(RuntimeError, match="inside a transaction"):
            registry.health()
    finally:
        forbid_driver_calls.reset(token)
    assert driver.failures() == {}
