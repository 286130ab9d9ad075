"""The actor: who asks, and what they may do where."""

from __future__ import annotations

from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier


class Actor(Frozen):
    """Someone or something that acts, with the rights that count for this request.

    `account_path` is the part of the account tree that the actor reaches: the account's own path, so an object
    belongs to the actor exactly if its account's path starts with it.
    """

    label: str
    user_id: Identifier | None = None
    account_id: Identifier
    account_path: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Whether the actor holds `permission` (`noun:action`) in its part of the tree."""
        return "*" in self.permissions or permission in self.permissions

    def reaches(self, account_path: str) -> bool:
        """Whether objects of the account with this path belong to the actor's part of the tree."""
        return account_path.startswith(self.account_path)
