"""Periodic jobs of the core and of plugins: each at its own pace, by one worker at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from hosthold.db.unit_of_work import Database
from hosthold.plugins.manager import PluginRegistry
from hosthold.types.extension import Job
from hosthold.work.failure import describe
from hosthold.work.lease import LEASE_MS, held, kept, take
from hosthold.work.models import ScheduleRow

log = structlog.get_logger()


class Schedule:
    """All periodic jobs; those of a plugin are named `<plugin>:<job>`, the core's `core:<job>`.

    A job that was missed runs once, not as often as it was missed. A new job runs at once.
    """

    def __init__(self, database: Database, registry: PluginRegistry, core_jobs: Sequence[Job]) -> None:
        self._database = database
        self._jobs = {f"core:{job.name}": job for job in core_jobs}
        self._jobs |= {f"{plugin}:{job.name}": job for plugin, job in registry.declarations("register_jobs")}

    def run(self) -> int:
        """Run every job that is due, and say how many ran."""
        ran = 0
        for name in self._due():
            claim = self._claim(name)
            if claim is not None:
                self._run(claim)
                ran += 1
        return ran

    def _due(self) -> list[str]:
        with self._database.read() as uow:
            query = select(ScheduleRow).where(ScheduleRow.name.in_(self._jobs))
            rows = {row.name: row for row in uow.session.scalars(query)}
            now = uow.clock()
        return [name for name in self._jobs if name not in rows or self._is_due(rows[name], now)]

    def _is_due(self, row: ScheduleRow, now: int) -> bool:
        """Times much further ahead than any that is ever set were set before the clock went back, and do not count."""
        waits = now < row.due_at <= now + self._every_ms(row.name) + LEASE_MS
        is_taken = now < row.lease_until <= now + 2 * LEASE_MS
        return not waits and not is_taken

    def _claim(self, name: str) -> ScheduleRow | None:
        try:
            with self._database.write() as uow:
                row = uow.session.get(ScheduleRow, name, with_for_update={"skip_locked": True})
                if row is None:
                    row = ScheduleRow(name=name, due_at=uow.clock(), fence=0, lease_until=0)
                    uow.session.add(row)
                    uow.session.flush()
                elif not self._is_due(row, uow.clock()):
                    return None
                take(row, uow.clock())
                return row
        except IntegrityError:  # another worker holds the row, or made it at the same moment
            return None

    def _run(self, claim: ScheduleRow) -> None:
        error = ""
        try:
            with kept(self._database, [claim]):
                self._jobs[claim.name].run()
        except Exception as failure:
            error = describe(failure)
        with self._database.write() as uow:
            row = held(uow, claim)
            if row is None:
                return
            row.last_error = error
            row.lease_until = 0
            row.due_at = uow.clock() + self._every_ms(claim.name)
        (log.warning if error else log.debug)("job failed" if error else "job ran", job=claim.name, cause=error or None)

    def _every_ms(self, name: str) -> int:
        return max(1, self._jobs[name].every // timedelta(milliseconds=1))
