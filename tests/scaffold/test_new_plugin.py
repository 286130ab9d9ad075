"""A plugin of every kind is written, installed into a clean environment, and is ready in a running platform."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hosthold.drivers import CLASSES
from hosthold_sdk import Rejected
from hosthold_sdk.cli import main
from hosthold_sdk.scaffold import KINDS, new_plugin

from tests.conftest import free_port, open_folder

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {
    name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
}  # fmt: skip


def run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] = PLAIN) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=dict(environment), capture_output=True, text=True,
        timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Workshop:
    """A clean environment with Hosthold and the SDK in it, and a plugin of every kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugins = folder / "plugins"
        uv = shutil.which("uv")
        assert uv is not None, "uv makes the environment: pip install uv"
        run([uv, "venv", "--quiet", "--python", sys.executable, folder / "environment"], folder)
        self.bin = folder / "environment" / "bin"
        python, pins = self.bin / "python", ROOT / "constraints.txt"
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python, "--constraint", pins]
        run([*install, ROOT / "core", f"{ROOT / 'sdk'}[testing]"], folder)
        for kind in KINDS:
            run([self.bin / "hosthold-sdk", "new-plugin", kind, f"my_{kind}", "--into", self.plugins], folder)
        run([*install, *(f"{self.plugins / f'my_{kind}'}[test]" for kind in KINDS)], folder)


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    """Below a folder that other users may enter: conformance runs programs of other users."""
    folder = Path(tempfile.mkdtemp(prefix="hosthold-workshop-"))
    folder.chmod(0o755)
    yield Workshop(folder)
    shutil.rmtree(folder)


def test_there_is_a_kind_for_every_kind_of_driver() -> None:
    assert {driver.kind for driver in CLASSES} == {kind.driver.lower() for kind in KINDS.values() if kind.driver}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_clean_and_does_what_its_kind_must(workshop: Workshop, kind: str) -> None:
    folder = workshop.plugins / f"my_{kind}"
    run([workshop.bin / "ruff", "check", "."], folder)
    run([workshop.bin / "ruff", "format", "--check", "."], folder)
    run([workshop.bin / "mypy", "src", "tests"], folder)
    assert " passed" in run([workshop.bin / "python", "-m", "pytest", "-p", "no:cacheprovider"], folder)


def test_new_plugins_are_ready_in_a_running_platform(workshop: Workshop) -> None:
    port = free_port()
    with open_folder() as folder:
        settings = folder / "hosthold.toml"
        settings.write_text(
            f'state = "{folder}/state"\n[web]\nport = {port}\n[node]\nwebserver = "my_webserver"\n'
            f'isolation = "none"\nlisten = {{ address = "127.0.0.1", port = {free_port()} }}\n'
        )
        environment = {**PLAIN, "HOSTHOLD_CONFIG": str(settings)}
        hosthold = workshop.bin / "hosthold"
        run([hosthold, "init", "--admin", "admin@example.net"], folder, environment)
        made = run([hosthold, "token", "create", "--name", "test", "--days", "1", "--json"], folder, environment)
        secret = json.loads(made)["secret"]
        with (folder / "log").open("wb") as log:
            platform = subprocess.Popen([hosthold, "up"], env=environment, stdout=log, stderr=log)
        try:
            states = _states(port, secret, platform, folder / "log")
        finally:
            platform.terminate()
            platform.wait(60)
    expected = {("plugin", f"my_{kind}") for kind in KINDS}
    expected |= {(f"driver:{kind.driver.lower()}", f"my_{name}") for name, kind in KINDS.items() if kind.driver}
    assert {key: states.get(key) for key in expected} == dict.fromkeys(expected, "ready")


def _states(port: int, secret: str, platform: subprocess.Popen[bytes], log: Path) -> dict[tuple[str, str], str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/plugins", headers={"Authorization": f"Bearer {secret}"}
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and platform.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return {(item["kind"], item["name"]): item["state"] for item in json.load(answer)["items"]}
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.mark.parametrize("name", ["", "Upper", "with-dash", "1st", "x" * 32, "a/b", "../up", "class", "ä"])
def test_a_name_that_cannot_be_one_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(Rejected, match="cannot be the name") as raised:
        new_plugin("hooks", name, tmp_path)
    assert "acme_dns" in raised.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(Rejected, match="already"):
        new_plugin("hooks", "mine", tmp_path)
    with pytest.raises(Rejected, match="no kind"):
        new_plugin("teapot", "tea", tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"
    assert new_plugin("hooks", "other", tmp_path) == tmp_path / "other"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other"]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_new_plugin_bears_the_name_of_what_it_began_as(tmp_path: Path, kind: str) -> None:
    folder = new_plugin(kind, "acme", tmp_path)
    sources = [*folder.rglob("*.py")]
    assert sources
    assert [source.name for source in sources if "fake" in source.read_text().lower()] == []


def test_a_folder_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["new-plugin", "hooks", "acme", "--into", str(tmp_path / "file" / "below")])
    assert (done.exit_code, "Nothing was written" in done.output) == (1, True)
