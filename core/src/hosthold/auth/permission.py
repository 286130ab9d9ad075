"""Permissions and the roles that bundle them. What plugins register is added at run time; there are no others."""

from __future__ import annotations

from collections.abc import Iterable

from hosthold.types.account import AccountKind

PERMISSIONS: dict[str, str] = {
    "account:read": "See accounts",
    "account:create": "Open accounts below one's own",
    "drift:read": "See what was changed by hand on nodes",
    "event:read": "Follow what happens",
    "log:read": "Read the logs of sites",
    "metrics:read": "Read the platform's metrics and health in detail",
    "node:read": "See nodes",
    "node:adopt": "Keep what was edited by hand of a node's own files",
    "node:repair": "Overwrite what was edited by hand of a node's own files",
    "operation:read": "See operations and what became of them",
    "package:read": "See packages",
    "package:create": "Make packages to sell",
    "plugin:read": "See the installed plugins and their states",
    "site:read": "See sites",
    "site:adopt": "Keep what was edited by hand of sites' configuration on their nodes",
    "site:create": "Declare sites",
    "site:update": "Change sites",
    "site:suspend": "Suspend and resume sites",
    "site:restart": "Restart the processes of sites",
    "site:delete": "Delete sites",
    "token:read": "See API tokens",
    "token:create": "Make API tokens",
    "token:delete": "Revoke API tokens",
}
"""Every permission of the core, with what it allows."""

_READ = frozenset(name for name in PERMISSIONS if name.endswith(":read"))
_SITES = frozenset(name for name in PERMISSIONS if name.startswith("site:"))
_ALL = frozenset({"*"})

ROLES: dict[str, frozenset[str]] = {
    "owner": _ALL,
    "admin": _ALL,
    "billing": frozenset({"account:read", "package:read", "site:read", "event:read"}),
    "technical": _READ | _SITES - {"site:delete"},
    "support": _READ | {"site:suspend", "site:restart"},
    "read-only": _READ,
}
"""The built-in roles. `*` stands for every permission that the kind of account can have."""

_PROVIDER_ONLY = frozenset(
    {"drift:read", "metrics:read", "node:read", "node:adopt", "node:repair", "plugin:read", "site:adopt"}
)
_WITHHELD: dict[str, frozenset[str]] = {
    AccountKind.provider: frozenset(),
    AccountKind.reseller: _PROVIDER_ONLY,
    AccountKind.customer: _PROVIDER_ONLY | {"account:create", "package:create"},
}


def effective(granted: Iterable[str], account_kind: str, known: Iterable[str]) -> frozenset[str]:
    """What `granted` amounts to in an account of this kind; `known` are the permissions of plugins.

    Nodes and plugins belong to the provider, and a customer has nobody below: such permissions are nobody else's,
    whatever a role or a token says.
    """
    every = frozenset(PERMISSIONS) | frozenset(known)
    names = frozenset(granted)
    return (every if "*" in names else names & every) - _WITHHELD[account_kind]
