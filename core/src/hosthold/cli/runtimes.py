"""`hosthold runtimes`: versions that nodes offer or sites use, and until when their security holes are mended."""

from __future__ import annotations

import click

from hosthold.cli.context import Context, json_option, pass_context, print_json, print_table
from hosthold.cli.store import open_database, operator
from hosthold.sites.runtimes import RuntimeView, SupportState
from hosthold.sites.runtimes import runtimes as list_runtimes


@click.command()
@json_option
@pass_context
def runtimes(context: Context, *, as_json: bool) -> None:
    """List versions of runtimes, newest first, with their end of life and how many sites use them."""
    with open_database(context) as database, database.read() as uow:
        view = list_runtimes(uow, operator(database))
    if as_json:
        print_json(view.model_dump(mode="json")["items"])
        return
    print_table(
        ("RUNTIME", "SUPPORT", "INSTALLED", "SITES"),
        [
            (f"{each.driver} {each.version}", _support(each), "yes" if each.is_installed else "no", str(each.sites))
            for each in view.items
        ],
        "No node has told yet which runtimes it has.",
    )


def _support(each: RuntimeView) -> str:
    match each.support.state:
        case SupportState.ended:
            return f"end of life since {each.support.ends_on}"
        case SupportState.ending:
            return f"ends on {each.support.ends_on}, in {each.support.days_left} days"
        case SupportState.supported:
            return f"until {each.support.ends_on}"
        case _:
            return "unknown"
