"""What every runtime driver must do, as tests: pure rendering, and programs of real sites that are kept apart."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hypothesis import given, settings
from hypothesis import strategies as st

from hosthold_sdk import (
    Directory,
    Driver,
    DriverError,
    File,
    Isolation,
    Limits,
    Link,
    NotInstalled,
    NotSupported,
    Owner,
    Runtime,
    RuntimeDriver,
    Service,
    Site,
    UnixAccount,
)
from hosthold_sdk.testing.conformance.driver import DriverConformance, as_text
from hosthold_sdk.testing.conformance.golden import GoldenFiles
from hosthold_sdk.testing.conformance.rendering import NODE, sample
from hosthold_sdk.testing.effects import effects
from hosthold_sdk.testing.fakes.webserver import FakeWebServer, FakeWebServerSettings
from hosthold_sdk.testing.machine import Machine, folder_for_all

_HOSTILE = st.one_of(
    st.text(max_size=40), st.integers(), st.booleans(),
    st.sampled_from(["../../etc/passwd", "a\nuser = root", "%n", "${HOME}", "`id`", "a;b", "\0", "-1"]),
)  # fmt: skip


class RuntimeConformance(DriverConformance, GoldenFiles):
    """The behaviour that the node, the web server and the neighbours of a site rely on."""

    driver_class: ClassVar[type[RuntimeDriver[Any]]]
    site_settings: ClassVar[Mapping[str, Any]] = {}
    """Settings that a site may have, which the driver accepts."""

    def make(self) -> RuntimeDriver[Any]:
        """A driver with the settings under test."""
        driver = super().make()
        assert isinstance(driver, RuntimeDriver)
        return driver

    def use(self, driver: Driver[Any]) -> str:
        """Besides checking: look at the machine, and render sites of all kinds."""
        assert isinstance(driver, RuntimeDriver)
        found = [
            *driver.versions(),
            *driver.executables(),
            *(as_text(driver.render(site, NODE)) for site in self.sites()),
        ]
        return super().use(driver) + " ".join(found)

    def site(self, **changes: Any) -> Site:
        """A site of the newest version that is here, with the accepted settings."""
        version = self.make().versions()[0]
        return sample(runtime=Runtime(driver="runtime", version=version, settings=dict(self.site_settings)), **changes)

    def sites(self) -> tuple[Site, ...]:
        """Sites of all kinds."""
        return self.site(), self.site(is_suspended=True), self.site(document_root="web/public")

    @pytest.fixture(params=[Isolation.unix_user, Isolation.none])
    def machine(self, request: pytest.FixtureRequest) -> Iterator[Machine]:
        """A node with this runtime and a small web server, in both kinds of isolation; the first needs root."""
        if request.param is Isolation.unix_user and os.geteuid() != 0:
            pytest.skip("needs root: real Unix users")
        with folder_for_all() as folder:
            supervisor = ProcessSupervisor(ProcessSettings(settle=2.0, stop=2.0))
            made = Machine(FakeWebServer(FakeWebServerSettings()), self.make(), supervisor, request.param, folder)
            made.start()
            yield made
            made.close()

    def test_rendering_does_nothing_but_compute(self) -> None:
        """Two instances render the same, and nothing is opened, started, listed or connected to."""
        sites, one, other = self.sites(), self.make(), self.make()
        with effects() as done:
            rendered = [one.render(site, NODE) for site in sites]
        assert done == []
        assert rendered == [other.render(site, NODE) for site in sites]

    def test_a_site_has_one_service_of_its_own(self) -> None:
        """As the site's user, on the site's socket, which nobody but the web server may open; none when suspended."""
        site = self.site()
        rendered = self.make().render(site, NODE)
        (service,) = [one for one in rendered.resources if isinstance(one, Service)]
        assert service.owner == NODE.owner_of(site.uid), "a site's code runs as the site's own user"
        assert service.socket is not None, "without a socket the web server cannot reach it"
        assert (service.socket.path, service.socket.owner) == (NODE.layout.socket(site.name), NODE.web)
        assert service.socket.mode & 0o077 == 0, "other sites could open the socket"
        assert rendered.upstream.socket == service.socket.path
        suspended = self.make().render(self.site(is_suspended=True), NODE)
        assert [one for one in suspended.resources if isinstance(one, Service)] == []

    def test_only_listed_programs_are_started(self) -> None:
        """A node starts nothing that is not among `executables`, whatever an order says."""
        driver = self.make()
        for service in (one for one in driver.render(self.site(), NODE).resources if isinstance(one, Service)):
            assert service.command[0] in driver.executables()

    def test_limits_of_the_package_are_limits_of_the_service(self) -> None:
        limits = Limits(cpu_percent=70, total_memory_mb=333, tasks=44, io_weight=55)
        site = self.site(limits=limits)
        (service,) = [one for one in self.make().render(site, NODE).resources if isinstance(one, Service)]
        assert service.limits is not None, "nothing limits the service"
        given_limits = service.limits
        assert (given_limits.cpu_percent, given_limits.memory_mb) == (70, 333)
        assert (given_limits.tasks, given_limits.io_weight) == (44, 55)

    def test_files_lie_in_the_folders_of_the_site_and_belong_to_it_or_to_root(self) -> None:
        site = self.site()
        layout, user = NODE.layout, NODE.owner_of(site.uid)
        places = (layout.site(site.name), layout.home(site.name), layout.logs(site.name))
        for one in self.make().render(site, NODE).resources:
            assert not isinstance(one, UnixAccount), "the core declares the account"
            if isinstance(one, Directory | File | Link):
                assert any(one.path == place or one.path.is_below(place) for place in places), one.path
                assert one.owner.uid in (user.uid, NODE.root.uid)
            if isinstance(one, Directory | File):
                assert one.mode & 0o002 == 0, f"everybody may write {one.path}"
            if isinstance(one, File) and not one.seed:
                assert one.owner.uid == NODE.root.uid, f"the site could change what configures it: {one.path}"

    def test_a_version_that_is_not_here_is_refused(self) -> None:
        """A site of version X must never be answered by another version."""
        node = NODE.model_copy(update={"facts": {"runtime": ("0.0.1",), "php": ("0.0.1",)}})
        for version in ("../1", "1\n2", "no such version"):
            site = sample(runtime=Runtime.model_construct(driver="runtime", version=version, settings={}))
            with pytest.raises(DriverError):
                self.make().render(site, node)

    def test_settings_that_are_not_listed_are_refused(self) -> None:
        """The model `site_settings` is a closed list; what it refuses, `render` refuses with `NotSupported`."""
        site = self.site()
        known = list(self.driver_class.site_settings.model_json_schema().get("properties", {}))
        names = st.one_of(st.sampled_from([*known, "user", "listen"]), st.text(max_size=20))

        @settings(deadline=None, max_examples=100)
        @given(name=names, value=_HOSTILE)
        def check(name: str, value: object) -> None:
            chosen = site.runtime.model_copy(update={"settings": {name: value}})
            try:
                self.driver_class.site_settings.model_validate({name: value})
            except ValueError:
                with pytest.raises((NotSupported, NotInstalled)):
                    self.make().render(site.model_copy(update={"runtime": chosen}), NODE)

        check()

    def test_apply_then_plan_is_empty_and_the_site_answers(self, machine: Machine) -> None:
        """Also for another agent that knows only what was written down; and deleting twice leaves nothing."""
        site = machine.site("one.test", runtime=self.site().runtime)
        before = machine.files()
        assert machine.apply(site)
        assert machine.plan(site) == ()
        assert machine.get("one.test", "/").status == 200
        machine.restart()
        assert machine.plan(site) == ()
        assert machine.apply(site) == ()
        assert machine.get("one.test", "/").status == 200
        assert machine.remove(site)
        assert machine.remove(site) == ()
        assert set(machine.files()) - set(before) == set()

    def test_suspending_ends_the_program_and_resuming_brings_it_back(self, machine: Machine) -> None:
        site = machine.site("one.test", runtime=self.site().runtime)
        machine.apply(site)
        assert machine.get("one.test", "/").status == 200
        machine.apply(site.model_copy(update={"is_suspended": True}))
        assert machine.get("one.test", "/").status == 503
        assert _services_of(machine, site) == {}
        machine.apply(site)
        assert machine.get("one.test", "/").status == 200

    def test_s20_two_warm_sites_cannot_reach_each_other(self, machine: Machine) -> None:
        """Another site's user reads none of this one's files but public ones, opens no socket, sees no memory."""
        if machine.node.isolation is not Isolation.unix_user:
            pytest.skip("without Unix users sites are not kept apart, which the platform says")
        one, other = (machine.site(f"{name}.test", runtime=self.site().runtime) for name in "12")
        machine.apply(one, other)
        for host in ("1.test", "2.test"):
            assert machine.get(host, "/").status == 200
        private = machine.write(one, "private.txt", "secret", mode=0o640)
        socket = machine.node.layout.socket(one.name)
        pids = _pids(machine.node.owner_of(one.uid))
        assert pids, "no process runs as the site's user"
        targets = [str(private)], [str(socket)], pids
        assert {str(private), str(socket)} <= set(_reached(machine.node.root, *targets)), "root reaches all of it"
        reached = _reached(machine.node.owner_of(other.uid), *targets)
        assert reached == [], "a site reaches what belongs to its neighbour"


def _services_of(machine: Machine, site: Site) -> dict[str, Service]:
    names = [one.name for one in machine.runtime.render(site, machine.node).resources if isinstance(one, Service)]
    return machine.supervisor.known(names)


def _pids(owner: Owner) -> list[int]:
    """The processes of a user."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError):  # it ended meanwhile
            if path.stat().st_uid == owner.uid:
                found.append(int(path.name))
    return found


_REACH = """
import json, os, socket, sys
files, sockets, pids = json.loads(sys.argv[1])
reached = []
def reach(name, act):
    try:
        act()
    except OSError:
        return
    reached.append(name)
for path in files:
    reach(path, lambda: open(path).read())
for path in sockets:
    reach(path, lambda: socket.socket(socket.AF_UNIX).connect(path))
for pid in pids:
    for what in ("mem", "environ"):
        reach(f"{pid}/{what}", lambda: open(f"/proc/{pid}/{what}", "rb").read(1))
    reach(f"kill {pid}", lambda: os.kill(pid, 0))
print(json.dumps(reached))
"""


def _reached(owner: Owner, files: list[str], sockets: list[str], pids: list[int]) -> list[str]:
    """Which of these a program of that user can read, connect to, or signal."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-c", _REACH, json.dumps([files, sockets, pids])],
        user=owner.uid, group=owner.gid, extra_groups=[], cwd="/", env={}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    found: list[str] = json.loads(done.stdout)
    return found
