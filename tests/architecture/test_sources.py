"""What all files have in common: a first line that says what lives there, a length to be read, no foreign paths."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", ".github", "benchmarks", "core", "deploy", "docs", "examples", "plugins", "scripts", "sdk", "tests")
VENDORED = ROOT / "core/src/hosthold/panel/static/vendor"
LONGEST = 400
"""Lines. A file that passes about 300 holds two concepts; one that passes this fails."""


def readable(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return path.is_file() and "__pycache__" not in parts and ".hypothesis" not in parts and VENDORED not in path.parents


FILES = sorted(
    [path for path in ROOT.iterdir() if path.is_file() and path.name not in ("uv.lock", ".git")]
    + [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if readable(path)]
)
MODULES = [path for path in FILES if path.suffix == ".py"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_first_line_says_what_lives_here(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    assert docstring is not None
    assert docstring.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_file_can_be_read_at_once(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= LONGEST


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    personal = re.compile(rb"(?<![\w./}])/(?:root|work|Users)/\w")
    assert [name(path) for path in FILES if personal.search(path.read_bytes())] == []


def test_constraints_are_names_and_versions_without_addresses() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = re.compile(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?")
    assert [line for line in lines if not pinned.fullmatch(line)] == []


def test_constraints_pin_every_dependency() -> None:
    projects = [ROOT / "pyproject.toml", *ROOT.glob("*/pyproject.toml"), *ROOT.glob("*/*/pyproject.toml")]
    required = set()
    for project in projects:
        declared = tomllib.loads(project.read_text())
        lists = [declared["project"]["dependencies"], *declared["project"].get("optional-dependencies", {}).values()]
        lists += declared.get("dependency-groups", {}).values()
        required |= {re.split(r"[^\w-]", line)[0] for each in lists for line in each}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {each for each in required if not each.startswith("hosthold")} <= pinned


def test_vendored_files_are_those_of_the_list_unchanged() -> None:
    listed = dict(re.findall(r"^\| `([^`]+)` \|.*\| `([0-9a-f]{64})` \|$", (ROOT / "VENDORED.md").read_text(), re.M))
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDORED.iterdir()} == listed


def test_each_vendored_project_comes_with_its_licence() -> None:
    projects = {path.name.split(".")[0] for path in VENDORED.iterdir()} - {"icons"}  # of the same project as tabler
    assert {path.name.removesuffix(".LICENSE") for path in VENDORED.glob("*.LICENSE")} == projects


@pytest.mark.parametrize("script", [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"], ids=name)
def test_script_can_be_run_and_says_what_it_does(script: Path) -> None:
    assert os.access(script, os.X_OK)
    first, second = script.read_text().splitlines()[:2]
    assert first in ("#!/bin/sh", "#!/usr/bin/env python3")
    assert second.startswith(("# ", '"""'))
