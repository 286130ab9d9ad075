"""The SDK is the only door: what plugins and examples import of ours is `hosthold_sdk` or themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(source for folder in ("plugins", "examples") for source in (ROOT / folder).glob("*/src/**/*.py"))


def imported_modules(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(), str(source))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module


def test_there_are_plugins_to_look_at() -> None:
    assert {source.relative_to(ROOT).parts[1] for source in SOURCES} >= {
        "webserver_nginx",
        "php_fpm",
        "supervisor_systemd",
        "hello_plugin",
        "webserver_caddy",
    }


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_plugin_imports_the_sdk_and_nothing_else_of_ours(source: Path) -> None:
    own = source.relative_to(ROOT).parts[3]
    ours = {module for module in imported_modules(source) if module.split(".")[0].startswith("hosthold")}
    assert {module for module in ours if module.split(".")[0] not in ("hosthold_sdk", own)} == set()
