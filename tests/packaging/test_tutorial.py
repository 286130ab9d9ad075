"""The tutorial builds exactly the hello plugin: its blocks are the files of the example, and they work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .tutorial import EXAMPLE, files


def test_blocks_of_the_tutorial_are_the_files_of_the_example() -> None:
    assert files() == {
        str(path.relative_to(EXAMPLE)): path.read_text()
        for path in EXAMPLE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "py.typed"
    }


def test_plugin_typed_in_from_the_tutorial_passes_its_own_test(tmp_path: Path) -> None:
    for name, text in files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "2 passed" in completed.stdout
