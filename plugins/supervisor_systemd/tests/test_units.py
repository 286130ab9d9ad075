"""What systemd is told of services: its own checks accept it, and what cannot be done is refused before."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hosthold_sdk import (
    AbsolutePath,
    Isolation,
    Listen,
    Misconfigured,
    Node,
    NodeLayout,
    NotInstalled,
    NotSupported,
    Owner,
    Service,
    ServiceLimits,
    UnixSocket,
)
from hosthold_supervisor_systemd.driver import SystemdSupervisor
from hosthold_supervisor_systemd.settings import SystemdSettings
from hosthold_supervisor_systemd.units import Units, definition, name_in, render, templates
from hypothesis import given
from hypothesis import strategies as st

ROOT = Owner(uid=0, gid=0)
ANALYZE = "/usr/bin/systemd-analyze"


def node(state: str = "/srv/hosthold", run: str | None = None) -> Node:
    layout = NodeLayout(state=state, run=run or f"{state}/run")
    return Node(
        name="n1",
        layout=layout,
        listen=Listen(),
        isolation=Isolation.unix_user,
        root=ROOT,
        web=ROOT,
        web_user="www-data",
    )


def php(**changes: Any) -> Service:
    socket = UnixSocket(path="/srv/hosthold/run/sockets/s1.sock", owner=Owner(uid=33, gid=33), mode=0o600)
    return Service(
        name="php-s1",
        command=("/usr/sbin/php-fpm8.2", "-F", "-y", "/srv/hosthold/sites/s1/php-fpm.conf"),
        environment=(("FPM_SOCKETS", "/nonexistent/s1.sock=3"),),
        owner=Owner(uid=200_001, gid=200_001),
        socket=socket,
        stop="QUIT",
        idle_seconds=60,
        limits=ServiceLimits(cpu_percent=150, memory_mb=512, tasks=40, io_weight=50),
    ).model_copy(update=changes)


def nginx() -> Service:
    command = ("/usr/sbin/nginx", "-c", "/srv/hosthold/nginx/nginx.conf")
    return Service(name="nginx", command=command, owner=ROOT, reload="HUP", stop="QUIT")


def whole_unit(service: Service, folder: Path) -> Path:
    """The unit that systemd makes of template and drop-in, as one file."""
    path = folder / f"{service.name}.service"
    path.write_text(templates(node(), 10)["hosthold@.service"] + render(service).service)
    return path


def exposure(unit: Path) -> float:
    """systemd's own measure of what a unit leaves open, from 0 to 10."""
    done = subprocess.run(
        [ANALYZE, "security", "--offline=yes", "--no-pager", str(unit)], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    return float(found[1])


def test_s72_a_site_is_shut_in(tmp_path: Path) -> None:
    assert exposure(whole_unit(php(), tmp_path)) <= 3.0


def test_s72_a_server_of_roots_is_shut_in_as_far_as_it_may_be(tmp_path: Path) -> None:
    assert exposure(whole_unit(nginx(), tmp_path)) <= 3.5


@pytest.mark.parametrize("service", [php(), nginx(), php(idle_seconds=None), php(limits=None)], ids=str)
def test_s72_systemd_understands_every_line(tmp_path: Path, service: Service) -> None:
    unit, texts = Units.of(service.name), render(service)
    written = {**templates(node(), 10), unit.slice: texts.slice}
    written = {name: text for name, text in written.items() if text}
    for name, text in written.items():
        (tmp_path / name).write_text(text)
    for name, text in ((unit.service, texts.service), (unit.socket, texts.socket)):
        (tmp_path / f"{name}.d").mkdir()
        (tmp_path / f"{name}.d" / "hosthold.conf").write_text(text)
    (tmp_path / f"{unit.successor}.d").symlink_to(f"{unit.service}.d")
    units = [
        unit.service,
        unit.successor,
        *([unit.socket] if texts.socket else []),
        *([unit.slice] if texts.slice else []),
    ]
    done = subprocess.run(
        [ANALYZE, "verify", "--man=no", "--recursive-errors=no", *units],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": os.defpath},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_limits_are_those_of_the_package() -> None:
    assert render(php()).slice.splitlines()[3:] == [
        "[Slice]", "CPUQuota=150%", "MemoryMax=512M", "MemorySwapMax=0", "TasksMax=40", "IOWeight=50",
    ]  # fmt: skip


def test_no_slice_lies_below_another_ones() -> None:
    assert "-" not in Units.of("php-a-b").slice.removeprefix("hosthold-")
    assert Units.of("php-a-b").slice != Units.of("php-a").slice


def test_a_unit_tells_its_service() -> None:
    assert {name_in(unit) for unit in Units.of("php-a.b@c-d")[:3]} == {"php-a.b@c-d"}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=5))
def test_a_definition_is_known_again_by_what_is_written(words: list[str]) -> None:
    service = php(command=("/bin/x", *words))
    assert definition(render(service).command) == service
    assert definition(render(service).command[:-3]) is None


def test_a_machine_without_systemd_is_told_so() -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("this machine was started by systemd")
    with pytest.raises(NotInstalled) as refused:
        SystemdSupervisor(SystemdSettings()).check()
    assert "process" in refused.value.hint


def test_a_socket_that_systemd_cannot_bind_is_refused() -> None:
    path = f"/srv/{'x' * 100}/a.sock"
    with pytest.raises(NotSupported, match="107 bytes"):
        SystemdSupervisor(SystemdSettings()).start(php(socket=UnixSocket(path=path, owner=ROOT, mode=0o600)))


@pytest.mark.root
def test_s14_root_opens_no_log_where_a_site_may_plant_a_link(tmp_path: Path) -> None:
    os.chown(tmp_path, 70_001, 70_001)
    with pytest.raises(NotSupported, match="plant a link"):
        SystemdSupervisor(SystemdSettings()).start(php(log=AbsolutePath(f"{tmp_path}/log")))


def test_a_user_whom_the_machine_does_not_know_is_refused() -> None:
    with pytest.raises(Misconfigured) as refused:
        SystemdSupervisor(SystemdSettings()).start(php(owner=Owner(uid=1_999_999_999, gid=1_999_999_999)))
    assert "extrausers" in refused.value.hint


@pytest.mark.root
def test_r31_sockets_that_a_reboot_would_take_are_refused() -> None:
    with pytest.raises(Misconfigured, match="reboot"):
        SystemdSupervisor(SystemdSettings()).attach(node(run="/run/hosthold"), ())
