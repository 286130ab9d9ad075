"""`hosthold-sdk`: what an author of plugins types."""

from __future__ import annotations

from pathlib import Path

import click

from hosthold_sdk import API_VERSION, HostholdError
from hosthold_sdk.scaffold import KINDS, new_plugin


@click.group()
@click.version_option(API_VERSION, message="The SDK's API is %(version)s.")
def main() -> None:
    """Write plugins for Hosthold."""


@main.command("new-plugin")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to write it.")
def new_plugin_command(kind: str, name: str, into: Path) -> None:
    """Write a plugin that works as it is, to the folder NAME: a distribution hosthold-NAME."""
    try:
        folder = new_plugin(kind, name, into)
    except HostholdError as error:
        raise click.ClickException(f"{error.detail} {error.hint}") from error
    except OSError as error:
        raise click.ClickException(f"Nothing was written: {error}. Choose another folder with --into.") from error
    click.echo(
        f"Wrote {KINDS[kind].description} to {folder}. Next:\n"
        f'  python -m pip install --editable "{folder}[test]"\n'
        f"  python -m pytest {folder}\n"
        "  hosthold plugins"
    )
