"""The root of the command line: settings are read once, and errors end as one readable line."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from hosthold.cli.context import Context
from hosthold.errors import HostholdError

_COMMANDS = {
    "init": ("hosthold.cli.init", "Set up the platform on this machine."),
    "up": ("hosthold.cli.up", "Run the whole platform on this machine."),
    "web": ("hosthold.cli.web", "Serve the API and the panel."),
    "worker": ("hosthold.cli.worker", "Reconcile sites, deliver events, run jobs."),
    "node": ("hosthold.cli.node", "Hold sites on this machine."),
    "doctor": ("hosthold.cli.doctor", "Look at every part of the platform."),
    "plugins": ("hosthold.cli.plugins", "List plugins and drivers with their state."),
    "x": ("hosthold.cli.plugins", "Run a command of a plugin."),
    "sites": ("hosthold.cli.sites", "List, show, create, suspend, resume, retry, delete sites."),
    "runtimes": ("hosthold.cli.runtimes", "List versions of PHP with their end of life."),
    "plan": ("hosthold.cli.plan", "Show what would change for a site."),
    "drift": ("hosthold.cli.drift", "List what was changed by hand; adopt or repair it."),
    "token": ("hosthold.cli.token", "API tokens and sign-in links."),
}
"""Each command's module and summary. A module is imported when its command is run: the node needs little of them."""


class _Commands(click.Group):
    """Prints what Hosthold raises on purpose as what happened and what to do, without a traceback."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(_COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

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
