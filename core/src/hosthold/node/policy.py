"""What this node agrees to do. Every order is judged here again, whoever signed it, against local facts alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hosthold.node.accounts import AccountFiles
from hosthold.node.failure import NodeFailure, refused
from hosthold.node.state import State
from hosthold.types.node import Isolation, Node, Owner
from hosthold.types.resource import (
    Account,
    Desired,
    Directory,
    File,
    Link,
    NodeOrder,
    OrderAction,
    Quota,
    Resource,
    Service,
    UnixSocket,
)
from hosthold.types.site import Site
from hosthold.types.text import AbsolutePath


@dataclass(frozen=True)
class Policy:
    """The limits of one node. They come from the node's own configuration, never from an order."""

    node: Node
    uid_first: int
    uid_last: int
    executables: frozenset[str]
    """Programs that a site's service may start, as absolute paths."""
    own: Mapping[str, Resource] = field(default_factory=dict)
    """What the node itself has, as its own drivers declare it, by key: an order's must be equal. Root reads these files
    and runs these services, so whoever signs orders could otherwise become root by a line in a configuration."""
    block: Callable[[Site, Node], File | None] = lambda _site, _node: None
    """The file that the node's own web server renders from a site's options. Root reads it, so nothing else is written
    there."""
    checks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The argument vector of a service's own test of its configuration, by the service's name."""
    accounts_directory: Path = Path("/var/lib/extrausers")

    def judge_order(self, order: NodeOrder, state: State, now: datetime) -> None:
        """Raises `NodeFailure` if the order is not for this node, too old, or was carried out already."""
        if order.node != self.node.name:
            raise refused(f"This node is {self.node.name}, the order is for {order.node}.")
        if order.issued_at.tzinfo is None or order.expires_at.tzinfo is None:
            raise refused("The order's times name no time zone.")
        if order.expires_at <= now:
            hint = "Compare the clocks of worker and node; the platform orders again."
            raise refused("The order expired.", hint, is_permanent=False)
        if state.has_seen(order.id):
            raise refused("The order was carried out before.", "The platform orders again.", is_permanent=False)
        subjects = [desired.subject for desired in order.desired]
        if len(set(subjects)) != len(subjects):
            raise refused("The order names a subject twice.")

    def judge(self, desired: Desired, action: OrderAction, state: State, accounts: AccountFiles) -> str | None:
        """Raises `NodeFailure` if the subject may not have this; returns the name of the site that it is bound to."""
        known = state.subject(desired.subject)
        if known is not None and desired.fence < known.fence:
            raise NodeFailure(
                "OrderRefused",
                f"The order is older (fence {desired.fence}) than one seen before (fence {known.fence}).",
                "Nothing needs to be done: the newer order counts.",
            )
        if action is OrderAction.restart:
            return None if known is None else known.site
        keys = [resource.key for resource in desired.resources]
        if len(set(keys)) != len(keys):
            raise refused(f"{desired.subject} declares a resource twice.")
        if desired.subject.startswith("node:"):
            if desired.subject != f"node:{self.node.name}":
                raise refused(f"{desired.subject} is not this node.")
            judge, site = self._judge_own, None
        else:
            site = self._site_of(desired, known.site if known is not None else None)
            judge = _SiteJudge(self, desired, site, state, accounts).judge
        for resource in desired.resources:
            judge(resource)
        for key, holder in state.owners_of(keys).items():
            if holder != desired.subject:
                raise NodeFailure(
                    "PathTaken",
                    f"{key} belongs to {holder}.",
                    "It becomes free when that one gives it up; it is tried again by itself.",
                )
        return site

    def _judge_own(self, resource: Resource) -> None:
        """Raises `NodeFailure` if the resource is not declared so by this node's own drivers."""
        if self.own.get(resource.key) != resource:
            raise refused(
                f"{resource.key} is not declared so on this node.",
                "The node's drivers and settings differ from the worker's: bring both to the same version.",
            )
        if isinstance(resource, Service):
            _must_exist(resource.command[0])

    def _site_of(self, desired: Desired, bound: str | None) -> str | None:
        """The one site name that the resources are about; a subject keeps the name of its first apply."""
        names, sites = {bound} - {None}, f"{self.node.layout.sites}/"
        for resource in desired.resources:
            match resource:
                case Account():
                    names.add(str(resource.name))
                case Link():
                    names |= _named_in(resource.target, sites) | _named_in(resource.path, sites)
                case Directory() | File():
                    names |= _named_in(resource.path, sites)
                case Service():
                    pass
        if len(names) > 1:
            raise refused(f"{desired.subject} reaches into more than one site: {', '.join(sorted(map(str, names)))}.")
        if not names and desired.resources:
            raise refused(f"{desired.subject} has resources, and none says which site it is.")
        return next(iter(names), None)


class _SiteJudge:
    """A site: its own folder, names that lead there, one account, services under its own uid."""

    def __init__(
        self, policy: Policy, desired: Desired, site: str | None, state: State, accounts: AccountFiles
    ) -> None:
        self.policy = policy
        self.node = policy.node
        self.layout = policy.node.layout
        self.subject = desired.subject
        self._desired = desired
        self._site = str(site)
        self._state = state
        self._accounts = accounts
        self._folder = policy.node.layout.sites.child(self._site)
        self._home = self._folder.child("home")
        self._own = policy.node.root
        root, web = policy.node.root, policy.node.web
        self._uids, self._gids = {root.uid}, {root.gid}
        if policy.node.isolation is not Isolation.none:
            uid = self._uid_of(desired, state)
            if uid is not None:
                self._own = Owner(uid=uid, gid=uid)
                self._uids, self._gids = {root.uid, web.uid, uid}, {root.gid, web.gid, uid}
        self._writable = {
            str(resource.path)
            for resource in desired.resources
            if isinstance(resource, Directory) and self._is_writable_by_others(resource)
        }

    def judge(self, resource: Resource) -> None:
        """Raises `NodeFailure` if the subject may not have the resource."""
        match resource:
            case Account():
                self.judge_account(resource)
            case Service():
                self.judge_service(resource)
            case Link():
                self._judge_owner(resource.owner, resource.key)
                self.judge_link(resource)
            case File() if resource.path.parent == self.layout.blocks:
                self.judge_block(resource)
            case Directory() | File():
                self._judge_owner(resource.owner, resource.key)
                self.judge_path(resource)

    def judge_block(self, file: File) -> None:
        """Only what this node's own driver makes of the site's options, and only for names that are the site's."""
        site = self._desired.declared
        if site is None or f"site:{site.id}" != self.subject or site.name != self._site:
            raise refused(f"{file.path} comes without the site whose options it is made of.")
        if self._own.uid not in (site.uid, self.node.root.uid):
            raise refused(f"{file.path} is made for uid {site.uid}, not for {self.subject}.")
        self._judge_names(file.path, site.domains)
        if self.policy.block(site, self.node) != file:
            raise refused(
                f"{file.path} is not what this node's web server makes of the site's options.",
                "The node's drivers and settings differ from the worker's: bring both to the same version.",
            )

    def _judge_names(self, path: AbsolutePath, names: Iterable[str]) -> None:
        """Names of requests are the subject's if it holds the links of them, which nobody else can hold then."""
        held = {resource.path for resource in self._desired.resources if isinstance(resource, Link)}
        for name in names:
            if self.layout.hosts.child(name) not in held:
                raise refused(f"{path} is about {name}, which is not a name of {self.subject}.")

    def _judge_owner(self, owner: Owner, what: str) -> None:
        if owner.uid not in self._uids or owner.gid not in self._gids:
            raise refused(f"{self.subject} may not give {what} to {owner.uid}:{owner.gid}.")

    def _judge_parents(self, path: AbsolutePath) -> None:
        """Nothing is written by root into a folder that somebody else may write (S-14)."""
        parents = path.split("/")
        for end in range(2, len(parents)):
            if "/".join(parents[:end]) in self._writable:
                raise refused(f"{path} lies in a folder that others than the node's root user may write.")

    def _is_writable_by_others(self, directory: Directory) -> bool:
        root = self.node.root
        by_group = directory.mode & 0o020 and directory.owner.gid != root.gid
        return directory.owner.uid != root.uid or bool(by_group) or bool(directory.mode & 0o002)

    def judge_account(self, account: Account) -> None:
        if self.node.isolation is Isolation.none:
            raise refused("This node has no accounts for sites (isolation none).")
        if not self.policy.uid_first <= account.uid <= self.policy.uid_last:
            raise refused(f"uid {account.uid} is not one of {self.policy.uid_first} to {self.policy.uid_last}.")
        if not (account.home == self._home or account.home == self._folder):
            raise refused(f"The home of {account.name} is not {self._home}.")
        if self._state.is_retired(account.uid):
            raise NodeFailure(
                "UidRetired",
                f"uid {account.uid} belonged to an account that was removed, and is never given out again (S-65).",
                "Give the site a new number.",
                is_permanent=True,
            )
        if self._state.owner_of(account.key) is None:
            holder = self._accounts.holder_of(account.uid)
            if holder is not None or self._accounts.is_foreign(account.name):
                raise NodeFailure(
                    "PathTaken",
                    f"uid {account.uid} or the name {account.name} is in use by {holder or account.name}.",
                    "Give the site another name and number.",
                    is_permanent=True,
                )

    def judge_path(self, resource: Directory | File) -> None:
        if not (resource.path == self._folder or resource.path.is_below(self._folder)):
            raise refused(f"{resource.path} is not below {self._folder}.")
        if isinstance(resource, Directory) and resource.path == self._folder and self._is_writable_by_others(resource):
            raise refused(f"{resource.path} must belong to the node's root user.")
        if isinstance(resource, Directory) and resource.quota is not None:
            self._judge_quota(resource, resource.quota)
        if isinstance(resource, File) and resource.mode & 0o7000:
            raise refused(f"{resource.path} would run with the rights of its group (S-13).")
        if not resource.path.is_below(self._home):
            self._judge_parents(resource.path)
            if isinstance(resource, Directory) and resource.seed:
                raise refused(f"{resource.path} is not inside a home, and a seed would be forgotten there.")
        elif isinstance(resource, File) and not resource.seed:
            raise refused(f"{resource.path} is inside a home: only folders and seeds may be there.")
        elif resource.owner.uid != self._own.uid:
            raise refused(f"{resource.path} is inside a home and must belong to the site.")

    def _judge_quota(self, directory: Directory, quota: Quota) -> None:
        if directory.path != self._home or quota.project != self._own.uid or self._own.uid == self.node.root.uid:
            raise refused(f"{directory.path} cannot have a quota as project {quota.project}.")

    def judge_link(self, link: Link) -> None:
        is_inside = link.target == self._folder or link.target.is_below(self._folder)
        if link.path.is_below(self._home):
            raise refused(f"{link.path} is inside a home: only folders and seeds may be there.")
        if link.path.is_below(self._folder):
            self._judge_parents(link.path)
            is_inside = is_inside or self._is_own_socket(link.target)
        elif link.path.parent == self.layout.certificates:
            self._judge_names(link.path, [link.path.rpartition("/")[2]])
            is_inside = is_inside and not (link.target == self._home or link.target.is_below(self._home))
            self._judge_parents(link.target.child("key.pem"))
        elif link.path.parent == self.layout.hosts:
            is_inside = is_inside or self._is_own_socket(link.target)
        else:
            raise refused(f"{link.path} is neither below {self._folder} nor a name below {self.layout.hosts}.")
        if not is_inside:
            raise refused(f"{link.path} leads to {link.target}, outside of {self._folder}.")

    def judge_service(self, service: Service) -> None:
        if service.key in self.policy.own:
            raise refused(f"{self.subject} may not run {service.name}.")
        if service.owner != self._own:
            raise refused(f"{service.name} must run as {self._own.uid}:{self._own.gid}.")
        if service.command[0] not in self.policy.executables:
            _must_exist(service.command[0])
            raise refused(f"{service.command[0]} is not a program that sites may run on this node.")
        _must_exist(service.command[0])
        if isinstance(service.reload, tuple):
            raise refused(f"{service.name} is a site's, so it can be told by a signal alone to reload.")
        if service.socket is not None:
            self._judge_socket(service.socket)
        if service.log is not None:
            self._judge_log(service.name, service.log)

    def _judge_log(self, name: str, log: AbsolutePath) -> None:
        """The supervisor opens it: only its own folder may be the site's, nothing that leads there."""
        if not log.is_below(self._folder) or log.is_below(self._home):
            raise refused(f"The log of {name} is not below {self._folder}, or inside the home.")
        self._judge_parents(AbsolutePath(log.parent))

    def _judge_socket(self, socket: UnixSocket) -> None:
        self._judge_owner(socket.owner, socket.path)
        if not self._is_own_socket(socket.path):
            raise refused(f"{socket.path} is not a socket of {self._site}.")

    def _is_own_socket(self, path: AbsolutePath) -> bool:
        """Whether it is named after the site; site names have no dots, so no name begins like another's."""
        return path.parent == self.layout.sockets and path.rpartition("/")[2].startswith(f"{self._site}.")

    def _uid_of(self, desired: Desired, state: State) -> int | None:
        """The uid of the account that the order declares, which must be the one that the subject has already."""
        declared = {resource.uid for resource in desired.resources if isinstance(resource, Account)}
        had = {
            owned.resource.uid
            for owned in state.owned_by(desired.subject).values()
            if isinstance(owned.resource, Account)
        }
        if len(declared | had) > 1:
            raise refused(f"{desired.subject} may have one account, and keeps its number.")
        if desired.resources and not declared:
            raise refused(f"{desired.subject} declares no account.")
        return next(iter(declared), None)


def _named_in(path: AbsolutePath, sites: str) -> set[str]:
    return {path[len(sites) :].partition("/")[0]} if path.startswith(sites) else set()


def _must_exist(executable: str) -> None:
    if not executable.startswith("/") or not os.access(executable, os.X_OK):
        raise NodeFailure(
            "RuntimeMissing",
            f"{executable} is not installed on this node.",
            "Install it on the node, or choose another runtime or version.",
            is_permanent=True,
        )
