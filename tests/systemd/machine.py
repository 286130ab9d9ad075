"""A machine of the tests' own with a real systemd: this machine's files under a layer to write on, in a container.

Nothing is downloaded, and nothing that happens there reaches the files below. It has no network but its own loopback.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_UNSHARE, _NSENTER = "/usr/bin/unshare", "/usr/bin/nsenter"
_BOOT_SECONDS = 120
_STOP_SECONDS = 120
_CLONE_NEWNET = 0x40000000
_OWN_STATE = (
    "etc/systemd/system", "etc/hosthold", "opt/hosthold", "srv/hosthold", "var/lib/hosthold", "var/lib/extrausers",
)  # fmt: skip
"""What this machine would start itself, and what it may have of a platform of its own."""
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_ENTER = "import os, sys; open(sys.argv[1], 'w').write('0'); os.execv(sys.argv[2], sys.argv[2:])"
"""Runs a program in a control group."""


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
        self._group = _own_group() / f"hosthold-{folder.parent.name}"
        """Two machines in one group would end each other's processes."""
        holder = Path(__file__).with_name("holder.py")
        self._holder = subprocess.Popen(
            [
                _UNSHARE, "--mount", "--propagation", "private", sys.executable, str(holder), str(folder),
                str(self._group),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        assert self._holder.stdout is not None
        self._booted: subprocess.Popen[bytes] | None = None
        self._leader = 0
        if self._holder.stdout.readline() != b"ready\n":
            self.close()
            raise OSError("no layer can be mounted over this machine's files, or no control group made")
        self.files = Path(f"/proc/{self._holder.pid}/root{folder}/root")
        """Its root folder, as it is reached from here."""
        for name in _OWN_STATE:
            shutil.rmtree(self.files / name, ignore_errors=True)
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
                sys.executable, "-c", _ENTER, str(self._group / "cgroup.procs"),
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
        with suppress(FileNotFoundError, ProcessLookupError):  # whatever ends meanwhile is not the one
            for child in Path(f"/proc/{self._booted.pid}/task/{self._booted.pid}/children").read_text().split():
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

    def connect(self, port: int) -> socket.socket:
        """A connection to one of its ports, which nobody else can reach."""
        with Path(f"/proc/{self._leader}/ns/net").open() as there, Path("/proc/thread-self/ns/net").open() as here:
            _enter_network(there.fileno())
            try:
                return socket.create_connection(("127.0.0.1", port), 10)
            finally:
                _enter_network(here.fileno())

    def power_off(self) -> None:
        """End it in good order."""
        if self._booted is not None:
            os.kill(self._leader, signal.SIGRTMIN + 4)  # systemd's own signal for it (systemd(1))
            self._booted.wait(_STOP_SECONDS)
            self._booted, self._leader = None, 0

    def close(self) -> None:
        """End it at once, and forget all its files."""
        if self._leader:
            with suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
            assert self._booted is not None
            self._booted.wait(_STOP_SECONDS)
        self._holder.communicate()
        if self._booted is not None:
            self._booted.wait()


def _own_group() -> Path:
    """The control group of version 2 that this process is in."""
    root = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup")
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return root / next((line[len("0::/") :] for line in lines if line.startswith("0::/")), "")


def _enter_network(namespace: int) -> None:
    """Let this thread's next sockets be in the network namespace (setns(2))."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
