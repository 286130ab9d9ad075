"""The whole platform as its wheels and units put it on a machine: sites up, asleep, changed, gone; reboot; upgrade."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import until
from tests.systemd.installed import FIRST_UID, HOSTHOLD, LIMITS, PACKAGES, UNITS, Installed, build
from tests.systemd.machine import ROOT, Machine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def platform(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A platform on a machine that runs until the tests are over, and is powered off in good order."""
    work = tmp_path_factory.mktemp("install")
    wheels = build(ROOT, work / "wheels", *PACKAGES)
    machine.boot()
    installed = Installed(machine)
    installed.install(wheels, work)
    installed.begin()
    yield installed
    machine.power_off()


def test_s68_a_site_is_served_by_a_unit_of_its_own_with_the_limits_of_its_package(platform: Installed) -> None:
    site = platform.online("own.test")
    unit, limits = f"hosthold@php-{site['name']}.service", rf"hosthold-php\x2d{site['name']}.slice"
    uid, master, _ = platform.who("own.test")
    assert uid >= FIRST_UID
    assert platform.shows(unit, "MainPID", "User", "ControlGroup", "NoNewPrivileges", "ProtectSystem") == {
        "MainPID": str(master),
        "User": str(uid),
        "ControlGroup": f"/hosthold.slice/{limits}/{unit}",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
    }
    assert platform.shows(limits, "MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuotaPerSecUSec", "IOWeight") == {
        "MemoryMax": str(LIMITS["total_memory_mb"] * 2**20),
        "MemorySwapMax": "0",
        "TasksMax": str(LIMITS["tasks"]),
        "CPUQuotaPerSecUSec": "1.500000s",
        "IOWeight": str(LIMITS["io_weight"]),
    }
    assert platform.planned(site) == []


def test_r12_a_site_is_changed_and_its_neighbour_too_without_a_failed_request(platform: Installed) -> None:
    site, neighbour = platform.online("changed.test"), platform.online("neighbour.test")
    with platform.visited("changed.test", "neighbour.test"):
        for size in ("96M", "112M"):
            platform.change(site, runtime={"version": "8.2", "settings": {"memory_limit": size}})
            assert platform.who("changed.test")[2] == size
        platform.api("PUT", f"/sites/{neighbour['id']}/web", {"headers": [{"name": "X-Tested", "value": "yes"}]})
        platform.settled(neighbour["id"])
        until("the header", lambda: platform.request(80, "GET", "/who.php", "neighbour.test")[2].get("X-Tested"))
    assert platform.planned(site) == platform.planned(neighbour) == []


def test_r38_nothing_is_left_of_a_deleted_site(platform: Installed) -> None:
    site = platform.online("gone.test")
    uid = platform.who("gone.test")[0]
    platform.api("DELETE", f"/sites/{site['id']}")
    machine = platform.machine
    name = site["name"]

    def left() -> list[str]:
        units = machine.run("systemctl", "list-units", "--all", "--plain", "--no-legend", f"hosthold*{name}*")
        found = machine.run("find", "/etc/systemd", "/run/systemd", "/srv/hosthold", "-name", f"*{name}*")
        processes = machine.run("ps", "-o", "pid=", "-u", str(uid), may_fail=True)
        return [*units.splitlines(), *found.splitlines(), *processes.split()]

    until("nothing to be left", lambda: not left() or None)


def test_r31_a_killed_node_finds_its_services_again(platform: Installed) -> None:
    site = platform.online("kept.test")
    with platform.visited("kept.test"):
        master = platform.who("kept.test")[1]
        before = platform.shows("hosthold-node.service", "MainPID")
        platform.machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "hosthold-node.service")
        until(
            "another node",
            lambda: platform.shows("hosthold-node.service", "MainPID") not in (before, {"MainPID": "0"}) or None,
        )
        assert platform.planned(site) == []
        assert platform.who("kept.test")[1] == master


def test_a_site_sleeps_and_its_next_visitor_wakes_it(platform: Installed) -> None:
    unit = f"hosthold@php-{platform.sleepy['name']}"

    def sleeps() -> bool | None:
        return platform.shows(f"{unit}.service", "ActiveState") == {"ActiveState": "inactive"} or None

    until("the site to sleep", sleeps)
    assert platform.shows(f"{unit}.socket", "SubState") == {"SubState": "listening"}
    assert platform.who("sleepy.test")[0] >= FIRST_UID
    assert sleeps() is None
    assert platform.planned(platform.sleepy) == []


@pytest.mark.parametrize(("unit", "most"), [("hosthold-web", 1.5), ("hosthold-worker", 1.5), ("hosthold-node", 4.0)])
def test_s72_units_of_the_platform_are_shut_in(platform: Installed, unit: str, most: float) -> None:
    assert platform.machine.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{unit}.service") == ""
    report = platform.machine.run("systemd-analyze", "security", "--no-pager", f"{unit}.service")
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", report)
    assert found is not None
    assert float(found[1]) <= most


def test_the_doctor_finds_nothing_missing_but_what_the_kernel_and_its_host_decide(platform: Installed) -> None:
    found = json.loads(platform.machine.run(HOSTHOLD, "doctor", "--json", may_fail=True))
    decided_elsewhere = {"clock", "kernel", "open files", "processes", "waiting connections"}
    assert [one for one in found if not one["is_well"] and one["part"] not in decided_elsewhere] == []
    seen_by_others = json.loads(
        platform.machine.run("runuser", "-u", "hosthold", "--", HOSTHOLD, "doctor", "--json", may_fail=True)
    )
    is_well = {one["part"]: one["is_well"] for one in seen_by_others}
    assert is_well["node process"]
    assert is_well["disk sites"]


def test_r31_sites_come_back_after_a_reboot_without_the_platform(platform: Installed) -> None:
    site = platform.online("reboot.test")
    machine = platform.machine
    machine.run("systemctl", "disable", "--quiet", *UNITS)
    machine.power_off()
    machine.boot()
    assert machine.run("systemctl", "is-active", *UNITS, may_fail=True).split() == ["inactive"] * 3
    uid = platform.who("reboot.test")[0]
    machine.run("systemctl", "enable", "--quiet", "--now", *UNITS)
    platform.await_platform()
    assert platform.planned(site) == []
    with platform.visited("reboot.test"):
        platform.change(site, runtime={"version": "8.2", "settings": {"memory_limit": "80M"}})
        assert platform.who("reboot.test")[0::2] == (uid, "80M")
    platform.api("DELETE", f"/sites/{site['id']}")
    until(
        "the account to be free",
        lambda: str(uid) not in machine.run("getent", "passwd", str(uid), may_fail=True) or None,
    )


def test_r33_an_upgrade_costs_no_request_and_the_new_node_knows_its_services(
    platform: Installed, tmp_path: Path
) -> None:
    site = platform.online("upgraded.test")
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "tests", "docs", "benchmarks", "__pycache__"))
    packages = ("hosthold", "hosthold-supervisor-systemd")
    for folder in ("core", "plugins/supervisor_systemd"):
        project = source / folder / "pyproject.toml"
        project.write_text(project.read_text().replace('\nversion = "0.1.0"\n', '\nversion = "0.1.1"\n'))
    units = source / "plugins/supervisor_systemd/src/hosthold_supervisor_systemd/units.py"
    units.write_text(units.read_text().replace("LogRateLimitBurst=500", "LogRateLimitBurst=501"))
    wheels = build(source, platform.machine.files / "opt/wheels", *packages)
    names = [f"/opt/wheels/{Path(wheel).name}" for wheel in wheels]
    with platform.visited("upgraded.test"):
        master = platform.who("upgraded.test")[1]
        uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
        shutil.copy(uv, platform.machine.files / "opt/uv")
        platform.machine.run(
            "/opt/uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", "/opt/hosthold/bin/python",
            *names,
        )  # fmt: skip
        platform.command("init", "--admin", "admin@example.net")
        platform.machine.run("systemctl", "restart", *UNITS)
        platform.await_platform()
        assert platform.planned(site) == []
        assert platform.who("upgraded.test")[1] == master
        unit = f"hosthold@php-{site['name']}.service"
        assert platform.shows(unit, "LogRateLimitBurst", "NeedDaemonReload") == {
            "LogRateLimitBurst": "501",
            "NeedDaemonReload": "no",
        }
        platform.change(site, runtime={"version": "8.2", "settings": {"memory_limit": "72M"}})
        assert platform.who("upgraded.test")[2] == "72M"
