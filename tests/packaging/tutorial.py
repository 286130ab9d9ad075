"""What the tutorial tells its reader to type: files and commands."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "hello_plugin"
_TEXT = (ROOT / "docs" / "tutorial.md").read_text()


def files() -> dict[str, str]:
    """The content of every file, by its path in the plugin's folder."""
    blocks = re.findall(r'^(`{3,})\w+ title="([^"]+)"\n(.*?)^\1$', _TEXT, re.DOTALL | re.MULTILINE)
    return {name: content for _, name, content in blocks}


def commands() -> list[list[str]]:
    """The argument vectors of all commands, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```$", _TEXT, re.DOTALL | re.MULTILINE)
    return [line.removeprefix("$ ").split() for block in blocks for line in block.splitlines()]
