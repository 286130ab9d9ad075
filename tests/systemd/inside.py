"""Runs inside the machine of the tests, under its systemd: what every supervisor must do, done by this one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from hosthold_sdk import Isolation, Listen, Node, NodeLayout, Owner
from hosthold_sdk.testing.conformance import SupervisorProgramConformance
from hosthold_supervisor_systemd.driver import SystemdSupervisor

FIRST_UID = 70_000
USERS = 4


@pytest.fixture(scope="session", autouse=True)
def _users() -> None:
    for number in range(FIRST_UID, FIRST_UID + USERS):
        with Path("/etc/passwd").open("a") as accounts:
            accounts.write(f"u{number}:x:{number}:{number}::/nonexistent:/bin/false\n")
        with Path("/etc/group").open("a") as groups:
            groups.write(f"u{number}:x:{number}:\n")


class TestSystemdSupervisor(SupervisorProgramConformance):
    driver_class = SystemdSupervisor
    settings: ClassVar[Mapping[str, object]] = {"settle": 0.5, "stop": 2}
    first_uid = FIRST_UID

    @pytest.fixture
    def node(self) -> Iterator[Node]:
        layout = NodeLayout(state="/var/lib/conformance", run="/var/lib/conformance/run")
        Path(layout.sockets).mkdir(parents=True)
        root = Owner(uid=0, gid=0)
        yield Node(
            name="n1", layout=layout, listen=Listen(), isolation=Isolation.unix_user, root=root, web=root,
            web_user="root",
        )  # fmt: skip
        assert not any(Path(layout.state, "services").iterdir())
        shutil.rmtree(layout.state)

    def test_this_is_a_machine_that_systemd_runs(self) -> None:
        self.make().check()
