"""Which services failed, and with which last words."""

from __future__ import annotations

import time
from collections.abc import Callable

from hosthold_sdk import Service
from hosthold_sdk.process import shortened

from .journal import words_of
from .manager import Manager, UnitState
from .units import PATTERNS, Units, name_in

_FRESH_SECONDS = 0.2
"""An order of a thousand sites asks a thousand times."""


class Failures:
    """The failed services of one node. A failure is over when the service has run for a while, or is told anew."""

    def __init__(self, manager: Manager, service: Callable[[str], Service | None], settle: float) -> None:
        self._manager = manager
        self._service = service
        self._settle = settle
        self._words: dict[str, str] = {}
        self._runs: dict[str, str] = {}
        """The run of each failed unit whose words are known already."""
        self._looked = float("-inf")

    def words(self) -> dict[str, str]:
        """The last words of what failed, by the names of services."""
        if time.monotonic() - self._looked > _FRESH_SECONDS:
            failed = self._manager.find(("failed", "auto-restart"), PATTERNS)
            names = {name_in(unit) for unit in failed}
            for name in [name for name in self._words if name not in names and not self._is_on_trial(name)]:
                del self._words[name]
            for unit in sorted(failed.values()):
                self._note(unit)
            self._looked = time.monotonic()
        return {name: words for name, words in self._words.items() if self._service(name) is not None}

    def forget(self, name: str) -> None:
        """Let the service be as if it had never failed."""
        self._words.pop(name, None)
        self._manager.forget_failure(*Units.of(name)[:3])
        self._looked = float("-inf")

    def cause(self, unit: UnitState, service: Service) -> str:
        """Why a unit's program ended."""
        words = self.output(unit) if service.log is None else ""
        if words.strip():
            return shortened(words)
        status = self._manager.property(unit.path, "Service", "ExecMainStatus")
        return f"it ended with status {status}" + ("" if service.log is None else f"; see {service.log}")

    def output(self, unit: UnitState) -> str:
        """What the present or last run of a unit's program wrote, where its output is not written to a file."""
        return words_of(self._run_of(unit))

    def _run_of(self, unit: UnitState) -> str:
        return bytes(self._manager.property(unit.path, "Unit", "InvocationID")).hex()

    def _note(self, unit: UnitState) -> None:
        name = name_in(unit.name)
        service = self._service(name)
        if service is None:
            return
        if unit.name.endswith(".socket"):
            self._words.setdefault(name, "it ended at once, again and again")
            return
        run = self._run_of(unit)
        if self._runs.get(unit.name) != run or name not in self._words:
            self._words[name], self._runs[unit.name] = self.cause(unit, service), run

    def _is_on_trial(self, name: str) -> bool:
        """Whether a service that failed before runs again, and not for long enough to be trusted."""
        for unit in self._manager.states(Units.of(name)[1:3]).values():
            if unit.active == "activating":
                return True
            if unit.active == "active":
                since = self._manager.property(unit.path, "Unit", "ActiveEnterTimestampMonotonic")
                return bool(time.monotonic() - since / 1e6 < self._settle)
        return False
