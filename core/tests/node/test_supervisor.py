"""The process supervisor runs real programs, hands over sockets, and finds again what a killed node left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosthold.node.process import _runs_as, bind_listener, kill_user, open_output, pids
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.node.watch import Watch
from hosthold.types.node import Node, Owner
from hosthold.types.resource import Service, UnixSocket
from hosthold_sdk.testing.program import PYTHON, is_alive, until

from core.tests.node.numbers import FIRST

ECHO = """
import os, socket, sys
listener = socket.socket(fileno=3)
assert listener.getblocking() and os.get_blocking(3)
while True:
    connection, _ = listener.accept()
    groups = ",".join(map(str, os.getgroups()))
    variables = ",".join(sorted(os.environ))
    stdin = os.readlink("/proc/self/fd/0")
    status = open("/proc/self/status").read()
    new = status.split("NoNewPrivs:")[1].split()[0]
    owner = f"{os.getuid()}:{os.getgid()}"
    connection.sendall(f"{sys.argv[1]} {os.getpid()} {owner} [{groups}] {variables} {stdin} {new}".encode())
    connection.close()
"""


def _echo(node: Node, version: str = "one", **changes: Any) -> Service:
    path = node.layout.sockets.child("echo.sock")
    return Service(
        name="echo",
        command=(PYTHON, "-S", "-c", ECHO, version),
        owner=node.owner_of(FIRST + 51),
        socket=UnixSocket(path=path, owner=node.root, mode=0o600),
    ).model_copy(update=changes)


def _ask(service: Service) -> list[str]:
    assert service.socket is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(service.socket.path)
        return client.makefile().read().split(" ")


def test_a_socket_path_longer_than_an_address_works(place: Path) -> None:
    folder = place / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    owner = Owner(uid=os.geteuid(), gid=os.getegid())
    with bind_listener(f"{folder}/a.sock", owner, 0o600) as listener:
        assert listener.getblocking()
        descriptor = os.open(folder, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"/proc/self/fd/{descriptor}/a.sock")
        os.close(descriptor)
    assert [entry.name for entry in folder.iterdir()] == ["a.sock"]


def test_s14_a_log_in_a_folder_of_the_site_is_opened_with_the_sites_rights(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: real Unix users")
    owner = Owner(uid=FIRST + 51, gid=FIRST + 51)
    logs, victim = place / "logs", place / "victim"
    logs.mkdir()
    os.chown(logs, owner.uid, owner.gid)
    victim.write_text("root's own")
    victim.chmod(0o600)
    (logs / "link.log").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        open_output(f"{logs}/link.log", owner)
    os.link(victim, logs / "hard.log")
    with pytest.raises(PermissionError):
        open_output(f"{logs}/hard.log", owner)
    assert victim.read_text() == "root's own"


DRIVER = """
import sys, time
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.node import Node
from hosthold.types.resource import Service
node = Node.model_validate_json(sys.argv[1])
supervisor = ProcessSupervisor(ProcessSettings(settle=0.5))
supervisor.attach(node, ())
for service in sys.argv[2:]:
    supervisor.start(Service.model_validate_json(service))
print("ready", flush=True)
time.sleep(1000)
"""


def test_services_of_a_killed_node_are_adopted_and_strays_ended(node: Node) -> None:
    kept = _echo(node)
    program = "import os, time; os.chdir('/'); os.fork(); time.sleep(1000)"
    stray = Service(name="stray", command=(PYTHON, "-c", program), owner=node.root)
    arguments = [item.model_dump_json() for item in (node, kept, stray)]
    with subprocess.Popen([sys.executable, "-c", DRIVER, *arguments], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "ready\n"
        killed.kill()
    pid = int(_ask(kept)[1])
    mark = f"HOSTHOLD_SERVICE={node.layout.state}:stray".encode()
    strays = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/environ")
        if path.exists() and mark in _environ(path)
    ]
    assert len(strays) == 2
    supervisor = ProcessSupervisor(ProcessSettings(settle=0.5))
    supervisor.attach(node, (kept,))
    try:
        assert int(_ask(kept)[1]) == pid
        assert not any(is_alive(stray) for stray in strays)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_alive(pid))
        assert int(_ask(kept)[1]) != pid  # it is watched as our own children are, and its socket is ours too
    finally:
        supervisor.end()
    assert [*Path(node.layout.sockets).iterdir()] == []


def test_a_service_has_no_descriptor_of_the_node_but_its_socket(node: Node) -> None:
    service = _echo(node)
    supervisor = ProcessSupervisor(ProcessSettings(settle=0.5))
    supervisor.attach(node, ())
    forgotten = os.dup2(0, 200, inheritable=True)  # as a library leaves one behind
    try:
        supervisor.start(service)
        descriptors = Path(f"/proc/{_ask(service)[1]}/fd")
        inodes = [(descriptors / number).stat().st_ino for number in ("1", "2")]
        assert sorted(int(entry.name) for entry in descriptors.iterdir()) == [0, 1, 2, 3]
        assert inodes[0] == inodes[1], "both are its log"
    finally:
        os.close(forgotten)
        supervisor.end()


def _environ(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone, or not ours to look at
        return b""


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: real Unix users")

TENANT = FIRST + 52
HOSTILE = """
import ctypes, os, signal, sys, threading, time
uid = int(sys.argv[2]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
os.setsid(); os.environ.clear(); signal.signal(signal.SIGTERM, signal.SIG_IGN)
def stop_all():
    while True:
        try: os.kill(-1, signal.SIGSTOP)
        except ProcessLookupError: pass
def fork_away():
    for _ in range(500):  # the machine's first process may be slow to bury them
        if os.fork(): os._exit(0)
        time.sleep(0.003)
    time.sleep(1000)
def live_on_in_a_thread():
    threading.Thread(target=time.sleep, args=(1000,)).start()
    ctypes.CDLL(None).syscall(60, 0)
print("ready", flush=True)
locals()[sys.argv[1]]()
"""


def _of_the_tenant() -> list[int]:
    return [pid for pid in pids() if _runs_as(pid, TENANT)]


@pytest.fixture
def tenant() -> Iterator[Callable[[str], None]]:
    """Starts a hostile program of a tenant; nothing of it is left at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str) -> None:
        process = subprocess.Popen([PYTHON, "-c", HOSTILE, what, str(TENANT)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

    yield start
    assert kill_user(TENANT, 10) == []
    for process in started:
        process.kill()
        process.communicate()


@root_only
@pytest.mark.parametrize("what", ["fork_away", "live_on_in_a_thread", "stop_all"])
def test_a_stopped_service_leaves_nothing_of_its_user_whatever_session_it_fled_to(
    node: Node, supervisor: ProcessSupervisor, tenant: Callable[[str], None], what: str
) -> None:
    service = _echo(node, owner=Owner(uid=TENANT, gid=TENANT))
    supervisor.start(service)
    tenant(what)
    supervisor.stop("echo")
    assert _of_the_tenant() == []


@root_only
def test_a_tenant_who_stops_whatever_it_may_signal_does_not_stop_the_node(
    node: Node, supervisor: ProcessSupervisor, tenant: Callable[[str], None]
) -> None:
    owner = Owner(uid=TENANT, gid=TENANT)
    tenant("stop_all")
    for version in ("one", "two", "three"):
        supervisor.start(_echo(node, version, owner=owner))
    path = node.layout.sockets.child("other.sock")
    other = _echo(node, name="other", socket=UnixSocket(path=path, owner=node.root, mode=0o600))
    supervisor.start(other)
    assert _ask(other)[0] == "one"


def test_a_service_that_fails_for_ever_is_tried_for_ever(node: Node, supervisor: ProcessSupervisor) -> None:
    """After a thousand failures, which take a night, the pause must not be more than a number can hold."""
    service = _echo(node)
    supervisor.start(service)
    supervisor._failures._counts["echo"] = 5000
    os.kill(int(_ask(service)[1]), signal.SIGKILL)
    until(lambda: not supervisor.known(["echo"]))
    again = ("echo", supervisor._start_again)
    until(lambda: again in supervisor._watch._times)
    assert supervisor._watch._times[again] < time.monotonic() + 31


def test_what_goes_wrong_with_one_service_does_not_end_the_watching_of_others() -> None:
    tried: list[str] = []

    def due(name: str, _descriptor: int) -> None:
        tried.append(name)
        if name == "bad":
            raise OSError("no space left")

    watch = Watch()
    watch.start()
    watch.later("bad", due, 0)
    until(lambda: "bad" in tried)
    watch.later("good", due, 0)
    until(lambda: "good" in tried)
    assert ("bad", due) in watch._times, "it is tried again"
    watch.stop()


@pytest.mark.root
def test_the_web_servers_user_keeps_what_is_not_the_nodes(node: Node) -> None:
    """Other programs of the machine run as www-data: ending the node's web server is not about them."""
    web = Owner(uid=FIRST + 39, gid=FIRST + 39)
    made = ProcessSupervisor(ProcessSettings(settle=0.5, stop=2.0))
    made.attach(node.model_copy(update={"web": web}), ())
    command = ("/bin/sleep", "600")
    with subprocess.Popen(command, user=web.uid, group=web.gid, extra_groups=[], start_new_session=True) as another:
        try:
            made.start(Service(name="server", command=command, owner=web))
            made.stop("server")
            assert another.poll() is None
        finally:
            made.end()
            another.kill()
