"""Drivers for tests, of each kind. Each passes the conformance kit of its kind, as a real driver does."""

from hosthold_sdk.testing.fakes.runtime import FakeRuntime
from hosthold_sdk.testing.fakes.supervisor import FakeSupervisor
from hosthold_sdk.testing.fakes.webserver import FakeWebServer

__all__ = ["FakeRuntime", "FakeSupervisor", "FakeWebServer"]
