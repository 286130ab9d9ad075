"""What every supervisor driver that runs programs must do, as tests with real programs.

They run as users whose numbers begin at `first_uid`, if the tests run as root.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hosthold_sdk import Node, Service, SupervisorDriver, Unavailable
from hosthold_sdk.testing.conformance.supervisor import SupervisorConformance
from hosthold_sdk.testing.program import PYTHON, ask, asking, is_alive, pid_of, until

_FAILING = (PYTHON, "-S", "-c", "raise SystemExit('There is no such thing')")
_HOLDER = """
import importlib, sys, time
from hosthold_sdk import Node, Service
module, name, settings, node, *services = sys.argv[1:]
driver = getattr(importlib.import_module(module), name)
supervisor = driver(driver.settings_model.model_validate_json(settings))
services = tuple(Service.model_validate_json(text) for text in services)
supervisor.attach(Node.model_validate_json(node), services)
print("ready", flush=True)
time.sleep(600)
"""


class SupervisorProgramConformance(SupervisorConformance):
    """The behaviour that the node, the sites and their visitors rely on."""

    more_variables: ClassVar[frozenset[str]] = frozenset()
    """What programs find in their environment besides what was declared, `LANG` and `PATH`."""

    def test_a_service_runs_with_its_own_identity_and_nothing_else(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        service = self.service(node, r"""a "b" 'c' \d $HOME %n""", environment=(("DECLARED", "yes"),))
        supervisor.start(service)
        version, _, owner, groups, variables, stdin, no_new_privileges = ask(service)
        assert version == service.command[-1]
        assert owner == f"{service.owner.uid}:{service.owner.gid}"
        if os.geteuid() == 0:
            assert groups in ("-", str(service.owner.gid))
        assert set(variables.split(",")) == {"DECLARED", "LANG", "PATH"} | self.more_variables
        assert (stdin, no_new_privileges) == ("/dev/null", "1")
        assert supervisor.known(["server", "other"]) == {"server": service}
        assert service.socket is not None
        assert Path(service.socket.path).stat().st_mode & 0o777 == 0o600

    def test_the_same_definition_is_left_alone_and_another_replaces_it(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        service = self.service(node)
        supervisor.start(service)
        pid = pid_of(service)
        supervisor.start(service)
        assert pid_of(service) == pid
        supervisor.start(self.service(node, "two"))
        assert ask(service)[0] == "two"
        assert not is_alive(pid)

    @pytest.mark.parametrize("idle_seconds", [None, 60])
    def test_r12_no_connection_is_lost_while_one_program_replaces_another(
        self, node: Node, supervisor: SupervisorDriver[Any], idle_seconds: int | None
    ) -> None:
        service = self.service(node, idle_seconds=idle_seconds)
        supervisor.start(service)
        with asking(service) as answers:
            for version in ("two", "three"):
                supervisor.start(self.service(node, version, idle_seconds=idle_seconds))
                assert ask(service)[0] == version
            supervisor.restart("server")
            assert ask(service)[0] == "three"
        assert set(answers) <= {"one", "two", "three"}

    def test_a_program_that_ends_at_once_is_reported_with_its_last_words(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        with pytest.raises(Unavailable, match="There is no such thing"):
            supervisor.start(self.service(node, command=_FAILING))
        assert supervisor.known(["server"]) == {}
        assert not any(Path(node.layout.sockets).iterdir())
        supervisor.start(self.service(node))
        assert ask(self.service(node))[0] == "one"

    @pytest.mark.parametrize("idle_seconds", [None, 60])
    def test_a_failed_replacement_leaves_the_old_process_serving(
        self, node: Node, supervisor: SupervisorDriver[Any], idle_seconds: int | None
    ) -> None:
        service = self.service(node, idle_seconds=idle_seconds)
        supervisor.start(service)
        pid = pid_of(service)
        with pytest.raises(Unavailable, match="There is no such thing"):
            supervisor.start(self.service(node, command=_FAILING, idle_seconds=idle_seconds))
        assert pid_of(service) == pid
        assert supervisor.known(["server"]) == {"server": service}
        supervisor.restart("server")
        assert ask(service)[0] == "one"

    def test_stopping_ends_all_processes_of_the_service(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        program = (
            "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\npid = os.fork()\n"
            "if pid == 0: os.setsid()\nprint(pid if pid else '', flush=True) or time.sleep(1000)"
        )
        log = node.layout.state.child("log")
        supervisor.start(Service(name="fork", command=(PYTHON, "-c", program), owner=self.user(node), log=log))
        until(lambda: Path(log).read_text().strip())
        child = int(Path(log).read_text())
        supervisor.stop("fork")
        assert not is_alive(child)
        assert supervisor.known(["fork"]) == {}
        supervisor.stop("fork")

    def test_a_service_that_dies_is_started_again(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        service = self.service(node)
        supervisor.start(service)
        pid = pid_of(service)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_alive(pid))
        assert pid_of(service) != pid, "the socket stayed bound meanwhile"

    def test_restart_keeps_the_socket_bound(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        service = self.service(node)
        supervisor.start(service)
        assert service.socket is not None
        inode, pid = Path(service.socket.path).stat().st_ino, pid_of(service)
        supervisor.restart("server")
        assert pid_of(service) != pid
        assert Path(service.socket.path).stat().st_ino == inode
        with pytest.raises(Unavailable):
            supervisor.restart("unknown")

    def test_reload_sends_the_declared_signal(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        log = node.layout.state.child("log")
        program = (
            "import signal, time\nsignal.signal(signal.SIGHUP, lambda *_: print('again', flush=True))\n"
            "print('here', flush=True)\nwhile True: time.sleep(1)"
        )
        command = (PYTHON, "-c", program)
        supervisor.start(Service(name="r", command=command, owner=self.user(node), log=log, reload="HUP"))
        until(lambda: Path(log).read_text() == "here\n")
        supervisor.reload("r")
        until(lambda: Path(log).read_text() == "here\nagain\n")

    def test_reload_runs_the_declared_command(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        told = node.layout.state.child("told")
        service = Service(
            name="r", command=(PYTHON, "-c", "import time\nwhile True: time.sleep(1)"), owner=self.user(node),
            reload=(PYTHON, "-c", "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('again')", told),
        )  # fmt: skip
        supervisor.start(service)
        supervisor.reload("r")
        assert Path(told).read_text() == "again"
        assert supervisor.known(["r"]) == {"r": service}
        failing = service.model_copy(update={"reload": (PYTHON, "-c", "raise SystemExit('error: no such block')")})
        supervisor.start(failing)
        with pytest.raises(Unavailable, match="no such block"):
            supervisor.reload("r")

    def test_a_service_sleeps_until_its_first_connection_and_again_when_idle(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        service = self.sleeper(node)
        supervisor.start(service)
        assert supervisor.known(["server", "other"]) == {"server": service}
        first = pid_of(service)
        assert pid_of(service) == first, "one process serves as long as there is work"
        until(lambda: not is_alive(first))
        assert supervisor.known(["server"]) == {"server": service}
        assert pid_of(service) != first
        assert supervisor.failures() == {}

    def test_work_keeps_a_service_awake(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        service = self.sleeper(node)
        supervisor.start(service)
        assert ask(service, "work 3")[0] == "one"

    def test_no_connection_is_lost_while_a_service_falls_asleep(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        service = self.sleeper(node)
        supervisor.start(service)
        seen: set[int] = set()
        pauses = cycle((1.0, 1.1, 1.2, 1.3, 1.4))
        while len(seen) < 3:
            seen.add(pid_of(service))
            time.sleep(next(pauses))  # the next one comes just before it is told to end, meanwhile, or after that

    def test_a_sleeping_service_wakes_with_its_newest_definition(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        supervisor.start(self.sleeper(node, "one"))
        supervisor.start(self.sleeper(node, "two"))
        supervisor.reload("server")
        supervisor.restart("server")
        assert supervisor.known(["server"]) == {"server": self.sleeper(node, "two")}
        assert ask(self.sleeper(node))[0] == "two"

    def test_a_program_that_cannot_run_refuses_its_visitors_and_is_told(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        bad = self.sleeper(node, command=_FAILING, idle_seconds=60)
        supervisor.start(bad)
        for _ in range(2):
            with suppress(ConnectionError, FileNotFoundError):
                assert ask(bad) == [""]
        until(supervisor.failures)
        assert supervisor.failures() == {"server": "There is no such thing"}
        good = self.sleeper(node, idle_seconds=60)
        supervisor.start(good)
        assert ask(good)[0] == "one"
        until(lambda: supervisor.failures() == {})

    def test_a_killed_program_is_woken_by_the_next_connection(
        self, node: Node, supervisor: SupervisorDriver[Any]
    ) -> None:
        service = self.sleeper(node, idle_seconds=60)
        supervisor.start(service)
        pid = pid_of(service)
        time.sleep(0.6)  # it has shown that it works
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_alive(pid))
        assert pid_of(service) != pid

    @pytest.mark.parametrize("is_awake", [False, True])
    def test_stopping_unbinds_and_forgets(self, node: Node, supervisor: SupervisorDriver[Any], is_awake: bool) -> None:
        service = self.sleeper(node, idle_seconds=60)
        supervisor.start(service)
        pid = pid_of(service) if is_awake else None
        supervisor.stop("server")
        assert not any(Path(node.layout.sockets).iterdir())
        assert supervisor.known(["server"]) == {}
        assert pid is None or not is_alive(pid)

    def test_a_name_that_is_used_again_is_another_service(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        for number in (0, 1):
            service = self.sleeper(node, owner=self.user(node, number), idle_seconds=60)
            supervisor.start(service)
            assert ask(service)[2] == f"{service.owner.uid}:{service.owner.gid}"
            supervisor.stop("server")

    def test_waking_by_hand_starts_the_program_once(self, node: Node, supervisor: SupervisorDriver[Any]) -> None:
        service = self.sleeper(node, idle_seconds=60)
        supervisor.start(service)
        supervisor.wake("server")
        supervisor.wake("server")
        supervisor.wake("unknown")
        assert len({pid_of(service) for _ in range(5)}) == 1

    def test_r31_a_killed_node_loses_nothing_and_the_next_one_finds_all(
        self, node: Node, driver: SupervisorDriver[Any]
    ) -> None:
        asleep = self.sleeper(node, name="asleep", idle_seconds=60)
        awake = self.sleeper(node, name="awake", idle_seconds=60, owner=self.user(node, 1))
        changed = self.service(node, name="changed", owner=self.user(node, 2))
        gone = self.service(node, name="gone", owner=self.user(node, 3))
        services = (asleep, awake, changed, gone)
        with self.killed_node(driver, node, services) as kill:
            pids = {service.name: pid_of(service) for service in (awake, changed, gone)}
            kill()
        assert pid_of(awake) == pids["awake"], "who is awake serves on"
        answers: list[list[str]] = []
        visitors = [threading.Thread(target=lambda: answers.append(ask(asleep))) for _ in range(5)]
        for visitor in visitors:
            visitor.start()
        changed = self.service(node, "two", name="changed", owner=changed.owner)
        driver.attach(node, (asleep, awake, changed))
        try:
            for visitor in visitors:
                visitor.join()
            assert [answer[0] for answer in answers] == ["one"] * 5
            assert pid_of(awake) == pids["awake"]
            assert ask(changed)[0] == "two"
            assert not is_alive(pids["gone"])
            assert len([*Path(node.layout.sockets).iterdir()]) == 3
            time.sleep(0.6)  # it has shown that it works
            os.kill(pids["awake"], signal.SIGKILL)
            until(lambda: not is_alive(pids["awake"]))
            assert pid_of(awake) != pids["awake"], "it is watched as if it had been started now"
        finally:
            driver.end()
        assert not any(Path(node.layout.sockets).iterdir())

    @contextmanager
    def killed_node(
        self, driver: SupervisorDriver[Any], node: Node, services: tuple[Service, ...]
    ) -> Iterator[Callable[[], None]]:
        """A process that attached the driver to the node; it ends by being killed."""
        texts = (driver.settings.model_dump_json(), *(value.model_dump_json() for value in (node, *services)))
        command = (sys.executable, "-c", _HOLDER, type(driver).__module__, type(driver).__name__, *texts)
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.kill
            process.kill()
