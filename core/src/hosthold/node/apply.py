"""Applying plans as one transaction over several subjects: all of it happens and is recorded, or nothing of it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.errors import DriverError
from hosthold.node.accounts import AccountFiles, kill_all_of
from hosthold.node.failure import NodeFailure, from_database_error, from_os_error, from_service
from hosthold.node.files import PathResource, Tree
from hosthold.node.journal import (
    AccountWritten,
    Attributes,
    Created,
    CreatedAtHome,
    Journal,
    Notified,
    Replaced,
    ServiceChanged,
)
from hosthold.node.plan import Planner, Step, SubjectPlan
from hosthold.node.probe import Prober, run_check
from hosthold.node.proof import service_failed
from hosthold.node.state import State
from hosthold.types.node import Node, Owner
from hosthold.types.resource import Account, Desired, Directory, File, Link, Probe, Repair, Service
from hosthold.types.text import AbsolutePath

R = TypeVar("R", Account, Directory, File, Link, Service)
P = TypeVar("P", Directory, File, Link)
T = TypeVar("T")
FLUSHES_AT_ONCE = 32
"""From this number of steps on, files are not flushed one by one: one call for the whole file system costs as much as a
few of them, and each of them costs more than writing the file."""
WAKES_AT_MOST = 4
"""In an order that changes more services than this, those that sleep are not started to see whether they can: it takes
a processor a thirtieth of a second for each. They are tried afterwards (`proof.py`)."""
_log = logging.getLogger(__name__)


class Machine(NamedTuple):
    """Everything that an apply acts on."""

    node: Node
    state: State
    tree: Tree
    accounts: AccountFiles
    supervisor: SupervisorDriver[Any]
    checks: Mapping[str, tuple[str, ...]]


class Transaction:
    """One apply of a group of subjects. `run` either returns, or raises `NodeFailure` with everything as it was."""

    def __init__(self, machine: Machine, plans: list[SubjectPlan]) -> None:
        self._machine = machine
        self._plans = plans
        self._journal = Journal(machine.state)
        self._subject: str | None = None
        self._folders: set[str] = set()
        self._names: dict[str, tuple[str, str]] = {}
        self._reloaded: list[str] = []
        steps = [step for plan in plans for step in plan.steps]
        gone = [
            step.resource.path + "/"
            for step in steps
            if isinstance(step.resource, Directory) and step.change.action == "delete"
        ]
        self._steps = [step for step in steps if not _goes_with(step, gone)]
        self._writes: dict[type, list[tuple[Step, Any]]] = {}
        for step in sorted(self._steps, key=lambda step: step.resource.key):
            if step.change.action != "delete":
                self._writes.setdefault(type(step.resource), []).append((step, step.resource))
        changed = {step.resource.name for step in steps if isinstance(step.resource, Service)}
        self._wakes = len(changed) <= WAKES_AT_MOST
        self._is_large = len(self._steps) >= FLUSHES_AT_ONCE
        named = {name for step in steps for name in _notified_by(step)} - changed
        self._notified = sorted(name for name in named if machine.state.owner_of(f"service:{name}") is not None)

    def run(self, remember: Callable[[], None]) -> None:
        """Apply, verify and record; `remember` is called inside the recording transaction of the database."""
        with self._conditions():
            if self._steps:
                self._register()
        try:
            with self._conditions():
                if self._steps:
                    self._act()
                self._record(remember)
        except NodeFailure:
            if self._steps:
                self._roll_back()
            raise
        self._journal.discard(self._machine.tree)

    def _register(self) -> None:
        """Write down how to undo each step, durably, before the first one is taken."""
        journal = self._journal
        for step in self._in_order():
            resource = step.resource
            if isinstance(resource, Account):
                before = step.previous if isinstance(step.previous, Account) else None
                journal.entries.append(AccountWritten(name=resource.name, previous=before))
            elif isinstance(resource, Service):
                was = step.previous if isinstance(step.previous, Service) else None
                journal.entries.append(ServiceChanged(name=resource.name, previous=was))
            elif self._is_at_home(resource):
                journal.entries.append(CreatedAtHome(path=resource.path, owner=resource.owner))
            else:
                self._register_path(resource, step)
        journal.entries.extend(Notified(name=name) for name in self._notified)
        journal.open()

    def _register_path(self, resource: PathResource, step: Step) -> None:
        journal, is_delete = self._journal, step.change.action == "delete"
        temporary = "" if is_delete or isinstance(resource, Directory) else journal.temporary()
        kept = "" if step.before is None else journal.kept(self._machine.tree, resource.path)
        self._names[resource.key] = (temporary, kept)
        if step.before is None:
            journal.entries.append(Created(path=resource.path, temporary=temporary))
        elif isinstance(resource, Directory) and not is_delete:
            quota = step.previous.quota if isinstance(step.previous, Directory) else None
            journal.entries.append(
                Attributes(path=resource.path, owner=step.before.owner, mode=step.before.mode, quota=quota)
            )
        else:
            journal.entries.append(Replaced(path=resource.path, kept=kept, temporary=temporary))

    def _in_order(self) -> Iterator[Step]:
        """What goes, goes from the outside in; what comes, comes from the inside out; a name is routed last (R-38)."""
        for kind in (Service, Link, File, Directory, Account):
            yield from (step for step in self._steps if _is_removal(step, kind))
        for writes in (
            self._written(Account),
            self._written(Directory),
            self._written(File),
            self._written(Service),
            self._written(Link),
        ):
            yield from (step for step, _ in writes)

    def _deleted(self, kind: type[R]) -> Iterator[tuple[Step, R]]:
        for step in self._steps:
            if isinstance(step.resource, kind) and step.change.action == "delete":
                self._subject = step.subject
                yield step, step.resource
        self._subject = None

    def _written(self, kind: type[R]) -> Iterator[tuple[Step, R]]:
        """What is created or updated of one kind, folders before what is in them."""
        for step, resource in self._writes.get(kind, ()):
            self._subject = step.subject
            yield step, resource
        self._subject = None

    def _act(self) -> None:
        supervisor, tree, accounts = self._machine.supervisor, self._machine.tree, self._machine.accounts
        tree.is_lazy = self._is_large
        for trash in {kept.rpartition("/")[0] for _, kept in self._names.values() if kept}:
            _make_private_folders(tree, trash)
        for _, service in self._deleted(Service):
            with self._service(service):
                supervisor.stop(service.name)
        self._move_away(Link)
        self._move_away(File)
        self._move_away(Directory)
        removed = [account for _, account in self._deleted(Account)]
        for account in removed:
            kill_all_of(account.uid)
        if removed:
            accounts.remove({account.name for account in removed})
        if added := [account for _, account in self._written(Account)]:
            accounts.write(added)
        for step, directory in self._written(Directory):
            if not self._is_at_home(directory):
                self._write_directory(directory, is_new=step.before is None)
        self._write_at_home()
        self._replace_all([pair for pair in self._written(File) if not self._is_at_home(pair[1])])
        self._check()
        for _, service in self._written(Service):
            with self._service(service):
                supervisor.start(service)
                if self._wakes:
                    supervisor.wake(service.name)  # it starts while its name is being routed
        for name in self._notified:
            self._reload(name)
        self._replace_all([*self._written(Link)])
        for folder in sorted(self._folders):
            tree.sync(folder)
        self._flush()
        self._probe()
        self._verify()

    def _move_away(self, kind: type[P]) -> None:
        for _, resource in self._deleted(kind):
            self._machine.tree.move(resource.path, self._names[resource.key][1])
            self._folders.add(resource.path.parent)

    def _write_directory(self, directory: Directory, *, is_new: bool) -> None:
        tree = self._machine.tree
        if is_new:
            tree.make_directory(directory)
            self._folders.add(directory.path.parent)
        else:
            tree.set_attributes(directory.path, directory.owner, directory.mode)
            if directory.quota is not None:
                tree.set_quota(directory.path, directory.quota)
            self._folders.add(directory.path)

    def _write_at_home(self) -> None:
        """Folders and seeds inside homes, one home after the other."""
        tree = self._machine.tree
        written = [
            (step, resource)
            for step, resource in (*self._writes.get(Directory, ()), *self._writes.get(File, ()))
            if self._is_at_home(resource)
        ]
        written.sort(key=lambda pair: pair[1].path)
        for (_, owner), group in groupby(written, lambda pair: (tree.home_of(pair[1].path), pair[1].owner)):
            steps, resources = zip(*group, strict=True)
            self._subject = steps[0].subject
            tree.create_at_home(owner, resources)
        self._subject = None

    def _replace_all(self, written: Sequence[tuple[Step, File | Link]]) -> None:
        """Write all beside their places first, then let all take their places."""
        tree = self._machine.tree
        staged: list[tuple[str, str, str]] = []
        for step, resource in written:
            self._subject = step.subject
            temporary, kept = self._names[resource.key]
            tree.stage(resource, temporary)
            staged.append((resource.path, temporary, kept))
        if any(isinstance(resource, File) for _, resource in written):
            self._flush()  # a file in its place whose content is not on disk yet is empty after a power failure
        for path, temporary, kept in staged:
            if kept:
                tree.keep(path, kept)
            tree.replace(path, temporary)
            self._folders.add(path.rpartition("/")[0])

    def _flush(self) -> None:
        if self._is_large:
            self._machine.tree.flush()

    def _check(self) -> None:
        """Let each server that will read new files test them once."""
        names = {*self._notified, *(service.name for _, service in self._written(Service))}
        for name in sorted(names & self._machine.checks.keys()):
            run_check(name, self._machine.checks[name])

    def _reload(self, name: str) -> None:
        self._reloaded.append(name)
        try:
            self._machine.supervisor.reload(name)
        except DriverError as error:
            raise from_service(error, name, None) from error

    def _probe(self) -> None:
        changed = [plan for plan in self._plans if plan.steps]
        wanted = [(plan, each) for plan in changed for each in plan.desired.probes if self._wakes or not each.wakes]
        with closing(Prober(self._machine.node.listen)) as prober:
            served = prober.served([probe for _, probe in wanted]) if self._is_large else [False] * len(wanted)
            for (plan, probe), is_served in zip(wanted, served, strict=True):
                if not is_served:
                    self._subject = plan.desired.subject
                    prober.probe(probe, partial(self._raise_failures, plan))
        self._subject = None

    def _raise_failures(self, plan: SubjectPlan) -> None:
        """A service that cannot run says more than a request that is not answered."""
        failure = failed_service(plan.desired, self._machine.supervisor)
        if failure is not None:
            raise failure

    def _verify(self) -> None:
        """The plan must be empty now."""
        machine = self._machine
        machine.accounts.refresh()
        for plan in self._plans:
            self._raise_failures(plan)
        planner = Planner(machine.tree, machine.accounts, machine.supervisor, shows=False)
        for plan in self._plans:
            owned = {**machine.state.owned_by(plan.desired.subject), **plan.owns}
            kept = {} if plan.desired.repair is Repair.all else machine.state.kept_by(plan.desired.subject)
            for step in planner.plan(plan.desired, owned, kept).steps:
                is_service = isinstance(step.resource, Service)
                raise NodeFailure(
                    "ServiceFailed" if is_service else "NotConverged",
                    f"{step.change.key} ended soon after its start."
                    if is_service
                    else f"{step.change.key} is not as it was just written.",
                    "Look at the service's log." if is_service else "Look for another program that changes it.",
                    subject=plan.desired.subject,
                )

    def _record(self, remember: Callable[[], None]) -> None:
        state = self._machine.state
        with state.transaction():
            for plan in self._plans:
                state.own(plan.desired.subject, plan.owns)
                state.disown(plan.disowns)
                state.keep_no_longer([step.resource.key for step in plan.steps if step.before is not None])
                if plan.steps:
                    state.note_unproven(plan.desired.subject, *self._left_asleep(plan))
            remember()
            state.commit_journal(self._journal.identifier)

    def _left_asleep(self, plan: SubjectPlan) -> tuple[tuple[Probe, ...], tuple[str, ...]]:
        """The probes that were not made, and the services that they would have woken."""
        changed = (step.resource for step in plan.steps if step.change.action != "delete" and not self._wakes)
        services = tuple(each.name for each in changed if isinstance(each, Service) and each.idle_seconds is not None)
        return tuple(wanted for wanted in plan.desired.probes if wanted.wakes), services

    def _roll_back(self) -> None:
        """Undo everything: what is new stops, files and accounts come back, what was there before runs again."""
        self._machine.tree.is_lazy = False
        services = [entry for entry in self._journal.entries if isinstance(entry, ServiceChanged)]
        for entry in services:
            if entry.previous is None:
                self._restore(entry.name, self._machine.supervisor.stop, entry.name)
        with self._conditions():
            self._journal.undo(self._machine.tree, self._machine.accounts)
        for entry in services:
            if entry.previous is not None:
                self._restore(entry.name, self._machine.supervisor.start, entry.previous)
        for name in self._reloaded:
            self._restore(name, self._machine.supervisor.reload, name)

    def _restore(self, name: str, act: Callable[[T], None], argument: T) -> None:
        try:
            act(argument)
        except DriverError as error:
            _log.warning("could not bring %s back to its former state: %s", name, error.detail)

    def _is_at_home(self, resource: PathResource) -> bool:
        return self._machine.tree.home_of(resource.path) is not None

    @contextmanager
    def _service(self, service: Service) -> Iterator[None]:
        try:
            yield
        except DriverError as error:
            raise from_service(error, service.name, self._subject) from error

    @contextmanager
    def _conditions(self) -> Iterator[None]:
        """Whatever the machine answers becomes a condition, with the subject whose turn it was."""
        try:
            yield
        except NodeFailure as failure:
            failure.subject = failure.subject or self._subject
            raise
        except OSError as error:
            raise from_os_error(error, self._subject) from error
        except sqlite3.Error as error:
            raise from_database_error(error) from error


def failed_service(desired: Desired, supervisor: SupervisorDriver[Any]) -> NodeFailure | None:
    """Why one of the subject's services does not run or could not be woken, in the program's own words."""
    failures = supervisor.failures()
    for resource in desired.resources if failures else ():
        if isinstance(resource, Service) and resource.name in failures:
            return service_failed(resource.name, failures[resource.name], desired.subject)
    return None


def _make_private_folders(tree: Tree, trash: str) -> None:
    owner = Owner(uid=os.geteuid(), gid=os.getegid())
    for path in (trash.rpartition("/")[0], trash):
        if not tree.exists(path):
            tree.make_directory(Directory(path=AbsolutePath(path), owner=owner, mode=0o700))


def _is_removal(step: Step, kind: type) -> bool:
    return step.change.action == "delete" and isinstance(step.resource, kind)


def _goes_with(step: Step, gone: list[str]) -> bool:
    """Whether the step's path is removed anyway, with a folder above it."""
    if step.change.action != "delete" or isinstance(step.resource, Account | Service):
        return False
    return any(step.resource.path.startswith(folder) for folder in gone)


def _notified_by(step: Step) -> list[str]:
    files = [resource for resource in (step.resource, step.previous) if isinstance(resource, File)]
    return [file.notifies for file in files if file.notifies is not None]
