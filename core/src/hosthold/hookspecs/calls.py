"""The one hook that surrounds every driver call."""

from __future__ import annotations

from hosthold.hookspecs.markers import hookspec
from hosthold.types.call import DriverCall


@hookspec(firstresult=True)
def call_driver(call: DriverCall) -> object:
    """Surround a driver call: measure, record, limit. Only wrappers are accepted.

    Implement it with `@hookimpl(wrapper=True)`: `yield` runs the call and gives its result, or raises what it raised;
    return the result. A wrapper sees which method of which driver is called for whom, never the arguments.
    """
