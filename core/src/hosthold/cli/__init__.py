"""The command line: `hosthold`."""

from hosthold.cli.main import main

__all__ = ["main"]
