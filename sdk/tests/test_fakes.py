"""The fakes do what drivers of their kinds must do."""

from __future__ import annotations

from hosthold_sdk.testing.conformance import SupervisorConformance
from hosthold_sdk.testing.fakes import FakeSupervisor


class TestFakeSupervisor(SupervisorConformance):
    driver_class = FakeSupervisor
