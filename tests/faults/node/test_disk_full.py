"""R-04, R-05: a full disk, or one without inodes, leaves everything as it was, and with space again it works."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from hosthold.node.agent import NodeAgent
from hosthold.types.identifier import new_identifier
from hosthold.types.node import NodeLayout, Owner
from hosthold.types.resource import Account, Desired, Directory, File, NodeOrder, Outcome, Resource
from hosthold.types.text import UnixName

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a small disk")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB and 64 inodes."""
    options = "size=1m,nr_inodes=64,mode=0755"
    command = ("/bin/mount", "-t", "tmpfs", "-o", options, "hosthold-test", str(tmp_path))
    mounted = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, timeout=10, check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")
    yield tmp_path
    subprocess.run(("/bin/umount", "-l", str(tmp_path)), env={"PATH": "/usr/bin:/bin"}, timeout=10, check=True)


@pytest.fixture
def agent(disk: Path) -> Iterator[NodeAgent]:
    specification = importlib.util.spec_from_file_location("one_order", Path(__file__).with_name("one_order.py"))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    assert isinstance(module, ModuleType)
    specification.loader.exec_module(module)
    made: NodeAgent = module.agent_on(disk)
    made.start()
    layout, root = _layout(disk), Owner(uid=0, gid=0)
    folders = (layout.sites, layout.hosts, layout.sockets)
    outcome = _apply(made, "node:n1", [Directory(path=path, owner=root, mode=0o755) for path in folders])
    assert outcome.condition is None
    yield made
    made.stop()


def _layout(disk: Path) -> NodeLayout:
    return NodeLayout(state=str(disk / "state"), run=str(disk / "run"))


def _apply(agent: NodeAgent, subject: str, resources: list[Resource]) -> Outcome:
    now = datetime.now(UTC)
    desired = Desired(subject=subject, label="s1", generation=1, fence=1, resources=tuple(resources))
    order = NodeOrder(
        id=new_identifier(),
        node="n1",
        action="apply",
        desired=(desired,),
        issued_at=now,
        expires_at=now + timedelta(minutes=1),
    )
    reply = agent.handle(order)
    return reply.outcomes[0] if reply.outcomes else Outcome(subject=subject, condition=reply.condition)


def _site(disk: Path, *, files: int, size: int, version: str = "x") -> list[Resource]:
    layout, root = _layout(disk), Owner(uid=0, gid=0)
    folder = layout.site(UnixName("s1"))
    return [
        Account(name="s1", uid=75_011, home=layout.home(UnixName("s1"))),
        Directory(path=folder, owner=root, mode=0o711),
        *(
            File(path=folder.child(f"{number}.conf"), content=version * size, owner=root, mode=0o600)
            for number in range(files)
        ),
    ]


def _world(disk: Path) -> dict[str, str]:
    return {
        str(path): path.read_text() if path.is_file() else ""
        for path in sorted(disk.rglob("*"))
        if "node.db" not in path.name and "extrausers" not in path.name
    }


@pytest.mark.parametrize(("files", "size"), [(30, 60_000), (80, 10)], ids=["r04_space", "r05_inodes"])
def test_r04_r05_a_site_that_does_not_fit_is_undone(disk: Path, agent: NodeAgent, files: int, size: int) -> None:
    before = _world(disk)
    outcome = _apply(agent, f"site:{1:032x}", _site(disk, files=files, size=size))
    assert outcome.condition is not None
    assert (outcome.condition.reason, outcome.condition.is_permanent) == ("DiskFull", False)
    found = {path: body for path, body in _world(disk).items() if "/extrausers/" not in path}
    assert found == before
    assert _apply(agent, f"site:{1:032x}", _site(disk, files=3, size=10)).condition is None


def test_r04_old_files_stay_intact_when_new_ones_do_not_fit(disk: Path, agent: NodeAgent) -> None:
    assert _apply(agent, f"site:{1:032x}", _site(disk, files=4, size=50_000)).condition is None
    before = _world(disk)
    outcome = _apply(agent, f"site:{1:032x}", _site(disk, files=4, size=150_000, version="y"))
    assert outcome.condition is not None
    assert outcome.condition.reason == "DiskFull"
    assert _world(disk) == before


def test_r04_with_no_space_at_all_the_order_is_refused_and_works_later(disk: Path, agent: NodeAgent) -> None:
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while True:
            try:
                os.write(file.fileno(), b"x" * 4096)
            except OSError:
                break
    outcome = _apply(agent, f"site:{1:032x}", _site(disk, files=3, size=10_000))
    assert outcome.condition is not None
    assert outcome.condition.reason == "DiskFull"
    ballast.unlink()
    assert _apply(agent, f"site:{1:032x}", _site(disk, files=3, size=10_000)).condition is None
    assert not (disk / "state/trash").exists()
