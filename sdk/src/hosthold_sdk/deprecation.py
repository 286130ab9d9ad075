"""Names that are on their way out: they still work, and say where they are used and what to use instead."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Deprecated:
    """A public name that another one replaces, and the version of the SDK in which it will be gone."""

    replacement: str
    gone_in: str


def deprecated_names(module: str, names: Mapping[str, Deprecated], members: Mapping[str, Any]) -> Callable[[str], Any]:
    """A module's `__getattr__`: the replacement, with a `DeprecationWarning` at the line that asks for the old name."""

    def getattribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        old = names[name]
        warnings.warn(
            f"{module}.{name} is called {old.replacement} now, and is gone in {module} {old.gone_in}.",
            DeprecationWarning,
            stacklevel=2,
        )
        return members[old.replacement]

    return getattribute
