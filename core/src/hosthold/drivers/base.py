"""What all drivers share: settings, and a life of construct, check, use, close."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class DriverSettings(BaseModel):
    """Settings of a driver; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=DriverSettings)


class Driver(ABC, Generic[S]):
    """A way to do one thing. Its class is registered as an entry point in the group `hosthold.drivers.<kind>`.

    Constructing a driver has no effect outside of it; two instances share nothing. A method that is not a pure
    function says so. Only `DriverError` and its kinds may leave a driver.
    """

    kind: ClassVar[str]
    """The entry-point group's last part, such as `webserver`."""
    settings_model: ClassVar[type[DriverSettings]] = DriverSettings

    def __init__(self, settings: S) -> None:
        self.settings = settings

    def check(self) -> None:
        """Look whether the driver can work on this machine; changes nothing.

        Raises `NotInstalled` or `Misconfigured` with a hint that names the cure.
        """
