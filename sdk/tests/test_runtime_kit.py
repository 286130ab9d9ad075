"""The runtime kit fails drivers that break a rule: each of these breaks one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hosthold_sdk import File, Node, RuntimeRendered, Service, Site
from hosthold_sdk.testing.conformance import RuntimeConformance
from hosthold_sdk.testing.fakes import FakeRuntime


class Changed(FakeRuntime):
    """Renders what the fake renders, with something else in it."""

    def service_of(self, service: Service, node: Node) -> Service:
        return service

    def file_of(self, file: File, node: Node) -> File:
        return file

    def render(self, site: Site, node: Node) -> RuntimeRendered:
        rendered = super().render(site, node)
        resources = tuple(
            self.service_of(one, node) if isinstance(one, Service) else self.file_of(one, node)
            if isinstance(one, File) else one
            for one in rendered.resources
        )  # fmt: skip
        return rendered.model_copy(update={"resources": resources})


class RunsAsRoot(Changed):
    def service_of(self, service: Service, node: Node) -> Service:
        return service.model_copy(update={"owner": node.root})


class OpensItsSocket(Changed):
    def service_of(self, service: Service, node: Node) -> Service:
        assert service.socket is not None
        return service.model_copy(update={"socket": service.socket.model_copy(update={"mode": 0o666})})


class RunsAnything(Changed):
    def service_of(self, service: Service, node: Node) -> Service:
        return service.model_copy(update={"command": ("/bin/sh", "-c", "true")})


class KnowsNoLimit(Changed):
    def service_of(self, service: Service, node: Node) -> Service:
        return service.model_copy(update={"limits": None})


class LeavesItsConfigurationToTheSite(Changed):
    def file_of(self, file: File, node: Node) -> File:
        return file.model_copy(update={"owner": node.owner_of(200_001)})


class WritesElsewhere(Changed):
    def file_of(self, file: File, node: Node) -> File:
        return file.model_copy(update={"path": node.layout.state.child("passwd")})


class ReadsAFile(Changed):
    def render(self, site: Site, node: Node) -> RuntimeRendered:
        Path("/etc/hostname").read_text()
        return super().render(site, node)


class TakesAnySetting(Changed):
    def render(self, site: Site, node: Node) -> RuntimeRendered:
        chosen = site.runtime.model_copy(update={"settings": {}})
        return super().render(site.model_copy(update={"runtime": chosen}), node)


class TakesAnyVersion(Changed):
    def render(self, site: Site, node: Node) -> RuntimeRendered:
        chosen = site.runtime.model_copy(update={"version": self.versions()[0]})
        return super().render(site.model_copy(update={"runtime": chosen}), node)


def kit_of(driver: type[FakeRuntime]) -> RuntimeConformance:
    class Kit(RuntimeConformance):
        driver_class = driver

    return Kit()


FILES = RuntimeConformance.test_files_lie_in_the_folders_of_the_site_and_belong_to_it_or_to_root
RULES: dict[type[FakeRuntime], Callable[[RuntimeConformance], None]] = {
    RunsAsRoot: RuntimeConformance.test_a_site_has_one_service_of_its_own,
    OpensItsSocket: RuntimeConformance.test_a_site_has_one_service_of_its_own,
    RunsAnything: RuntimeConformance.test_only_listed_programs_are_started,
    KnowsNoLimit: RuntimeConformance.test_limits_of_the_package_are_limits_of_the_service,
    LeavesItsConfigurationToTheSite: FILES,
    WritesElsewhere: FILES,
    ReadsAFile: RuntimeConformance.test_rendering_does_nothing_but_compute,
    TakesAnySetting: RuntimeConformance.test_settings_that_are_not_listed_are_refused,
    TakesAnyVersion: RuntimeConformance.test_a_version_that_is_not_here_is_refused,
}


@pytest.mark.parametrize("driver", RULES, ids=lambda driver: driver.__name__)
def test_a_rule_finds_its_fault(driver: type[FakeRuntime]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        RULES[driver](kit_of(driver))


@pytest.mark.parametrize("rule", dict.fromkeys(RULES.values()), ids=lambda rule: rule.__name__)
def test_a_driver_without_fault_passes(rule: Callable[[RuntimeConformance], None]) -> None:
    rule(kit_of(Changed))
