"""The description of the API (OpenAPI 3.1), generated from the operations; nothing in it is written by hand twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from hosthold.web.operation import PREFIX, Operation, Parameter
from hosthold.web.paging import DEFAULT_LIMIT, MAX_LIMIT
from hosthold.web.problems import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    CONFLICT,
    CROSS_SITE,
    DRIVER_FAILED,
    INTERNAL,
    INVALID_INPUT,
    MALFORMED,
    NOT_AUTHENTICATED,
    NOT_FOUND,
    NOT_PERMITTED,
    PRECONDITION_FAILED,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    UNSUPPORTED_MEDIA_TYPE,
    WRONG_HOST,
    ProblemType,
)

_REF = "#/components/schemas/{model}"
_STRING: dict[str, Any] = {"type": "string"}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457). `type` leads to a page that explains this kind of problem.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {**_STRING, "format": "uri-reference", "examples": ["/api/problems/invalid-input"]},
        "title": _STRING,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {**_STRING, "description": "What happened, and what was left unchanged."},
        "instance": {**_STRING, "format": "uri", "description": "Names this request in the platform's log."},
        "hint": {**_STRING, "description": "What you can do about it."},
        "errors": {"type": "array", "items": {
            "type": "object", "required": ["detail"], "additionalProperties": False,
            "properties": {
                "detail": _STRING,
                "pointer": {**_STRING, "description": "A JSON pointer (RFC 6901) into the body."},
                "parameter": {**_STRING, "description": "The name of a query parameter or header."},
            },
        }},
    },
}  # fmt: skip
_HEADERS: dict[str, Any] = {
    "RequestId": {"description": "Names this request in the platform's log.", "schema": _STRING},
    "ETag": {"description": "The version of the declaration; send it as `If-Match` with an edit.", "schema": _STRING},
    "Location": {"description": "Where what was made is found.", "schema": {**_STRING, "format": "uri-reference"}},
    "Link": {"description": 'The next page, as `<…>; rel="next"`; absent on the last one.', "schema": _STRING},
    "Replayed": {
        "description": "`true` if this is the stored answer to an earlier request with the same key.",
        "schema": {**_STRING, "enum": ["true"]},
    },
}
_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "Any text that names this request, such as a UUID. Repeating the request with the same key "
                   "within 48 hours gives the first answer again, and acts once. Another body with it is refused.",
    "schema": {**_STRING, "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}  # fmt: skip
_IF_MATCH: dict[str, Any] = {
    "name": "If-Match", "in": "header", "required": False,
    "description": "The `ETag` of the version that you read; refused with 412 if it was changed since.",
    "schema": {**_STRING, "pattern": '^("[0-9]{1,18}"|\\*)$'},
}  # fmt: skip
_PAGE: list[dict[str, Any]] = [
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "description": "How many items a page has at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    },
    {
        "name": "cursor",
        "in": "query",
        "required": False,
        "description": "Where the page begins: `next_cursor` of the page before. Opaque.",
        "schema": _STRING,
    },
]
_INTRODUCTION = (
    "Everything that the panel does, for programs. Send `Authorization: Bearer hh_…`. What is declared comes about "
    "in the background: the answer is 202 with a `phase`; follow it with `GET /api/v1/events`."
)


def describe(operations: Sequence[Operation], public_url: str) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    references, definitions = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, references)
    tags = {tag_of(each) for each in operations}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hosthold",
            "version": version("hosthold"),
            "description": _INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": public_url}],
        "tags": [{"name": tag} for tag in sorted(tags)],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **definitions},
            "headers": _HEADERS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "An API token, `hh_…`."},
            },
        },
    }


def tag_of(operation: Operation) -> str:
    """The noun that an operation is about."""
    return operation.path.removeprefix(PREFIX + "/").partition("/")[0]


def problems_of(operation: Operation) -> tuple[ProblemType, ...]:
    """The problems that an operation can answer with."""
    kinds = [INVALID_INPUT, TOO_MANY_REQUESTS, INTERNAL, UNAVAILABLE, WRONG_HOST]
    if operation.permission is not None:
        kinds += [NOT_AUTHENTICATED, NOT_PERMITTED]
    if operation.path_parameters:
        kinds.append(NOT_FOUND)
    if operation.method != "GET":
        kinds += [CONFLICT, CROSS_SITE, BODY_TOO_LARGE, BODY_TIMEOUT]
    if operation.body is not None:
        kinds += [MALFORMED, UNSUPPORTED_MEDIA_TYPE]
    if "if_match" in operation.injected:
        kinds.append(PRECONDITION_FAILED)
    if "platform" in operation.injected and not operation.streams:
        kinds.append(DRIVER_FAILED)
    return tuple(sorted(kinds, key=lambda kind: kind.status))


def parameters_of(operation: Operation) -> list[dict[str, Any]]:
    """The parameters of an operation, as OpenAPI describes them."""
    found = [_parameter(each, "path") for each in operation.path_parameters]
    found += [_parameter(each, "query") for each in operation.query_parameters]
    if "page" in operation.injected:
        found += _PAGE
    if operation.method == "POST":
        found.append(_IDEMPOTENCY_KEY)
    if "if_match" in operation.injected:
        found.append(_IF_MATCH)
    if operation.streams:
        found.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "schema": {**_STRING, "pattern": "^[0-9]{1,18}$"},
                "description": "The `id` of the last event that was seen: the stream goes on after it.",
            }
        )
    return found


def _operation(operation: Operation, references: dict[tuple[type[BaseModel], str], dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [tag_of(operation)],
        "summary": operation.summary,
        "parameters": parameters_of(operation),
        "responses": {str(operation.status): _success(operation, references), **_problems(operation)},
        "security": [] if operation.permission is None else [{"token": []}],
    }
    text = operation.description
    if operation.permission is not None:
        text = f"{text}\n\nNeeds the permission `{operation.permission}`.".strip()
        described["x-permission"] = operation.permission
    described["description"] = text
    if operation.body is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": references[operation.body[2], "validation"]}},
        }
    return described


def _success(operation: Operation, references: dict[tuple[type[BaseModel], str], dict[str, Any]]) -> dict[str, Any]:
    headers = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
    if operation.has_generation:
        headers["ETag"] = {"$ref": "#/components/headers/ETag"}
    if operation.location is not None:
        headers["Location"] = {"$ref": "#/components/headers/Location"}
    if operation.items is not None:
        headers["Link"] = {"$ref": "#/components/headers/Link"}
    if operation.method == "POST":
        headers["Idempotency-Replayed"] = {"$ref": "#/components/headers/Replayed"}
    answer: dict[str, Any] = {"description": _MEANINGS[operation.status], "headers": headers}
    if operation.streams:
        answer["content"] = {"text/event-stream": {"schema": _STRING}}
    elif operation.result is not None:
        schema = references[operation.result, "serialization"]
        if operation.items is not None:
            schema = {
                "type": "object", "required": ["items", "next_cursor"],
                "properties": {
                    "items": {"type": "array", "items": schema}, "next_cursor": {"type": ["string", "null"]},
                },
            }  # fmt: skip
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


_MEANINGS = {
    200: "As asked",
    201: "Made",
    202: "Declared; it is brought about in the background",
    204: "Done; there is no body",
}


def _problems(operation: Operation) -> dict[str, Any]:
    by_status: dict[int, list[ProblemType]] = {}
    for kind in problems_of(operation):
        by_status.setdefault(kind.status, []).append(kind)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        str(status): {"description": "; ".join(f"{kind.title} (`{kind.slug}`)" for kind in kinds), "content": content}
        for status, kinds in by_status.items()
    }


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    schema = parameter.adapter.json_schema()
    if "anyOf" in schema and {"type": "null"} in schema["anyOf"]:  # absent is how null is said in a query
        (schema,) = [choice for choice in schema["anyOf"] if choice != {"type": "null"}]
    description = schema.pop("description", "")
    described = {"name": parameter.name, "in": place, "required": place == "path", "schema": schema}
    return {**described, "description": description} if description else described


def _schemas(
    operations: Iterable[Operation],
) -> tuple[dict[tuple[type[BaseModel], str], dict[str, Any]], dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for each in operations:
        if each.body is not None:
            wanted[each.body[2], "validation"] = None
        if each.result is not None:
            wanted[each.result, "serialization"] = None
    references, document = models_json_schema(list(wanted), ref_template=_REF)
    return dict(references), document.get("$defs", {})  # type: ignore[arg-type]
