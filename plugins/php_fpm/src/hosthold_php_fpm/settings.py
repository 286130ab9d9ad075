"""What an operator may set about PHP, and what a site may set: a closed list."""

from __future__ import annotations

import zoneinfo
from datetime import date
from typing import Annotated, ClassVar

from hosthold_sdk import AbsolutePath, DriverSettings
from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, StringConstraints

PhpVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,2}\.[0-9]{1,2}$")]


class PhpFpmSettings(DriverSettings):
    """Where the programs `php-fpm<version>` lie, and when they end."""

    directory: AbsolutePath = AbsolutePath("/usr/sbin")
    programs: dict[PhpVersion, AbsolutePath] = Field(default_factory=dict)
    """Programs of further versions, wherever they lie."""
    ends: dict[PhpVersion, date] = Field(default_factory=dict)
    """The last day of security fixes of versions for which something else holds than the PHP project says."""
    idle_seconds: Annotated[int, Field(ge=1, le=86_400)] = 60
    """How long the php-fpm of a site stays after its last worker has gone; a sleeping site takes no memory, and waking
    it takes some hundredths of a second."""


def _known_time_zone(value: str) -> str:
    if value not in zoneinfo.available_timezones():
        raise ValueError("is not the name of a time zone, such as Europe/Berlin")
    return value


Size = Annotated[str, StringConstraints(strict=True, pattern=r"^[1-9][0-9]{0,6}[MG]$")]
"""A size as PHP writes it: a whole number and `M` or `G`, such as `128M`."""

TimeZone = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}$", max_length=64),
    AfterValidator(_known_time_zone),
]


class PhpSettings(DriverSettings):
    """What a site may set, by PHP's own names and in PHP's own notation. What is not set follows the package."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    memory_limit: Size | None = None
    upload_max_filesize: Size | None = None
    post_max_size: Size | None = None
    max_execution_time: Annotated[StrictInt, Field(ge=1, le=3600)] | None = None
    """In seconds of computing."""
    max_input_vars: Annotated[StrictInt, Field(ge=100, le=100_000)] = 1000
    display_errors: StrictBool = False
    date_timezone: Annotated[TimeZone, Field(alias="date.timezone")] = "UTC"


def mebibytes(size: str) -> int:
    """The number of MiB that a `Size` stands for."""
    return int(size[:-1]) * (1024 if size.endswith("G") else 1)
