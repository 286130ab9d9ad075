"""From a method and a path to an operation: exact paths by one look-up, those with parameters by their pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hosthold.web.operation import Operation
from hosthold.web.problems import METHOD_NOT_ALLOWED, NOT_FOUND, HttpProblem


class Routes:
    """The table of all operations."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations = tuple(operations)
        self._exact: dict[str, dict[str, Operation]] = {}
        patterns: dict[str, dict[str, Operation]] = {}
        for each in self.operations:
            (patterns if each.path_parameters else self._exact).setdefault(each.path, {})[each.method] = each
        self._patterns = [
            (re.compile(re.sub(r"\{([a-z_]+)\}", r"(?P<\1>[^/]+)", path)), methods)
            for path, methods in patterns.items()
        ]

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """The operation, and the texts of the path's parameters. HEAD finds GET. Raises a problem if there is none."""
        methods, values = self._methods(path)
        found = methods.get("GET" if method == "HEAD" else method)
        if found is None:
            allowed = sorted({*methods, "HEAD"} if "GET" in methods else methods)
            raise HttpProblem(
                METHOD_NOT_ALLOWED,
                f"{path} does not know this method.",
                hint=f"Use {', '.join(allowed)}.",
                headers=((b"allow", ", ".join(allowed).encode()),),
            )
        return found, values

    def _methods(self, path: str) -> tuple[dict[str, Operation], dict[str, str]]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact, {}
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(path)
            if match is not None:
                return methods, match.groupdict()
        raise HttpProblem(NOT_FOUND, "There is nothing at this address.", hint="See /api/docs for what there is.")
