"""The first command of the README, as a newcomer types it: as root, and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import free_port, open_folder

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def test_the_demo_checks_itself_and_leaves_nothing_running() -> None:
    with open_folder() as folder:
        command = [sys.executable, "examples/single_node/demo.py", "--check", "--state", str(folder / "state")]
        done = subprocess.run(
            [*command, "--port", str(free_port())], cwd=ROOT, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(done.stdout)
        assert result["ok"], result
        assert result["isolation"] == ("unix_user" if os.geteuid() == 0 else "none")
        assert _running_below(folder) == []


@pytest.mark.root
def test_an_ordinary_user_runs_the_demo_from_a_fresh_checkout() -> None:
    with open_folder() as folder:
        _copy_checkout(folder)
        environment = {**os.environ, "HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        done = subprocess.run(
            [str(folder / "scripts/demo"), "--check", "--port", str(free_port())],
            cwd=folder, env=environment, capture_output=True,
            text=True, timeout=300, user=NOBODY, group=NOBODY, extra_groups=[],
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert (result["ok"], result["isolation"]) == (True, "none")
        assert _running_below(folder) == []


def _copy_checkout(folder: Path) -> None:
    listed = subprocess.run(
        ["/usr/bin/git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


def _running_below(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found
