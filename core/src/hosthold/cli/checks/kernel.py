"""The kernel's settings: guards of shared folders, numbers of files and processes, and limits of services."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.node.failure import NodeFailure
from hosthold.node.limits import Enforcer
from hosthold.node.probe import run_check
from hosthold.node.process import LONGEST_BACKLOG
from hosthold.settings import Settings
from hosthold.types.node import Isolation

GUARDS = ("protected_symlinks", "protected_hardlinks", "protected_fifos", "protected_regular")
OWN_FILES = 256
"""Files that the node and its web server have open without any site."""
FILES_PER_SITE = 3
"""A site's socket, and what is open while its program runs."""
_ALONE = ("/usr/bin/unshare", "--ipc", "/bin/true")
_KEPT_IN = "and keep it in /etc/sysctl.d/90-hosthold.conf"
_CONTROLLERS = {"cpu_percent": "cpu", "memory_mb": "memory", "tasks": "pids"}


def look(settings: Settings, sites: int, tasks: int, *, proc: Path = Path("/proc")) -> Iterator[Finding]:
    """Look at the kernel's settings for a node of so many sites, which may have so many processes together."""
    yield from _guards(proc)
    yield from _files(settings, sites, proc)
    yield from _processes(tasks, proc)
    yield from _backlog(proc)
    yield from _limits(settings)
    yield from _shared_memory(settings)


def _number(proc: Path, name: str) -> int | None:
    file = proc / "sys" / name
    return int(file.read_text().split()[0]) if file.is_file() else None


def _guards(proc: Path) -> Iterator[Finding]:
    """proc_sys_fs(5): without them a user can have another's program follow links into what is not theirs."""
    off = [f"fs.{name}=1" for name in GUARDS if _number(proc, f"fs/{name}") == 0]
    if off:
        yield bad(
            "kernel",
            "The kernel lets users plant links and files in shared folders such as /tmp for the programs of others.",
            f"sysctl -w {' '.join(off)}, {_KEPT_IN}",
        )
    else:
        yield well("kernel", "links and files in shared folders are guarded")


def _files(settings: Settings, sites: int, proc: Path) -> Iterator[Finding]:
    needed = OWN_FILES + FILES_PER_SITE * sites
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if settings.node.supervisor == "process" and hard != resource.RLIM_INFINITY and hard < needed:
        yield bad(
            "open files",
            f"A process may have {hard} files open; the node needs about {needed} for {sites} sites.",
            f"Start `hosthold up` with `ulimit -Hn {needed * 2}`, or LimitNOFILE={needed * 2} in its systemd unit",
        )
        return
    on_machine = _number(proc, "fs/file-max")
    if on_machine is not None and on_machine < 4 * needed:
        yield bad(
            "open files",
            f"The machine may have {on_machine} files open; {sites} sites need up to {4 * needed}.",
            f"sysctl -w fs.file-max={8 * needed}, {_KEPT_IN}",
        )
        return
    yield well("open files", f"{'as many as are wanted' if hard == resource.RLIM_INFINITY else hard} for one process")


def _processes(tasks: int, proc: Path) -> Iterator[Finding]:
    most = min(filter(None, (_number(proc, "kernel/pid_max"), _number(proc, "kernel/threads-max"))), default=None)
    if most is not None and tasks > most:
        yield bad(
            "processes",
            f"Sites may have {tasks} processes together, the machine {most}: some of them could keep all others from "
            "starting any.",
            f"sysctl -w kernel.pid_max=4194304 kernel.threads-max={max(2 * tasks, most)}, {_KEPT_IN}",
        )
    else:
        yield well("processes", f"sites may have {tasks} together" + ("" if most is None else f", the machine {most}"))


def _backlog(proc: Path) -> Iterator[Finding]:
    most = _number(proc, "net/core/somaxconn")
    if most is not None and most < LONGEST_BACKLOG:
        yield bad(
            "waiting connections",
            f"Only {most} connections may wait at a socket, not {LONGEST_BACKLOG}: visitors of a site that wakes are "
            "refused.",
            f"sysctl -w net.core.somaxconn=4096, {_KEPT_IN}",
        )
    else:
        yield well("waiting connections", "as many as sites ask for")


def _limits(settings: Settings) -> Iterator[Finding]:
    if reason := _leaves_it(settings):
        yield well("limits of sites", reason)
        return
    enforcer = Enforcer(f"doctor {os.getpid()}")  # groups of its own: a running node may be about to use its own
    enforced = enforcer.enforced
    enforcer.close()
    missing = [controller for field, controller in _CONTROLLERS.items() if field not in enforced]
    if missing:
        yield bad(
            "limits of sites",
            f"Control groups without {', '.join(missing)}: a site is not kept below what its package allows.",
            "Boot with control groups of version 2: `systemd.unified_cgroup_hierarchy=1` on the kernel's command line. "
            "In a container, have its host delegate the controllers",
        )
    else:
        without = "" if "io_weight" in enforced else ", and no share of a busy disk"
        yield well("limits of sites", f"processor, memory and processes{without}")


def _shared_memory(settings: Settings) -> Iterator[Finding]:
    if reason := _leaves_it(settings):
        yield well("shared memory", reason)
        return
    try:
        run_check("unshare", _ALONE)
    except NodeFailure:
        yield bad(
            "shared memory",
            "The kernel gives a site no shared memory of its own: what its PHP shares is open to all sites.",
            "Start the node with CAP_SYS_ADMIN, on a kernel with CONFIG_IPC_NS; in a container, its host decides",
        )
    else:
        yield well("shared memory", "each site has its own")


def _leaves_it(settings: Settings) -> str:
    """Why the node itself does nothing to keep services apart; empty if it does. systemd does it by itself."""
    if settings.node.supervisor != "process":
        return "not the node's"
    return "not without root" if settings.node_isolation is Isolation.none or os.geteuid() != 0 else ""
