"""Fixtures that tests everywhere share: settings, plugins, and databases of both kinds. The clock is the SDK's."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hosthold.db.engine import make_engine
from hosthold.db.migrate import upgrade
from hosthold.db.unit_of_work import Database
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import DatabaseSettings, NameSettings, Settings
from hosthold.types.text import AbsolutePath
from hosthold_sdk.testing.platform import Clock


class RecordingBell:
    """A doorbell that remembers who rang."""

    def __init__(self) -> None:
        self.rung: list[tuple[str, str]] = []

    def ring(self, kind: str, key: str) -> None:
        """Remember the ring."""
        self.rung.append((kind, key))


@pytest.fixture
def bell() -> RecordingBell:
    """A doorbell that remembers who rang."""
    return RecordingBell()


@pytest.fixture(scope="session")
def registry() -> PluginRegistry:
    """The plugins and drivers of this repository, as they are installed."""
    return discover(PluginSettingsSource())


class PostgreSQL:
    """A throw-away server on a Unix socket, with one migrated template to copy databases from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not binaries:
            pytest.fail("PostgreSQL is not installed; run scripts/test, which installs it.")
        self._binaries = binaries[-1]
        owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._identity: dict[str, Any] = (
            {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        self._run(
            "initdb",
            "-D",
            str(folder / "data"),
            "-U",
            "hosthold",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        )
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        self._run("pg_ctl", "-w", "-D", str(folder / "data"), "-l", str(folder / "log"), "-o", options, "start")
        self.execute("postgres", "CREATE DATABASE template_hosthold")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            check=True,
            capture_output=True,
            cwd=self.folder,
            timeout=60,
            **self._identity,
        )

    def url(self, name: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql+psycopg://hosthold@/{name}?host={self.folder}"

    def execute(self, name: str, statement: str) -> None:
        """Run a statement outside of any transaction."""
        with psycopg.connect(dbname=name, user="hosthold", host=str(self.folder), autocommit=True) as connection:
            connection.execute(statement.encode())

    def new_database(self) -> str:
        """A fresh database with the core's tables; its URL."""
        self._made += 1
        name = f"test_{self._made}"
        self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE template_hosthold")
        return self.url(name)

    def stop(self) -> None:
        """End the server at once."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")


@pytest.fixture(scope="session")
def postgresql(registry: PluginRegistry) -> Iterator[PostgreSQL]:
    """A PostgreSQL server of the tests' own."""
    folder = Path("/tmp") / f"hosthold-pg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    server = PostgreSQL(folder)
    engine = make_engine(server.url("template_hosthold"))
    upgrade(engine, registry)
    engine.dispose()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, registry: PluginRegistry) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    engine = make_engine(f"sqlite:///{path}")
    upgrade(engine, registry)
    engine.dispose()
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a state folder of the test's own, and names below `localhost` allowed."""
    return Settings(state=AbsolutePath(str(tmp_path)), names=NameSettings(local_suffixes=("localhost", "test")))


@pytest.fixture
def sqlite_settings(settings: Settings, sqlite_template: Path) -> Settings:
    """Settings with a migrated SQLite database."""
    shutil.copy(sqlite_template, Path(settings.state) / "hosthold.db")
    return settings


@pytest.fixture(params=["sqlite", "postgresql"])
def database_settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings with a migrated database, once for each kind of database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), Path(settings.state) / "hosthold.db")
        return settings
    url = request.getfixturevalue("postgresql").new_database()
    return settings.model_copy(update={"database": DatabaseSettings(url=url)})


@pytest.fixture
def database(
    database_settings: Settings, registry: PluginRegistry, bell: RecordingBell, clock: Clock
) -> Iterator[Database]:
    """A migrated database, once for each kind."""
    opened = Database(database_settings, registry, bell, clock)
    yield opened
    opened.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pass over, visibly, what only root can test."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: switches to other users"))
