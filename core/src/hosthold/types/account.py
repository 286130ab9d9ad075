"""Accounts: who owns things. A tree of provider, resellers and customers."""

from __future__ import annotations

from enum import StrEnum

from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier


class AccountKind(StrEnum):
    """Where an account stands in the tree."""

    provider = "provider"
    reseller = "reseller"
    customer = "customer"


class Account(Frozen):
    """An owner of sites; `path` is every account from the provider down to this one, each followed by a slash."""

    id: Identifier
    name: str
    kind: AccountKind
    path: str
