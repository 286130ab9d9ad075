"""Versions of what the platform runs on."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterator
from urllib.parse import urlsplit

from sqlalchemy import Engine, text

from hosthold.cli.checks.finding import Finding, bad, well
from hosthold.drivers.webserver import WebServerDriver
from hosthold.node.probe import said_by
from hosthold.plugins.manager import PluginRegistry
from hosthold.settings import Settings
from hosthold.types.node import Node

LEAST_SQLITE = (3, 35, 0)
"""Rows are given back by the statement that writes them (`RETURNING`)."""
LEAST_POSTGRESQL = 13
LEAST_REDIS = 6
"""Older ones know no users, so that whoever reaches one queue reaches all."""


def look(settings: Settings, registry: PluginRegistry, node: Node) -> Iterator[Finding]:
    """Look at programs and libraries of this machine, and at the queue's server."""
    found = [f"Python {platform.python_version()}", f"Linux {platform.release()}", f"SQLite {sqlite3.sqlite_version}"]
    webserver = registry.driver("webserver", node.webserver)
    if isinstance(webserver, WebServerDriver):
        found.append(said_by((webserver.service(node).command[0], "-v")))
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        yield bad(
            "versions",
            f"SQLite is {sqlite3.sqlite_version}; at least {'.'.join(map(str, LEAST_SQLITE))} is needed.",
            "Run Hosthold with the Python of Debian 12 or newer",
        )
    yield well("versions", ", ".join(filter(None, found)))
    if settings.queue_kind == "redis":
        yield _redis(settings.queue.url)


def of_database(engine: Engine) -> Iterator[Finding]:
    """Whether a PostgreSQL server is new enough; nothing is to be said of SQLite here. Connects."""
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            shown = str(connection.scalar(text("SHOW server_version"))).split()[0]
        if int(shown.split(".")[0]) < LEAST_POSTGRESQL:
            cure = f"Move to PostgreSQL {LEAST_POSTGRESQL} or newer"
            yield bad("postgresql", f"The server is PostgreSQL {shown}.", cure)
        else:
            yield well("postgresql", f"PostgreSQL {shown}")


def _redis(url: str) -> Finding:
    import redis  # an optional dependency

    address = urlsplit(url)
    shown = f"{address.scheme}://{address.hostname or ''}{address.path}"
    try:
        with redis.Redis.from_url(url, socket_timeout=3) as client:
            version = str(client.info("server")["redis_version"])
    except redis.RedisError as error:
        return bad("redis", f"{shown} does not answer: {type(error).__name__}.", "Start it, or correct queue.url")
    if int(version.split(".")[0]) < LEAST_REDIS:
        return bad("redis", f"The server is Redis {version}.", f"Move to Redis {LEAST_REDIS} or newer")
    if address.scheme != "unix" and not address.password:
        return bad(
            "redis",
            f"Whoever reaches {shown} can read and fill the queues, and so can the programs of sites on this machine.",
            "Set `requirepass` and `port 0` with `unixsocket` in redis.conf, and queue.url to match",
        )
    return well("redis", f"Redis {version}")
