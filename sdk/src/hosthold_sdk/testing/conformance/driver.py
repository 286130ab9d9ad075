"""What every driver of every kind must do, as tests. The kits of the kinds are subclasses of `DriverConformance`."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from hosthold_sdk import Driver, Misconfigured, NotInstalled
from hosthold_sdk.testing.effects import EffectKind, effects


class DriverConformance:
    """The rules that hold for all drivers. Name the class under test, and its settings if it needs some.

    Every `SecretStr` that `settings` give a value to is searched for wherever the driver shows something of itself.
    """

    driver_class: ClassVar[type[Driver[Any]]]
    settings: ClassVar[Mapping[str, Any]] = {}

    def make(self) -> Driver[Any]:
        """A driver with the settings under test."""
        return self.driver_class(self.driver_class.settings_model.model_validate(dict(self.settings)))

    def use(self, driver: Driver[Any]) -> str:
        """Call what can be called without a node; everything that came back, as text. Each kind adds its methods."""
        try:
            driver.check()
        except (NotInstalled, Misconfigured) as error:
            return f"{error.detail} {error.hint}"
        return ""

    def test_settings_survive_a_round_trip(self) -> None:
        """What a form or a file stores is what the driver gets back."""
        model = self.driver_class.settings_model
        parsed = model.model_validate(dict(self.settings))
        assert model.model_validate(parsed.model_dump(by_alias=True)) == parsed
        if not secrets_of(parsed):
            assert model.model_validate_json(parsed.model_dump_json(by_alias=True)) == parsed

    def test_an_unknown_setting_is_refused(self) -> None:
        """A key that is misspelt must not be ignored: derive the settings from `DriverSettings`, which forbids it."""
        with pytest.raises(ValidationError):
            self.driver_class.settings_model.model_validate({**self.settings, "no_such_setting": "1"})

    def test_constructing_has_no_effect(self) -> None:
        """Drivers are made when the platform starts, whether or not they are used there; look in `check` instead."""
        with effects() as seen:
            self.make()
        assert seen == [], "the constructor touched something outside of the driver"

    def test_check_says_what_is_missing_and_changes_nothing(self) -> None:
        """`check` raises `NotInstalled` or `Misconfigured`, with a hint that names the cure."""
        driver = self.make()
        hint = "not needed"
        with effects() as seen:
            try:
                driver.check()
            except (NotInstalled, Misconfigured) as error:
                hint = error.hint
        assert hint, "no hint says how to cure what is missing"
        assert [effect for effect in seen if effect.kind is EffectKind.change] == []

    def test_two_drivers_share_no_state(self) -> None:
        """Two platforms in one process, or two bindings with other settings, must not meet in the class."""
        one, other = self.make(), self.make()
        before = {name: repr(value) for name, value in vars(type(one)).items()}
        untouched = repr(vars(other))
        self.use(one)
        assert {name: repr(value) for name, value in vars(type(one)).items()} == before, "the class keeps state"
        assert repr(vars(other)) == untouched
        shared = {
            name for name, value in vars(one).items()
            if isinstance(value, (dict, list, set, bytearray)) and value is vars(other).get(name)
        }  # fmt: skip
        assert shared == set(), "both instances hold the same object"

    def test_no_secret_is_shown(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        """Not in `repr`, not in what methods return or raise, not in logs, not in errors about settings."""
        driver = self.make()
        with caplog.at_level(logging.DEBUG):
            shown = [repr(driver), str(driver), repr(vars(driver)), self.use(driver), *self._refusals()]
        printed = capfd.readouterr()
        shown += [caplog.text, printed.out, printed.err]
        for secret in secrets_of(driver.settings):
            assert not any(secret in text for text in shown), "a secret of the settings is shown"

    def test_every_outgoing_call_has_a_timeout(self) -> None:
        """A program or a server that hangs must not hang the platform: `subprocess.run(..., timeout=...)`."""
        driver = self.make()
        with effects() as seen:
            self.use(driver)
        assert [effect.description for effect in seen if not effect.has_timeout] == []

    def _refusals(self) -> Iterator[str]:
        """What is said about settings that cannot be used, though good ones stand beside them."""
        for name in self.driver_class.settings_model.model_fields:
            try:
                self.driver_class.settings_model.model_validate({**self.settings, name: object()})
            except ValidationError as error:
                yield " ".join(issue["msg"] for issue in error.errors(include_input=False))


def secrets_of(settings: BaseModel) -> tuple[str, ...]:
    """The value of every secret in these settings, nested ones included. Empty ones are none."""
    return tuple(filter(None, _secrets(dict(settings))))


def _secrets(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            yield from _secrets(dict(value))
        case dict():
            for each in value.values():
                yield from _secrets(each)
        case list() | tuple() | set() | frozenset():
            for each in value:
                yield from _secrets(each)


def as_text(value: Any) -> str:
    """A value of the contract as the text that plans, logs and orders make of it."""
    return value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value, default=str)
