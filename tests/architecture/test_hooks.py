"""Every hook says what to return, has its discipline in its name, and is documented and tested."""

from __future__ import annotations

import inspect
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest
from hosthold.hookspecs import MODULES

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "scripts" / "docs-reference"
HOOKS: list[FunctionType] = [
    thing for module in MODULES for thing in vars(module).values() if hasattr(thing, "hosthold_spec")
]
PREFIXES = ("register_", "contribute_", "check_", "on_")
every_hook = pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.__name__)


def arguments(hook: FunctionType) -> list[str]:
    return list(inspect.signature(hook).parameters)


def page(hook: FunctionType) -> str:
    return (ROOT / "docs" / "hooks" / f"{hook.__name__}.md").read_text()


@every_hook
def test_name_tells_the_discipline(hook: FunctionType) -> None:
    assert hook.__name__ == "call_driver" or hook.__name__.startswith(PREFIXES)


@every_hook
def test_docstring_says_what_to_return(hook: FunctionType) -> None:
    assert re.search(r"\b[Rr]eturn\b", hook.__doc__ or "")


@every_hook
def test_page_documents_the_arguments_that_the_code_has(hook: FunctionType) -> None:
    (documented,) = re.findall(rf"^{hook.__name__}\((.*)\) ->", page(hook), re.MULTILINE)
    assert re.findall(r"(\w+): ", documented) == arguments(hook)


@every_hook
def test_page_shows_an_implementation_that_uses_the_sdk_alone(hook: FunctionType, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", page(hook), re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    names = runpy.run_path(str(tmp_path / "example.py"))
    implementation = inspect.getattr_static(names["MyHooks"], hook.__name__)
    assert list(inspect.signature(implementation).parameters) == ["self", *arguments(hook)]
    assert re.findall(r"^from (\S+) import", example, re.MULTILINE)[-1] == "hosthold_sdk"


@every_hook
def test_some_test_mentions_it(hook: FunctionType) -> None:
    folders = ("core/tests", "sdk/tests", "tests", "plugins", "examples")
    tests = [test for folder in folders for test in (ROOT / folder).rglob("test_*.py") if test != Path(__file__)]
    assert any(re.search(rf"\b{hook.__name__}\b", test.read_text()) for test in tests)


def test_committed_reference_is_up_to_date() -> None:
    command = [sys.executable, str(REFERENCE), "--check"]
    completed = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
