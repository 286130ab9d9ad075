"""A machine of the tests' own with a real systemd: this machine's files under a layer to write on, in a container.

Nothing is downloaded, and nothing that happens there reaches the files below. It has no network but its own loopback.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_UNSHARE, _NSENTER = "/usr/bin/unshare", "/usr/bin/nsenter"
_BOOT_SECONDS = 60
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_PREPARE = """
import os, subprocess, sys
folder, options = sys.argv[1], sys.argv[2:]
run = lambda *command: subprocess.run(command, check=True)
run("mount", "-t", "tmpfs", "tmpfs", folder)
for name in ("upper", "work", "root"):
    os.mkdir(f"{folder}/{name}")
layers = f"lowerdir=/,upperdir={folder}/upper,workdir={folder}/work"
run("mount", "-t", "overlay", "overlay", "-o", layers, f"{folder}/root")
print("ready", flush=True)
sys.stdin.read()
"""


def why_not() -> str:
    """Which program is missing for such a machine, and how it is installed; empty if none is."""
    packages = {"systemd-nspawn": "systemd-container", "dbus-daemon": "dbus", "systemd-analyze": "systemd"}
    for program, package in packages.items():
        if shutil.which(program) is None:
            return f"needs {program}: apt-get install {package}"
    return ""


class Machine:
    """One machine; its files outlive its boots, and it is gone with this object's `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._holder = subprocess.Popen(
            [_UNSHARE, "--mount", "--propagation", "private", sys.executable, "-c", _PREPARE, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        self._booted: subprocess.Popen[bytes] | None = None
        self._leader = 0
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise OSError("no layer can be mounted over this machine's files")
        self.files = Path(f"/proc/{self._holder.pid}/root{folder}/root")
        """Its root folder, as it is reached from here."""
        shutil.rmtree(self.files / "etc/systemd/system")  # whatever this machine would start itself
        (self.files / "etc/systemd/system").mkdir()
        (self.files / "etc/fstab").write_text("")
        for name in ("etc/.updated", "var/.updated"):
            (self.files / name).touch()
        (self.files / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")

    def boot(self) -> None:
        """Start it, and return when systemd has started everything."""
        log = (self._folder.parent / f"{self._folder.name}.console").open("ab")
        binds = [f"--bind-ro={path}" for path in sorted({str(ROOT), sys.prefix, sys.base_prefix})]
        self._booted = subprocess.Popen(
            [
                _NSENTER, f"--target={self._holder.pid}", "--mount", "--", "systemd-nspawn", "--quiet", "--boot",
                f"--directory={self._folder}/root", "--private-network", "--register=no", "--keep-unit", *binds,
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline and self._booted.poll() is None:
            if self._find_leader():
                state = self.run("systemctl", "is-system-running", may_fail=True).strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.05)
        raise OSError(f"it does not start: {self.console()[-2000:]}")

    def console(self) -> str:
        """What it wrote to its console."""
        return (self._folder.parent / f"{self._folder.name}.console").read_text(errors="replace")

    def _find_leader(self) -> bool:
        assert self._booted is not None
        children = Path(f"/proc/{self._booted.pid}/task/{self._booted.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                self._leader = int(child)
                return True
        return False

    def run(
        self, *command: str, may_fail: bool = False, seconds: float = 120, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run a program there; its output, after it ended well."""
        done = subprocess.run(
            [_NSENTER, f"--target={self._leader}", "--all", "--wdns=/", "--", *command],
            env=_ENVIRONMENT | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def power_off(self) -> None:
        """End it in good order."""
        if self._booted is not None:
            os.kill(self._leader, signal.SIGRTMIN + 4)  # systemd's own signal for it (systemd(1))
            try:
                self._booted.wait(30)
            finally:
                self._booted.kill()
                self._booted.wait()
                self._booted = None

    def close(self) -> None:
        """End it at once, and forget all its files."""
        if self._booted is not None:
            self._booted.kill()
            self._booted.wait()
        self._holder.kill()
        self._holder.communicate()
