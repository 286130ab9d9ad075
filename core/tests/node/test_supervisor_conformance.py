"""The process supervisor does what the node relies on, as every supervisor must."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from hosthold.node.supervisor import ProcessSupervisor
from hosthold_sdk.testing.conformance import SupervisorProgramConformance

from core.tests.node.numbers import FIRST


class TestProcessSupervisor(SupervisorProgramConformance):
    driver_class = ProcessSupervisor
    settings: ClassVar[Mapping[str, object]] = {"settle": 0.5, "stop": 2.0}
    first_uid = FIRST + 40
    more_variables = frozenset({"HOSTHOLD_SERVICE"})
