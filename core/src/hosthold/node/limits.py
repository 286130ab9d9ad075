"""Limits of a service's processes together, as far as this machine lets the process supervisor enforce them.

Control groups of version 2 where their controllers can be used, else those of version 1 that are there; the number of
processes is also a limit of the user (setrlimit(2)), which needs neither.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hosthold.node import process
from hosthold.types.resource import Service, ServiceLimits

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_VERSION_2 = ("cpu", "io", "memory", "pids")
_VERSION_1 = ("cpu", "memory", "pids")


class Enforcer:
    """The control groups of one node's services."""

    def __init__(self, state: str) -> None:
        self._name = f"hosthold-{hashlib.sha256(state.encode()).hexdigest()[:12]}"
        self._groups = self._usable() if os.geteuid() == 0 else {}

    @property
    def enforced(self) -> frozenset[str]:
        """Names of the fields of `ServiceLimits` that are enforced."""
        fields = {"cpu": "cpu_percent", "memory": "memory_mb", "pids": "tasks", "io": "io_weight"}
        found = {fields[controller] for controller in self._groups}
        return frozenset(found | ({"tasks"} if os.geteuid() == 0 else set()))

    def enforce(self, service: Service, pid: int) -> None:
        """Limit a program that was just started, with all that it starts. Raises `OSError` if that cannot be done.

        Entering a group takes some milliseconds, in which the program loads; children that it has already come along.
        """
        if service.limits is None or not self._groups:
            return
        for controller, base in self._groups.items():
            folder = base / service.name
            folder.mkdir(parents=True, exist_ok=True)
            for file, value in _values(controller, service.limits, folder).items():
                (folder / file).write_text(value)
        for base in set(self._groups.values()):
            entrance = base / service.name / "cgroup.procs"
            entrance.write_text(str(pid))
            for child in process.children_of(pid):
                with suppress(ProcessLookupError):
                    entrance.write_text(str(child))

    def remove(self, name: str) -> None:
        """Remove the groups of a service that has no process; those that still have one stay."""
        for base in set(self._groups.values()):
            with suppress(OSError):
                (base / name).rmdir()

    def close(self) -> None:
        """Remove what holds the groups, unless a service's is still there; without it no service can be limited."""
        for base in set(self._groups.values()):
            with suppress(OSError):
                base.rmdir()

    def _usable(self) -> dict[str, Path]:
        """The folder of our groups by controller."""
        if (_ROOT / "cgroup.controllers").is_file():
            folder = _ROOT / self._name
            with suppress(OSError):
                folder.mkdir(exist_ok=True)
                for place in (_ROOT, folder):
                    wanted = " ".join(f"+{controller}" for controller in _VERSION_2)
                    (place / "cgroup.subtree_control").write_text(wanted)
                return dict.fromkeys(_VERSION_2, folder)
            return {}
        found = {}
        for controller in _VERSION_1:
            folder = _ROOT / controller / self._name
            with suppress(OSError):
                if (_ROOT / controller / "cgroup.procs").is_file():
                    folder.mkdir(exist_ok=True)
                    found[controller] = folder
        return found


def _values(controller: str, limits: ServiceLimits, folder: Path) -> Mapping[str, str]:
    """What is written into which file of a group (cgroups(7)). Memory that is swapped out would not be limited."""
    memory, quota = str(limits.memory_mb * 2**20), limits.cpu_percent * _PERIOD_US // 100
    if (folder / "cgroup.controllers").exists():
        return {
            "cpu": {"cpu.max": f"{quota} {_PERIOD_US}"},
            "io": {"io.weight": str(limits.io_weight)} if (folder / "io.weight").exists() else {},
            "memory": {"memory.max": memory, "memory.swap.max": "0"},
            "pids": {"pids.max": str(limits.tasks)},
        }[controller]
    return {
        "cpu": {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)},
        "memory": {"memory.limit_in_bytes": memory},
        "pids": {"pids.max": str(limits.tasks)},
    }[controller]
