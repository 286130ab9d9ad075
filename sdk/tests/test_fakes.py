"""The fakes do what drivers of their kinds must do."""

from __future__ import annotations

from hosthold_sdk.testing.conformance import RuntimeConformance, SupervisorConformance, WebServerConformance
from hosthold_sdk.testing.fakes import FakeRuntime, FakeSupervisor, FakeWebServer


class TestFakeRuntime(RuntimeConformance):
    driver_class = FakeRuntime


class TestFakeSupervisor(SupervisorConformance):
    driver_class = FakeSupervisor


class TestFakeWebServer(WebServerConformance):
    driver_class = FakeWebServer
    unsupported = frozenset({"prefix redirects", "basic_auth", "rules", "proxies"})
