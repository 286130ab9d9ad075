"""Operations: a handler, and all that HTTP needs to know of it. Everything is worked out once, when it is declared."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter

from hosthold.auth.identity import Identity
from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.actor import Actor
from hosthold.web.etag import IfMatch
from hosthold.web.paging import Page, PageRequest
from hosthold.web.platform import Platform

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
PREFIX = "/api/v1"
_PARAMETER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class LastEventId:
    """The last event that a listener saw, from the header of that name; `None` if it begins now."""

    sequence: int | None


_INJECTED: dict[Any, str] = {
    Actor: "actor",
    UnitOfWork: "uow",
    Platform: "platform",
    PageRequest: "page",
    IfMatch: "if_match",
    Identity: "identity",
    LastEventId: "last_event_id",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path or in the query: its name, how it is validated, and its default if it has one."""

    name: str
    adapter: TypeAdapter[Any]
    default: Any = None
    description: str = ""


@dataclass(frozen=True)
class Operation:
    """One thing that can be done over HTTP. It can be called like the handler it was made from."""

    method: Method
    path: str
    handler: Callable[..., Any]
    permission: str | None
    status: int
    location: str | None
    streams: bool
    injected: dict[str, str] = field(default_factory=dict)
    """Names of the handler's arguments, by what is injected into them."""
    path_parameters: tuple[Parameter, ...] = ()
    query_parameters: tuple[Parameter, ...] = ()
    body: tuple[str, TypeAdapter[Any], type[BaseModel]] | None = None
    """The argument that takes the body, the body's validator, and its model."""
    result: type[BaseModel] | None = None
    items: TypeAdapter[Any] | None = None
    """Renders a page's items; set exactly if the handler returns a `Page` of `result`."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.handler(*arguments, **named)

    @property
    def name(self) -> str:
        """The operation's name: its handler's."""
        return self.handler.__name__

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").split("\n", 1)[0]

    @property
    def description(self) -> str:
        """The rest of the handler's docstring."""
        return (inspect.getdoc(self.handler) or "").partition("\n")[2].strip()

    @property
    def needs_transaction(self) -> bool:
        """Whether a unit of work is opened for it."""
        return "uow" in self.injected

    @property
    def has_generation(self) -> bool:
        """Whether what it returns has a generation, which becomes the answer's `ETag`."""
        return self.items is None and self.result is not None and "generation" in self.result.model_fields


def operation(
    method: Method,
    path: str,
    *,
    permission: str | None = None,
    public: bool = False,
    status: int = 200,
    location: str | None = None,
    streams: bool = False,
) -> Callable[[Callable[..., Any]], Operation]:
    """Declare a handler as an operation at `/api/v1` and `path`.

    The handler's arguments are filled by their annotations: `Actor`, `Identity`, `UnitOfWork` (read-only for GET),
    `PageRequest`, `IfMatch`; `Platform` for an `async def` that opens its own transactions, because it has to wait
    between them; a pydantic model takes the body; names in braces come from the path, all others, which need a default,
    from the query. `location` is the path of what was made, with the result's `id` in braces. Raises `TypeError` where
    that cannot work, and where neither a permission is named nor `public` said.
    """

    def declare(handler: Callable[..., Any]) -> Operation:
        where = f"{method} {path} ({handler.__name__})"
        if (permission is None) is not public:
            raise TypeError(f"{where} must name one permission, or say public=True")
        hints = get_type_hints(handler, include_extras=True)
        returned = hints.pop("return", type(None))
        named = set(_PARAMETER.findall(path))
        injected: dict[str, str] = {}
        path_parameters, query_parameters = [], []
        body = None
        for name, parameter in inspect.signature(handler).parameters.items():
            annotation = hints[name]
            if annotation in _INJECTED:
                injected[_INJECTED[annotation]] = name
            elif name in named:
                path_parameters.append(Parameter(name, TypeAdapter(annotation)))
            elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
                body = (name, TypeAdapter(annotation), annotation)
            elif parameter.default is not inspect.Parameter.empty:
                query_parameters.append(Parameter(name, TypeAdapter(annotation), parameter.default))
            else:
                raise TypeError(f"{where}: the query parameter {name!r} needs a default")
        if named != {parameter.name for parameter in path_parameters}:
            raise TypeError(f"{where}: path and arguments do not name the same parameters")
        if method != "GET" and "uow" not in injected:
            raise TypeError(f"{where}: what changes something needs a unit of work, so that keys and rollback hold")
        if inspect.iscoroutinefunction(handler) is ("uow" in injected):
            raise TypeError(f"{where} must either take a unit of work, or be an async function that opens its own")
        if (body is not None) != (method in ("PATCH", "PUT")) and method != "POST":
            raise TypeError(f"{where}: PATCH and PUT take a body, GET and DELETE take none")
        result, items = _result(where, returned)
        return Operation(
            method=method, path=PREFIX + path, handler=handler, permission=permission, status=status, streams=streams,
            location=None if location is None else PREFIX + location, injected=injected,
            path_parameters=tuple(path_parameters), query_parameters=tuple(query_parameters), body=body, result=result,
            items=items,
        )  # fmt: skip

    return declare


def operations_of(modules: Sequence[ModuleType]) -> tuple[Operation, ...]:
    """All operations of these modules, in their order. Raises `TypeError` if two have the same method and path."""
    found = tuple(value for module in modules for value in vars(module).values() if isinstance(value, Operation))
    seen: set[tuple[str, str]] = set()
    for each in found:
        key = (each.method, _PARAMETER.sub("{}", each.path))
        if key in seen:
            raise TypeError(f"two operations are declared as {each.method} {each.path}")
        seen.add(key)
    return found


def _result(where: str, returned: Any) -> tuple[type[BaseModel] | None, TypeAdapter[Any] | None]:
    if get_origin(returned) is Page:
        model: Any = get_args(returned)[0]
        return model, TypeAdapter(list[model])
    if returned is type(None) or get_origin(returned) is AsyncGenerator:
        return None, None
    if not (isinstance(returned, type) and issubclass(returned, BaseModel)):
        raise TypeError(f"{where} must return a model, a Page of models, or nothing")
    return returned, None
