"""What every supervisor driver must do, also one that starts nothing: keep account of what should run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hosthold_sdk import (
    DriverError,
    Isolation,
    Listen,
    Node,
    NodeLayout,
    Owner,
    Service,
    SupervisorDriver,
    Unavailable,
    UnixSocket,
)
from hosthold_sdk.testing.conformance.driver import DriverConformance
from hosthold_sdk.testing.effects import failing
from hosthold_sdk.testing.program import PYTHON, SERVER


class SupervisorConformance(DriverConformance):
    """The account that the node relies on. A driver that runs programs proves itself by the kit made from this one."""

    driver_class: ClassVar[type[SupervisorDriver[Any]]]
    first_uid: ClassVar[int] = 76_000
    """Services run as users whose numbers begin here; nobody else on the machine may have them."""

    @pytest.fixture
    def node(self) -> Iterator[Node]:
        """A node whose folders are there, and which other users may enter."""
        folder = Path(tempfile.mkdtemp(prefix="hosthold-conformance-"))
        folder.chmod(0o755)
        layout = NodeLayout(state=f"{folder}/state", run=f"{folder}/run")
        for path in (layout.state, layout.run, layout.sockets):
            Path(path).mkdir()
        root = Owner(uid=os.geteuid(), gid=os.getegid())
        isolation = Isolation.unix_user if root.uid == 0 else Isolation.none
        yield Node(
            name="n1", layout=layout, listen=Listen(), isolation=isolation, root=root, web=root, web_user="www-data"
        )
        shutil.rmtree(folder)

    @pytest.fixture
    def driver(self) -> SupervisorDriver[Any]:
        """The driver, attached to nothing."""
        made = self.make()
        assert isinstance(made, SupervisorDriver)
        return made

    @pytest.fixture
    def supervisor(self, node: Node, driver: SupervisorDriver[Any]) -> Iterator[SupervisorDriver[Any]]:
        """The driver, attached to a node without services; it leaves nothing behind."""
        driver.attach(node, ())
        yield driver
        driver.end()
        assert not any(Path(node.layout.sockets).iterdir())

    def service(self, node: Node, version: str = "one", *, name: str = "server", **changes: Any) -> Service:
        """A service that answers with what it is; always awake."""
        return Service(
            name=name,
            command=(PYTHON, "-S", "-c", SERVER, version),
            owner=self.user(node),
            socket=UnixSocket(path=node.layout.sockets.child(f"{name}.sock"), owner=node.root, mode=0o600),
        ).model_copy(update=changes)

    def sleeper(self, node: Node, version: str = "one", *, idle_seconds: int = 1, **changes: Any) -> Service:
        """A service that answers with what it is, and sleeps otherwise."""
        return self.service(node, version, idle_seconds=idle_seconds, **changes)

    def user(self, node: Node, number: int = 0) -> Owner:
        """One of the users whom services run as."""
        return node.owner_of(self.first_uid + number)

    def test_what_was_started_is_known_as_it_was_declared(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        awake, asleep = self.service(node, environment=(("A", 'b "c"'),)), self.sleeper(node, name="s", idle_seconds=60)
        for service in (awake, asleep, awake):
            supervisor.start(service)
        assert supervisor.known(["server", "s", "unknown"]) == {"server": awake, "s": asleep}
        assert supervisor.failures() == {}
        replaced = self.service(node, "two")
        supervisor.start(replaced)
        assert supervisor.known(["server"]) == {"server": replaced}

    def test_stopping_twice_and_what_is_unknown_is_no_error(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        supervisor.start(self.service(node))
        for _ in range(2):
            supervisor.stop("server")
            assert supervisor.known(["server"]) == {}
        for act in (supervisor.stop, supervisor.wake, supervisor.rest):
            act("unknown")
        with pytest.raises(Unavailable):
            supervisor.restart("unknown")

    def test_what_cannot_start_leaves_what_runs_as_it_is(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        service = self.service(node)
        supervisor.start(service)
        for name in ("server", "new"):
            with pytest.raises(DriverError):
                supervisor.start(self.service(node, name=name, command=("/nonexistent/program",)))
        assert supervisor.known(["server", "new"]) == {"server": service}

    def test_attaching_again_keeps_what_is_given_and_ends_the_rest(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        kept, given, gone = (self.service(node, name=name) for name in ("kept", "given", "gone"))
        supervisor.start(kept)
        supervisor.start(gone)
        supervisor.close()
        supervisor.attach(node, (kept, given))
        assert supervisor.known(["kept", "given", "gone"]) == {"kept": kept, "given": given}
        supervisor.end()
        supervisor.attach(node, ())
        assert supervisor.known(["kept", "given"]) == {}

    def test_a_failure_at_any_call_to_the_outside_leaves_what_a_repetition_puts_right(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        """The k-th change that the driver makes to the world fails, for every k; then the same call succeeds."""
        for number in count(1):
            one, two = (self.sleeper(node, version, idle_seconds=60) for version in ("one", "two"))
            acts = (partial(supervisor.start, one), partial(supervisor.start, two), partial(supervisor.stop, "server"))
            failures = [_with_failure(number, act) for act in acts]
            assert supervisor.known(["server"]) == {}
            assert not any(Path(node.layout.sockets).iterdir())
            if not any(failures):
                break


def _with_failure(number: int, act: Callable[[], None]) -> bool:
    """Act twice, the first time with a failure; whether there was something that could fail."""
    with failing(number) as failure:
        try:
            act()
        except DriverError:
            assert failure.has_happened, "it fails without a cause"
    act()
    return failure.has_happened
