"""Installed plugins and drivers over HTTP. They belong to the provider."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.plugins.record import PluginRecord, PluginState
from hosthold.types.base import Frozen
from hosthold.web.operation import operation
from hosthold.web.paging import Page


class PluginView(Frozen):
    """A plugin or driver, the state in which it ended, and what a person can do about it."""

    name: str
    kind: Annotated[str, Field(description="`plugin`, or `driver:` and the driver's kind.")]
    distribution: str
    version: str
    state: PluginState
    message: str
    hint: str
    hooks: tuple[str, ...]

    @classmethod
    def of(cls, record: PluginRecord) -> PluginView:
        """The view of a record; tracebacks are for the command line."""
        return cls(
            name=record.name,
            kind=record.kind,
            distribution=record.distribution,
            version=record.version,
            state=record.state,
            message=record.message,
            hint=record.hint,
            hooks=record.hooks,
        )


@operation("GET", "/plugins", permission="plugin:read")
def list_plugins(uow: UnitOfWork) -> Page[PluginView]:
    """List all installed plugins and drivers with their states."""
    return Page([PluginView.of(record) for record in uow.registry.records], None)
