"""The process supervisor does what the node relies on, as every supervisor must."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.node import Node
from hosthold_sdk.testing.supervisor import SupervisorConformance

from core.tests.node.numbers import FIRST


@pytest.fixture
def driver(node: Node) -> Iterator[ProcessSupervisor]:
    """A supervisor of real processes, in a hurry, that leaves nothing behind."""
    yield ProcessSupervisor(ProcessSettings(settle=0.5, stop=2.0))
    assert [*Path(node.layout.run, "services").iterdir()] == []


class TestProcessSupervisor(SupervisorConformance):
    first_uid = FIRST + 40
    more_variables = frozenset({"HOSTHOLD_SERVICE"})
