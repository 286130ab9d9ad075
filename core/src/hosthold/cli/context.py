"""What all commands share: settings, plugins, and how results are printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import orjson

from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings, load_settings

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Context:
    """What one run of the command line works with, made when it is first needed."""

    def __init__(self, config: Path | None) -> None:
        self.config = config

    @cached_property
    def settings(self) -> Settings:
        """The platform's settings."""
        return load_settings(self.config)

    @cached_property
    def registry(self) -> PluginRegistry:
        """Plugins and drivers as they are installed here."""
        return discover(PluginSettingsSource.of(self.settings))


pass_context: Callable[[Callable[..., Any]], Callable[..., Any]] = click.make_pass_decorator(Context)


def print_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> None:
    """Print rows under headings, aligned; `empty` says what to do where there are none."""
    if not rows:
        click.echo(empty)
        return
    widths = [max(len(heading), *(len(row[column]) for row in rows)) for column, heading in enumerate(headings)]
    for line in (headings, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
