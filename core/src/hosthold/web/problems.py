"""Problems (RFC 9457): how every error looks over HTTP, and the page that explains each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError, OperationalError

from hosthold import errors
from hosthold.errors import FieldError, HostholdError

PATH = "/api/problems/"
MEDIA_TYPE = b"application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem: `slug` ends its type URI, `explanation` is what the page there says."""

    slug: str
    status: int
    title: str
    explanation: str


INVALID_INPUT = ProblemType(
    "invalid-input",
    422,
    "Some fields cannot be accepted",
    "`errors` names each field by a JSON pointer into the body, or each parameter by its name. Fields that are not "
    "in the schema are refused too. Nothing was changed.",
)
REJECTED = ProblemType(
    "rejected",
    422,
    "A rule refuses this",
    "The request was understood, and a rule of the platform or of a plugin refuses it. Nothing was changed.",
)
CONFLICT = ProblemType(
    "conflict",
    409,
    "This contradicts what exists already",
    "Something in the way, such as a domain that is taken. Nothing was changed.",
)
NOT_FOUND = ProblemType(
    "not-found",
    404,
    "There is no such thing",
    "The address or the object does not exist, or is not for you to see: the two look the same.",
)
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed",
    405,
    "This cannot be done here",
    "The address exists and does not know this method; the header `Allow` lists those it knows.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed",
    412,
    "It changed meanwhile",
    "The object is no longer the one that you read (`If-Match`). Read it again, and decide anew. Nothing was changed.",
)
NOT_AUTHENTICATED = ProblemType(
    "not-authenticated",
    401,
    "Who are you?",
    "Send `Authorization: Bearer hh_…` with an API token, or sign in. An expired or revoked token looks like none.",
)
NOT_PERMITTED = ProblemType(
    "not-permitted",
    403,
    "You may not do this",
    "You are known, and lack the permission that this operation names. Nothing was changed.",
)
CROSS_SITE = ProblemType(
    "cross-site",
    403,
    "This request did not come from the panel",
    "A browser that is signed in must send the panel's own origin and its CSRF token with everything that changes "
    "something. Programs use an API token, and need neither. Nothing was changed.",
)
TOO_MANY_REQUESTS = ProblemType(
    "too-many-requests", 429, "Slow down", "Wait as many seconds as the header `Retry-After` says, then try again."
)
MALFORMED = ProblemType(
    "malformed-json", 400, "The body is not JSON", "The body must be one JSON value in UTF-8. Nothing was changed."
)
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type",
    415,
    "The body must be JSON",
    "Send the body with `Content-Type: application/json`. Nothing was changed.",
)
BODY_TOO_LARGE = ProblemType(
    "body-too-large", 413, "The body is too large", "Bodies of requests may have one mebibyte. Nothing was changed."
)
BODY_TIMEOUT = ProblemType(
    "body-timeout",
    408,
    "The body took too long",
    "The whole body must arrive within a few seconds. Nothing was changed.",
)
WRONG_HOST = ProblemType(
    "wrong-host",
    421,
    "This host name is not served here",
    "The platform answers only under the host name of its public address, and on loopback.",
)
KEY_REUSED = ProblemType(
    "idempotency-key-reused",
    422,
    "This idempotency key belongs to another request",
    "A key names one request. Use a new key for a new request. Nothing was changed.",
)
DRIVER_FAILED = ProblemType(
    "driver-failed",
    502,
    "A driver could not do its work",
    "Something that the platform depends on, such as a node, refused. Nothing was changed.",
)
UNAVAILABLE = ProblemType(
    "unavailable", 503, "Not now", "Something that the platform depends on does not answer now. Try again in a moment."
)
INTERNAL = ProblemType(
    "internal-error",
    500,
    "Something went wrong on our side",
    "The fault is in the platform, and its log has the details under the identifier in `instance`. "
    "Nothing was changed, unless the answer to a commit was lost: repeat with the same `Idempotency-Key`.",
)

TYPES = {kind.slug: kind for kind in (
    INVALID_INPUT, REJECTED, CONFLICT, NOT_FOUND, METHOD_NOT_ALLOWED, PRECONDITION_FAILED, NOT_AUTHENTICATED,
    NOT_PERMITTED, CROSS_SITE, TOO_MANY_REQUESTS, MALFORMED, UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, BODY_TIMEOUT,
    WRONG_HOST, KEY_REUSED, DRIVER_FAILED, UNAVAILABLE, INTERNAL,
)}  # fmt: skip

_KINDS: tuple[tuple[type[HostholdError], ProblemType], ...] = (
    (errors.Conflict, CONFLICT),
    (errors.InvalidInput, INVALID_INPUT),
    (errors.NotFound, NOT_FOUND),
    (errors.PreconditionFailed, PRECONDITION_FAILED),
    (errors.NotAuthenticated, NOT_AUTHENTICATED),
    (errors.NotPermitted, NOT_PERMITTED),
    (errors.TooManyRequests, TOO_MANY_REQUESTS),
    (errors.Rejected, REJECTED),
    (errors.Unavailable, UNAVAILABLE),
    (errors.DriverError, DRIVER_FAILED),
)


class HttpProblem(HostholdError):
    """A refusal that only HTTP knows, such as a method that an address does not have."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        hint: str = "",
        headers: Sequence[tuple[bytes, bytes]] = (),
        errors: Sequence[dict[str, str]] = (),
    ) -> None:
        super().__init__(detail, hint=hint)
        self.kind = kind
        self.headers = tuple(headers)
        self.errors = tuple(errors)


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem as it is sent."""

    kind: ProblemType
    detail: str
    hint: str = ""
    errors: tuple[dict[str, str], ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def json(self, request_id: str) -> bytes:
        """The body; `instance` is the identifier under which the log knows the request."""
        members: dict[str, Any] = {
            "type": PATH + self.kind.slug, "title": self.kind.title, "status": self.kind.status, "detail": self.detail,
            "instance": f"urn:hosthold:request:{request_id}",
        }  # fmt: skip
        if self.hint:
            members["hint"] = self.hint
        if self.errors:
            members["errors"] = self.errors
        return orjson.dumps(members)


def problem_of(error: Exception) -> Problem:
    """The problem that tells of `error`. What is not ours to explain becomes `INTERNAL`, without any of its text."""
    if isinstance(error, HttpProblem):
        return Problem(error.kind, error.detail, error.hint, error.errors, error.headers)
    if isinstance(error, HostholdError):
        for base, kind in _KINDS:
            if isinstance(error, base):
                return Problem(kind, error.detail, error.hint, _fields(error), _headers(error))
    if isinstance(error, IntegrityError):
        return Problem(
            CONFLICT,
            "Somebody else stored the same thing at the same moment; nothing was changed.",
            "Read again what is there, and repeat the request if it still makes sense.",
        )
    if isinstance(error, OperationalError):
        return Problem(
            UNAVAILABLE,
            "The database does not answer now; nothing was changed.",
            "Try again in a moment.",
            headers=((b"retry-after", b"2"),),
        )
    return Problem(
        INTERNAL,
        "The platform could not finish this request.",
        "Repeat it; if it fails again, tell the operator the identifier in `instance`.",
    )


def invalid_body(error: ValidationError) -> HttpProblem:
    """What to say of a body that its model refused. Values are never repeated: they may be secrets."""
    issues = error.errors(include_url=False, include_context=False, include_input=False)
    if issues[0]["type"] == "json_invalid":
        return HttpProblem(MALFORMED, f"The body cannot be read as JSON: {issues[0]['msg']}.")
    fields = [
        {"pointer": pointer(issue["loc"]), "detail": _sentence(issue["type"], issue["msg"])} for issue in issues[:100]
    ]
    return HttpProblem(INVALID_INPUT, "Some fields cannot be accepted; nothing was changed.", errors=fields)


def invalid_parameter(name: str, error: ValidationError) -> HttpProblem:
    """What to say of a query parameter that cannot be accepted."""
    return HttpProblem(
        INVALID_INPUT,
        f"The parameter {name!r} cannot be accepted.",
        errors=[{"parameter": name, "detail": error.errors(include_input=False)[0]["msg"]}],
    )


def pointer(location: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) to a place in a body."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def _sentence(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "is not a known field"
        case "missing":
            return "is required"
        case _:
            return message


def _fields(error: HostholdError) -> tuple[dict[str, str], ...]:
    found: Sequence[FieldError] = error.errors if isinstance(error, errors.InvalidInput) else ()
    return tuple({"pointer": field.pointer, "detail": field.detail} for field in found)


def _headers(error: HostholdError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, errors.NotAuthenticated):
        return ((b"www-authenticate", b'Bearer realm="hosthold"'),)
    if isinstance(error, errors.TooManyRequests):
        return ((b"retry-after", str(error.retry_after).encode()),)
    if isinstance(error, errors.Unavailable):
        return ((b"retry-after", b"5"),)
    return ()
