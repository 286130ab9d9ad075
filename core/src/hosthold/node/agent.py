"""The node agent: takes parsed orders and answers each with what became of it. It knows no queue and no signature."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.errors import DriverError
from hosthold.node.accounts import AccountFiles
from hosthold.node.adopt import adopt
from hosthold.node.apply import Machine, Transaction, failed_service
from hosthold.node.failure import NodeFailure, from_database_error, from_os_error, from_service, refused
from hosthold.node.files import Tree
from hosthold.node.journal import recover
from hosthold.node.log_pages import read_page
from hosthold.node.log_splitter import LogSplitter
from hosthold.node.plan import Planner, SubjectPlan
from hosthold.node.policy import Policy
from hosthold.node.proof import Proofs, turn_in_ms
from hosthold.node.state import State, SubjectRow
from hosthold.node.usage import UsageMeter
from hosthold.types.node import Node
from hosthold.types.resource import (
    Desired,
    Directory,
    File,
    Link,
    LogPage,
    LogRequest,
    NodeOrder,
    OrderAction,
    OrderReply,
    Outcome,
    Service,
)
from hosthold.types.site import Condition
from hosthold.types.text import UnixName

_log = logging.getLogger(__name__)


class NodeAgent:
    """Applies orders to one machine, one at a time."""

    def __init__(
        self,
        node: Node,
        policy: Policy,
        supervisor: SupervisorDriver[Any],
        runtime_versions: Callable[[], dict[str, tuple[str, ...]]],
        splitter: LogSplitter | None = None,
    ) -> None:
        self._splitter = splitter
        self._node = node
        self._policy = policy
        self._supervisor = supervisor
        self._runtime_versions = runtime_versions
        self._accounts = AccountFiles(policy.accounts_directory)
        self._meter = UsageMeter(node.layout)
        self._lock = threading.Lock()
        self._state: State | None = None
        self._proofs: Proofs | None = None

    def start(self) -> None:
        """Recover from whatever happened before, bring back what a reboot took, and supervise all services."""
        for folder in (self._node.layout.state, self._node.layout.run):
            Path(folder).mkdir(mode=0o755, parents=True, exist_ok=True)
        self._state = State(f"{self._node.layout.state}/node.db")
        with Tree(self._node.layout) as tree:
            notified = recover(self._state, tree, self._accounts)
            self._bring_back(self._state, tree)
        services = self._state.with_key_prefix("service:")
        self._supervisor.attach(self._node, tuple(item for item in services if isinstance(item, Service)))
        self._reload(notified)
        self._meter.start()
        self._proofs = Proofs(self._node, self._state, self._supervisor, self._lock)
        self._proofs.start()
        if self._splitter is not None:
            self._splitter.start()

    def stop(self, *, end_services: bool = False) -> None:
        """End supervision and let go of the state; services run on for the next agent, unless they shall end too."""
        self._meter.stop()
        if self._proofs is not None:
            self._proofs.stop()
        if self._splitter is not None:
            self._splitter.stop()
        with self._lock:
            if end_services:
                self._supervisor.end()
            else:
                self._supervisor.close()
            if self._state is not None:
                self._state.close()
                self._state = None

    def handle(self, order: NodeOrder) -> OrderReply:
        """Carry out one order whose signature was verified; whatever is wrong with it is in the reply."""
        with self._lock:
            if self._state is None:
                raise RuntimeError("the agent was not started")
            self._accounts.refresh()
            with Tree(self._node.layout) as tree:
                machine = Machine(self._node, self._state, tree, self._accounts, self._supervisor, self._policy.checks)
                try:
                    self._policy.judge_order(order, self._state, datetime.now(UTC))
                    self._reload(recover_interrupted(machine))
                    return self._carry_out(order, machine)
                except NodeFailure as failure:
                    return OrderReply(order_id=order.id, condition=failure.condition)
                except OSError as error:
                    return OrderReply(order_id=order.id, condition=from_os_error(error).condition)
                except sqlite3.Error as error:
                    return OrderReply(order_id=order.id, condition=from_database_error(error).condition)

    def _carry_out(self, order: NodeOrder, machine: Machine) -> OrderReply:
        match order.action:
            case OrderAction.inspect:
                return OrderReply(order_id=order.id, facts=self._facts())
            case OrderAction.measure:
                outcomes = [self._measured(desired, machine.state) for desired in order.desired]
            case OrderAction.read_log:
                outcomes = [self._log(desired, order.log, machine.state) for desired in order.desired]
            case OrderAction.plan:
                outcomes = [self._plan(desired, order.action, machine)[0] for desired in order.desired]
            case OrderAction.restart:
                outcomes = [self._restart(desired, machine) for desired in order.desired]
                with machine.state.transaction():
                    machine.state.remember_order(order.id, order.expires_at, datetime.now(UTC))
            case OrderAction.adopt:
                outcomes = [self._adopt(desired, order, machine) for desired in order.desired]
            case OrderAction.apply:
                batch = _Batch(self._plan, order, machine)
                with self._proofs.standing_back() if self._proofs and batch.changes else nullcontext():
                    outcomes = batch.apply()
        return OrderReply(order_id=order.id, outcomes=tuple(outcomes))

    def _plan(
        self, desired: Desired, action: OrderAction, machine: Machine
    ) -> tuple[Outcome, SubjectPlan | None, str | None]:
        """The outcome if nothing is done, the plan if something may be, and the site that the subject is bound to."""
        try:
            site = self._policy.judge(desired, action, machine.state, machine.accounts)
            shows = action is OrderAction.plan
            planner = Planner(machine.tree, machine.accounts, machine.supervisor, shows=shows)
            state = machine.state
            plan = planner.plan(desired, state.owned_by(desired.subject), state.kept_by(desired.subject))
        except NodeFailure as failure:
            return Outcome(subject=desired.subject, condition=failure.condition), None, None
        except OSError as error:
            return Outcome(subject=desired.subject, condition=from_os_error(error).condition), None, None
        facts = self._runtime_versions() if desired.subject.startswith("node:") else {}
        outcome = Outcome(subject=desired.subject, changes=plan.changes, kept=tuple(plan.kept), facts=facts)
        return outcome, plan, site

    def _adopt(self, desired: Desired, order: NodeOrder, machine: Machine) -> Outcome:
        outcome, plan, _ = self._plan(desired, order.action, machine)
        if plan is None:
            return outcome
        try:
            adopt(plan, order, machine)
        except NodeFailure as failure:
            return outcome.model_copy(update={"condition": failure.condition})
        return self._plan(desired, OrderAction.plan, machine)[0]

    def _measured(self, desired: Desired, state: State) -> Outcome:
        known = state.subject(desired.subject)
        site = None if known is None else known.site
        return Outcome(subject=desired.subject, usage=None if site is None else self._meter.latest(site))

    def _log(self, desired: Desired, request: LogRequest | None, state: State) -> Outcome:
        known = state.subject(desired.subject)
        try:
            if request is None:
                raise refused("The order names no log.")
            if known is None or known.site is None:
                return Outcome(subject=desired.subject, log=LogPage(cursor="0:0"))
            page = read_page(self._node.layout, UnixName(known.site), request)
        except NodeFailure as failure:
            return Outcome(subject=desired.subject, condition=failure.condition)
        except OSError as error:
            return Outcome(subject=desired.subject, condition=from_os_error(error).condition)
        return Outcome(subject=desired.subject, log=page)

    def _restart(self, desired: Desired, machine: Machine) -> Outcome:
        condition: Condition | None = None
        try:
            self._policy.judge(desired, OrderAction.restart, machine.state, machine.accounts)
            for owned in machine.state.owned_by(desired.subject).values():
                if isinstance(owned.resource, Service):
                    try:
                        machine.supervisor.restart(owned.resource.name)
                    except DriverError as error:
                        raise from_service(error, owned.resource.name, desired.subject) from error
        except NodeFailure as failure:
            condition = failure.condition
        return Outcome(subject=desired.subject, condition=condition)

    def _facts(self) -> dict[str, tuple[str, ...]]:
        """Installed runtime versions by driver, and what is free where sites lie."""
        disk = os.statvfs(self._node.layout.state)
        free = {"disk_free_bytes": (str(disk.f_bavail * disk.f_frsize),), "inodes_free": (str(disk.f_favail),)}
        return self._runtime_versions() | free

    def _bring_back(self, state: State, tree: Tree) -> None:
        """Make again what was below the run folder, which a reboot empties, before services need it (R-31)."""
        for resource in state.with_key_prefix(f"path:{self._node.layout.run}/"):
            if isinstance(resource, Directory | File | Link) and not tree.exists(resource.path):
                if isinstance(resource, Directory):
                    tree.make_directory(resource)
                else:
                    temporary = ".restored.hosthold"
                    tree.remove(f"{resource.path.parent}/{temporary}")
                    tree.stage(resource, temporary)
                    tree.replace(resource.path, temporary)

    def _reload(self, names: set[str]) -> None:
        for name in sorted(self._supervisor.known(names)):
            try:
                self._supervisor.reload(name)
            except DriverError as error:
                _log.warning("could not reload %s after a recovery: %s", name, error.detail)


def recover_interrupted(machine: Machine) -> set[str]:
    """Undo an apply whose own undo could not be recorded, on a full disk for instance."""
    if all(is_committed for _, is_committed, _ in machine.state.journals()):
        return set()
    return recover(machine.state, machine.tree, machine.accounts)


class _Batch:
    """The subjects of one order, applied together where possible, apart from those that fail."""

    def __init__(
        self,
        plan: Callable[[Desired, OrderAction, Machine], tuple[Outcome, SubjectPlan | None, str | None]],
        order: NodeOrder,
        machine: Machine,
    ) -> None:
        self._order = order
        self._machine = machine
        self._outcomes: dict[str, Outcome] = {}
        self._sites: dict[str, str | None] = {}
        self._is_remembered = False
        self._groups: list[list[SubjectPlan]] = [[]]
        for desired in order.desired:
            outcome, subject_plan, site = plan(desired, order.action, machine)
            self._outcomes[desired.subject] = outcome
            if subject_plan is None:
                continue
            self._sites[desired.subject] = site
            failure = None if subject_plan.steps else self._failure(desired)
            if subject_plan.drifted:
                self._fail(subject_plan, _drifted(subject_plan))
            elif failure is not None:
                self._fail(subject_plan, failure)
                for resource in desired.resources:
                    if isinstance(resource, Service):
                        machine.supervisor.wake(resource.name)  # the next look tells whether it can run now
            else:
                self._groups[0].append(subject_plan)

    @property
    def changes(self) -> bool:
        """Whether anything is to be changed."""
        return any(plan.steps for group in self._groups for plan in group)

    def _failure(self, desired: Desired) -> Condition | None:
        """Why a subject that is as declared does not work, as far as it was seen; then it is tried again."""
        failure = failed_service(desired, self._machine.supervisor)
        tried = self._machine.state.unproven(desired.subject)
        if tried is not None and tried.condition is not None:
            self._machine.state.try_again(tried)
            return tried.condition
        return None if failure is None else failure.condition

    def apply(self) -> list[Outcome]:
        """Apply all; a group that fails is split until the culprit is alone, and the others are applied."""
        while self._groups:
            group = self._groups.pop(0)
            try:
                Transaction(self._machine, group).run(lambda group=group: self._remember(group))  # type: ignore[misc]
            except NodeFailure as failure:
                self._split(group, failure)
        if not self._is_remembered:
            with self._machine.state.transaction():
                self._remember([])
        worked = [subject for subject, outcome in self._outcomes.items() if outcome.condition is None]
        waiting = self._machine.state.count_unproven()
        for subject, ahead in self._machine.state.ahead_of(worked).items():
            turn = {"proven_in_ms": turn_in_ms(ahead, waiting)}
            self._outcomes[subject] = self._outcomes[subject].model_copy(update=turn)
        return [self._outcomes[desired.subject] for desired in self._order.desired]

    def _split(self, group: list[SubjectPlan], failure: NodeFailure) -> None:
        culprits = [plan for plan in group if plan.desired.subject == failure.subject] or group
        if len(culprits) == 1:
            self._fail(culprits[0], failure.condition)
            if others := [plan for plan in group if plan is not culprits[0]]:
                self._groups.insert(0, others)
        elif group:
            middle = len(group) // 2
            self._groups[:0] = [group[:middle], group[middle:]]
        else:
            raise failure

    def _fail(self, plan: SubjectPlan, condition: Condition) -> None:
        outcome = Outcome(
            subject=plan.desired.subject, changes=plan.changes, kept=tuple(plan.kept), condition=condition
        )
        self._outcomes[plan.desired.subject] = outcome

    def _remember(self, group: list[SubjectPlan]) -> None:
        """Record the newest claims, and with the last group the order itself."""
        state = self._machine.state
        for plan in group:
            desired = plan.desired
            row = SubjectRow(self._sites[desired.subject], desired.generation, desired.fence)
            state.remember_subject(desired.subject, row)
        if not self._groups:
            state.remember_order(self._order.id, self._order.expires_at, datetime.now(UTC))
            self._is_remembered = True


def _drifted(plan: SubjectPlan) -> Condition:
    edited = [step.change.key.removeprefix("path:") for step in plan.steps if step.change.is_drift]
    return Condition(
        reason="Drifted",
        message=f"Changed by somebody else since Hosthold wrote it: {', '.join(edited)}.",
        hint="Look at the differences, then have them adopted or repaired, or put them back by hand.",
        is_permanent=True,
    )
