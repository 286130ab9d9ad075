"""`hosthold doctor`: each part that is missing or misconfigured, and the command that mends it."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from hosthold.cli.checks import clock, kernel, permissions, sockets, storage, versions
from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.cli.context import Context, json_option, pass_context, print_json
from hosthold.cli.local_node import local_node, runtime_versions
from hosthold.db.engine import make_engine
from hosthold.db.migrate import behind
from hosthold.errors import HostholdError, Misconfigured
from hosthold.plugins.record import PluginRecord, PluginState
from hosthold.settings import Settings
from hosthold.sites.models import SiteRow
from hosthold.types.identifier import new_identifier
from hosthold.types.node import Isolation, Node
from hosthold.types.package import Limits
from hosthold.types.resource import NodeOrder, OrderAction
from hosthold.work.keys import Keyring, key_file
from hosthold.work.node_orders import NodeQueueClient
from hosthold.work.queue import WORKER, node_queue

PATIENCE = timedelta(seconds=3)


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
    node = _local_node(settings)
    yield from _told("keys", lambda: _keys(settings))
    yield from _on_database(context)
    yield from _told("node", lambda: _node(context))
    yield from permissions.look(settings, context.config)
    yield from storage.look(settings)
    yield from _told("account names", lambda: _account_names(settings))
    if node is not None:
        yield from versions.look(settings, context.registry, node)
        yield from sockets.look(settings, node)
    yield from _told("web", lambda: _web(settings))
    yield from _told("node process", lambda: _node_process(settings))
    for record in context.registry.health():
        if record.state is not PluginState.disabled and _is_chosen(settings, record):
            part = f"{record.kind.replace(':', ' ')} {record.name}"
            is_well = record.state is PluginState.ready
            yield Finding(part, is_well, str(record.state) if is_well else record.message, record.hint)


def _is_chosen(settings: Settings, record: PluginRecord) -> bool:
    """Whether a driver is one that this node works with; of supervisors and web servers it has one."""
    chosen = {"driver:supervisor": settings.node.supervisor, "driver:webserver": settings.node.webserver}
    return record.name == chosen.get(record.kind, record.name)


def _told(part: str, check: Callable[[], str]) -> Iterator[Finding]:
    """What a check says of its part, or the error that it raises."""
    try:
        yield well(part, check())
    except HostholdError as error:
        yield bad(part, error.detail, error.hint)


def _on_database(context: Context) -> Iterator[Finding]:
    """The database, what is stored in it about time, and the kernel, which must bear that many sites."""
    engine = make_engine(context.settings.database_url)
    sites, tasks = 0, 0
    try:
        found = list(_told("database", lambda: _database(context, engine)))
        yield from found
        if found[0].is_well:
            yield from versions.of_database(engine)
            yield from clock.look(engine)
            sites, tasks = _sites(engine)
    finally:
        engine.dispose()
    yield from kernel.look(context.settings, sites, tasks)


def _local_node(settings: Settings) -> Node | None:
    """This machine as a node; what is wrong with it is said by the check of the node."""
    try:
        return local_node(settings)
    except HostholdError:
        return None


def _sites(engine: Engine) -> tuple[int, int]:
    """How many sites there are, and how many processes they may have together."""
    with engine.connect() as connection:
        limits = connection.scalars(select(SiteRow.limits)).all()
    return len(limits), sum(Limits.model_validate(of_site).tasks for of_site in limits)


def _keys(settings: Settings) -> str:
    for queue in (WORKER, node_queue(settings.node.name)):
        Keyring.load(key_file(settings, queue))
    return "private and random"


def _database(context: Context, engine: Engine) -> str:
    try:
        late = behind(engine, context.registry)
    except SQLAlchemyError as error:
        raise Misconfigured(
            f"The database does not answer: {str(error.__cause__ or error).splitlines()[0]}.",
            hint="Start it, or correct database.url in hosthold.toml.",
        ) from None
    if late:
        raise Misconfigured(f"Tables are not up to date: {', '.join(late)}.", hint="hosthold init --admin EMAIL")
    return f"{engine.dialect.name}, tables are up to date"


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
