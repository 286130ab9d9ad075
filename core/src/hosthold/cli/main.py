"""The root of the command line: settings are read once, and errors end as one readable line."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hosthold.cli import doctor, init, plan, plugins, run, sites, token
from hosthold.cli.context import Context
from hosthold.errors import HostholdError


class _Commands(click.Group):
    """Prints what Hosthold raises on purpose as what happened and what to do, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HostholdError as error:
            click.secho(f"Error: {error.detail}", fg="red", err=True)
            if error.hint:
                click.echo(f"What to do: {error.hint}", err=True)
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The settings file; else HOSTHOLD_CONFIG, else /etc/hosthold/hosthold.toml.",
)
@click.version_option(package_name="hosthold")
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Hosthold: sites are declared, and kept as declared."""
    ctx.obj = Context(config)


main.add_command(init.init)
main.add_command(run.up)
main.add_command(run.web)
main.add_command(run.worker)
main.add_command(run.node)
main.add_command(doctor.doctor)
main.add_command(plugins.plugins)
main.add_command(plugins.x)
main.add_command(sites.sites)
main.add_command(plan.plan)
main.add_command(token.token)
