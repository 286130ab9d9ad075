"""Calling drivers: every call of a driver's method passes here, and only `DriverError` comes out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

from pluggy import HookCaller

from hosthold.drivers.base import Driver
from hosthold.errors import DriverError
from hosthold.types.call import DriverCall

forbid_driver_calls: ContextVar[bool] = ContextVar("forbid_driver_calls", default=False)
"""Set while a transaction is open: a driver may take long, and must not hold the database while it does."""

_subject: ContextVar[str] = ContextVar("subject", default="")


@contextmanager
def on_behalf_of(subject: str) -> Iterator[None]:
    """Let `call_driver` wrappers know for whom the drivers are called, such as `site:` and the site's identifier."""
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def refuse_inside_transaction(act: str) -> None:
    """Raise `RuntimeError` if a transaction is open: `act` is a mistake of the caller, not a failure of a driver."""
    if forbid_driver_calls.get():
        raise RuntimeError(f"{act} inside a transaction: commit first, a driver must never hold the database")


class _Surrounded:
    """Stands for a driver: an instance of its class to whoever asks, with `methods` in place of the driver's own."""

    def __init__(self, driver: Driver[Any], methods: dict[str, Callable[..., Any]]) -> None:
        self.__dict__.update(methods, _driver=driver)

    @property  # type: ignore[misc]  # so that isinstance sees the driver's class
    def __class__(self) -> Any:
        return type(self.__dict__["_driver"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_driver"], name)


def surround(driver: Driver[Any], kind: str, name: str, call_driver: HookCaller) -> Driver[Any]:
    """The driver, with `call_driver` wrappers around each call of a public method that comes from outside of it.

    Any exception that is not a `DriverError` becomes one that names driver and method.
    """
    methods = {
        method: _surrounded_method(getattr(driver, method), DriverCall(kind, name, method, ""), call_driver)
        for method, _ in inspect.getmembers(type(driver), inspect.isroutine)
        if not method.startswith("_")
    }
    return cast("Driver[Any]", _Surrounded(driver, methods))


def _surrounded_method(method: Callable[..., Any], template: DriverCall, call_driver: HookCaller) -> Callable[..., Any]:
    label = f"{template.kind} driver {template.driver}"

    def surrounded(*arguments: Any, **named: Any) -> Any:
        refuse_inside_transaction(f"{template.method} of the {label} was called")

        def innermost(call: DriverCall) -> Any:
            try:
                return method(*arguments, **named)
            except DriverError:
                raise
            except Exception as error:
                raise DriverError(
                    f"The {label} failed in {call.method}: {type(error).__name__}: {error}",
                    hint=f"This is a fault in the {label}; report it to its author.",
                ) from error

        call = DriverCall(template.kind, template.driver, template.method, _subject.get())
        if not call_driver.get_hookimpls():
            return innermost(call)
        try:
            return call_driver.call_extra([innermost], {"call": call})
        except DriverError:
            raise
        except Exception as error:
            raise DriverError(
                f"A wrapper around {call.method} of the {label} failed: {type(error).__name__}: {error}",
                hint="This is a fault in a plugin with a call_driver hook; its traceback names it.",
            ) from error

    return surrounded
