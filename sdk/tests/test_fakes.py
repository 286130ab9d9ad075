"""The fakes do what drivers of their kinds must do."""

from __future__ import annotations

from hosthold_sdk.testing.conformance import SupervisorConformance, WebServerConformance
from hosthold_sdk.testing.fakes import FakeSupervisor, FakeWebServer


class TestFakeSupervisor(SupervisorConformance):
    driver_class = FakeSupervisor


class TestFakeWebServer(WebServerConformance):
    driver_class = FakeWebServer
    unsupported = frozenset({"prefix redirects", "basic_auth", "rules", "proxies"})
