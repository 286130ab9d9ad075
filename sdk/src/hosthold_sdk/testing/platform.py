"""A whole platform in one process, for tests: real parts, of which time stands still and the node is small."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import EntryPoint, distribution
from pathlib import Path
from typing import Any

import httpx
from hosthold.accounts.service import AccountDraft, create, create_provider
from hosthold.app import build_app
from hosthold.auth.token import TokenDraft, create_token
from hosthold.db.migrate import upgrade
from hosthold.db.unit_of_work import Database, SilentBell
from hosthold.drift.jobs import operation_handlers as drift_handlers
from hosthold.jobs import core_jobs
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.nodes.jobs import NodeKind
from hosthold.nodes.service import register
from hosthold.packages.service import PackageDraft
from hosthold.packages.service import create as create_package
from hosthold.plugins.candidate import CORE, installed_entry_points
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.reconcile.loop import Loop
from hosthold.settings import Settings
from hosthold.sites.jobs import SiteKind, operation_handlers
from hosthold.types.resource import NodeOrder, OrderReply
from hosthold.web.platform import Platform
from hosthold.work.deliver import Deliverer
from hosthold.work.keys import key_file, make_key
from hosthold.work.operations import Operations
from hosthold.work.queue import WORKER
from hosthold.work.schedule import Schedule

from hosthold_sdk import Actor, Isolation
from hosthold_sdk.testing.fakes.runtime import FakeRuntime, FakeRuntimeSettings
from hosthold_sdk.testing.fakes.webserver import FakeWebServer, FakeWebServerSettings
from hosthold_sdk.testing.machine import Machine, folder_for_all

_FAKES = {"webserver": ("fake", FakeWebServer), "runtime": ("php", FakeRuntime)}
"""The drivers of the node: the runtime stands in for PHP, which is what a site has if nobody says otherwise."""


class Clock:
    """A clock that stands still until it is told to move; milliseconds since 1970."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.now += milliseconds


def settings_in(folder: Path) -> Settings:
    """Settings of a platform with everything in this folder, and with names below `test` allowed."""
    numbers = {"uid_first": 1_000_000, "uid_last": 2**31 - 1}
    names = {"local_suffixes": ("localhost", "test")}
    return Settings.model_validate({"state": str(folder), "names": names, "node": {"webserver": "fake", **numbers}})


class Client:
    """Asks the application, with the token of an account, without a server between them."""

    def __init__(self, app: Any, origin: str, token: str) -> None:
        self._app = app
        self._origin = origin
        self._headers = {"Authorization": f"Bearer {token}"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; `options` are those of `httpx.AsyncClient.request`, such as `json`."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url=self._origin, headers=self._headers) as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """A GET request."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """A POST request."""
        return self.request("POST", path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        """A PATCH request."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        """A DELETE request."""
        return self.request("DELETE", path, **options)


class _Orders:
    """The worker's way to the node: a call instead of a queue."""

    def __init__(self, node: Machine) -> None:
        self._node = node

    def send(self, order: NodeOrder) -> OrderReply:
        """Have the node carry it out."""
        return self._node.agent.handle(order)

    def give_up(self) -> None:
        """There is nothing to wait for."""


class TestWorker:
    """What the worker does, at the moment when the test asks for it."""

    __test__ = False

    def __init__(self, database: Database, node: Machine) -> None:
        orders, registry = _Orders(node), database.registry
        self._loop = Loop(database, orders, [NodeKind(registry), SiteKind(registry)])
        handlers = {**operation_handlers(database, orders), **drift_handlers(database, orders)}
        self._operations = Operations(database, handlers)
        self._deliverer = Deliverer(database, registry)
        self._schedule = Schedule(database, registry, core_jobs(database, orders))

    def run(self) -> None:
        """Reconcile what is due, act on what was asked for, and deliver events, until nothing is left to do now."""
        while any((self._loop.run("node"), self._loop.run("site"), self._operations.run(), self._deliverer.run())):
            pass

    def run_jobs(self) -> None:
        """Run the periodic jobs that are due, those of plugins among them."""
        self._schedule.run()


class TestPlatform:
    """A platform with a provider, a customer with a package, and a node."""

    __test__ = False

    def __init__(self, settings: Settings, clock: Clock) -> None:
        with ExitStack() as parts:
            self.registry = discover(PluginSettingsSource.of(settings), _entry_points)
            make_key(key_file(settings, WORKER))
            self.database = Database(settings, self.registry, SilentBell(), clock)
            self._platform = Platform(settings, self.registry, self.database, self.database.bell)
            parts.callback(self._platform.close)
            upgrade(self.database.engine, self.registry)
            self.app = build_app(self._platform)
            runtime, webserver = FakeRuntime(FakeRuntimeSettings()), FakeWebServer(FakeWebServerSettings())
            supervisor = ProcessSupervisor(ProcessSettings(settle=2.0, stop=2.0))
            folder = parts.enter_context(folder_for_all())
            self.node = Machine(webserver, runtime, supervisor, Isolation.none, folder, "php")
            self.node.start()
            parts.callback(self.node.close)
            self.worker = TestWorker(self.database, self.node)
            self._tokens = self._make_accounts()
            self.worker.run()
            self._parts = parts.pop_all()

    def client_of(self, name: str) -> Client:
        """A client for `provider` or `customer`."""
        return Client(self.app, self._platform.settings.public_url, self._tokens[name])

    def close(self) -> None:
        """End everything; nothing is left."""
        self._parts.close()

    def _make_accounts(self) -> dict[str, str]:
        with self.database.write() as uow:
            root = create_provider(uow, "Provider")
            provider = _owner(root.id, root.path, "provider")
            package = create_package(uow, provider, PackageDraft(name="Sample", max_sites=100))
            account = create(uow, provider, AccountDraft(name="Customer", package_id=package.id))
            register(uow, self.node.node.model_copy(update={"webserver": "fake"}), uid_first=self.node.uid_first)
            actors = {"provider": provider, "customer": _owner(account.id, account.path, "customer")}
            draft = TokenDraft(name="test", permissions=("*",))
            return {name: create_token(uow, actor, draft)[1] for name, actor in actors.items()}


def _owner(account_id: str, path: str, label: str) -> Actor:
    return Actor(label=label, account_id=account_id, account_path=path, permissions=frozenset({"*"}))


def _entry_points() -> Iterator[EntryPoint]:
    """What is installed, with the fakes in the place of drivers of the same names."""
    replaced = {(f"hosthold.drivers.{kind}", name) for kind, (name, _) in _FAKES.items()}
    yield from (each for each in installed_entry_points() if (each.group, each.name) not in replaced)
    for kind, (name, driver) in _FAKES.items():
        point = EntryPoint(name=name, value=f"{driver.__module__}:{driver.__name__}", group=f"hosthold.drivers.{kind}")
        vars(point).update(dist=distribution(CORE))  # as if the core brought it, so that no settings exclude it
        yield point
