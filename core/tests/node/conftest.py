"""A node on a folder of its own: with a supervisor in memory where processes do not matter."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.node.agent import NodeAgent
from hosthold.node.policy import Policy
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.identifier import new_identifier
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.resource import (
    Account,
    Desired,
    Directory,
    File,
    Link,
    NodeOrder,
    OrderAction,
    OrderReply,
    Outcome,
    Resource,
    Service,
    UnixSocket,
)
from hosthold.types.site import Site
from hosthold.types.text import AbsolutePath, UnixName
from hosthold_sdk.testing.fakes import FakeSupervisor

from core.tests.node.numbers import FIRST

PROGRAM = "/bin/sleep"


@dataclass
class World:
    """One node, what it is told, and what its folders look like."""

    place: Path
    isolation: Isolation
    supervisor: SupervisorDriver[Any] = field(default_factory=FakeSupervisor)
    port: int = 9
    checks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    own: dict[str, Resource] = field(default_factory=dict)
    executables: frozenset[str] = frozenset({PROGRAM, "/usr/sbin/php-fpm8.2"})

    def __post_init__(self) -> None:
        self.layout = NodeLayout(state=AbsolutePath(f"{self.place}/state"), run=AbsolutePath(f"{self.place}/run"))
        self.root = Owner(uid=os.geteuid(), gid=os.getegid())
        self.web = Owner(uid=33, gid=33) if self.isolation is Isolation.unix_user else self.root
        self.node = Node(
            name="n1",
            layout=self.layout,
            listen=Listen(port=self.port),
            isolation=self.isolation,
            root=self.root,
            web=self.web,
            web_user="www-data",
        )
        self.accounts = self.place / "extrausers"
        folders = (
            self.layout.sites,
            self.layout.hosts,
            self.layout.sockets,
            self.layout.blocks,
            self.layout.certificates,
        )
        for path in folders:
            folder = Directory(path=path, owner=self.root, mode=0o755)
            self.own[folder.key] = folder
        self.policy = Policy(
            node=self.node,
            uid_first=FIRST,
            uid_last=79_999,
            executables=self.executables,
            own=self.own,
            block=self.block,
            checks=self.checks,
            accounts_directory=self.accounts,
        )
        self.agent = self.new_agent()
        self.fence = 0

    def block(self, site: Site, node: Node) -> File | None:
        """What a web server could make of a site's options."""
        path = node.layout.blocks.child(f"{site.name}.conf")
        content = " ".join((*site.domains, *(header.name for header in site.web.headers)))
        return None if site.web.is_standard else File(path=path, content=content, owner=node.root, mode=0o644)

    def new_agent(self) -> NodeAgent:
        return NodeAgent(self.node, self.policy, self.supervisor, lambda: {"php": ("8.2",)})

    def begin(self) -> None:
        self.agent.start()
        outcome = self.apply(self.node_subject())
        assert outcome.condition is None, outcome

    def restart_agent(self) -> None:
        self.agent.stop(end_services=True)
        self.agent = self.new_agent()
        self.agent.start()

    def node_subject(self, *more: Resource) -> Desired:
        return self.desired("node:n1", *self.own.values(), *more)

    def desired(self, subject: str, *resources: Resource, **more: Any) -> Desired:
        self.fence += 1
        return Desired(subject=subject, label=subject, generation=1, fence=self.fence, resources=resources, **more)

    def owner(self, number: int) -> Owner:
        return self.node.owner_of(FIRST + number)

    def site_resources(self, number: int, *, service: bool = True) -> list[Resource]:
        name, owner = UnixName(f"s{number}"), self.owner(number)
        folder, home = self.layout.site(name), self.layout.home(name)
        resources: list[Resource] = [
            Directory(path=folder, owner=self.root, mode=0o711),
            Directory(path=home, owner=Owner(uid=owner.uid, gid=self.web.gid), mode=0o2750),
            Directory(path=self.layout.logs(name), owner=owner, mode=0o750),
            Directory(path=home.child("public"), owner=owner, mode=0o755, seed=True),
            File(path=home.child("public", "index.php"), content="<?php echo 1;", owner=owner, mode=0o644, seed=True),
            File(
                path=folder.child("service.conf"),
                content=f"name = {name}\n",
                owner=Owner(uid=self.root.uid, gid=owner.gid),
                mode=0o640,
                notifies=f"run-{name}",
            ),
            Link(path=self.layout.hosts.child(f"{name}.example.com"), target=folder, owner=self.root),
        ]
        if self.isolation is Isolation.unix_user:
            resources.insert(0, Account(name=name, uid=owner.uid, home=home))
        if service:
            socket = UnixSocket(path=self.layout.socket(name), owner=self.web, mode=0o600)
            resources.append(
                Service(name=f"run-{name}", command=(PROGRAM, "1000"), owner=owner, socket=socket, stop="TERM")
            )
        return resources

    def site(self, number: int, **more: Any) -> Desired:
        return self.desired(f"site:{number:032x}", *self.site_resources(number), **more)

    def no_site(self, number: int) -> Desired:
        return self.desired(f"site:{number:032x}")

    def order(self, *desired: Desired, action: OrderAction = OrderAction.apply, **changes: Any) -> NodeOrder:
        now = datetime.now(UTC)
        return NodeOrder(
            id=new_identifier(),
            node="n1",
            action=action,
            desired=desired,
            issued_at=now,
            expires_at=now + timedelta(minutes=1),
        ).model_copy(update=changes)

    def handle(self, *desired: Desired, action: OrderAction = OrderAction.apply, **changes: Any) -> OrderReply:
        return self.agent.handle(self.order(*desired, action=action, **changes))

    def apply(self, desired: Desired) -> Outcome:
        reply = self.handle(desired)
        assert reply.condition is None, reply.condition
        return reply.outcomes[0]

    def files(self) -> dict[str, tuple[int, int, int, str]]:
        """Everything below the node's folders but its database and the records of processes."""
        found = {}
        for path in sorted([*self.place.joinpath("state").rglob("*"), *self.place.joinpath("run").rglob("*")]):
            name = str(path.relative_to(self.place))
            if not name.startswith(("state/node.db", "run/services")):
                status = path.lstat()
                is_plain = path.is_file() and not path.is_symlink()
                body = str(path.readlink()) if path.is_symlink() else path.read_text() if is_plain else ""
                found[name] = (status.st_mode, status.st_uid, status.st_gid, body)
        return found


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may enter, as on a real node."""
    path = Path(tempfile.mkdtemp(prefix="hosthold-node-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(params=[Isolation.unix_user, Isolation.none])
def world(request: pytest.FixtureRequest, place: Path) -> Iterator[World]:
    """A node in both kinds of isolation; the first needs root."""
    if request.param is Isolation.unix_user and os.geteuid() != 0:
        pytest.skip("needs root: real Unix users")
    made = World(place, request.param)
    made.begin()
    yield made
    made.agent.stop(end_services=True)


@pytest.fixture
def user_world(place: Path) -> Iterator[World]:
    """A node with Unix users."""
    if os.geteuid() != 0:
        pytest.skip("needs root: real Unix users")
    made = World(place, Isolation.unix_user)
    made.begin()
    yield made
    made.agent.stop(end_services=True)


@pytest.fixture
def node(place: Path) -> Node:
    """A node whose folders are there."""
    layout = NodeLayout(state=f"{place}/state", run=f"{place}/run")
    for folder in (layout.state, layout.run, layout.sockets):
        Path(folder).mkdir()
    root = Owner(uid=os.geteuid(), gid=os.getegid())
    isolation = Isolation.unix_user if root.uid == 0 else Isolation.none
    return Node(
        name="n1", layout=layout, listen=Listen(), isolation=isolation, root=root, web=root, web_user="www-data"
    )


@pytest.fixture
def supervisor(node: Node) -> Iterator[ProcessSupervisor]:
    """A supervisor of real processes, in a hurry."""
    made = ProcessSupervisor(ProcessSettings(settle=0.5, stop=2.0))
    made.attach(node, ())
    yield made
    made.end()
