"""Drivers for tests, one of each kind. Each passes the conformance kit of its kind, as a real driver does."""

from hosthold_sdk.testing.fakes.supervisor import FakeSupervisor

__all__ = ["FakeSupervisor"]
