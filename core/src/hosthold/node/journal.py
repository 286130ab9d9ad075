"""The journal: what must be done to undo an apply, durable before the apply begins, carried out backwards.

Every entry may be undone twice, and also if its act never happened: a crash at any point is recovered by undoing all.
"""

from __future__ import annotations

import logging
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from hosthold.node.accounts import AccountFiles
from hosthold.node.files import Tree
from hosthold.node.leftovers import remove_leftovers
from hosthold.node.state import State
from hosthold.types.base import Frozen
from hosthold.types.identifier import new_identifier
from hosthold.types.node import Owner
from hosthold.types.resource import Account, Quota, Service

_log = logging.getLogger(__name__)


class Created(Frozen):
    """Nothing was at the path; until it is in place it has the temporary name."""

    kind: Literal["created"] = "created"
    path: str
    temporary: str = ""


class Replaced(Frozen):
    """What was at the path is kept at `kept` before it goes or is replaced."""

    kind: Literal["replaced"] = "replaced"
    path: str
    kept: str
    temporary: str = ""


class Attributes(Frozen):
    """The folder's owner, mode and quota as they were."""

    kind: Literal["attributes"] = "attributes"
    path: str
    owner: Owner
    mode: int
    quota: Quota | None = None


class CreatedAtHome(Frozen):
    """Nothing was at the path inside a home."""

    kind: Literal["created_at_home"] = "created_at_home"
    path: str
    owner: Owner


class AccountWritten(Frozen):
    """The account as it was, if it was."""

    kind: Literal["account"] = "account"
    name: str
    previous: Account | None


class ServiceChanged(Frozen):
    """The service as it was, if it was. After a crash, attaching the supervisor to what is owned does the same."""

    kind: Literal["service"] = "service"
    name: str
    previous: Service | None


class Notified(Frozen):
    """The service may have read files that are undone since: it must read them again."""

    kind: Literal["notified"] = "notified"
    name: str


Entry = Annotated[
    Created | Replaced | Attributes | CreatedAtHome | AccountWritten | ServiceChanged | Notified,
    Field(discriminator="kind"),
]
_ENTRIES: TypeAdapter[list[Entry]] = TypeAdapter(list[Entry])


class Journal:
    """One apply's undo. `identifier` names its folders of kept things and its temporary files."""

    def __init__(self, state: State, identifier: str = "") -> None:
        self._state = state
        self.identifier = identifier or new_identifier()
        self.entries: list[Entry] = []

    def temporary(self) -> str:
        """The name under which the next entry's file or link is written, in its own folder."""
        return f".{len(self.entries)}.{self.identifier}.hosthold"

    def kept(self, tree: Tree, path: str) -> str:
        """The path at which what is at `path` is kept until the journal closes, on the same file system."""
        return f"{self.trash(tree.root_of(path))}/{len(self.entries)}"

    def trash(self, root: str) -> str:
        """The folder of kept things of this journal below one of the node's folders."""
        return f"{root}/trash/{self.identifier}"

    def open(self) -> None:
        """Make the undo durable; from now on the acts may happen."""
        self._state.open_journal(self.identifier, _ENTRIES.dump_json(self.entries).decode())

    def undo(self, tree: Tree, accounts: AccountFiles) -> None:
        """Put files, folders, links and accounts back as they were, then forget the journal."""
        folders = set()
        added = {entry.name for entry in self.entries if isinstance(entry, AccountWritten) and entry.previous is None}
        for entry in reversed(self.entries):
            match entry:
                case Created():
                    _remove_temporary(tree, entry.path, entry.temporary)
                    tree.remove(entry.path)
                    folders.add(entry.path.rpartition("/")[0])
                case Replaced():
                    _remove_temporary(tree, entry.path, entry.temporary)
                    if tree.exists(entry.kept):
                        tree.remove(entry.path)
                        tree.move(entry.kept, entry.path)
                        folders.add(entry.path.rpartition("/")[0])
                case Attributes():
                    if tree.exists(entry.path):
                        tree.set_attributes(entry.path, entry.owner, entry.mode)
                        if entry.quota is not None:
                            tree.set_quota(entry.path, entry.quota)
                case CreatedAtHome():
                    tree.remove_at_home(entry.path, entry.owner)
                case AccountWritten(previous=Account() as previous):
                    accounts.write([previous])
                case _:
                    pass
        if added:
            accounts.remove(added)
        for folder in sorted(folders):
            tree.sync(folder)
        self.discard(tree)
        with self._state.transaction():
            self._state.close_journal(self.identifier)

    def discard(self, tree: Tree) -> None:
        """Remove what was kept for the undo, and what a removed user left elsewhere.

        What cannot be removed waits for the next journal, and hinders nobody.
        """
        for entry in self.entries:
            if isinstance(entry, AccountWritten) and entry.previous and self._state.is_retired(entry.previous.uid):
                remove_leftovers(entry.previous.uid)
        for root in (tree.layout.state, tree.layout.run):
            try:
                tree.remove(f"{root}/trash")
            except OSError as error:
                _log.warning("could not remove %s/trash: %s", root, error)


def recover(state: State, tree: Tree, accounts: AccountFiles) -> set[str]:
    """Undo what a crash cut off, finish what was committed; returns the services that must read their files again."""
    notified = set()
    for identifier, is_committed, entries in state.journals():
        journal = Journal(state, identifier)
        journal.entries = _ENTRIES.validate_json(entries)
        if is_committed:
            journal.discard(tree)
            with state.transaction():
                state.close_journal(identifier)
        else:
            journal.undo(tree, accounts)
            notified |= {entry.name for entry in journal.entries if isinstance(entry, Notified)}
    accounts.remove_leftovers()
    return notified


def _remove_temporary(tree: Tree, path: str, temporary: str) -> None:
    if temporary:
        tree.remove(f"{path.rpartition('/')[0]}/{temporary}")
