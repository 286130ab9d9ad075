"""Adopting: keep files as somebody edited them, after their server has accepted them.

Nothing is written but the node's record of which content was looked at. So the worst that an order can do here is to
have the node no longer tell of an edit that somebody with root's rights has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime

from hosthold.errors import DriverError
from hosthold.node.apply import Machine, failed_service
from hosthold.node.failure import NodeFailure, from_service
from hosthold.node.plan import Step, SubjectPlan
from hosthold.node.probe import Prober, run_check
from hosthold.node.state import Owned
from hosthold.types.resource import Desired, File, NodeOrder, Seen


def adopt(plan: SubjectPlan, order: NodeOrder, machine: Machine) -> None:
    """Keep what the order names, put it in force, and record it; raises `NodeFailure` with nothing recorded."""
    chosen = _chosen(plan)
    _put_in_force(plan, chosen, machine)
    with machine.state.transaction():
        machine.state.keep(plan.desired.subject, {key: _present(step) for key, step in chosen.items()})
        machine.state.remember_order(order.id, order.expires_at, datetime.now(UTC))


def _chosen(plan: SubjectPlan) -> dict[str, Step]:
    steps = {step.change.key: step for step in plan.steps if step.change.is_drift}
    for seen in plan.desired.keep:
        step = steps.get(seen.key)
        if step is not None and step.change.refusal:
            raise _failure(
                plan, "NotAdoptable", f"{seen.key} cannot be adopted. {step.change.refusal}", "Have it repaired."
            )
        if step is None or not _is_as_seen(step, seen):
            raise _failure(plan, "ChangedSince", f"{seen.key} is not as it was when it was looked at.", "Look again.")
    if not plan.desired.keep:
        raise _failure(plan, "NotAdoptable", "Nothing was named that shall be kept.", "Look at the differences first.")
    return {seen.key: steps[seen.key] for seen in plan.desired.keep}


def _is_as_seen(step: Step, seen: Seen) -> bool:
    return step.before is not None and step.before.digest == seen.digest


def _present(step: Step) -> Owned:
    assert step.before is not None
    return Owned(step.resource, step.before.digest)


def _put_in_force(plan: SubjectPlan, chosen: Mapping[str, Step], machine: Machine) -> None:
    """Have each server test the files, then read them: from now on it runs with what is on disk."""
    desired = plan.desired
    named = {step.resource.notifies for step in chosen.values() if isinstance(step.resource, File)} - {None}
    notified = sorted(str(name) for name in named if machine.state.owner_of(f"service:{name}") is not None)
    for name in notified:
        if name in machine.checks:
            run_check(name, machine.checks[name])
    for name in notified:
        try:
            machine.supervisor.reload(name)
        except DriverError as error:
            raise from_service(error, name, desired.subject) from error
        machine.supervisor.wake(name)
    if len(chosen) == len(plan.steps):  # with anything else amiss, a request would tell of that
        with closing(Prober(machine.node.listen)) as prober:
            for wanted in desired.probes:
                prober.probe(wanted, lambda: _raise_failures(desired, machine))


def _raise_failures(desired: Desired, machine: Machine) -> None:
    failure = failed_service(desired, machine.supervisor)
    if failure is not None:
        raise failure


def _failure(plan: SubjectPlan, reason: str, message: str, hint: str) -> NodeFailure:
    return NodeFailure(
        reason, f"{message} Nothing was recorded.", hint, is_permanent=True, subject=plan.desired.subject
    )
