"""`hosthold plugins`: what is installed and in which state; `hosthold x`: commands of plugins."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from hosthold.cli.context import Context, json_option, pass_context, print_json, print_table


@click.command()
@json_option
@pass_context
def plugins(context: Context, *, as_json: bool) -> None:
    """List plugins and drivers with their state, and what to do about those that are not ready."""
    records = context.registry.health()
    if as_json:
        print_json([asdict(record) for record in records])
        return
    rows = [
        (record.name, record.kind, f"{record.distribution} {record.version}", str(record.state)) for record in records
    ]
    print_table(
        ("NAME", "KIND", "FROM", "STATE"),
        rows,
        "No plugin is installed. Install one with pip, such as hosthold-php-fpm.",
    )
    for record in records:
        if record.message:
            click.echo(f"\n{record.name}: {record.message}" + (f"\n  What to do: {record.hint}" if record.hint else ""))


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("plugin")
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_context
def x(context: Context, plugin: str, name: str, arguments: tuple[str, ...]) -> None:
    """Run a plugin's command: hosthold x PLUGIN NAME [ARGUMENT ...]."""
    commands = {(owner, command.name): command for owner, command in context.registry.declarations("register_commands")}
    if (plugin, name) not in commands:
        known = "\n".join(
            f"  {owner} {command.name}: {command.help}" for (owner, _), command in sorted(commands.items())
        )
        raise click.ClickException(
            f"There is no command {name!r} of a plugin {plugin!r}. There are:\n{known or '  none'}"
        )
    sys.exit(commands[plugin, name].run(arguments))
