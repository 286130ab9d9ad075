"""Metrics for Prometheus: one registry per platform, so that two in one process do not mix."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import func, select

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.drift.models import DriftRow
from hosthold.drift.service import DriftState
from hosthold.sites.models import SiteRow
from hosthold.types.site import Phase
from hosthold.work.models import DeliveryRow, EventRow, OperationRow

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)

_DRIFT = select(DriftRow.state, func.count().label("subjects")).group_by(DriftRow.state)
_PHASES = select(SiteRow.phase, func.count().label("sites")).group_by(SiteRow.phase)


class Metrics:
    """What is counted while requests are answered, and what is read from the database when Prometheus asks."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "hosthold_http_requests", "Answers given", ["operation", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "hosthold_http_request_seconds",
            "Time from a request's head to its answer",
            ["operation"],
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._streams = Gauge("hosthold_event_streams", "Open event streams of this process", registry=self._registry)
        self._sites = Gauge("hosthold_sites", "Sites by phase", ["phase"], registry=self._registry)
        self._drift = Gauge(
            "hosthold_drift", "Sites and nodes changed by hand, by state", ["state"], registry=self._registry
        )
        self._due = Gauge("hosthold_due", "Rows that are due and not done", ["kind"], registry=self._registry)
        self._lag = Gauge(
            "hosthold_lag_seconds", "How long the oldest due row waits", ["kind"], registry=self._registry
        )
        build = Gauge("hosthold_build_info", "The version that runs", ["version"], registry=self._registry)
        build.labels(version("hosthold")).set(1)
        self._counters: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        pair = self._counters.get((operation, status))
        if pair is None:
            pair = self._requests.labels(operation, status), self._seconds.labels(operation)
            self._counters[operation, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def render(self, uow: UnitOfWork, streams: int) -> bytes:
        """All metrics in Prometheus' text format. Reads small aggregates over indexed columns."""
        self._streams.set(streams)
        now = uow.clock()
        phases = {row.phase: row.sites for row in uow.session.execute(_PHASES)}
        for phase in Phase:
            self._sites.labels(phase.value).set(phases.get(phase.value, 0))
        drift = {row.state: row.subjects for row in uow.session.execute(_DRIFT)}
        for state in DriftState:
            self._drift.labels(state.value).set(drift.get(state.value, 0))
        for kind, row in (("site", SiteRow), ("operation", OperationRow), ("delivery", DeliveryRow)):
            self._waiting(
                kind,
                *uow.session.execute(select(func.count(), func.min(row.due_at)).where(row.due_at <= now)).one(),
                now,
            )
        undispatched = select(func.count(), func.min(EventRow.at)).where(EventRow.is_dispatched.is_(False))
        self._waiting("event", *uow.session.execute(undispatched).one(), now)
        return generate_latest(self._registry)

    def _waiting(self, kind: str, count: int, oldest: int | None, now: int) -> None:
        self._due.labels(kind).set(count)
        self._lag.labels(kind).set(0 if oldest is None else max(0, now - oldest) / 1000)
