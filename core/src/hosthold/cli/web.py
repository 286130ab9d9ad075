"""`hosthold web`: the process that serves the API and the panel."""

from __future__ import annotations

import click

from hosthold.app import serve
from hosthold.cli.context import Context, pass_context
from hosthold.cli.process import set_up_logging
from hosthold.cli.store import open_database


@click.command()
@pass_context
def web(context: Context) -> None:
    """Serve the API and the panel."""
    set_up_logging()
    with open_database(context):
        pass  # its tables are there and up to date; the server opens connections of its own
    serve(context.settings)
