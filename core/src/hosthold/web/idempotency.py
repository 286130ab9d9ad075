"""Idempotency keys: a POST that is repeated with the same key gets the answer of the first one, and acts once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import orjson
from sqlalchemy import delete, select, text, update

from hosthold.db.unit_of_work import UnitOfWork
from hosthold.types.actor import Actor
from hosthold.web.models import IdempotencyRow
from hosthold.web.problems import INVALID_INPUT, KEY_REUSED, HttpProblem
from hosthold.web.request import Answer, Request

HEADER = b"idempotency-key"
KEPT_MS = 48 * 3600 * 1000
"""How long a key is remembered at least."""
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_CLAIM = text(
    "INSERT INTO idempotency_key (scope, request_hash, status, headers, body, created_at) "
    "VALUES (:scope, :request_hash, 0, '', :body, :now) ON CONFLICT DO NOTHING"
)


def key_of(request: Request) -> str | None:
    """The key that a request carries. Raises a problem if it cannot be one."""
    if HEADER not in request.headers:
        return None
    key = request.text(HEADER)
    if not _KEY.fullmatch(key):
        raise HttpProblem(
            INVALID_INPUT,
            "The header Idempotency-Key must be 1 to 200 printable ASCII characters.",
            errors=[{"parameter": "Idempotency-Key", "detail": "has other characters, or too many or none"}],
        )
    return key


def once(
    uow: UnitOfWork, actor: Actor, request: Request, key: str, body: bytes, act: Callable[[], tuple[Answer, bytes]]
) -> Answer:
    """Do `act` unless it was done with this key; its answer, or the stored one.

    `act` gives the answer and the body that may be stored. The key is taken first: a request with the same key that
    runs at the same moment waits here until the first is decided, then finds its answer. What fails is rolled back with
    its key. Raises a problem if the key was used for another request.
    """
    scope = _digest(actor.user_id or actor.label, actor.account_id, request.method, request.path, key)
    request_hash = hashlib.sha256(body).hexdigest()
    claimed = uow.connection.execute(
        _CLAIM, {"scope": scope, "request_hash": request_hash, "body": b"", "now": uow.clock()}
    )
    if claimed.rowcount == 0:
        return _stored(uow, scope, request_hash)
    answer, kept = act()
    headers = [[name.decode(), value.decode()] for name, value in answer.headers]
    uow.session.execute(
        update(IdempotencyRow)
        .where(IdempotencyRow.scope == scope)
        .values(status=answer.status, headers=orjson.dumps(headers).decode(), body=kept)
    )
    return answer


def prune(uow: UnitOfWork) -> int:
    """Forget keys that are older than two days; how many there were. To be run about once an hour."""
    too_old = delete(IdempotencyRow).where(IdempotencyRow.created_at < uow.clock() - KEPT_MS)
    return uow.connection.execute(too_old).rowcount


def _stored(uow: UnitOfWork, scope: str, request_hash: str) -> Answer:
    row = uow.session.execute(
        select(IdempotencyRow.request_hash, IdempotencyRow.status, IdempotencyRow.headers, IdempotencyRow.body).where(
            IdempotencyRow.scope == scope
        )
    ).one()
    if row.request_hash != request_hash:
        raise HttpProblem(
            KEY_REUSED,
            "This Idempotency-Key was used with another body; nothing was changed.",
            hint="Use a new key for a new request.",
        )
    headers = [(name.encode(), value.encode()) for name, value in orjson.loads(row.headers)]
    return Answer(row.status, row.body, headers=[*headers, (b"idempotency-replayed", b"true")])


def _digest(*parts: str) -> str:
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part.encode() for part in parts)).hexdigest()
