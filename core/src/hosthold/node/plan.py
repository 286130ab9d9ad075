"""The plan: what is there compared with what is declared and with what the node last wrote. Changes nothing."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.node.accounts import AccountFiles, lines_of
from hosthold.node.failure import NodeFailure
from hosthold.node.files import Observed, Tree, declared
from hosthold.node.keeping import ACCOUNT_REFUSAL, refusal
from hosthold.node.state import AnyResource, Owned
from hosthold.types.resource import Account, Change, Desired, Directory, File, Link, Repair, Service

_DIFF_LIMIT = 65_536


@dataclass(frozen=True)
class Step:
    """One difference and the two sides of it. `before` is what is there now, `previous` what the node last wrote."""

    subject: str
    change: Change
    resource: AnyResource
    before: Observed | None = None
    previous: AnyResource | None = None


@dataclass(frozen=True)
class SubjectPlan:
    """All differences of one subject, and what it will own once they are gone."""

    desired: Desired
    steps: list[Step] = field(default_factory=list)
    owns: dict[str, Owned] = field(default_factory=dict)
    disowns: list[str] = field(default_factory=list)
    kept: list[Change] = field(default_factory=list)

    @property
    def changes(self) -> tuple[Change, ...]:
        """The differences, for people."""
        return tuple(step.change for step in self.steps)

    @property
    def drifted(self) -> bool:
        """Whether a change by hand stands in the way. Removing a whole subject waits for nobody's edits."""
        if not self.desired.resources or self.desired.repair is Repair.all:
            return False
        in_the_way = ("update", "delete") if self.desired.repair is Repair.missing else ("create", "update", "delete")
        return any(step.change.is_drift and step.change.action in in_the_way for step in self.steps)


class Planner:
    """Compares the machine with declarations; one is made for each look at the machine."""

    def __init__(
        self, tree: Tree, accounts: AccountFiles, supervisor: SupervisorDriver[Any], *, shows: bool = True
    ) -> None:
        """`shows` is whether every difference is written out for people, or only what somebody else changed."""
        self._shows = shows
        self._tree = tree
        self._accounts = accounts
        self._supervisor = supervisor
        self._running: dict[str, Service] = {}
        self._subject = ""
        self._absent: set[str] = set()

    def plan(self, desired: Desired, owned: Mapping[str, Owned], kept: Mapping[str, Owned]) -> SubjectPlan:
        """What differs for one subject; `owned` is what the node last wrote for it, `kept` what stays as edited.

        Raises `NodeFailure` (`PathTaken`) if something is in the way that is not ours.
        """
        self._subject = desired.subject
        self._absent = set()  # folders that are not there, in which nothing need be looked for
        resources = (*desired.resources, *(last.resource for last in owned.values()))
        self._running = self._supervisor.known({item.name for item in resources if isinstance(item, Service)})
        plan = SubjectPlan(desired)
        wanted = {resource.key: resource for resource in desired.resources}
        for key, resource in wanted.items():
            last = owned.get(key)
            if last is not None and last.resource.kind != resource.kind:
                raise NodeFailure(
                    "OrderRefused",
                    f"{key} is a {last.resource.kind} and cannot become a {resource.kind} in one step.",
                    "Remove it first, or give it another name.",
                    is_permanent=True,
                )
            if last is not None and last.resource is resource:
                new = last
            else:
                new = Owned(resource, self.declared_digest(resource))
                if last is None or last.digest != new.digest or last.resource != resource:
                    plan.owns[key] = new
            step = self._compare(new, last, kept.get(key))
            if step is None:
                continue
            if desired.repair is not Repair.all and _stays(step, kept.get(key)):
                plan.kept.append(step.change)
            else:
                plan.steps.append(step)
        for key in sorted(owned.keys() - wanted.keys()):
            plan.disowns.append(key)
            step = self._compare_undeclared(owned[key])
            if step is not None:
                plan.steps.append(step)
        return plan

    def declared_digest(self, resource: AnyResource) -> str:
        """The digest of what will be there once the resource is written."""
        match resource:
            case Account():
                return _text_digest("\n".join(lines_of(resource).values()))
            case Service():
                return _text_digest(resource.model_dump_json())
            case Directory() | File() | Link():
                return declared(resource).digest

    def _compare(self, new: Owned, last: Owned | None, kept: Owned | None) -> Step | None:
        match new.resource:
            case Account() as account:
                return self._compare_account(account, last)
            case Service() as service:
                return self._compare_service(service, last)
            case Directory() | File() | Link():
                return self._compare_path(new.resource, new.digest, last, kept)

    def _compare_path(
        self, resource: Directory | File | Link, digest: str, last: Owned | None, kept: Owned | None
    ) -> Step | None:
        is_absent = resource.path.parent in self._absent
        if is_absent and isinstance(resource, Directory):
            self._absent.add(resource.path)
        if not isinstance(resource, Link) and self._tree.home_of(resource.path) is not None:
            is_done = resource.seed and last is not None
            if is_done or (not is_absent and self._tree.exists_at_home(resource.path, resource.owner)):
                return None
            return self._step("create", resource, None, last)
        before = None if is_absent else self._tree.observe(resource.path)
        if before is None and isinstance(resource, Directory):
            self._absent.add(resource.path)
        if not isinstance(resource, Link) and resource.seed and (before is not None or last is not None):
            return None
        if before is None:
            return self._step("create", resource, None, last, is_drift=last is not None)
        if last is None:
            raise _taken(resource, before)
        if before.digest == digest and not _has_other_quota(resource, last.resource):
            return None
        if before.kind != resource.kind:
            raise _taken(resource, before)
        is_ours = before.digest == last.digest or (kept is not None and before.digest == kept.digest)
        is_drift = not is_ours and not _is_for_its_owner_to_change(resource, before)
        return self._step("update", resource, before, last, is_drift=is_drift, shows=before.digest != last.digest)

    def _compare_account(self, account: Account, last: Owned | None) -> Step | None:
        wanted, found = lines_of(account), self._accounts.lines(account.name)
        if found == wanted:
            if last is None:
                raise _account_taken(account)
            return None
        if found and last is None:
            raise _account_taken(account)
        previous = None if last is None else last.resource
        edited = any(found[file] != wanted[file] for file in found)
        change = Change(
            action="update" if edited else "create",
            key=account.key,
            summary=f"Unix account {account.name} with uid {account.uid}",
            diff=_diff(account.key, "".join(f"{line}\n" for line in found.values()), _lines(wanted))
            if edited or self._shows
            else "",
            is_drift=last is not None,
            refusal=ACCOUNT_REFUSAL if last is not None else "",
        )
        return Step(self._subject, change, account, previous=previous)

    def _compare_service(self, service: Service, last: Owned | None) -> Step | None:
        running = self._running.get(service.name)
        if running == service:
            return None
        diff = ""
        if self._shows:
            before = "" if running is None else running.model_dump_json(indent=1)
            diff = _diff(service.key, before, service.model_dump_json(indent=1))
        change = Change(
            action="create" if running is None else "update",
            key=service.key,
            summary=f"{'start' if running is None else 'replace'} {service.name}: {' '.join(service.command)}",
            diff=diff,
        )
        return Step(self._subject, change, service, previous=running if last is None else last.resource)

    def _compare_undeclared(self, owned: Owned) -> Step | None:
        resource = owned.resource
        if isinstance(resource, Account):
            is_there = bool(self._accounts.lines(resource.name))
            return self._step("delete", resource, None, owned) if is_there else None
        if isinstance(resource, Service):
            return self._step("delete", resource, None, owned) if resource.name in self._running else None
        is_seed = not isinstance(resource, Link) and resource.seed
        if is_seed or self._tree.home_of(resource.path) is not None:
            return None  # it belongs to the site, and goes only with the folder that it is in
        before = self._tree.observe(resource.path)
        if before is None or before.kind != resource.kind:
            return None
        is_drift = isinstance(resource, File) and before.digest != owned.digest
        return self._step("delete", resource, before, owned, is_drift=is_drift)

    def _step(
        self,
        action: Literal["create", "update", "delete"],
        resource: AnyResource,
        before: Observed | None,
        last: Owned | None,
        *,
        is_drift: bool = False,
        shows: bool = False,
    ) -> Step:
        what = resource.name if isinstance(resource, Account | Service) else resource.path
        diff = ""
        if is_drift or shows or self._shows:
            old = "" if before is None else _text(before)
            new = "" if action == "delete" or isinstance(resource, Account | Service) else _text(declared(resource))
            diff = _diff(what, old, new) if not _is_secret(resource) else f"{what}: its content is not shown\n"
        change = Change(
            action=action,
            key=resource.key,
            summary=f"{action} {resource.kind} {what}",
            diff=diff,
            is_drift=is_drift,
            digest=before.digest if is_drift and before is not None else "",
            refusal=refusal(resource, before) if is_drift else "",
        )
        return Step(self._subject, change, resource, before, None if last is None else last.resource)


def _stays(step: Step, kept: Owned | None) -> bool:
    """Whether the difference was adopted, and nobody changed the file or its declaration since."""
    return (
        kept is not None
        and step.before is not None
        and step.before.digest == kept.digest
        and step.resource == kept.resource
    )


def _is_secret(resource: AnyResource) -> bool:
    return isinstance(resource, File) and resource.is_secret


def _has_other_quota(resource: Directory | File | Link, last: AnyResource) -> bool:
    return (
        isinstance(resource, Directory)
        and isinstance(last, Directory)
        and resource.quota is not None
        and resource.quota != last.quota
    )


def _is_for_its_owner_to_change(resource: Directory | File | Link, before: Observed) -> bool:
    """Whether the site itself made the difference: the mode of a folder of its own, such as its home.

    That is put right without asking: as drift it would let a tenant keep the platform from suspending the site.
    """
    return isinstance(resource, Directory) and before.owner == resource.owner and before.owner.uid != os.geteuid()


def _text(observed: Observed) -> str:
    attributes = f"# {observed.kind}, mode {observed.mode:04o}, owner {observed.owner.uid}:{observed.owner.gid}\n"
    target = "-> " if observed.kind == "link" else ""
    return attributes + target + observed.body.decode("utf-8", "replace")


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="")
    return "\n".join(lines)[:_DIFF_LIMIT]


def _lines(by_file: Mapping[str, str]) -> str:
    return "".join(f"{line}\n" for line in by_file.values())


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _taken(resource: Directory | File | Link, before: Observed) -> NodeFailure:
    return NodeFailure(
        "PathTaken",
        f"{resource.path} is a {before.kind} of uid {before.owner.uid} that Hosthold did not make; it was left alone.",
        "Move it away, then try again.",
        is_permanent=True,
    )


def _account_taken(account: Account) -> NodeFailure:
    return NodeFailure(
        "PathTaken",
        f"An account {account.name} is in the account files that Hosthold did not make; it was left alone.",
        "Remove it, or give the site another name.",
        is_permanent=True,
    )
