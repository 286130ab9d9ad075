"""A node with real Caddy and PHP-FPM, applied by the node agent itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold_php_fpm.driver import PhpFpmRuntime
from hosthold_php_fpm.settings import PhpFpmSettings
from hosthold_sdk import Isolation
from hosthold_sdk.testing.machine import Machine, folder_for_all
from hosthold_webserver_caddy.driver import CaddyWebServer
from hosthold_webserver_caddy.settings import CaddySettings


@pytest.fixture(scope="module", params=[Isolation.unix_user])
def running(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine with Caddy running; parametrise indirectly for another isolation."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run servers as other users")
    with folder_for_all() as folder:
        webserver, runtime = CaddyWebServer(CaddySettings()), PhpFpmRuntime(PhpFpmSettings())
        machine = Machine(webserver, runtime, ProcessSupervisor(ProcessSettings()), request.param, folder)
        try:
            machine.start()
            yield machine
        finally:
            machine.close()


@pytest.fixture
def machine(running: Machine) -> Iterator[Machine]:
    """The machine without a site; those that a test leaves are removed after it."""
    yield running
    running.remove(*running.sites.values())
