"""Processes as the kernel shows them: starting one with a given identity, knowing it again, ending its session."""

from __future__ import annotations

import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from hosthold.errors import Misconfigured, NotInstalled
from hosthold.node import keeper
from hosthold.node.identity import acting_as, system_call
from hosthold.node.probe import ENVIRONMENT
from hosthold.types.node import Owner
from hosthold.types.resource import Service

_PIDFD_GETFD = 438
_CLOSE_RANGE = 436
_CLOSE_RANGE_CLOEXEC = 4
_LAST_DESCRIPTOR = 0xFFFFFFFF
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWIPC = 0x08000000
_SETPRIV = "/usr/bin/setpriv"
_KILL = "/bin/kill"
PROGRAMS = {_SETPRIV: "util-linux", _KILL: "procps"}
"""Programs that are started to act as a site's user, and the Debian packages that they come from."""
_MOST_AT_A_TIME = 16
LONGEST_BACKLOG = 511
"""How many connections may wait at a service's socket; the kernel may allow fewer (net.core.somaxconn)."""
_libc = ctypes.CDLL(None, use_errno=True)


def check_machine() -> None:
    """Raises `NotInstalled` for what the kernel or the machine lacks, `Misconfigured` if /proc cannot be read."""
    for program, package in PROGRAMS.items():
        if not os.access(program, os.X_OK):
            raise NotInstalled(f"{program} is missing.", hint=f"apt-get install {package}")
    try:
        os.close(os.pidfd_open(os.getpid()))
        close_on_exec(_LAST_DESCRIPTOR)
    except OSError as error:
        raise NotInstalled(
            f"The kernel lacks a system call, or does not let it be made: {error}",
            hint="Use Linux 5.11 or newer; in a container, one that lets pidfd_open and close_range be called.",
        ) from None
    if status_of(os.getpid()) is None:
        raise Misconfigured("/proc cannot be read.", hint="Mount proc at /proc.")


def close_on_exec(first: int) -> None:
    """Have the kernel close all descriptors from this one on when the process starts another program."""
    system_call(_CLOSE_RANGE, first, _LAST_DESCRIPTOR, _CLOSE_RANGE_CLOEXEC)


class Output(NamedTuple):
    """Where a service's output goes; what it says from now on is behind `start`."""

    descriptor: int
    start: int

    def text(self) -> str:
        """The beginning of what the service has said since this was opened."""
        return os.pread(self.descriptor, 4096, self.start).decode("utf-8", "replace")


class Status(NamedTuple):
    """Some of /proc/PID/stat (proc_pid_stat(5)). Pid and start time together name one process within one boot."""

    state: str
    session: int
    start_time: int


def status_of(pid: int) -> Status | None:
    """The process's status; `None` if there is no such process, a zombie included.

    A process whose first thread has ended looks like a zombie, and its other threads go on running.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    has_ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if has_ended else Status(fields[0], int(fields[3]), int(fields[19]))


def is_asleep(pid: int) -> bool:
    """Whether the process waits for something, and neither computes nor waits for a processor or a disk."""
    status = status_of(pid)
    return status is not None and status.state == "S"


def switches_of(pid: int) -> int:
    """How often the process has gone to wait for something; it stands still while it waits for work, or computes."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                return int(line.split()[1])
    return 0


def children_of(pid: int) -> list[int]:
    """The child processes that the process has now, of its first thread."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    return []


def refuse_waiting(listener: int) -> None:
    """Close all connections that wait in the listening socket, so that nobody waits for a program that cannot run."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    with socket.socket(fileno=os.dup(listener)) as copy:
        for _ in range(LONGEST_BACKLOG):
            if not waiting.poll(0):
                return
            copy.accept()[0].close()


def boot_id() -> str:
    """A value that no two boots share."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def spawn(
    service: Service,
    marks: dict[str, str],
    folder: str,
    output: int,
    listener: socket.socket | None,
) -> int:
    """Start the service's program in the background; returns its pid.

    It gets the declared environment and identity, no other groups, a session of its own, `folder` as working
    directory, and the listening socket as descriptor 3. A site's program shares memory, queues and semaphores with
    nobody, where the kernel allows that: PHP opens them to everybody unless told otherwise.

    Raises `OSError` if it cannot be started.
    """
    spare = [os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)]
    while spare[-1] <= 3:  # descriptor 3 must be in use here, so that nothing that starts the child gets that number
        spare.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))
    is_other_user = service.owner.uid != os.geteuid()
    try:
        child = subprocess.Popen(
            (*_as_user(service.owner), *service.command) if is_other_user else service.command,
            env=ENVIRONMENT | dict(service.environment) | marks,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            close_fds=False,  # that would be one by one, of thousands: the kernel does it, see `_before_exec`
            preexec_fn=_before_exec(listener, service),  # system calls, nothing else
        )
    finally:
        for descriptor in spare:
            os.close(descriptor)
    child.returncode = 0  # from here on the process is known by its pidfd, and reaped where that is watched
    return child.pid


def _before_exec(listener: socket.socket | None, service: Service) -> Callable[[], None]:
    descriptor = None if listener is None else listener.fileno()
    is_own = service.owner.uid in (0, os.geteuid())
    tasks = None if service.limits is None or is_own else service.limits.tasks

    def act() -> None:
        close_on_exec(3)
        if descriptor is not None:
            os.dup2(descriptor, 3)
            os.set_inheritable(3, True)  # also if it was that number already
        if tasks is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
        if not is_own:
            _libc.unshare(_CLONE_NEWIPC)
        if service.owner.uid != 0:
            _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    return act


def has_ended(pidfd: int, seconds: float = 0.0) -> bool:
    """Whether the process ends within the time; the answer of the kernel, no polling."""
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    return bool(ended.poll(seconds * 1000))


def reap(pid: int) -> None:
    """Let the kernel forget the process if it was our child."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def pids() -> Iterator[int]:
    """Every process of the machine."""
    yield from (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def kill(pid: int, is_meant: Callable[[int], bool]) -> None:
    """End the process at once if it is one that is meant, and wait for its end.

    That is asked while a descriptor holds the process: a number by itself may have come to mean another one.
    """
    with suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            if is_meant(pid):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                has_ended(pidfd, 1.0)
        finally:
            os.close(pidfd)
        reap(pid)


def kill_session(session: int) -> None:
    """End at once whatever still runs in the session, and wait until nothing does."""

    def is_in_session(pid: int) -> bool:
        status = status_of(pid)
        return status is not None and status.session == session

    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        left = [pid for pid in pids() if is_in_session(pid)]
        if not left:
            return
        for pid in left:
            kill(pid, is_in_session)


def kill_user(uid: int, seconds: float) -> list[int]:
    """End every process of the user at once, in whatever session; those that are left after the time.

    The kernel is asked to end all in one step, by a process of that very user: a program that forks faster than
    processes can be listed is never seen, and cannot be ended one by one.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_done = _kill_at_once(uid)
        left = [pid for pid in pids() if _runs_as(pid, uid)]
        if (is_done and not left) or time.monotonic() > deadline:
            return left
        for pid in left[:_MOST_AT_A_TIME]:
            kill(pid, lambda pid: _runs_as(pid, uid))


def _kill_at_once(uid: int) -> bool:
    """Whether it came to its end: the user may stop or kill it as well, or hold all numbers of processes."""
    command = (*_as_user(Owner(uid=uid, gid=uid)), _KILL, "-KILL", "--", "-1")
    with suppress(OSError, subprocess.TimeoutExpired):
        result = subprocess.run(
            command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=1.0
        )
        return result.returncode >= 0
    return False


def _as_user(owner: Owner) -> tuple[str, ...]:
    """The beginning of a command that is run as somebody else, with no other groups and no way to more rights.

    A program does that after its start: what the user may signal, it may also stop, and starting would never return.
    """
    if owner.uid == 0:
        raise ValueError("root is nobody else")
    return (_SETPRIV, f"--reuid={owner.uid}", f"--regid={owner.gid}", "--clear-groups", "--no-new-privs", "--")


def _runs_as(pid: int, uid: int) -> bool:
    """Whether the process is the user's, or can become it again; a zombie is nobody's."""
    if pid == os.getpid() or status_of(pid) is None:
        return False
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return str(uid) in fields["Uid"].split()[:3]


def taken_listener(pidfd: int) -> socket.socket | None:
    """A second descriptor of another process's descriptor 3, if that is a listening Unix socket."""
    try:
        descriptor = system_call(_PIDFD_GETFD, pidfd, 3, 0)
    except OSError:
        return None
    try:
        taken = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    if taken.family == socket.AF_UNIX and taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        taken.setblocking(True)
        return taken
    taken.close()
    return None


def start_beside(program: str, argument: str) -> subprocess.Popen[bytes]:
    """Start a program of the node's own, which ends when its standard input does: on purpose, or with the node."""
    return subprocess.Popen(
        (sys.executable, "-I", "-S", program, argument), env=ENVIRONMENT, cwd="/", stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def start_keeper(path: str) -> None:
    """Start a keeper of sockets in the background, with its own socket at the path."""
    owner = Owner(uid=os.geteuid(), gid=os.getegid())
    with bind_listener(path, owner, 0o600, socket.SOCK_SEQPACKET) as listener:
        child = subprocess.Popen(
            (sys.executable, "-I", "-S", keeper.__file__, path), env=ENVIRONMENT, cwd="/", stdin=listener.fileno(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    child.returncode = 0  # it is known by its socket, and reaped where its end is noticed


def bind_listener(path: str, owner: Owner, mode: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket at the path, in blocking mode; it appears there with its owner and mode, replacing another.

    It is bound through its folder's descriptor, because an address holds 107 bytes (unix(7)).
    """
    head, _, name = path.rpartition("/")
    folder = os.open(head, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    temporary = f".{os.getpid()}.{time.monotonic_ns()}.hosthold"
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{temporary}")
        os.chown(temporary, owner.uid, owner.gid, dir_fd=folder, follow_symlinks=False)
        os.chmod(temporary, mode, dir_fd=folder)  # relative to the folder, which pathlib cannot
        listener.listen(LONGEST_BACKLOG)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        listener.close()
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    finally:
        os.close(folder)
    return listener


def open_output(path: str, owner: Owner) -> Output:
    """Open the log for appending. In a folder of the service's own user it is opened with that user's rights."""
    head, _, name = path.rpartition("/")
    folder = os.open(head, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        status = os.fstat(folder)
        is_root_folder = status.st_uid == os.geteuid() and not status.st_mode & 0o022
        with acting_as(Owner(uid=os.geteuid(), gid=os.getegid()) if is_root_folder else owner):
            opened = os.open(name, flags, 0o640, dir_fd=folder)
    finally:
        os.close(folder)
    os.set_blocking(opened, True)
    size = os.fstat(opened).st_size
    if is_root_folder and size == 0:
        os.fchown(opened, os.geteuid(), owner.gid)
    return Output(opened, size)


def listens(pid: int) -> bool:
    """Whether the process itself holds a listening TCP or Unix socket."""
    inodes = set()
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                target = str(entry.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    if not inodes:
        return False
    for table, column, value, inode in (("tcp", 3, "0A", 9), ("tcp6", 3, "0A", 9), ("unix", 3, "00010000", 6)):
        with suppress(FileNotFoundError), closing(Path(f"/proc/{pid}/net/{table}").open()) as lines:
            for line in lines:
                fields = line.split()
                if len(fields) > inode and fields[column] == value and fields[inode] in inodes:
                    return True
    return False
