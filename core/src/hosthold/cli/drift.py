"""`hosthold drift`: what was changed by hand on nodes, to be adopted or repaired."""

from __future__ import annotations

from typing import Any

import click

from hosthold.cli.context import Context, json_option, pass_context, print_json, print_table
from hosthold.cli.plan import print_changes
from hosthold.cli.sites import find
from hosthold.cli.store import open_database, operator
from hosthold.db.unit_of_work import Database
from hosthold.drift import orders, service
from hosthold.drift.models import DriftRow
from hosthold.drift.service import DriftState, DriftView
from hosthold.sites import planning
from hosthold.types.actor import Actor
from hosthold.types.resource import Seen
from hosthold.work.node_orders import NodeQueueClient

_WORDS = {DriftState.found: "to decide", DriftState.kept: "kept", DriftState.mended: "made again"}


@click.group(invoke_without_command=True)
@click.option("--diff", is_flag=True, help="Show the differences.")
@json_option
@click.pass_context
def drift(ctx: click.Context, *, diff: bool, as_json: bool) -> None:
    """List the sites and nodes that somebody changed by hand.

    Exit status 0: nothing waits for a decision; 2: something does.
    """
    if ctx.invoked_subcommand is not None:
        return
    with open_database(ctx.find_object(Context) or ctx.obj) as database:
        rows = _all(database, operator(database))
    views = [DriftView.of(row) for row in rows]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
    elif diff:
        for view in views:
            click.secho(f"{view.name}: {_WORDS[view.state]}", bold=True)
            print_changes((*view.changes, *view.kept))
    else:
        _print(views)
    raise SystemExit(2 if any(view.state is DriftState.found for view in views) else 0)


@drift.command()
@click.argument("site")
@pass_context
def repair(context: Context, site: str) -> None:
    """Overwrite what was edited by hand of SITE, a domain name or identifier; a node is named `node:NAME`."""
    with open_database(context) as database:
        actor = operator(database)
        subject = _subject(database, actor, site)
        nodes = NodeQueueClient(context.settings)
        try:
            if subject.startswith("site:"):
                planning.repair(database, nodes, actor, subject.removeprefix("site:"))
            else:
                orders.repair_node(database, nodes, subject)
        finally:
            nodes.close()
    click.echo(f"{site} is as declared again.")


@drift.command()
@click.argument("site")
@pass_context
def adopt(context: Context, site: str) -> None:
    """Keep what was edited by hand of SITE, a domain name or identifier; a node is named `node:NAME`.

    What cannot be adopted is named with the reason, and the exit status is 2 then.
    """
    with open_database(context) as database:
        actor = operator(database)
        subject = _subject(database, actor, site)
        with database.read() as uow:
            row = service.of_subject(uow, subject)
        keep, refused = service.to_keep(row)
        nodes = NodeQueueClient(context.settings)
        try:
            orders.adopt(database, nodes, subject, [Seen(key=change.key, digest=change.digest) for change in keep])
        finally:
            nodes.close()
    for change in keep:
        click.echo(f"Kept as it is: {change.key}")
    for change in refused:
        click.secho(f"Not adopted: {change.key}. {change.refusal}", fg="yellow")
    raise SystemExit(2 if refused else 0)


def _all(database: Database, actor: Actor) -> list[DriftRow]:
    rows: list[DriftRow] = []
    cursor: str | None = None
    with database.read() as uow:
        while True:
            found, cursor = service.page(uow, actor, None, "", 200, cursor)
            rows += found
            if cursor is None:
                return rows


def _subject(database: Database, actor: Actor, name: str) -> str:
    if name.startswith("node:"):
        return name
    with database.read() as uow:
        return f"site:{find(uow, actor, name).id}"


def _print(views: list[DriftView]) -> None:
    rows: list[tuple[Any, ...]] = [
        (
            view.name if view.subject.startswith("site:") else view.subject,
            _WORDS[view.state],
            str(len(view.changes or view.kept)),
            (view.changes or view.kept)[0].key.removeprefix("path:"),
            str(view.found_at),
        )
        for view in views
    ]
    print_table(("SITE OR NODE", "STATE", "CHANGES", "FIRST", "FOUND"), rows, "Nothing was changed by hand.")
    if any(view.state is DriftState.found for view in views):
        click.echo("Look: hosthold drift --diff. Then: hosthold drift adopt SITE, or hosthold drift repair SITE.")
