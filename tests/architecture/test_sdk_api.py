"""What plugins use of the SDK does not disappear or change in silence: a change is named in the SDK's changelog."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "sdk" / "api"


def load(folder: Path) -> griffe.Module:
    module = griffe.load("hosthold_sdk", search_paths=[folder], allow_inspection=False)
    assert isinstance(module, griffe.Module)
    return module


def api_of_today(folder: Path) -> griffe.Module:
    stub = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "api-stub"), "--print"], env={}, capture_output=True, text=True,
        timeout=120, check=True,
    ).stdout  # fmt: skip
    return load_text(folder, stub)


def load_text(folder: Path, stub: str) -> griffe.Module:
    package = folder / "hosthold_sdk"
    package.mkdir()
    (package / "__init__.pyi").write_text(stub)
    return load(folder)


def unnamed(changes: Iterable[griffe.Breakage], changelog: str) -> list[str]:
    """The changes that the changelog's next version does not name, as `Class.member` or `name`."""
    following = changelog.partition("## Next")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w.]+)`", following))
    return [
        f"{change.obj.path.removeprefix('hosthold_sdk.')}: {change.kind.value}"
        for change in changes
        if change.obj.path.removeprefix("hosthold_sdk.").partition("(")[0] not in named
    ]


def test_nothing_of_the_api_disappears_or_changes_without_a_word_in_the_changelog(tmp_path: Path) -> None:
    changes = griffe.find_breaking_changes(load(RELEASED), api_of_today(tmp_path))
    assert unnamed(changes, (ROOT / "sdk" / "CHANGELOG.md").read_text()) == []


def test_a_name_that_disappears_and_a_signature_that_changes_are_found(tmp_path: Path) -> None:
    text = (RELEASED / "hosthold_sdk" / "__init__.pyi").read_text()
    assert "class MenuItem" in text
    changed = text.replace("class MenuItem", "class MenuEntry").replace("'MenuItem'", "'MenuEntry'")
    changed = changed.replace("def render_site(self, site", "def render_site(self, moved")
    changed = changed.replace("def check_site(site", "def check_site(moved")
    assert changed.count("moved:") == 2
    changes = list(griffe.find_breaking_changes(load(RELEASED), load_text(tmp_path, changed)))
    found = unnamed(changes, "")
    assert {line.partition(":")[0].partition("(")[0] for line in found} >= {
        "MenuItem", "WebServerDriver.render_site", "check_site",
    }  # fmt: skip
    changelog = "## Next\n\n- `MenuItem`, `WebServerDriver.render_site` and `check_site` changed.\n\n## 0.1.0\n"
    assert len(unnamed(changes, changelog)) < len(found)
    assert not any(line.startswith("MenuItem:") for line in unnamed(changes, changelog))
