"""The documentation site builds without a warning, and has a page for every document."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built now."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"],
        cwd=ROOT, env={}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return ROOT / ".site"


def test_the_site_builds_without_a_warning_and_has_a_page_for_every_document(site: Path) -> None:
    for document in (ROOT / "docs").rglob("*.md"):
        place = document.relative_to(ROOT / "docs").with_suffix("")
        page = site / (place.parent if place.name == "README" else place) / "index.html"
        assert page.is_file(), f"{document.name} has no page"


def test_its_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    fetching = re.compile(r'src="https?:|<link[^>]+rel="stylesheet"[^>]+href="https?:')
    assert [page.name for page in pages if fetching.search(page.read_text())] == []
