"""Running one operation for one request: who asks, what they sent, one transaction, and the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from hosthold.auth.identity import Identity
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.errors import NotAuthenticated, NotFound, NotPermitted
from hosthold.web import csrf, idempotency
from hosthold.web.etag import etag, if_match
from hosthold.web.operation import LastEventId, Operation
from hosthold.web.paging import Page, encode_cursor, next_link, page_request
from hosthold.web.platform import Platform
from hosthold.web.problems import INVALID_INPUT, UNSUPPORTED_MEDIA_TYPE, HttpProblem, invalid_body, invalid_parameter
from hosthold.web.request import Answer, Header, Request


async def perform(operation: Operation, platform: Platform, request: Request, path_values: dict[str, str]) -> Answer:
    """Run the operation and commit what it did; then the answer. Raises what becomes a problem."""
    identity = await authorised(operation, platform, request)
    query = request.query()
    plain_query = dict(query)
    arguments = _arguments(operation, platform, request, identity, path_values, query)
    if operation.method == "GET":
        if not operation.needs_transaction:
            return _answer(operation, request, plain_query, await operation.handler(**arguments))
        read = operation.injected["uow"]
        return await platform.execution.read(
            lambda uow: _answer(operation, request, plain_query, operation.handler(**arguments, **{read: uow}))
        )
    body = await request.body()
    _take_body(operation, request, body, arguments)
    key = idempotency.key_of(request) if operation.method == "POST" else None
    write = operation.injected["uow"]

    def work(uow: UnitOfWork) -> Answer:
        if key is None or identity is None:
            return _answer(operation, request, plain_query, operation.handler(**arguments, **{write: uow}))

        def act() -> tuple[Answer, bytes]:
            result = operation.handler(**arguments, **{write: uow})
            answer = _answer(operation, request, plain_query, result)
            without = getattr(result, "without_secrets", None)
            return answer, answer.body if without is None else _answer(operation, request, plain_query, without()).body

        return idempotency.once(uow, identity.actor, request, key, body, act)

    return await platform.execution.write(work)


async def stream(
    operation: Operation, platform: Platform, request: Request, path_values: dict[str, str]
) -> AsyncGenerator[bytes, None]:
    """Open the stream of an operation that streams. Raises what becomes a problem, before anything was sent."""
    identity = await authorised(operation, platform, request)
    arguments = _arguments(operation, platform, request, identity, path_values, request.query())
    opened: AsyncGenerator[bytes, None] = await operation.handler(**arguments)
    return opened


async def authorised(operation: Operation, platform: Platform, request: Request) -> Identity | None:
    """Who asks, if they may; `None` for a public operation. Raises `NotAuthenticated`, `NotPermitted`, or a problem."""
    if operation.permission is None:
        return None
    identity = await platform.authenticator.identify(request)
    if identity is None:
        raise NotAuthenticated(
            "This needs an API token or a session, and none that is valid was sent.",
            hint="Send `Authorization: Bearer hh_…`; make a token in the panel or with `hosthold token`.",
        )
    if identity.csrf_token is not None and not request.is_safe:
        csrf.require_own_origin(request, platform.settings.public_url)
        csrf.require_token(request.text(csrf.HEADER), identity.csrf_token)
    if not identity.actor.may(operation.permission):
        raise NotPermitted(
            f"This needs the permission {operation.permission}, which you do not have.",
            hint="Ask who manages the account for a role or a token that has it.",
        )
    return identity


def _arguments(
    operation: Operation,
    platform: Platform,
    request: Request,
    identity: Identity | None,
    path_values: dict[str, str],
    query: dict[str, str],
) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for parameter in operation.path_parameters:
        try:
            arguments[parameter.name] = parameter.adapter.validate_strings(path_values[parameter.name])
        except ValidationError:
            raise NotFound("There is nothing at this address.", hint="Check the identifier.") from None
    for what, name in operation.injected.items():
        if what == "page":
            arguments[name] = page_request(query)
        elif what == "if_match":
            arguments[name] = if_match(request.text(b"if-match"))
        elif what == "platform":
            arguments[name] = platform
        elif what == "last_event_id":
            arguments[name] = _last_event_id(request.text(b"last-event-id"))
        elif identity is not None and what != "uow":
            arguments[name] = identity.actor if what == "actor" else identity
    for parameter in operation.query_parameters:
        if parameter.name not in query:
            arguments[parameter.name] = parameter.default
            continue
        try:
            arguments[parameter.name] = parameter.adapter.validate_strings(query.pop(parameter.name))
        except ValidationError as error:
            raise invalid_parameter(parameter.name, error) from None
    if query:
        raise HttpProblem(
            INVALID_INPUT,
            "There are parameters that this address does not know.",
            errors=[{"parameter": name[:100], "detail": "is not a known parameter"} for name in query],
        )
    return arguments


def _last_event_id(value: str) -> LastEventId:
    """What an event source says that it saw; another server's identifiers mean nothing here."""
    return LastEventId(int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None)


def _take_body(operation: Operation, request: Request, body: bytes, arguments: dict[str, Any]) -> None:
    if operation.body is None:
        if body.strip() not in (b"", b"{}"):
            raise HttpProblem(INVALID_INPUT, "This takes no body; nothing was changed.")
        return
    media_type = request.text(b"content-type").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HttpProblem(UNSUPPORTED_MEDIA_TYPE, "The body must be sent as application/json; nothing was changed.")
    name, adapter, _ = operation.body
    try:
        arguments[name] = adapter.validate_json(body, strict=True)
    except ValidationError as error:
        raise invalid_body(error) from None
    if b"\\u0000" in body:  # no database stores it, and no text needs it
        raise HttpProblem(INVALID_INPUT, "Text must not contain the character U+0000; nothing was changed.")


def _answer(operation: Operation, request: Request, query: dict[str, str], result: Any) -> Answer:
    headers: list[Header] = []
    if operation.items is not None:
        return _page(operation.items, request, query, result)
    if result is None:
        return Answer(204)
    assert isinstance(result, BaseModel)
    if operation.has_generation:
        headers.append((b"etag", etag(result.generation)))  # type: ignore[attr-defined]
    if operation.location is not None:
        headers.append((b"location", operation.location.format(id=result.id).encode()))  # type: ignore[attr-defined]
    return Answer(operation.status, result.__pydantic_serializer__.to_json(result), headers=headers)


def _page(items: Any, request: Request, query: dict[str, str], page: Page[Any]) -> Answer:
    is_ready = not page.items or isinstance(page.items[0], dict)
    rendered = orjson.dumps(page.items) if is_ready else items.dump_json(page.items)
    if page.next_key is None:
        return Answer(200, b'{"items":' + rendered + b',"next_cursor":null}')
    cursor = encode_cursor(page.next_key)
    link = next_link(request.path, query, cursor).encode()
    return Answer(
        200, b'{"items":' + rendered + b',"next_cursor":"' + cursor.encode() + b'"}', headers=[(b"link", link)]
    )
