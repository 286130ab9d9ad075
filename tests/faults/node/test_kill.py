"""R-01, R-06, R-07, R-38: a node killed at any system call that changes something converges to what was ordered.

Each run starts from a node in the same state, is killed by strace as it enters the N-th call of one kind, and is
followed by a node that recovers and handles the same order again. All calls of a kind are tried up to SAMPLE of them;
beyond that, SAMPLE evenly spread ones, the first and the last among them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hosthold.types.identifier import new_identifier
from hosthold.types.node import NodeLayout, Owner
from hosthold.types.resource import (
    Account,
    Desired,
    Directory,
    File,
    Link,
    NodeOrder,
    OrderReply,
    Resource,
    Service,
    UnixSocket,
)
from hosthold.types.text import UnixName

SAMPLE = 12
"""Of kinds that are not tried at every call, how many calls are; the first and the last are always among them."""
NOT_KILLED = "it was not killed"
KINDS = (
    "rename,renameat,renameat2",
    "fsync,fdatasync",
    "write,pwrite64",
    "mkdir,mkdirat",
    "symlink,symlinkat",
    "link,linkat",
    "unlink,unlinkat,rmdir",
    "fchown,fchownat,chown,lchown",
    "fchmod,chmod,fchmodat",
    "ftruncate",
    "bind",
    "listen",
    "fork,vfork,clone,clone3",
    "pidfd_send_signal",
    "setfsuid",
)
EVERY = KINDS[:3]
"""Kinds that are tried at every single call: they are what makes a change durable."""
STRACE = "/usr/bin/strace"
ONE_ORDER = Path(__file__).with_name("one_order.py")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "PYTHONDONTWRITEBYTECODE": "1",
}
SITE = UnixName("s1")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: real Unix users"),
    pytest.mark.skipif(not Path(STRACE).exists(), reason="needs strace"),
]


def _layout(place: Path) -> NodeLayout:
    return NodeLayout(state=str(place / "state"), run=str(place / "run"))


def _uid(place: Path) -> int:
    """Nodes that run at once share a machine, and a node ends all processes of a uid that it removes."""
    return int(place.name.split("-")[2])


def _node(place: Path) -> Desired:
    layout, root = _layout(place), Owner(uid=0, gid=0)
    folders = (layout.sites, layout.hosts, layout.sockets)
    resources = tuple(Directory(path=path, owner=root, mode=0o755) for path in folders)
    return Desired(subject="node:n1", label="n1", generation=1, fence=1, resources=resources)


def _site(place: Path, version: int) -> Desired:
    """The site as first declared, as changed, or (0) gone."""
    layout, root, owner = _layout(place), Owner(uid=0, gid=0), Owner(uid=_uid(place), gid=_uid(place))
    folder, home = layout.site(SITE), layout.home(SITE)
    resources: tuple[Resource, ...] = (
        Account(name=SITE, uid=owner.uid, home=home),
        Directory(path=folder, owner=root, mode=0o711),
        Directory(path=home, owner=owner, mode=0o2750),
        Directory(path=home.child("public"), owner=owner, mode=0o755, seed=True),
        File(path=home.child("public", "index.php"), content="seed", owner=owner, mode=0o644, seed=True),
        File(path=folder.child("a.conf"), content=f"version {version}\n", owner=root, mode=0o640, notifies="run-s1"),
        *(
            Link(path=layout.hosts.child(name), target=folder, owner=root)
            for name in ("always.test", "first.test" if version == 1 else "second.test")
        ),
        Service(
            name="run-s1",
            command=("/bin/sleep", str(1_000_000 + version)),
            owner=owner,
            socket=UnixSocket(path=layout.socket(SITE), owner=root, mode=0o600),
        ),
    )
    return Desired(
        subject=f"site:{1:032x}",
        label="s1",
        generation=version,
        fence=10,
        resources=resources if version else (),
    )


def _write_order(place: Path, name: str, desired: Desired) -> None:
    now = datetime.now(UTC)
    order = NodeOrder(
        id=new_identifier(),
        node="n1",
        action="apply",
        desired=(desired,),
        issued_at=now,
        expires_at=now + timedelta(hours=1),
    )
    (place / name).write_text(order.model_dump_json())


class Nodes:
    """Nodes in processes of their own, made by one process that has loaded everything already."""

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self._server = subprocess.Popen(
            [sys.executable, str(ONE_ORDER)],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process that makes them."""
        self._server.communicate(timeout=10)

    def run(self, place: Path, *orders: str) -> list[OrderReply]:
        """The replies of a node that nothing disturbs."""
        self._order("run", place, orders)
        assert self._line() == 0
        return [OrderReply.model_validate_json(line) for line in (place / "replies.json").read_text().splitlines()]

    def run_traced(self, place: Path, order: str, *options: str) -> int:
        """The exit status of a node under strace with these options."""
        pid = self._order("hold", place, (order,))
        _until(lambda: _field(pid, "State").startswith("T"))
        command = (STRACE, "-qq", "-p", str(pid), *options)
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL) as strace:
            _until(lambda: _field(pid, "TracerPid") != "0")
            os.kill(pid, signal.SIGCONT)
            status = self._line()
            strace.wait(10)
        return status

    def _order(self, mode: str, place: Path, orders: tuple[str, ...]) -> int:
        assert self._server.stdin is not None
        self._server.stdin.write(" ".join((mode, str(place), *(str(place / order) for order in orders))) + "\n")
        self._server.stdin.flush()
        return self._line()

    def _line(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())


def _field(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith(f"{name}:")).split(":\t")[1]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _prepare(nodes: Nodes, version: int) -> Path:
    """A folder with a node on which the site is in the version before, its service left running, and the order."""
    place = Path(tempfile.mkdtemp(prefix=f"hosthold-kill-{nodes.uid}-"))
    place.chmod(0o755)
    _write_order(place, "node.json", _node(place))
    _write_order(place, "before.json", _site(place, 0 if version == 1 else 1))
    _write_order(place, "order.json", _site(place, version))
    replies = nodes.run(place, "node.json", *(["before.json"] if version != 1 else []))
    assert [outcome.condition for reply in replies for outcome in reply.outcomes if outcome.condition] == []
    return place


def _processes(place: Path) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"HOSTHOLD_SERVICE={place}/".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        except OSError:
            continue
    return found


def _keepers(place: Path) -> list[int]:
    """Who keeps the sockets of a node that has ended."""
    mark = f"keeper.py\0{place}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _remove(place: Path) -> None:
    for pid in (*_processes(place), *_keepers(place)):
        os.kill(pid, 9)
    shutil.rmtree(place)


def _world(place: Path) -> dict[str, object]:
    """Everything that a node leaves: files with owner and mode, account lines, running programs."""
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if name.endswith(".json") or name.startswith("state/node.db"):
            continue
        status = path.lstat()
        is_file = path.is_file() and not path.is_symlink() and not name.startswith("run/services/")
        body = str(path.readlink().relative_to(place)) if path.is_symlink() else path.read_text() if is_file else ""
        owner = f"{status.st_uid}:{status.st_gid}".replace(str(_uid(place)), "UID")
        text = body.replace(str(place), "PLACE").replace(str(_uid(place)), "UID")
        found[name] = (oct(status.st_mode), owner, text)
    found["processes"] = sorted(_processes(place).values())
    return found


def _traced(nodes: Nodes, place: Path) -> Counter[str]:
    """How often each kind of call happens while a node starts and handles the order."""
    log = place / "trace.json"
    assert nodes.run_traced(place, "order.json", "-o", str(log), "-e", f"trace={','.join(KINDS)}") == 0
    counted: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        call = re.match(r"(\w+)\(", line)
        if call is not None:
            counted[next(kind for kind in KINDS if call[1] in kind.split(","))] += 1
    return counted


def _sample(kind: str, count: int) -> list[int]:
    if kind in EVERY or count <= SAMPLE:
        return list(range(1, count + 1))
    return sorted({1 + round(index * (count - 1) / (SAMPLE - 1)) for index in range(SAMPLE)})


@pytest.fixture(scope="module")
def makers() -> Iterator[tuple[Nodes, Nodes]]:
    """Two makers of nodes, to be used at once, beside those of other test processes."""
    first = 75_001 + 2 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    made = (Nodes(first), Nodes(first + 1))
    yield made
    for nodes in made:
        nodes.close()


@pytest.fixture(scope="module", params=[1, 2, 0], ids=["create", "change", "delete"])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def expected(version: int, makers: tuple[Nodes, Nodes]) -> Iterator[tuple[dict[str, object], Counter[str]]]:
    """The world after an order that nothing disturbed, and the calls that it took."""
    place = _prepare(makers[0], version)
    try:
        counted = _traced(makers[0], place)
        yield _world(place), counted
    finally:
        _remove(place)


def _killed_at(nodes: Nodes, version: int, kind: str, number: int, expected: dict[str, object]) -> str:
    """What is wrong after a kill at this call and a second node; nothing, if all is as it should be."""
    place = _prepare(nodes, version)
    try:
        kill = ("-o", "/dev/null", "-e", f"inject={kind}:signal=SIGKILL:when={number}")
        status = nodes.run_traced(place, "order.json", *kill)
        (reply,) = nodes.run(place, "order.json")
        was_done = reply.condition is not None and "carried out before" in reply.condition.message
        if not was_done and (reply.condition or reply.outcomes[0].condition):
            return f"{kind} {number}: {reply}"
        found = _world(place)
        if found != expected:
            keys = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
            return f"{kind} {number}: " + ", ".join(f"{key}: {found.get(key)} for {expected.get(key)}" for key in keys)
        return "" if status == -signal.SIGKILL else NOT_KILLED
    finally:
        _remove(place)


@pytest.mark.parametrize("kind", KINDS)
def test_r01_r07_killed_at_any_call_it_converges_and_leaves_nothing_over(
    kind: str, version: int, expected: tuple[dict[str, object], Counter[str]], makers: tuple[Nodes, Nodes]
) -> None:
    world, counted = expected
    numbers = _sample(kind, counted[kind])

    def try_some(nodes: Nodes, some: list[int]) -> list[str]:
        return [_killed_at(nodes, version, kind, number, world) for number in some]

    with ThreadPoolExecutor(2) as pool:
        reports = [*pool.map(try_some, makers, (numbers[::2], numbers[1::2]))]
    wrong = [report for some in reports for report in some if report]
    assert not [report for report in wrong if report != NOT_KILLED], "\n".join(wrong)
    assert len(wrong) <= len(numbers) // 2, "hardly any node was killed"  # the last calls of a kind may be missing


def test_r06_a_file_is_on_disk_before_it_takes_its_place_and_its_folder_after(makers: tuple[Nodes, Nodes]) -> None:
    place = _prepare(makers[0], 2)
    try:
        log = place / "trace.json"
        options = ("-y", "-o", str(log), "-e", "trace=fsync,rename,renameat,renameat2")
        assert makers[0].run_traced(place, "order.json", *options) == 0
        calls = [line for line in log.read_text().splitlines() if "/run/" not in line and "record" not in line]
        (put,) = [number for number, call in enumerate(calls) if call.startswith("rename") and '"a.conf"' in call]
        temporary = calls[put].split('"')[1]
        folder = f"{_layout(place).site(SITE)}>"
        assert any(call.startswith("fsync") and temporary in call for call in calls[:put])
        assert any(call.startswith("fsync") and folder in call for call in calls[put:])
    finally:
        _remove(place)


def test_r06_a_large_order_is_on_disk_before_its_first_name_changes_and_when_it_is_done(
    makers: tuple[Nodes, Nodes],
) -> None:
    place = _prepare(makers[0], 1)
    try:
        folder = _layout(place).site(SITE)
        site = _site(place, 1)
        files = tuple(
            File(path=folder.child(f"{number}.conf"), content="x\n", owner=Owner(uid=0, gid=0), mode=0o640)
            for number in range(40)
        )
        _write_order(place, "order.json", site.model_copy(update={"resources": (*site.resources, *files)}))
        log = place / "trace.json"
        options = ("-y", "-o", str(log), "-e", "trace=fsync,syncfs,rename,renameat,renameat2")
        assert makers[0].run_traced(place, "order.json", *options) == 0
        calls = [line for line in log.read_text().splitlines() if "/run/" not in line]
        flushes = [number for number, call in enumerate(calls) if call.startswith("syncfs")]
        renames = [number for number, call in enumerate(calls) if call.startswith("rename") and ".conf" in call]
        assert len(renames) == 41
        assert [each for each in flushes if each < renames[0]]
        assert [each for each in flushes if each > renames[-1]]
        assert not [call for call in calls if call.startswith("fsync") and f"{folder}/" in call]
    finally:
        _remove(place)
