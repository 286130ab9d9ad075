"""What the document about tests shows are tests that pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_tests_that_the_document_shows_pass(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    files = re.findall(r'^```python title="(\w+\.py)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    for name, content in files:
        (tmp_path / name).write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, env={"PATH": os.defpath}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name, _ in files] == ["test_driver.py", "test_platform.py"]


def test_the_document_names_every_fixture_and_every_kit() -> None:
    text = (ROOT / "docs" / "testing.md").read_text()
    plugin = (ROOT / "sdk/src/hosthold_sdk/testing/pytest_plugin.py").read_text()
    kits = (ROOT / "sdk/src/hosthold_sdk/testing/conformance/__init__.py").read_text()
    fixtures = set(re.findall(r"^@pytest\.fixture\ndef (\w+)", plugin, re.MULTILINE)) - {"hosthold_platform"}
    named = set(re.findall(r'^    "(\w+)",$', kits, re.MULTILINE)) - {"DriverConformance"}
    assert len(fixtures) > 7
    assert {name for name in fixtures | named if f"`{name}`" not in text} == set()
