"""Resources: the small closed vocabulary of what a node can be told to have, and the orders that carry it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from hosthold.types.base import Frozen
from hosthold.types.identifier import Identifier
from hosthold.types.node import NodeName, Owner
from hosthold.types.site import Condition, Site
from hosthold.types.text import AbsolutePath, UnixName

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9@.-]{0,60}$")]
Mode = Annotated[int, Field(ge=0, le=0o2777)]
Subject = Annotated[str, StringConstraints(pattern=r"^(site|node):[a-z0-9-]{1,64}$")]
"""What an order is about: `site:` and the site's identifier, or `node:` and the node's name."""


class Account(Frozen):
    """A Unix user with a group of the same name and number. Once removed, its number is never given out again."""

    kind: Literal["account"] = "account"
    name: UnixName
    uid: Annotated[int, Field(ge=1000, le=2**31 - 1)]
    home: AbsolutePath

    @property
    def key(self) -> str:
        return f"account:{self.name}"


class Quota(Frozen):
    """The most that a folder may hold with all that is below it, where the node's file system can enforce that."""

    project: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """The number under which it is counted; a site's own uid."""
    bytes: Annotated[int, Field(ge=4096)]
    inodes: Annotated[int, Field(ge=1)]


class Directory(Frozen):
    """A folder. Removing it removes all that is in it: it is moved aside first, so that the act can be undone.

    A `seed` is made if its path is free, and from then on belongs to the site: it is never compared, and removed only
    together with a folder above it. The folders of a customer's own files are seeds.
    """

    kind: Literal["directory"] = "directory"
    path: AbsolutePath
    owner: Owner
    mode: Mode
    seed: bool = False
    quota: Quota | None = None

    @property
    def key(self) -> str:
        return f"path:{self.path}"


class File(Frozen):
    """A file with exactly this content.

    A `seed` is written once, if its path is free, and from then on belongs to the site: it is never compared,
    overwritten or removed by itself. `notifies` names the service that must take notice of a change.
    """

    kind: Literal["file"] = "file"
    path: AbsolutePath
    content: Annotated[str, Field(max_length=1_048_576)]
    owner: Owner
    mode: Mode
    seed: bool = False
    notifies: ServiceName | None = None
    is_secret: bool = False
    """Whether differences show nothing of the content."""

    @property
    def key(self) -> str:
        return f"path:{self.path}"


class Link(Frozen):
    """A symbolic link. Its owner counts: a web server may follow only links whose target belongs to the same owner."""

    kind: Literal["link"] = "link"
    path: AbsolutePath
    target: AbsolutePath
    owner: Owner

    @property
    def key(self) -> str:
        return f"path:{self.path}"


class UnixSocket(Frozen):
    """A listening Unix stream socket. The supervisor binds it and hands it over as descriptor 3, in blocking mode."""

    path: AbsolutePath
    owner: Owner
    mode: Mode


class ServiceLimits(Frozen):
    """What all processes of a service may use together, as far as the supervisor can enforce it."""

    cpu_percent: Annotated[int, Field(ge=1, le=100_000)]
    """100 is one processor."""
    memory_mb: Annotated[int, Field(ge=16, le=1_048_576)]
    tasks: Annotated[int, Field(ge=1, le=1_000_000)]
    io_weight: Annotated[int, Field(ge=1, le=10_000)] = 100


class Service(Frozen):
    """A long-running program, started in the foreground as `owner` with exactly this command and environment.

    With a `socket`, the program finds it as descriptor 3; it stays bound while the program is replaced. `reload` is the
    signal that makes the program read its configuration again, or the command that asks it to and ends with 0 once it
    has; only the node's own services have a command. Without either a notified service is replaced by a new process.
    `stop` is the signal that ends it in good order.

    With `idle_seconds` as well as a socket, the service sleeps: its program is started by the first connection, and
    ended in good order once it has had no child process for so long. Its socket is bound all the time.
    """

    kind: Literal["service"] = "service"
    name: ServiceName
    command: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    environment: tuple[tuple[str, str], ...] = ()
    owner: Owner
    socket: UnixSocket | None = None
    log: AbsolutePath | None = None
    """Where its standard output and error go; opened by the supervisor, appended."""
    reload: Literal["HUP", "USR1", "USR2"] | Annotated[tuple[str, ...], Field(min_length=1, max_length=64)] | None = (
        None
    )
    stop: Literal["TERM", "QUIT", "INT"] = "TERM"
    idle_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    limits: ServiceLimits | None = None

    @property
    def key(self) -> str:
        return f"service:{self.name}"


Resource = Annotated[Account | Directory | File | Link | Service, Field(discriminator="kind")]


class Probe(Frozen):
    """A request to the node's own web server that shows whether a subject is served."""

    host: str
    path: str
    status: tuple[int, ...]
    """The answers that count as served."""
    wakes: bool = False
    """Whether it starts a sleeping service. In an order of many subjects such a probe is made later."""


class Repair(StrEnum):
    """What is put right of what somebody else changed on a node since Hosthold wrote it. The rest is only told."""

    nothing = "nothing"
    missing = "missing"
    """What was removed is made again; what was edited is left alone."""
    all = "all"


class Seen(Frozen):
    """What somebody looked at: a resource, and the digest of what was there instead of what was written."""

    key: str
    digest: str


class Desired(Frozen):
    """The declared state of one subject: all resources that it has, and nothing else.

    No resources means that nothing of the subject may be left. `generation` is the declaration's, `fence` grows with
    every claim: a node refuses an order older than one it has already seen for this subject.
    """

    subject: Subject
    label: str
    generation: Annotated[int, Field(ge=0)]
    fence: Annotated[int, Field(ge=0)]
    resources: tuple[Resource, ...] = ()
    probes: tuple[Probe, ...] = ()
    repair: Repair = Repair.missing
    keep: tuple[Seen, ...] = ()
    """For an order to adopt: what shall stay as it is now, if it is still what was looked at."""
    declared: Site | None = None
    """The site itself, where resources are only accepted if the node's own drivers render the same of it."""


class OrderAction(StrEnum):
    """What a node is asked to do."""

    plan = "plan"
    """Say what would change; change nothing."""
    apply = "apply"
    """Make it so, or leave everything as it was."""
    adopt = "adopt"
    """Keep files that were edited by hand as they are. Nothing is written but the node's record of it."""
    restart = "restart"
    """Replace the running processes of the subjects' services."""
    inspect = "inspect"
    """Report facts: installed runtime versions, free space."""
    measure = "measure"
    """Report what the subjects were last seen to hold on disk."""
    read_log = "read_log"
    """Report lines of the subjects' logs."""


class LogName(StrEnum):
    """The logs of a site."""

    access = "access"
    """Every request, in the combined format."""
    error = "error"
    """What the web server could not do."""
    php = "php"
    """Errors of the site's code."""


LogCursor = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}:[0-9]{1,20}$")]
"""A place in a log: which file it was, and how many bytes of it came before."""


class LogRequest(Frozen):
    """Which lines of a log are wanted: the last ones, or those after an earlier page's cursor."""

    log: LogName
    after: LogCursor | None = None
    lines: Annotated[int, Field(ge=1, le=1000)] = 200
    contains: Annotated[str, StringConstraints(max_length=200)] = ""
    """Only lines with this in them, in capitals or not."""


class LogPage(Frozen):
    """Lines of a log, oldest first, at most 256 KiB, and the cursor after the last one."""

    lines: tuple[str, ...] = ()
    cursor: LogCursor


class NodeOrder(Frozen):
    """One signed order. It is refused after `expires_at`, at another node, and a second time."""

    id: Identifier
    node: NodeName
    action: OrderAction
    desired: tuple[Desired, ...] = ()
    log: LogRequest | None = None
    issued_at: datetime
    expires_at: datetime


class Change(Frozen):
    """One difference between what is and what should be."""

    action: Literal["create", "update", "delete"]
    key: str
    """The resource's key, such as `path:/var/lib/hosthold/hosts/example.com`."""
    summary: str
    """One line for people."""
    diff: str = ""
    """For a file, a unified diff; for anything else, the attributes before and after. Shown files hold no secret."""
    is_drift: bool = False
    """Whether the present state was changed by somebody else since the node last wrote it."""
    digest: str = ""
    """For what was changed by somebody else: names what is there now, so that exactly that can be adopted."""
    refusal: str = ""
    """For what was changed by somebody else: why it cannot be adopted, if it cannot."""


class Usage(Frozen):
    """What a site held on disk at a moment, in bytes and in files, folders and links together."""

    bytes: Annotated[int, Field(ge=0)]
    inodes: Annotated[int, Field(ge=0)]
    is_enforced: bool
    """Whether the node's file system keeps the site below its quota."""
    measured_at: datetime


class Outcome(Frozen):
    """What became of one subject: its changes, and why it failed if it did. Nothing of a failed subject was changed."""

    subject: Subject
    changes: tuple[Change, ...] = ()
    kept: tuple[Change, ...] = ()
    """What is kept as somebody edited it, with what a repair would make of it."""
    condition: Condition | None = None
    facts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """For a node's own subject: the runtime versions that it has, newest first, by driver."""
    usage: Usage | None = None
    """For an order to measure: what is known of the subject, if it was looked at since the node was started."""
    log: LogPage | None = None
    """For an order to read a log."""
    proven_in_ms: Annotated[int, Field(ge=0)] | None = None
    """When to look again, for a subject of a large order: only then it is known whether its programs run."""


class OrderReply(Frozen):
    """A node's answer. `condition` is set when the whole order was refused."""

    order_id: Identifier
    outcomes: tuple[Outcome, ...] = ()
    condition: Condition | None = None
    facts: dict[str, tuple[str, ...]] = Field(default_factory=dict)
