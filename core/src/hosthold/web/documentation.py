"""The pages that explain the API: its description, the list of operations, and one page per kind of problem."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hosthold.settings import Settings
from hosthold.web.openapi import describe, parameters_of, problems_of, tag_of
from hosthold.web.operation import Operation
from hosthold.web.problems import METHOD_NOT_ALLOWED, NOT_FOUND, PATH, TYPES, HttpProblem
from hosthold.web.request import Answer, Request

_HERE = Path(__file__).parent / "templates"
HTML = b"text/html; charset=utf-8"
_CACHED = [(b"cache-control", b"public, max-age=300")]


class Documentation:
    """All pages, rendered once at start; none of them depends on who asks."""

    def __init__(self, settings: Settings, operations: Sequence[Operation]) -> None:
        pages = Environment(
            loader=FileSystemLoader(_HERE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        description = describe(operations, settings.public_url)
        nouns: dict[str, list[dict[str, Any]]] = {}
        for each in operations:
            nouns.setdefault(tag_of(each), []).append(_shown(each, description, settings.public_url))
        self._answers = {
            "/api/openapi.json": (orjson.dumps(description), b"application/json"),
            "/api/docs": (
                pages.get_template("docs.html").render(nouns=nouns, public_url=settings.public_url).encode(),
                HTML,
            ),
            "/api/docs.css": ((_HERE / "docs.css").read_bytes(), b"text/css; charset=utf-8"),
            PATH.rstrip("/"): (pages.get_template("problems.html").render(kinds=list(TYPES.values())).encode(), HTML),
        }
        for slug, kind in TYPES.items():
            self._answers[PATH + slug] = (pages.get_template("problems.html").render(kinds=[kind]).encode(), HTML)

    def answer(self, request: Request) -> Answer:
        """The page at this address. Raises a problem if there is none, and for what is not a reading method."""
        found = self._answers.get(request.path)
        if found is None:
            raise HttpProblem(NOT_FOUND, "There is nothing at this address.", hint="See /api/docs for what there is.")
        if request.method not in ("GET", "HEAD"):
            raise HttpProblem(METHOD_NOT_ALLOWED, "This can only be read.", headers=((b"allow", b"GET, HEAD"),))
        return Answer(200, found[0], found[1], list(_CACHED))


def _shown(operation: Operation, description: dict[str, Any], public_url: str) -> dict[str, Any]:
    schemas = description["components"]["schemas"]
    described = description["paths"][operation.path][operation.method.lower()]
    body = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    answer = described["responses"][str(operation.status)].get("content", {}).get("application/json", {}).get("schema")
    body_example = None if body is None else json.dumps(example(body, schemas), indent=2, ensure_ascii=False)
    return {
        "operation": operation,
        "parameters": parameters_of(operation),
        "fields": [] if body is None else _fields(body, schemas),
        "body": body_example,
        "answer": None if answer is None else json.dumps(example(answer, schemas), indent=2, ensure_ascii=False),
        "curl": _curl(operation, public_url, None if body is None else json.dumps(example(body, schemas))),
        "problems": problems_of(operation),
    }


def _curl(operation: Operation, public_url: str, body: str | None) -> str:
    words = ["curl", "-N"] if operation.streams else ["curl"]
    if operation.method != "GET":
        words += ["-X", operation.method]
    words += ["-H", '"Authorization: Bearer $HOSTHOLD_TOKEN"']
    if operation.method == "POST":
        words += ["-H", '"Idempotency-Key: $(uuidgen)"']
    if body is not None:
        words += ["-H", "'Content-Type: application/json'", "-d", f"'{body}'"]
    path = operation.path
    for parameter in operation.path_parameters:
        path = path.replace(f"{{{parameter.name}}}", f"${parameter.name.upper()}")
    return " ".join([*words, f'"{public_url}{path}"'])


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    resolved = _resolved(schema, schemas)
    required = resolved.get("required", [])
    return [
        {
            "name": name,
            "required": name in required,
            "kind": _kind(_resolved(each, schemas)),
            "description": each.get("description", ""),
        }
        for name, each in resolved.get("properties", {}).items()
    ]


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_kind(choice) if "$ref" not in choice else "object" for choice in schema["anyOf"])
        )
    return str(schema.get("format") or schema.get("type", "any"))


def example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value of a schema's shape: its own example or default if it has one."""
    schema = _resolved(schema, schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema and schema["default"] is not None:
        return schema["default"]
    for choice in schema.get("enum", ())[:1] or ([schema["const"]] if "const" in schema else []):
        return choice
    if "anyOf" in schema:
        return example(schema["anyOf"][0], schemas)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            return {name: example(each, schemas) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [example(schema["items"], schemas)] if isinstance(schema.get("items"), dict) else []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return "0192d7c1f0a97c3e8a51c2d4e6f80912" if "[0-9a-f]{32}" in schema.get("pattern", "") else "text"


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = {
        **schemas[reference.rpartition("/")[2]],
        **{k: v for k, v in schema.items() if k != "$ref"},
    }
    return found
