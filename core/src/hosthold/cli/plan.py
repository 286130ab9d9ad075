"""`hosthold plan SITE`: what the site's node would change, as a diff; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click import style

from hosthold.cli.context import Context, json_option, pass_context, print_json
from hosthold.cli.sites import find
from hosthold.cli.store import open_database, operator
from hosthold.sites.planning import SitePlanView
from hosthold.sites.planning import plan as ask
from hosthold.types.resource import Change
from hosthold.work.node_orders import NodeQueueClient

_COLOURS = {"create": "green", "update": "yellow", "delete": "red", "+": "green", "-": "red"}
_BY_HAND = {"create": "removed", "update": "edited", "delete": "edited"}


@click.command()
@click.argument("site")
@json_option
@pass_context
def plan(context: Context, site: str, *, as_json: bool) -> None:
    """Show what would change for SITE, a domain name or identifier. Exit status 0: nothing; 2: something would."""
    with open_database(context) as database:
        actor = operator(database)
        with database.read() as uow:
            site_id = find(uow, actor, site).id
        nodes = NodeQueueClient(context.settings)
        try:
            view = ask(database, nodes, actor, site_id)
        finally:
            nodes.close()
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        _show(view)
    raise SystemExit(2 if view.changes else 0)


def _show(view: SitePlanView) -> None:
    if not view.changes:
        click.echo("Nothing would change: the site is as declared.")
    print_changes(view.changes)
    for change in view.kept:
        click.echo(f"kept as it was edited by hand: {change.key}")
    if view.condition is not None:
        click.secho(f"{view.condition.reason}: {view.condition.message}", fg="red")
        click.echo(f"What to do: {view.condition.hint}")


def print_changes(changes: Iterable[Change]) -> None:
    """Print changes with their differences."""
    for change in changes:
        drift = style(f"  ({_BY_HAND[change.action]} by hand)", fg="magenta") if change.is_drift else ""
        click.echo(style(f"{change.action} {change.summary}", fg=_COLOURS[change.action]) + drift)
        for line in change.diff.splitlines():
            click.echo("    " + style(line, fg=_COLOURS.get(line[:1])))
