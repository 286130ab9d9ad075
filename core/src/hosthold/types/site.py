"""Sites as drivers and plugins see them: one frozen value with everything that is needed to render it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier
from hosthold.types.package import Limits
from hosthold.types.text import Domain, RelativePath, UnixName
from hosthold.types.web import WebOptions

Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){0,2}$")]
"""The version of a runtime, such as `8.2`."""

DriverName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
"""The name under which a driver's entry point is registered."""

SettingValue = str | int | bool


class Phase(StrEnum):
    """How far the world follows a declared state."""

    pending = "pending"
    applying = "applying"
    ready = "ready"
    failed = "failed"
    deleting = "deleting"


class Condition(Frozen):
    """Why something is in its phase: a reason for programs, a message and a hint for people."""

    reason: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z]{2,60}$")]
    """A CamelCase word that does not change between releases, such as `RuntimeMissing`."""
    message: str
    """What happened, shortened to the cause."""
    hint: str
    """What a person can do about it."""
    is_permanent: bool = False
    """Whether trying again is pointless until the declaration or a setting changes."""


class Runtime(Frozen):
    """What runs a site's code: a runtime driver, its version, and settings that the driver declared and checked."""

    driver: DriverName
    version: Version
    settings: Mapping[str, SettingValue] = Field(default_factory=dict)


class Site(Frozen):
    """A declared site. `domains` starts with the primary one; `uid` is the Unix user and group that owns its files."""

    id: Identifier
    account_id: Identifier
    name: UnixName
    uid: int
    domains: tuple[Domain, ...]
    runtime: Runtime
    document_root: RelativePath
    limits: Limits
    web: WebOptions = WebOptions()
    is_suspended: bool = False
    generation: int = 1
