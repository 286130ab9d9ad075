"""What a noun must offer so that the loop can reconcile it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.resource import Desired, OrderReply, Outcome
from hosthold.types.site import Phase

T = TypeVar("T")


@dataclass(frozen=True)
class Claim(Generic[T]):
    """One row that this worker alone may settle while its lease lasts, as it was when it was read."""

    id: str
    subject: str
    generation: int
    fence: int
    attempts: int
    deleting: bool
    was_settled: bool
    """Whether the declaration was fulfilled when it was claimed: this is a look for drift."""
    node: str
    """The node on which the desired state is applied."""
    value: T
    """The frozen snapshot from which the desired state is rendered."""


class NodeClient(Protocol):
    """Reaches nodes. Never used while a transaction is open."""

    def send(self, order: Any) -> OrderReply:
        """Have a node carry out an order; raises `Unavailable` if it does not answer in time.

        Raises `Interrupted` if it was told to give up meanwhile.
        """

    def give_up(self) -> None:
        """Let nobody wait much longer for an answer, now and from now on: the process is about to end."""


class Kind(Protocol[T]):
    """A noun with the `Reconciled` columns, and how the loop treats it."""

    name: str
    model: Any
    """The mapped class."""

    def read(self, uow: UnitOfWork, row: Any) -> tuple[str, str, T]:
        """A row's subject, its node's name, and the snapshot to render from.

        Raises `ValueError` if what is stored breaks a rule of today; that row alone fails then.
        """

    def render(self, claim: Claim[T]) -> Desired:
        """The desired state of a claim; runs outside of any transaction and may raise `HostholdError`."""

    def settled(self, uow: UnitOfWork, row: Any, claim: Claim[T], outcome: Outcome, previous: Phase) -> None:
        """Add what belongs to the row's new phase, such as events; `previous` is the phase before the claim."""

    def removed(self, uow: UnitOfWork, row: Any, claim: Claim[T]) -> None:
        """Nothing of a deleted row is left in the world: remove the row and what belongs to it."""
