"""Hook specifications, one module per capability.

The prefix of a name is its discipline: `register_` is collected once at start, `contribute_` is merged into a desired
state, `check_` may veto before commit, `on_` is told after commit.
"""

from hosthold.hookspecs import calls, extension, provisioning
from hosthold.hookspecs.markers import PROJECT, hookimpl, hookspec

MODULES = (provisioning, extension, calls)

__all__ = ["MODULES", "PROJECT", "hookimpl", "hookspec"]
