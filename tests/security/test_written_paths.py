"""Everything that is written while sites come, change and go, as the kernel sees it: strace on the node and nginx."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import until
from tests.security.conftest import Company

WRITING = (
    "openat", "open", "creat", "mkdirat", "mkdir", "mknodat", "renameat", "renameat2", "rename", "linkat", "link",
    "symlinkat", "symlink", "unlinkat", "unlink", "rmdir", "fchownat", "chown", "lchown", "fchmodat", "chmod",
    "truncate",
)  # fmt: skip
FOR_GOOD = ("setuid", "setreuid", "setresuid")
STARTING = ("clone", "clone3", "fork", "vfork")
CALLS = ",".join(f"?{call}" for call in (*WRITING, *FOR_GOOD, *STARTING, "setfsuid"))
LINE = re.compile(r"^(?P<call>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)")
PLACE = re.compile(r'(?:(?:AT_FDCWD|\d+)(?:<(?P<folder>[^>]*)>)?, )?"(?P<name>(?:[^"\\]|\\.)*)"')
OPENED_FOR_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: processes of others are traced"),
]


def _written(logs: Path) -> dict[str, set[int]]:
    """Each path that was written or changed, with the users under whose rights that was done; one log a process."""
    calls = {
        int(log.suffix[1:]): [match for match in map(LINE.match, log.read_text(errors="replace").splitlines()) if match]
        for log in logs.iterdir()
    }
    parents = {int(call["result"]): pid for pid, all_of in calls.items() for call in all_of if call["call"] in STARTING}
    became = {
        pid: int(call["arguments"].rpartition(",")[2])
        for pid, all_of in calls.items()
        for call in all_of
        if call["call"] in FOR_GOOD and call["result"] == "0"
    }
    written: dict[str, set[int]] = {}
    for pid, all_of in calls.items():
        user = next((became[parent] for parent in _ancestors(pid, parents) if parent in became), 0)
        for call in all_of:
            if call["call"] == "setfsuid" and call["arguments"] not in ("-1", "4294967295"):
                user = int(call["arguments"])
            elif call["call"] in FOR_GOOD:
                user = became.get(pid, user)
            elif call["call"] in WRITING and not call["result"].startswith("-"):
                for path in _places(call["call"], call["arguments"]):
                    written.setdefault(path, set()).add(user)
    return written


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        yield (pid := parents[pid])


def _places(call: str, arguments: str) -> Iterator[str]:
    if call.startswith("open") and not OPENED_FOR_WRITING.search(arguments):
        return
    for place in PLACE.finditer(arguments):
        if not call.startswith("symlink") or place["folder"]:  # else it is the text of a link
            name = place["name"].encode().decode("unicode_escape")
            yield os.path.normpath(Path(place["folder"] or "/", name))


def _strace(logs: Path) -> tuple[str, ...]:
    return ("/usr/bin/strace", "-ff", "-y", "-s", "1000", "-e", f"trace={CALLS}", "-o", str(logs / "log"))


@contextmanager
def traced(*pids: int) -> Iterator[dict[str, set[int]]]:
    """What these processes and those that they start write; known when the block is over."""
    found: dict[str, set[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = (*_strace(Path(folder)), *(part for pid in pids for part in ("-p", str(pid))))
        with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
            assert strace.stderr is not None
            for _ in pids:
                line = strace.stderr.readline()
                if b"not permitted" in line:
                    pytest.skip("needs the right to trace processes")
                assert b"attached" in line, line
            # what it says later must not fill the pipe
            drain = threading.Thread(target=strace.stderr.read)
            drain.start()
            try:
                yield found
            finally:
                strace.send_signal(signal.SIGINT)
                strace.wait(30)
                drain.join()
        found.update(_written(Path(folder)))


def _privileged(company: Company) -> set[int]:
    """The node, and whatever else of the platform runs as root."""
    found = {company.platform.processes["node"].pid}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if entry.stat().st_uid == 0 and str(company.platform.folder).encode() in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found


def test_s14_root_writes_nowhere_where_a_tenant_may(company: Company) -> None:
    platform = company.platform
    with traced(*_privileged(company)) as written:
        tenant = company.tenant("traced.test")
        path = f"/sites/{tenant.site['id']}"
        web = {"headers": [{"name": "X-A", "value": "b"}], "redirects": [{"path": "/old", "to": "/new"}]}
        version = platform.api("GET", path).headers["ETag"]
        assert platform.api("PUT", f"{path}/web", web, **{"If-Match": version}).status_code == 202
        platform.settled(tenant.site["id"])
        version = platform.api("GET", path).headers["ETag"]
        changed = {"document_root": "other/root", "runtime": {"settings": {"memory_limit": "32M"}}}
        assert platform.api("PATCH", path, changed, **{"If-Match": version}).status_code == 202
        platform.settled(tenant.site["id"])
        tenant.ask("/nothing-here")
        until("the log", lambda: (tenant.folder / "logs" / "access.log").exists() or None)
        for action in ("suspend", "resume"):
            platform.api("POST", f"{path}/{action}")
            platform.settled(tenant.site["id"])
        company.delete(tenant)
    home = str(tenant.home)
    inside = {path: users for path, users in written.items() if path.startswith(f"{home}/")}
    assert f"{home}/other/root" in inside, "the trace sees what is made in a home"
    assert any("hosts/traced.test" in path for path in written)
    assert any(path.endswith("logs/access.log") for path in written)
    assert {path: users for path, users in inside.items() if users != {tenant.uid}} == {}, "with its owner's rights"

    web_user = (platform.state / "nginx" / "temp" / "proxy").stat().st_uid
    outside = [path for path, users in written.items() if 0 in users and path not in inside]
    owned = {path: Path(path).parent.stat() for path in outside if Path(path).parent.is_dir() and path[:6] != "/proc/"}
    assert {path for path, status in owned.items() if status.st_mode & 0o002} == set(), "in no folder of everybody"
    assert {path for path, status in owned.items() if status.st_uid not in (0, web_user)} == set()


def test_s23_the_test_of_the_configuration_writes_only_what_is_the_nodes_own(company: Company) -> None:
    tenant = company.tenant("tested.test")
    path = f"/sites/{tenant.site['id']}"
    version = company.platform.api("GET", path).headers["ETag"]
    web = {
        "redirects": [{"path": "/etc/cron.d/x", "to": "/tmp/tenant"}],
        "headers": [{"name": "Access-Log", "value": "/tmp/tenant-named.log main; access_log /tmp/tenant-named.log"}],
        "rules": [{"path": "/tmp/tenant-named.log", "access": "nobody"}],
        "proxies": [{"path": "/error_log", "socket": "tmp/tenant-named.log"}],
    }
    answer = company.platform.api("PUT", f"{path}/web", web, **{"If-Match": version})
    assert answer.status_code == 202, answer.text
    assert company.platform.settled(tenant.site["id"])["phase"] == "ready"
    node = company.platform.state
    assert "tenant-named" in (node / "blocks" / f"{tenant.name}.conf").read_text()

    def opened(configuration: Path) -> set[str]:
        with tempfile.TemporaryDirectory() as folder:
            command = (*_strace(Path(folder)), "/usr/sbin/nginx", "-t", "-q", "-c", str(configuration))
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            return set(_written(Path(folder)))

    own = (f"{node}/nginx/", f"{node}/run/")
    assert {path for path in opened(node / "nginx" / "nginx.conf") if not path.startswith(own)} <= {
        "/dev/null",
        "/var/log/nginx/error.log",  # built into Debian's nginx: opened before it has read where its own log is
    }
    assert not Path("/tmp/tenant-named.log").exists()
    control = company.platform.folder / "control.conf"
    control.write_text((node / "nginx" / "nginx.conf").read_text().replace(
        f"access_log {node}/nginx/logs/access.log", f"access_log {company.platform.folder}/named.log"))  # fmt: skip
    assert f"{company.platform.folder}/named.log" in opened(control), "nginx does make whatever a configuration names"
    for file in ("control.conf", "named.log"):
        (company.platform.folder / file).unlink()
    company.delete(tenant)
