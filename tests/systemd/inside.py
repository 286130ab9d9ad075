"""Runs inside the machine of the tests, under its systemd: what every supervisor must do, done by this one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosthold_sdk import Isolation, Listen, Node, NodeLayout, Owner
from hosthold_sdk.testing.supervisor import SupervisorConformance
from hosthold_supervisor_systemd.driver import SystemdSupervisor
from hosthold_supervisor_systemd.settings import SystemdSettings

FIRST_UID = 70_000
USERS = 4


@pytest.fixture(scope="session", autouse=True)
def _users() -> None:
    for number in range(FIRST_UID, FIRST_UID + USERS):
        with Path("/etc/passwd").open("a") as accounts:
            accounts.write(f"u{number}:x:{number}:{number}::/nonexistent:/bin/false\n")
        with Path("/etc/group").open("a") as groups:
            groups.write(f"u{number}:x:{number}:\n")


@pytest.fixture
def node() -> Iterator[Node]:
    layout = NodeLayout(state="/var/lib/conformance", run="/var/lib/conformance/run")
    Path(layout.sockets).mkdir(parents=True)
    root = Owner(uid=0, gid=0)
    yield Node(
        name="n1", layout=layout, listen=Listen(), isolation=Isolation.unix_user, root=root, web=root, web_user="root"
    )
    assert not any(Path(layout.state, "services").iterdir())
    shutil.rmtree(layout.state)


@pytest.fixture
def driver() -> SystemdSupervisor:
    made = SystemdSupervisor(SystemdSettings(settle=0.5, stop=2))
    made.check()
    return made


class TestSystemdSupervisor(SupervisorConformance):
    first_uid = FIRST_UID
