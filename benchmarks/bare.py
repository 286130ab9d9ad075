"""What the API is compared with: a Starlette route that knows nothing, and one written by hand for the same rows.

Run as a process of its own by `api.py`: `python -m benchmarks.bare PORT DATABASE-URL`.
"""

from __future__ import annotations

import base64
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
import psycopg.types.json
import uvicorn
from hosthold.garbage import search_seldom
from sqlalchemy import make_url
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LIMIT = 20
_QUERY = """
SELECT id, account_id, name, domains, runtime_driver, runtime_version, runtime_settings, document_root, is_suspended,
phase, generation, observed_generation, conditions, created_at FROM site ORDER BY id DESC LIMIT 21
"""
Handler = Callable[[Request], Awaitable[Response]]


async def hello(_request: Request) -> JSONResponse:
    """A JSON answer that needs nothing."""
    return JSONResponse({"hello": "world"})


def by_sqlite(path: str) -> Handler:
    """The page of sites by the bare driver; SQLite is asked on the event loop, for a thread costs more."""
    cursor = sqlite3.connect(path).cursor()
    cursor.execute("pragma mmap_size=134217728")

    async def sites(_request: Request) -> Response:
        return _page(cursor.execute(_QUERY).fetchall(), orjson.loads)

    return sites


def by_postgresql(dsn: str) -> Handler:
    """The page of sites by the bare driver, with a prepared statement whose rows arrive in binary."""
    connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=0)
    psycopg.types.json.set_json_loads(orjson.loads, connection)
    cursor = connection.cursor(binary=True)

    async def sites(_request: Request) -> Response:
        return _page(cursor.execute(_QUERY).fetchall(), lambda document: document)

    return sites


def _page(rows: Sequence[Sequence[Any]], parse: Callable[[Any], Any]) -> Response:
    items = []
    for (
        site_id, account_id, name, domains, driver, version, settings, document_root, is_suspended, phase, generation,
        observed, conditions, created_at,
    ) in rows[:LIMIT]:  # fmt: skip
        names = parse(domains)
        items.append({
            "id": site_id, "account_id": account_id, "name": name, "domain": names[0], "aliases": names[1:],
            "runtime": {"driver": driver, "version": version, "settings": parse(settings)},
            "document_root": document_root, "is_suspended": bool(is_suspended), "phase": phase,
            "generation": generation, "observed_generation": observed, "conditions": parse(conditions),
            "created_at": datetime.fromtimestamp(created_at / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        })  # fmt: skip
    cursor = base64.urlsafe_b64encode(items[-1]["id"].encode()).decode().rstrip("=") if len(rows) > LIMIT else None
    return Response(orjson.dumps({"items": items, "next_cursor": cursor}), media_type="application/json")


@asynccontextmanager
async def _settled(_app: Starlette) -> AsyncIterator[None]:
    search_seldom()
    yield


def main() -> None:
    """Serve both routes with one uvicorn process."""
    port, database = sys.argv[1:]
    url = make_url(database)
    if url.get_backend_name() == "sqlite":
        sites = by_sqlite(str(url.database))
    else:
        sites = by_postgresql(url.set(drivername="postgresql").render_as_string(hide_password=False))
    app = Starlette(routes=[Route("/hello", hello), Route("/sites", sites)], lifespan=_settled)
    uvicorn.run(app, port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
