"""Signing in: passwords, links that work once, and attempts that fail too often."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from hosthold.accounts.service import create_provider
from hosthold.auth import password as passwords
from hosthold.auth.models import UserRow
from hosthold.auth.permission import PERMISSIONS, ROLES, effective
from hosthold.auth.service import (
    LINK_MS,
    create_sign_in_link,
    create_user,
    grant_role,
    sign_in,
    use_sign_in_link,
    user_by_email,
)
from hosthold.auth.throttle import FREE_FAILURES, SignInThrottle
from hosthold.db.unit_of_work import Database
from hosthold.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, TooManyRequests

EMAIL = "alice@example.com"
PASSWORD = "correct horse battery staple"


class Stopwatch:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def throttle() -> SignInThrottle:
    return SignInThrottle(Stopwatch())


@pytest.fixture
def user_id(database: Database) -> str:
    with database.write() as uow:
        account = create_provider(uow, "Provider")
        user = create_user(uow, EMAIL, PASSWORD)
        grant_role(uow, user.id, account.id, "owner")
        return user.id


def test_whoever_knows_the_password_gets_a_session(database: Database, throttle: SignInThrottle, user_id: str) -> None:
    opened = sign_in(database, throttle, " ALICE@Example.com ", PASSWORD, "192.0.2.1", None)
    assert (opened.user_id, len(opened.secret), len(opened.csrf_token)) == (user_id, 43, 43)


@pytest.mark.usefixtures("user_id")
def test_s48_unknown_user_and_wrong_password_look_and_take_the_same(database: Database) -> None:
    def attempt(email: str) -> tuple[str, float]:
        started = time.perf_counter()
        with pytest.raises(NotAuthenticated) as caught:
            sign_in(database, SignInThrottle(), email, "wrong password here", "192.0.2.1", None)
        return caught.value.detail, time.perf_counter() - started

    known, unknown = [attempt(EMAIL) for _ in range(9)], [attempt("nobody@example.com") for _ in range(9)]

    assert {detail for detail, _ in known} == {detail for detail, _ in unknown}
    medians = [statistics.median(seconds for _, seconds in attempts) for attempts in (known, unknown)]
    assert max(medians) < 2 * min(medians)


@pytest.mark.usefixtures("user_id")
def test_s48_a_password_has_bounds_and_is_kept_as_argon2id(database: Database) -> None:
    with database.read() as uow:
        stored = user_by_email(uow, EMAIL).password_hash
    assert stored is not None
    assert stored.startswith("$argon2id$v=19$m=47104,t=1,p=1$")
    for refused in ("short", "x" * 1025, "é" * 600):
        with database.write() as uow, pytest.raises(InvalidInput):
            create_user(uow, "other@example.com", refused)
    assert not passwords.verify_password(stored, "x" * 10_000_000)


def test_s48_a_hash_of_weaker_settings_is_replaced_at_sign_in(
    database: Database, throttle: SignInThrottle, user_id: str
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    with database.write() as uow:
        uow.session.get_one(UserRow, user_id).password_hash = weak
    sign_in(database, throttle, EMAIL, PASSWORD, "192.0.2.1", None)
    with database.read() as uow:
        assert not passwords.needs_rehash(str(user_by_email(uow, EMAIL).password_hash))


def test_failures_make_the_next_attempt_wait_ever_longer(throttle: SignInThrottle) -> None:
    waits = []
    stopwatch: Stopwatch = throttle._monotonic  # type: ignore[assignment]
    for _ in range(FREE_FAILURES + 4):
        throttle.failed(EMAIL, "192.0.2.1")
        try:
            throttle.check(EMAIL, "192.0.2.1")
            waits.append(0)
        except TooManyRequests as error:
            waits.append(error.retry_after)
    assert waits[: FREE_FAILURES - 1] == [0] * (FREE_FAILURES - 1)
    assert waits[FREE_FAILURES - 1 :] == sorted(set(waits[FREE_FAILURES - 1 :]))
    throttle.check("bob@example.com", "192.0.2.2")
    for other in ((EMAIL, "192.0.2.2"), ("bob@example.com", "192.0.2.1")):
        with pytest.raises(TooManyRequests):
            throttle.check(*other)
    stopwatch.now += 1000
    throttle.check(EMAIL, "192.0.2.1")


def test_s47_one_network_of_ipv6_counts_as_one_address(throttle: SignInThrottle) -> None:
    for number in range(FREE_FAILURES):
        throttle.failed(f"user{number}@example.com", f"2001:db8:0:1::{number}")
    with pytest.raises(TooManyRequests):
        throttle.check("next@example.com", "2001:db8:0:1:ffff::1")
    throttle.check("next@example.com", "2001:db8:0:2::1")


def test_a_sign_in_link_works_once_and_for_a_quarter_of_an_hour(
    database: Database, user_id: str, clock: Callable[[], int]
) -> None:
    with database.write() as uow:
        older, newer = create_sign_in_link(uow, user_id), create_sign_in_link(uow, user_id)
    with database.write() as uow:
        assert use_sign_in_link(uow, newer, None).user_id == user_id
    for dead in (newer, older, "", "x" * 10_000):
        with database.write() as uow, pytest.raises(NotAuthenticated):
            use_sign_in_link(uow, dead, None)
    with database.write() as uow:
        late = create_sign_in_link(uow, user_id)
    clock.advance(LINK_MS)  # type: ignore[attr-defined]
    with database.write() as uow, pytest.raises(NotAuthenticated):
        use_sign_in_link(uow, late, None)


def test_users_are_known_by_one_form_of_their_address(database: Database, user_id: str) -> None:
    with database.write() as uow:
        with pytest.raises(Conflict):
            create_user(uow, "Alice@EXAMPLE.com", None)
        for refused in ("", "alice", "@example.com", "a@b@c", "a b@example.com", "a\n@example.com", "x" * 300 + "@a.b"):
            with pytest.raises(InvalidInput):
                create_user(uow, refused, None)
        with pytest.raises(NotFound):
            user_by_email(uow, "nobody@example.com")
        with pytest.raises(InvalidInput):
            grant_role(uow, user_id, "0" * 32, "king")


def test_roles_hold_only_permissions_that_exist_and_customers_never_the_providers() -> None:
    for granted in ROLES.values():
        assert granted <= frozenset(PERMISSIONS) | {"*"}
    everything = effective(["*"], "provider", ["hello:read"])
    assert everything == frozenset(PERMISSIONS) | {"hello:read"}
    assert {"node:read", "plugin:read", "package:create"} & effective(["*"], "customer", ()) == set()
    assert effective(["node:read", "no:such"], "reseller", ()) == frozenset()
    assert not any(name.endswith((":delete", ":create")) for name in effective(ROLES["read-only"], "customer", ()))
