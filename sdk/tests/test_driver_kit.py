"""Each rule of the kit for drivers finds the fault that it is about, and lets a driver without it pass."""

from __future__ import annotations

import logging
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hosthold_sdk import DriverSettings, Misconfigured, Node, Service
from hosthold_sdk.testing.conformance import SupervisorConformance
from hosthold_sdk.testing.fakes import FakeSupervisor
from pydantic import ConfigDict, SecretStr, field_validator

SECRET = "correct-horse"
log = logging.getLogger("driver")


class Settings(DriverSettings):
    password: SecretStr = SecretStr("")


class Sound(FakeSupervisor):
    settings_model = Settings
    settings: Settings


class Forgetful(Sound):
    class Lenient(Settings):
        model_config = ConfigDict(extra="ignore")

    settings_model = Lenient


class Doubling(Sound):
    class Changing(Settings):
        name: str = "x"

        @field_validator("name")
        @classmethod
        def double(cls, name: str) -> str:
            return name * 2

    settings_model = Changing


class Eager(Sound):
    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        Path("/etc/hostname").read_text()


class Terse(Sound):
    def check(self) -> None:
        raise Misconfigured("It does not work.", hint="")


class Littering(Sound):
    def check(self) -> None:
        with tempfile.TemporaryDirectory():
            pass


class Sharing(Sound):
    seen: ClassVar[list[str]] = []

    def check(self) -> None:
        self.seen.append("once")


class Lending(Sound):
    lent: ClassVar[dict[str, str]] = {}

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.borrowed = self.lent


class Chatty(Sound):
    def check(self) -> None:
        log.debug("signing in with %s", self.settings.password.get_secret_value())


class Printing(Sound):
    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.password = settings.password.get_secret_value()


class Patient(Sound):
    def check(self) -> None:
        subprocess.run(["/bin/true"], check=True)


def rule(name: str) -> Callable[..., Callable[[type[FakeSupervisor], pytest.FixtureRequest], None]]:
    """A rule of the kit as a function of a driver class."""

    def ask(*fixtures: str) -> Callable[[type[FakeSupervisor], pytest.FixtureRequest], None]:
        def run(driver: type[FakeSupervisor], request: pytest.FixtureRequest) -> None:
            class Kit(SupervisorConformance):
                driver_class = driver
                settings: ClassVar[Mapping[str, Any]] = {"password": SECRET}

            getattr(Kit(), name)(*map(request.getfixturevalue, fixtures))

        return run

    return ask


RULES = {
    "round trip": rule("test_settings_survive_a_round_trip")(),
    "unknown setting": rule("test_an_unknown_setting_is_refused")(),
    "construction": rule("test_constructing_has_no_effect")(),
    "check": rule("test_check_says_what_is_missing_and_changes_nothing")(),
    "state": rule("test_two_drivers_share_no_state")(),
    "secrets": rule("test_no_secret_is_shown")("caplog", "capfd"),
    "timeouts": rule("test_every_outgoing_call_has_a_timeout")(),
}
FAULTS = [
    ("round trip", Doubling), ("unknown setting", Forgetful), ("construction", Eager), ("check", Terse),
    ("check", Littering), ("state", Sharing), ("state", Lending), ("secrets", Chatty), ("secrets", Printing),
    ("timeouts", Patient),
]  # fmt: skip


@pytest.mark.parametrize(("name", "driver"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_rule_finds_its_fault(name: str, driver: type[FakeSupervisor], request: pytest.FixtureRequest) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        RULES[name](driver, request)


@pytest.mark.parametrize("name", RULES)
def test_a_sound_driver_passes(name: str, request: pytest.FixtureRequest) -> None:
    RULES[name](Sound, request)


class Untidy(FakeSupervisor):
    """Declares first and asks afterwards: a failure leaves what was never started."""

    def start(self, service: Service) -> None:
        self.services[service.name] = service
        Path(service.socket.path if service.socket else "").touch()
        super().start(service)

    def stop(self, name: str) -> None:
        service = self.services.pop(name, None)
        if service is not None and service.socket is not None:
            Path(service.socket.path).unlink()

    def attach(self, node: Node, services: tuple[Service, ...]) -> None:
        """Keeps what is not given."""
        self.services |= {service.name: service for service in services}


@pytest.mark.parametrize(
    "name",
    [
        "test_what_cannot_start_leaves_what_runs_as_it_is",
        "test_attaching_again_keeps_what_is_given_and_ends_the_rest",
        "test_a_failure_at_any_call_to_the_outside_leaves_what_a_repetition_puts_right",
    ],
)
def test_rules_of_supervisors_find_their_faults(name: str, tmp_path: Path) -> None:
    class Kit(SupervisorConformance):
        driver_class = Untidy

    make_node: Any = SupervisorConformance.node
    nodes = make_node.__wrapped__(Kit())
    node = next(nodes)
    with pytest.raises((AssertionError, OSError)):
        getattr(Kit(), name)(node, Kit().make())
    assert list(nodes) == []
