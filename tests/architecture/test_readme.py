"""The README shows the tree as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNLISTED = {"__init__.py", "__pycache__", "README.md", "py.typed", "conftest.py", "uv.lock", "dist"}
"""What no reader looks for: every folder may have it."""


def shown_tree() -> dict[str, set[str]]:
    """The paths that each shown folder is shown to have; `""` is the root."""
    (block,) = re.findall(r"^```text\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    shown: dict[str, set[str]] = {}
    above: list[tuple[int, str]] = [(-1, "")]
    for line in block.splitlines():
        depth = len(line) - len(line.lstrip())
        names = re.split(r"\s{3,}", line.strip())[0].split()
        while above[-1][0] >= depth:
            above.pop()
        paths = {f"{above[-1][1]}{name}" for name in names}
        shown.setdefault(above[-1][1], set()).update(paths)
        if len(names) == 1 and names[0].endswith("/"):
            above.append((depth, f"{above[-1][1]}{names[0]}"))
    return shown


SHOWN = shown_tree()


@pytest.mark.parametrize("path", sorted(path for paths in SHOWN.values() for path in paths))
def test_what_the_readme_shows_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


@pytest.mark.parametrize("folder", sorted(set(SHOWN) - {"core/"}))
def test_readme_shows_all_that_an_opened_folder_has(folder: str) -> None:
    listed = {path.removeprefix(folder).split("/")[0] for path in SHOWN[folder]}
    there = {path.name for path in (ROOT / folder).iterdir() if not path.name.startswith(".")}
    assert there - UNLISTED <= listed
