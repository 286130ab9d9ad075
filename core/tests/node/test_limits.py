"""Control groups of services: there for as long as the node may start something, and not longer."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hosthold.node.limits import Enforcer
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.node import Node
from hosthold.types.resource import Service, ServiceLimits

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes control groups")]


@pytest.mark.parametrize("leave", [ProcessSupervisor.close, ProcessSupervisor.end], ids=["close", "end"])
def test_s68_groups_outlive_the_services_in_them_and_go_with_the_node(
    node: Node, leave: Callable[[ProcessSupervisor], None]
) -> None:
    """In version 2 a group made anew has no controllers, and no service could start in it any more."""
    enforcer = Enforcer(node.layout.state)
    if not enforcer._groups:
        pytest.skip("needs control groups")
    enforcer.close()
    limits = ServiceLimits(cpu_percent=100, memory_mb=64, tasks=20)
    service = Service(name="sleeps", command=("/bin/sleep", "1000"), owner=node.root, limits=limits)
    supervisor = ProcessSupervisor(ProcessSettings(settle=0.1))
    supervisor.attach(node, ())
    try:
        for _ in range(2):
            supervisor.start(service)
            assert all((folder / "sleeps").is_dir() for folder in enforcer._groups.values())
            supervisor.stop("sleeps")
            assert all(folder.is_dir() for folder in enforcer._groups.values())
    finally:
        leave(supervisor)
    assert not any(folder.exists() for folder in enforcer._groups.values())
