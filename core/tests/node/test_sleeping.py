"""Services that sleep: woken by a connection, gone when idle, their sockets bound whatever happens to the node."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.node import Node
from hosthold.types.resource import Service, ServiceLimits, UnixSocket
from hosthold_sdk.testing.program import PYTHON, SERVER, ask, is_alive, pid_of, until

from .numbers import FIRST


def _service(node: Node, version: str = "one", *, name: str = "sleeper", idle: int = 1, **changes: Any) -> Service:
    return Service(
        name=name,
        command=(PYTHON, "-S", "-c", SERVER, version),
        owner=node.owner_of(FIRST + 31),
        socket=UnixSocket(path=node.layout.sockets.child(f"{name}.sock"), owner=node.root, mode=0o600),
        idle_seconds=idle,
    ).model_copy(update=changes)


def _sleeps(supervisor: ProcessSupervisor, name: str = "sleeper") -> bool:
    return name not in supervisor._running


@pytest.fixture
def supervisor(node: Node) -> Iterator[ProcessSupervisor]:
    made = ProcessSupervisor(ProcessSettings(settle=0.5))
    made.attach(node, ())
    yield made
    made.end()
    assert [*Path(node.layout.sockets).iterdir()] == []


@pytest.fixture
def node(place: Path) -> Node:
    from hosthold.types.node import Isolation

    from .conftest import World

    made = World(place, Isolation.unix_user if os.geteuid() == 0 else Isolation.none).node
    Path(made.layout.sockets).mkdir(parents=True)
    return made


def test_a_service_that_was_woken_to_be_tried_sleeps_again_at_once_and_answers_whoever_comes(
    node: Node, supervisor: ProcessSupervisor
) -> None:
    service = _service(node, idle=600)
    supervisor.start(service)
    first = pid_of(service)
    supervisor.rest("sleeper")
    until(lambda: pid_of(service) != first)  # whoever comes at the very moment may be answered by the first one still
    assert not is_alive(first)
    supervisor.rest("nobody")


def test_a_supervisor_that_ends_while_a_service_falls_asleep_ends_everything(node: Node) -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    class Slow(ProcessSupervisor):
        def _end_escaped(self, service: Service) -> None:
            begun.set()
            may_go_on.wait(10)
            super()._end_escaped(service)

    supervisor = Slow(ProcessSettings(settle=0.5))
    supervisor.attach(node, ())
    service, other = _service(node, idle=600), _service(node, name="other", idle=600)
    supervisor.start(service)
    supervisor.start(other)
    processes = [pid_of(service), pid_of(other)]
    supervisor.rest("sleeper")
    assert begun.wait(10)
    threading.Timer(0.2, may_go_on.set).start()
    supervisor.end()
    assert not any(is_alive(pid) for pid in processes)
    assert [*Path(node.layout.sockets).iterdir()] == []


def test_no_connection_is_lost_however_often_the_service_falls_asleep(
    node: Node, supervisor: ProcessSupervisor
) -> None:
    service = _service(node)
    supervisor.start(service)
    answers: list[list[str]] = []
    ends = time.monotonic() + 8
    while time.monotonic() < ends:
        answers.append(ask(service))
        running = supervisor._running.get("sleeper")
        if running is not None:  # as if it had been idle for long enough just now, while the next connection comes
            running.idle_since = -1e9
            supervisor._look_if_idle("sleeper", -1)
    assert all(answer[0] == "one" for answer in answers)
    assert len({answer[1] for answer in answers}) > 10


def test_r31_a_node_that_lets_go_and_comes_back_loses_nothing(node: Node) -> None:
    service = _service(node)
    first = ProcessSupervisor(ProcessSettings())
    first.attach(node, (service,))
    first.close()
    answers: list[list[str]] = []
    visitor = threading.Thread(target=lambda: answers.append(ask(service)))
    visitor.start()
    second = ProcessSupervisor(ProcessSettings())
    second.attach(node, (service,))
    visitor.join()
    second.end()
    assert answers[0][0] == "one"


def test_r31_a_killed_keeper_is_replaced_and_given_everything(node: Node) -> None:
    service = _service(node)
    first = ProcessSupervisor(ProcessSettings())
    first.attach(node, (service,))
    keeper = first._listeners.keeper
    os.kill(keeper, signal.SIGKILL)
    until(lambda: first._listeners.keeper != keeper)
    first.close()
    second = ProcessSupervisor(ProcessSettings())
    second.attach(node, ())
    found = [*Path(node.layout.sockets).iterdir()]
    second.end()
    assert found == [], "what nobody declares any more is unbound"
    third = ProcessSupervisor(ProcessSettings())
    third.attach(node, (service,))
    assert ask(service)[0] == "one"
    third.end()
    until(lambda: not is_alive(third._listeners.keeper))


def test_a_thousand_sleeping_services_are_found_again_and_cost_a_descriptor_each(node: Node) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4000:
        pytest.skip("needs more descriptors than this machine allows")
    services = tuple(_service(node, name=f"sleeper{number}") for number in range(1000))
    first = ProcessSupervisor(ProcessSettings())
    before = len([*Path("/proc/self/fd").iterdir()])
    first.attach(node, services)
    assert len([*Path("/proc/self/fd").iterdir()]) - before < 1010
    assert len(first.known([service.name for service in services])) == 1000
    first.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
    second = ProcessSupervisor(ProcessSettings())
    second.attach(node, services)
    assert ask(services[999])[0] == "one"
    assert ask(services[0])[0] == "one"
    second.end()
    assert [*Path(node.layout.sockets).iterdir()] == []


BOMB = """
try:
    while True:
        os.fork() or time.sleep(5)
except OSError:
    time.sleep(5)
"""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups, and a user of the service's own")
def test_s68_a_service_cannot_have_more_processes_than_its_limit(node: Node, supervisor: ProcessSupervisor) -> None:
    program = SERVER.replace("request = connection", f"exec({BOMB!r}); request = connection")
    limits = ServiceLimits(cpu_percent=50, memory_mb=128, tasks=20)
    service = _service(node, limits=limits, command=(PYTHON, "-S", "-c", program, "one"))
    assert "tasks" in supervisor.enforced()
    supervisor.start(service)
    assert service.socket is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(service.socket.path)
        client.sendall(b"x")
        most = 0
        for _ in range(100):
            most = max(most, len(_processes_of(service.owner.uid)))
            time.sleep(0.01)
    assert 2 <= most <= 20
    supervisor.stop("sleeper")
    assert _processes_of(service.owner.uid) == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups")
def test_s68_a_service_cannot_have_more_memory_than_its_limit(node: Node, supervisor: ProcessSupervisor) -> None:
    if "memory_mb" not in supervisor.enforced():
        pytest.skip("this machine lets nobody limit memory by control groups")
    program = SERVER.replace("request = connection", "much = bytearray(400 * 2**20); request = connection")
    limits = ServiceLimits(cpu_percent=100, memory_mb=64, tasks=20)
    supervisor.start(_service(node, limits=limits, command=(PYTHON, "-S", "-c", program, "one")))
    with suppress(ConnectionResetError):
        assert ask(_service(node)) == [""], "the child that took too much was ended before it could answer"


def _processes_of(uid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if path.stat().st_uid == uid and is_alive(int(path.name)):
                found.append(int(path.name))
    return found
