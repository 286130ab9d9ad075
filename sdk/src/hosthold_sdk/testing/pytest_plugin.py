"""Fixtures for authors: a whole platform in the test's own process, with the installed plugins, and no network.

`hosthold_app` is the platform's application, `client` asks it as the provider, `customer` as a customer with a package;
`db` is its database, `clock` its time, `worker` does what is due, and `node` is a real node whose web server and
runtime are the SDK's fakes. Override `hosthold_settings` to set plugins' settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # imported when a test asks for a fixture: every other test run of the environment loads this module
    from hosthold.db.unit_of_work import Database
    from hosthold.settings import Settings
    from hosthold.web.application import Application

    from hosthold_sdk.testing.machine import Machine
    from hosthold_sdk.testing.platform import Client, Clock, TestPlatform, TestWorker


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "network: the test may reach other machines")


@pytest.fixture
def no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse every connection to another machine, unless the test is marked `network`."""
    from hosthold_sdk.testing.network import loopback_only

    if request.node.get_closest_marker("network") is not None:
        yield
        return
    with loopback_only():
        yield


@pytest.fixture
def clock() -> Clock:
    """The platform's time, which stands still until the test lets it pass."""
    from hosthold_sdk.testing.platform import Clock

    return Clock()


@pytest.fixture
def hosthold_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The platform's settings, with a folder of the test's own."""
    from hosthold_sdk.testing.platform import settings_in

    return settings_in(tmp_path_factory.mktemp("platform"))


@pytest.fixture
def hosthold_platform(
    request: pytest.FixtureRequest, hosthold_settings: Settings, clock: Clock
) -> Iterator[TestPlatform]:
    """All parts of a platform; the other fixtures are parts of this one."""
    from hosthold_sdk.testing.platform import TestPlatform

    request.getfixturevalue("no_network")
    platform = TestPlatform(hosthold_settings, clock)
    yield platform
    platform.close()


@pytest.fixture
def hosthold_app(hosthold_platform: TestPlatform) -> Application:
    """The ASGI application: API, panel, health."""
    return hosthold_platform.app


@pytest.fixture
def db(hosthold_platform: TestPlatform) -> Database:
    """The platform's database: `with db.read() as uow`, `with db.write() as uow`."""
    return hosthold_platform.database


@pytest.fixture
def client(hosthold_platform: TestPlatform) -> Client:
    """Asks the application as somebody who may do everything at the provider."""
    return hosthold_platform.client_of("provider")


@pytest.fixture
def customer(hosthold_platform: TestPlatform) -> Client:
    """Asks the application as the owner of a customer's account that has a package."""
    return hosthold_platform.client_of("customer")


@pytest.fixture
def node(hosthold_platform: TestPlatform) -> Machine:
    """The node that the platform's sites come to; a real one, on a port of the loopback address."""
    return hosthold_platform.node


@pytest.fixture
def worker(hosthold_platform: TestPlatform) -> TestWorker:
    """Does in the test's own thread what is due: `worker.run()`."""
    return hosthold_platform.worker
