"""The built wheels, installed with plain pip into an empty environment, find each other; the tutorial works there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from .tutorial import ROOT, commands, files

MEMBERS = (
    "hosthold", "hosthold_sdk", "hosthold_webserver_nginx", "hosthold_php_fpm", "hosthold_supervisor_systemd",
    "hosthold_hello_plugin", "hosthold_webserver_caddy",
)  # fmt: skip
LIST_RECORDS = """
import json
from hosthold.plugins.discovery import PluginSettingsSource, discover
records = discover(PluginSettingsSource()).records
print(json.dumps([[r.kind, r.name, r.distribution, r.state, r.message] for r in records]))
"""


def run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> str:
    completed = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The caller's environment, as package indexes are configured there, without its Python."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> list[Path]:
    folder = tmp_path_factory.mktemp("wheels")
    uv = shutil.which("uv")
    assert uv is not None, "uv builds the wheels: pip install uv"
    run([uv, "build", "--all-packages", "--wheel", "--quiet", "--out-dir", folder], ROOT, environment)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path], environment: dict[str, str]) -> Path:
    """The Python of an empty environment into which the wheels were installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    interpreter = folder / "bin" / "python"
    run([interpreter, "-m", "pip", "install", "--quiet", *wheels], folder, environment)
    return interpreter


def test_every_member_is_a_distribution_of_its_own(wheels: list[Path]) -> None:
    assert sorted(wheel.name.split("-")[0] for wheel in wheels) == sorted(MEMBERS)


def test_installed_plugins_and_drivers_are_discovered(
    python: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    records = json.loads(run([python, "-W", "error", "-c", LIST_RECORDS], tmp_path, environment))
    states = {(kind, name): state for kind, name, _, state, _ in records}
    assert {
        ("plugin", "hello_plugin"),
        ("plugin", "php_fpm"),
        ("plugin", "supervisor_systemd"),
        ("plugin", "webserver_caddy"),
        ("plugin", "webserver_nginx"),
        ("driver:runtime", "php"),
        ("driver:supervisor", "process"),
        ("driver:supervisor", "systemd"),
        ("driver:webserver", "caddy"),
        ("driver:webserver", "nginx"),
    } == set(states)
    assert set(states.values()) <= {"ready", "not installed"}, records
    assert states["plugin", "hello_plugin"] == "ready"


def test_templates_are_in_the_wheel(python: Path, environment: dict[str, str], tmp_path: Path) -> None:
    script = (
        "from hosthold.plugins.discovery import PluginSettingsSource, discover\n"
        "print((discover(PluginSettingsSource()).template_directory('hello_plugin') / 'hello.html').is_file())"
    )
    assert run([python, "-c", script], tmp_path, environment) == "True\n"


def test_command_line_starts(python: Path, environment: dict[str, str], tmp_path: Path) -> None:
    assert "Usage" in run([python.parent / "hosthold", "--help"], tmp_path, environment)


def test_commands_of_the_tutorial_build_and_show_the_plugin(
    python: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    first, *later = commands()
    environment = {**environment, "PATH": f"{python.parent}:{environment['PATH']}"}
    run(first, tmp_path, environment)
    for name, text in files().items():
        (tmp_path / "hello_plugin" / name).write_text(text)
    outputs = [run([str(python.parent / command[0]), *command[1:]], tmp_path, environment) for command in later]
    assert "2 passed" in outputs[1]
    assert "hello_plugin" in outputs[-1]
