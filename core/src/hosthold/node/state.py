"""What the node remembers: what it wrote for whom, what it has seen, and the journal. The row marks ownership."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from pydantic import TypeAdapter

from hosthold.types.resource import Account, Directory, File, Link, Probe, Resource, Service
from hosthold.types.site import Condition

AnyResource = Account | Directory | File | Link | Service
_RESOURCE: TypeAdapter[AnyResource] = TypeAdapter(Resource)
_PROBES: TypeAdapter[tuple[Probe, ...]] = TypeAdapter(tuple[Probe, ...])

_SCHEMA = """
CREATE TABLE IF NOT EXISTS subjects (
    subject TEXT PRIMARY KEY, site TEXT, generation INTEGER NOT NULL, fence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources (
    key TEXT PRIMARY KEY, subject TEXT NOT NULL, body TEXT NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS resources_subject ON resources (subject);
CREATE TABLE IF NOT EXISTS kept (
    key TEXT PRIMARY KEY, subject TEXT NOT NULL, body TEXT NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kept_subject ON kept (subject);
CREATE TABLE IF NOT EXISTS retired (uid INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    id TEXT PRIMARY KEY, is_committed INTEGER NOT NULL, entries TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unproven (
    place INTEGER PRIMARY KEY AUTOINCREMENT, subject TEXT NOT NULL UNIQUE, probes TEXT NOT NULL, services TEXT NOT NULL,
    condition TEXT, is_waiting INTEGER NOT NULL DEFAULT 1);
"""
_REMEMBERED = 500
_UNPROVEN = "SELECT place, subject, probes, services, condition FROM unproven"


class Owned(NamedTuple):
    """A resource as the node last wrote it, and the digest of what it wrote."""

    resource: AnyResource
    digest: str


class Unproven(NamedTuple):
    """A subject whose sleeping services were not seen to run since they were changed, or were seen not to.

    `condition` is what was found when it was last tried.
    """

    place: int
    subject: str
    probes: tuple[Probe, ...]
    services: tuple[str, ...]
    condition: Condition | None


class SubjectRow(NamedTuple):
    """What is remembered of a subject; it outlives its resources, so that an old order cannot bring it back."""

    site: str | None
    generation: int
    fence: int


class State:
    """The node's database: one file, one connection, one writer. Every commit is on disk when it returns."""

    def __init__(self, path: str) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)
        self._owned: dict[str, dict[str, Owned]] = {}
        """What was read of the latest subjects since anybody's was written: an order looks three times."""
        self._keepers: set[str] | None = None
        """The subjects of which something is kept as somebody edited it: hardly any."""

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside become durable together, or none does."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._owned.clear()
            self._keepers = None
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def owned_by(self, subject: str) -> Mapping[str, Owned]:
        """What the subject has, by key."""
        if subject not in self._owned:
            if len(self._owned) >= _REMEMBERED:
                self._owned.clear()
            rows = self._connection.execute("SELECT key, body, digest FROM resources WHERE subject = ?", (subject,))
            self._owned[subject] = {key: Owned(_RESOURCE.validate_json(body), digest) for key, body, digest in rows}
        return self._owned[subject]

    def kept_by(self, subject: str) -> dict[str, Owned]:
        """What of the subject stays as somebody edited it, by key: the resource meanwhile, the digest of what stays."""
        if self._keepers is None:
            self._keepers = {subject for (subject,) in self._connection.execute("SELECT DISTINCT subject FROM kept")}
        if subject not in self._keepers:
            return {}
        rows = self._connection.execute("SELECT key, body, digest FROM kept WHERE subject = ?", (subject,))
        return {key: Owned(_RESOURCE.validate_json(body), digest) for key, body, digest in rows}

    def keep(self, subject: str, resources: Mapping[str, Owned]) -> None:
        """Let these stay as somebody edited them, for as long as their declaration is the same."""
        self._keepers = None
        self._connection.executemany(
            "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)",
            [(key, subject, kept.resource.model_dump_json(), kept.digest) for key, kept in resources.items()],
        )

    def keep_no_longer(self, keys: Iterable[str]) -> None:
        """Let nothing but the declaration count for these."""
        self._keepers = None
        self._connection.executemany("DELETE FROM kept WHERE key = ?", [(key,) for key in keys])

    def owner_of(self, key: str) -> str | None:
        """The subject that has the resource with this key."""
        return self.owners_of([key]).get(key)

    def owners_of(self, keys: Sequence[str]) -> dict[str, str]:
        """The subjects that have the resources with these keys; a key that nobody has is not among them."""
        rows = self._connection.execute(
            "SELECT key, subject FROM resources WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
        )
        return dict(rows.fetchall())

    def with_key_prefix(self, prefix: str) -> tuple[AnyResource, ...]:
        """All resources whose key starts with `prefix`, in the order of their keys."""
        rows = self._connection.execute(
            "SELECT body FROM resources WHERE key >= ? AND key < ? ORDER BY key", (prefix, prefix + "\U0010ffff")
        )
        return tuple(_RESOURCE.validate_json(body) for (body,) in rows)

    def subject(self, subject: str) -> SubjectRow | None:
        """What is remembered of the subject."""
        row = self._connection.execute(
            "SELECT site, generation, fence FROM subjects WHERE subject = ?", (subject,)
        ).fetchone()
        return None if row is None else SubjectRow(*row)

    def is_retired(self, uid: int) -> bool:
        """Whether the number belonged to an account that was removed."""
        return self._connection.execute("SELECT 1 FROM retired WHERE uid = ?", (uid,)).fetchone() is not None

    def has_seen(self, order_id: str) -> bool:
        """Whether an order with this identifier was carried out."""
        return self._connection.execute("SELECT 1 FROM orders WHERE id = ?", (order_id,)).fetchone() is not None

    def remember_order(self, order_id: str, expires_at: datetime, now: datetime) -> None:
        """Refuse this order from now on, until its own expiry does."""
        self._connection.execute("DELETE FROM orders WHERE expires_at < ?", (now.timestamp(),))
        self._connection.execute("INSERT OR REPLACE INTO orders VALUES (?, ?)", (order_id, expires_at.timestamp()))

    def remember_subject(self, subject: str, row: SubjectRow) -> None:
        """Remember the newest claim on the subject, and the site that it is bound to."""
        self._connection.execute("INSERT OR REPLACE INTO subjects VALUES (?, ?, ?, ?)", (subject, *row))

    def own(self, subject: str, resources: Mapping[str, Owned]) -> None:
        """Mark the resources as written for the subject."""
        self._owned.clear()
        self._connection.executemany(
            "INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?)",
            [(key, subject, owned.resource.model_dump_json(), owned.digest) for key, owned in resources.items()],
        )

    def disown(self, keys: list[str]) -> None:
        """Forget resources that are gone. The number of a removed account is retired with it."""
        self._owned.clear()
        for key in keys:
            row = self._connection.execute("DELETE FROM resources WHERE key = ? RETURNING body", (key,)).fetchone()
            resource = None if row is None else _RESOURCE.validate_json(row[0])
            if isinstance(resource, Account):
                self._connection.execute("INSERT OR REPLACE INTO retired VALUES (?, ?)", (resource.uid, resource.name))

    def note_unproven(self, subject: str, probes: tuple[Probe, ...], services: tuple[str, ...]) -> None:
        """Have the subject tried, after all that wait already; forget it, if it has no probes or no services."""
        if probes and services:
            self._connection.execute(
                "INSERT OR REPLACE INTO unproven (subject, probes, services) VALUES (?, ?, ?)",
                (subject, _PROBES.dump_json(probes), " ".join(services)),
            )
        else:
            self._connection.execute("DELETE FROM unproven WHERE subject = ?", (subject,))

    def next_unproven(self) -> Unproven | None:
        """The subject whose turn it is to be tried."""
        query = f"{_UNPROVEN} WHERE is_waiting ORDER BY place LIMIT 1"
        return _unproven(self._connection.execute(query).fetchone())

    def count_unproven(self) -> int:
        """How many subjects wait to be tried."""
        return int(self._connection.execute("SELECT count(*) FROM unproven WHERE is_waiting").fetchone()[0])

    def unproven(self, subject: str) -> Unproven | None:
        """What is known of a subject that is to be tried, or was found not to run."""
        return _unproven(self._connection.execute(f"{_UNPROVEN} WHERE subject = ?", (subject,)).fetchone())

    def ahead_of(self, subjects: Iterable[str]) -> dict[str, int]:
        """How many at most are tried before each of these subjects, save those that do not wait for that."""
        query = "SELECT place FROM unproven WHERE is_waiting ORDER BY place LIMIT 1"
        (first,) = self._connection.execute(query).fetchone() or (0,)
        query = "SELECT place FROM unproven WHERE subject = ? AND is_waiting"
        found = ((subject, self._connection.execute(query, (subject,)).fetchone()) for subject in subjects)
        return {subject: row[0] - first for subject, row in found if row is not None}

    def proven(self, row: Unproven, condition: Condition | None) -> None:
        """Record what a try found; nothing, if the subject was changed meanwhile."""
        with self.transaction():
            if condition is None:
                self._connection.execute("DELETE FROM unproven WHERE place = ?", (row.place,))
            else:
                self._connection.execute(
                    "UPDATE unproven SET condition = ?, is_waiting = 0 WHERE place = ?",
                    (condition.model_dump_json(), row.place),
                )

    def try_again(self, row: Unproven) -> None:
        """Have a subject that was found not to run tried once more."""
        with self.transaction():
            self._connection.execute("UPDATE unproven SET is_waiting = 1 WHERE place = ?", (row.place,))

    def open_journal(self, journal_id: str, entries: str) -> None:
        """Make the undo of what is about to happen durable."""
        with self.transaction():
            self._connection.execute("DELETE FROM journal WHERE is_committed")
            self._connection.execute("INSERT INTO journal VALUES (?, 0, ?)", (journal_id, entries))

    def commit_journal(self, journal_id: str) -> None:
        """From the end of the surrounding transaction on, what happened stays."""
        self._connection.execute("UPDATE journal SET is_committed = 1 WHERE id = ?", (journal_id,))

    def close_journal(self, journal_id: str) -> None:
        """Forget a journal whose undo was carried out or is no longer wanted."""
        self._connection.execute("DELETE FROM journal WHERE id = ?", (journal_id,))

    def journals(self) -> list[tuple[str, bool, str]]:
        """The journals that are left, as identifier, whether it was committed, and its entries."""
        rows = self._connection.execute("SELECT id, is_committed, entries FROM journal").fetchall()
        return [(identifier, bool(is_committed), entries) for identifier, is_committed, entries in rows]


def _unproven(row: tuple[int, str, str, str, str | None] | None) -> Unproven | None:
    if row is None:
        return None
    place, subject, probes, services, condition = row
    found = None if condition is None else Condition.model_validate_json(condition)
    return Unproven(place, subject, _PROBES.validate_json(probes), tuple(services.split(" ")), found)
