"""The small world of the sites' tests serves here too; its node is in memory."""

from __future__ import annotations

import pytest
from hosthold.reconcile.loop import Loop

from core.tests.reconcile.memory import MemoryNode, loop_over
from core.tests.sites.conftest import World, node, world

__all__ = ["loop", "memory", "node", "world"]


@pytest.fixture
def memory() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def loop(world: World, memory: MemoryNode) -> Loop:
    made = loop_over(world.database, memory)
    made.run("node")
    return made
