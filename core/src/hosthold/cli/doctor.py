"""`hosthold doctor`: each part that is missing or misconfigured, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from hosthold.cli.context import Context, json_option, pass_context, print_json
from hosthold.cli.local_node import local_node, runtime_versions
from hosthold.db.engine import make_engine
from hosthold.db.migrate import behind
from hosthold.errors import HostholdError, Misconfigured
from hosthold.plugins.record import PluginState
from hosthold.settings import Settings
from hosthold.types.identifier import new_identifier
from hosthold.types.node import Isolation
from hosthold.types.resource import NodeOrder, OrderAction
from hosthold.work.keys import Keyring, key_file
from hosthold.work.node_orders import NodeQueueClient
from hosthold.work.queue import WORKER, node_queue

LEAST_FREE_BYTES = 500 * 2**20
PATIENCE = timedelta(seconds=3)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `cure` is a command or an edit that mends it."""

    part: str
    is_well: bool
    message: str
    cure: str = ""


@click.command()
@json_option
@pass_context
def doctor(context: Context, *, as_json: bool) -> None:
    """Look at every part of the platform on this machine. Exit status 0 if all is well, else 1."""
    findings = list(_examine(context))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.is_well else click.style("BAD ", fg="red")
            click.echo(
                f"{mark} {finding.part}: {finding.message}" + ("" if finding.is_well else f"\n       {finding.cure}")
            )
    raise SystemExit(0 if all(finding.is_well for finding in findings) else 1)


def _examine(context: Context) -> Iterator[Finding]:
    try:
        settings = context.settings
    except HostholdError as error:
        yield Finding("settings", False, error.detail, error.hint)
        return
    yield Finding("settings", True, f"state in {settings.state}")
    checks: list[tuple[str, Callable[[], str]]] = [
        ("keys", lambda: _keys(settings)),
        ("database", lambda: _database(context)),
        ("disk", lambda: _disk(settings)),
        ("node", lambda: _node(context)),
        ("kernel", _kernel),
        ("account names", lambda: _account_names(settings)),
        ("web", lambda: _web(settings)),
        ("node process", lambda: _node_process(settings)),
    ]
    for part, check in checks:
        try:
            yield Finding(part, True, check())
        except HostholdError as error:
            yield Finding(part, False, error.detail, error.hint)
    for record in context.registry.health():
        if record.state is not PluginState.disabled:
            part = f"{record.kind.replace(':', ' ')} {record.name}"
            is_well = record.state is PluginState.ready
            yield Finding(part, is_well, str(record.state) if is_well else record.message, record.hint)


def _keys(settings: Settings) -> str:
    for queue in (WORKER, node_queue(settings.node.name)):
        Keyring.load(key_file(settings, queue))
    return "private and random"


def _database(context: Context) -> str:
    engine = make_engine(context.settings.database_url)
    try:
        late = behind(engine, context.registry)
    except SQLAlchemyError as error:
        raise Misconfigured(
            f"The database does not answer: {str(error.__cause__ or error).splitlines()[0]}.",
            hint="Start it, or correct database.url in hosthold.toml.",
        ) from None
    finally:
        engine.dispose()
    if late:
        raise Misconfigured(f"Tables are not up to date: {', '.join(late)}.", hint="hosthold init --admin EMAIL")
    return f"{engine.dialect.name}, tables are up to date"


def _disk(settings: Settings) -> str:
    usage = shutil.disk_usage(settings.state)
    if usage.free < LEAST_FREE_BYTES:
        raise Misconfigured(
            f"Only {usage.free // 2**20} MiB are free in {settings.state}.", hint="Free some space there."
        )
    return f"{usage.free // 2**30} GiB free"


def _node(context: Context) -> str:
    node = local_node(context.settings)
    versions = runtime_versions(context.registry)
    if not versions:
        raise Misconfigured("No runtime is installed, so no site can be made.", hint="apt-get install php-fpm")
    if node.isolation is Isolation.unix_user and os.geteuid() != 0:
        raise Misconfigured(
            "A Unix user per site needs root.", hint="sudo hosthold node, or set node.isolation to none"
        )
    offered = "; ".join(f"{name} {', '.join(found)}" for name, found in versions.items())
    kept_apart = "a Unix user per site" if node.isolation is Isolation.unix_user else "NOT kept apart (isolation none)"
    return f"{node.name}, sites on {node.listen.address}:{node.listen.port}, {kept_apart}; {offered}"


def _kernel() -> str:
    unsafe = []
    for name in ("protected_symlinks", "protected_hardlinks"):
        file = Path("/proc/sys/fs") / name
        if file.is_file() and file.read_text().strip() == "0":
            unsafe.append(f"fs.{name}=1")
    if unsafe:
        raise Misconfigured(
            "The kernel lets users plant links in shared folders.", hint=f"sysctl -w {' '.join(unsafe)}"
        )
    return "links in shared folders are guarded"


def _account_names(settings: Settings) -> str:
    if settings.node_isolation is Isolation.none:
        return "not needed without isolation"
    nsswitch = Path("/etc/nsswitch.conf")
    lines = nsswitch.read_text().splitlines() if nsswitch.is_file() else []
    if not any(line.startswith("passwd:") and "extrausers" in line for line in lines):
        raise Misconfigured(
            "The machine does not read the sites' accounts, so it shows numbers instead of names.",
            hint="apt-get install libnss-extrausers, then add `extrausers` to passwd, group and shadow in "
            "/etc/nsswitch.conf",
        )
    return f"read from {settings.node.accounts_directory}"


def _web(settings: Settings) -> str:
    address = f"http://{settings.web.host}:{settings.web.port}/health/live"
    try:
        with urllib.request.urlopen(address, timeout=3):
            return f"answers on {settings.web.host}:{settings.web.port}"
    except urllib.error.HTTPError as error:
        raise Misconfigured(
            f"Something else answers on {settings.web.host}:{settings.web.port} (status {error.code}).",
            hint="Stop it, or set web.port to a free one.",
        ) from None
    except OSError:
        raise Misconfigured(
            f"Nothing answers on {settings.web.host}:{settings.web.port}.", hint="hosthold up"
        ) from None


def _node_process(settings: Settings) -> str:
    now = datetime.now(UTC)
    order = NodeOrder(
        id=new_identifier(),
        node=settings.node.name,
        action=OrderAction.inspect,
        issued_at=now,
        expires_at=now + PATIENCE,
    )
    nodes = NodeQueueClient(settings)
    try:
        nodes.send(order)
    except HostholdError as error:
        raise Misconfigured(
            f"The node {settings.node.name} does not answer: {error.detail}", hint="hosthold up"
        ) from None
    finally:
        nodes.close()
    return "answers"
