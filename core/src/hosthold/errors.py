"""The one tree of exceptions. Each says what happened, what was left unchanged, and what a person can do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class FieldError(NamedTuple):
    """One field of an input that cannot be accepted; `pointer` is a JSON pointer (RFC 6901) into the body."""

    pointer: str
    detail: str


class HostholdError(Exception):
    """Base of all errors that Hosthold raises on purpose.

    `detail` says what happened and what was left unchanged; `hint` what a person can do.
    """

    def __init__(self, detail: str, *, hint: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint


class Rejected(HostholdError):
    """The request is understood and refused by a rule; nothing was changed. Raised by `check_*` hooks."""


class InvalidInput(Rejected):
    """Fields of the request cannot be accepted; nothing was changed."""

    def __init__(self, detail: str, errors: Sequence[FieldError], *, hint: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.errors = tuple(errors)


class Conflict(Rejected):
    """The request contradicts what exists already, such as a domain that is taken; nothing was changed."""


class NotFound(Rejected):
    """There is no such object, or the actor may not know of it: the two look the same."""


class PreconditionFailed(Rejected):
    """The object changed since it was read (`If-Match`); read it again and decide anew."""


class NotAuthenticated(Rejected):
    """The caller did not say who they are, or what they sent is no longer valid."""


class NotPermitted(Rejected):
    """The caller is known and lacks a permission for this kind of act."""


class TooManyRequests(Rejected):
    """The caller must slow down, and may try again after `retry_after` seconds."""

    def __init__(self, detail: str, *, hint: str = "", retry_after: int = 1) -> None:
        super().__init__(detail, hint=hint)
        self.retry_after = retry_after


class DriverError(HostholdError):
    """Base of what drivers raise. `is_permanent` tells whether trying again is pointless until something changes."""

    is_permanent = False
    reason = "DriverFailed"


class NotInstalled(DriverError):
    """A program that the driver needs is missing on the machine."""

    is_permanent = True
    reason = "NotInstalled"


class Misconfigured(DriverError):
    """The driver's settings cannot work."""

    is_permanent = True
    reason = "Misconfigured"


class NotSupported(DriverError):
    """The driver cannot do what is asked and says so, instead of doing less in silence."""

    is_permanent = True
    reason = "NotSupported"


class Unavailable(DriverError):
    """Something the driver depends on does not answer now; trying again may help."""

    reason = "Unavailable"


class Interrupted(Unavailable):
    """The process is told to end and waits for nobody any more; whoever starts next takes the work up again."""

    reason = "Interrupted"


class PluginError(HostholdError):
    """A plugin cannot be used; the platform runs without it."""


class QueueError(HostholdError):
    """A message cannot be trusted or understood; it was dropped, and the work it rang for is still in the database."""
