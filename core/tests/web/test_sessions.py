"""Browser sessions: cookies, their end, and requests that other sites forge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hosthold.auth.identity import IDLE_MS, secret_hash
from hosthold.auth.models import MembershipRow, SessionRow
from hosthold.auth.service import (
    SESSION_MS,
    OpenedSession,
    create_sign_in_link,
    end_session,
    set_password,
    use_sign_in_link,
)
from hosthold.db.unit_of_work import Database
from hosthold.settings import Settings, WebSettings
from hosthold.web.authentication import Authenticator
from sqlalchemy import delete, select

from .conftest import ORIGIN, World

SITES = "/api/v1/sites"


def sign_in(world: World, previous: str | None = None) -> OpenedSession:
    database = world.platform.database
    with database.write() as uow:
        link = create_sign_in_link(uow, world.user_id)
    with database.write() as uow:
        return use_sign_in_link(uow, link, previous)


def send(
    world: World, session: OpenedSession, method: str = "GET", path: str = SITES, **options: Any
) -> httpx.Response:
    options["headers"] = {"cookie": f"hosthold_session={session.secret}", **options.get("headers", {})}
    return world.call(None, method, path, **options)


def test_a_session_does_what_its_users_role_allows(world: World) -> None:
    session = sign_in(world)
    created = send(world, session, "POST", json={"domain": "a.test"},
                   headers={"x-csrf-token": session.csrf_token, "origin": ORIGIN})  # fmt: skip

    assert created.status_code == 202
    assert [site["domain"] for site in send(world, session).json()["items"]] == ["a.test"]
    assert send(world, session, path="/api/v1/nodes").status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"x-csrf-token": ""}, 403),
        ({"x-csrf-token": "A" * 43}, 403),
        ({"x-csrf-token": "own", "origin": "null"}, 403),
        ({"x-csrf-token": "own", "origin": "http://evil.example"}, 403),
        ({"x-csrf-token": "own", "origin": "http://127.0.0.1:8601"}, 403),
        ({"x-csrf-token": "own", "origin": "https://127.0.0.1:8600"}, 403),
        ({"x-csrf-token": "own", "origin": "http://sub.127.0.0.1:8600"}, 403),
        ({"x-csrf-token": "own", "referer": "http://evil.example/http://127.0.0.1:8600/"}, 403),
        ({"x-csrf-token": "own", "referer": "no address"}, 403),
        ({"x-csrf-token": "own", "referer": f"{ORIGIN}/sites"}, 202),
        ({"x-csrf-token": "own", "origin": ORIGIN}, 202),
        ({"x-csrf-token": "own"}, 202),
        ({"origin": ORIGIN}, 403),
    ],
)
def test_s40_a_browsers_request_needs_its_own_origin_and_token(
    world: World, headers: dict[str, str], status: int
) -> None:
    session = sign_in(world)
    if headers.get("x-csrf-token") == "own":
        headers = {**headers, "x-csrf-token": session.csrf_token}
    answer = send(world, session, "POST", json={"domain": "a.test"}, headers=headers)
    assert answer.status_code == status, answer.text


def test_s40_a_form_from_elsewhere_cannot_pretend_to_be_json(world: World) -> None:
    session = sign_in(world)
    headers = {"x-csrf-token": session.csrf_token, "content-type": "text/plain"}
    answer = send(world, session, "POST", content=b'{"domain":"a.test"}', headers=headers)
    assert answer.status_code == 415
    other = sign_in(world)
    headers = {"x-csrf-token": other.csrf_token}
    assert send(world, session, "POST", json={"domain": "a.test"}, headers=headers).status_code == 403


def test_s40_a_token_needs_neither_origin_nor_csrf_token_and_goes_before_a_cookie(world: World) -> None:
    session = sign_in(world)
    headers = {"cookie": f"hosthold_session={session.secret}", "origin": "http://evil.example"}
    answer = world.call("bob", "POST", SITES, json={"domain": "b.test"}, headers=headers)

    assert answer.status_code == 202
    assert answer.json()["account_id"] == world.actors["bob"].account_id


def test_s38_a_new_sign_in_has_a_new_identifier_and_the_old_one_is_dead(world: World) -> None:
    first = sign_in(world)
    second = sign_in(world, previous=first.secret)

    assert first.secret != second.secret
    assert send(world, first).status_code == 401
    assert send(world, second).status_code == 200


def test_s38_signing_out_ends_the_session_on_the_server(world: World) -> None:
    session = sign_in(world)
    assert send(world, session).status_code == 200
    with world.platform.database.write() as uow:
        end_session(uow, secret_hash(session.secret))
    world.platform.authenticator.forget(secret_hash(session.secret))
    assert send(world, session).status_code == 401


def test_s38_a_session_ends_when_idle_and_after_a_week_in_any_case(
    world: World, clock: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosthold.web.authentication.CACHE_SECONDS", 0)
    session = sign_in(world)
    for _ in range(SESSION_MS // (IDLE_MS - 1000)):
        clock.advance(IDLE_MS - 1000)  # type: ignore[attr-defined]
        assert send(world, session).status_code == 200
    clock.advance(SESSION_MS - SESSION_MS // (IDLE_MS - 1000) * (IDLE_MS - 1000))  # type: ignore[attr-defined]
    assert send(world, session).status_code == 401

    session = sign_in(world)
    clock.advance(IDLE_MS)  # type: ignore[attr-defined]
    assert send(world, session).status_code == 401


def test_s44_a_new_password_or_a_lost_role_ends_sessions_within_seconds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosthold.web.authentication.CACHE_SECONDS", 0)
    first, second = sign_in(world), sign_in(world)
    with world.platform.database.write() as uow:
        set_password(uow, world.user_id, "another long password")
    assert {send(world, session).status_code for session in (first, second)} == {401}

    third = sign_in(world)
    with world.platform.database.write() as uow:
        uow.session.execute(delete(MembershipRow).where(MembershipRow.user_id == world.user_id))
    assert send(world, third).status_code == 401


def test_s39_a_cookie_that_is_no_secret_is_nobodys(world: World) -> None:
    for value in ("", "x", "A" * 43, "A" * 100_000, "a=b", '"quoted"', "%0d%0a", "é"):
        headers = {"cookie": f"a=b; hosthold_session={value}".encode()}
        assert world.call(None, "GET", SITES, headers=headers).status_code == 401


def test_s39_only_hashes_of_secrets_are_stored(world: World) -> None:
    session = sign_in(world)
    with world.platform.database.read() as uow:
        row = uow.session.scalars(select(SessionRow)).one()
        assert session.secret not in str(vars(row))
        assert row.secret_hash == secret_hash(session.secret)


def test_s38_the_cookie_is_locked_to_the_host_where_the_panel_has_https(
    database: Database, settings: Settings, world: World
) -> None:
    secure = settings.model_copy(update={"web": WebSettings(public_url="https://panel.example")})
    name, value = Authenticator(secure, world.platform.execution, database.clock).session_cookie("x" * 43)
    plain = world.platform.authenticator.session_cookie("x" * 43)[1]

    assert name == b"set-cookie"
    assert value.startswith(b"__Host-hosthold_session=")
    assert value.endswith(b"; Path=/; HttpOnly; SameSite=Lax; Secure")
    assert plain.startswith(b"hosthold_session=")
    assert b"Secure" not in plain


def test_a_revoked_token_is_refused_within_five_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from hosthold.web.authentication import CACHE_SECONDS

    assert CACHE_SECONDS <= 2
    monkeypatch.setattr("hosthold.web.authentication.CACHE_SECONDS", 0)
    made = world.call("alice", "POST", "/api/v1/tokens", json={"name": "t", "permissions": ["site:read"]}).json()
    world.tokens["new"] = made["secret"]
    assert world.call("new", "GET", SITES).status_code == 200
    assert world.call("alice", "DELETE", f"/api/v1/tokens/{made['id']}").status_code == 204
    assert world.call("new", "GET", SITES).status_code == 401


def test_s44_a_users_token_loses_what_the_user_loses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosthold.web.authentication.CACHE_SECONDS", 0)
    session = sign_in(world)
    body = {"name": "t", "permissions": ["*"]}
    made = send(world, session, "POST", "/api/v1/tokens", json=body, headers={"x-csrf-token": session.csrf_token})
    world.tokens["own"] = made.json()["secret"]
    assert world.call("own", "POST", SITES, json={"domain": "a.test"}).status_code == 202
    with world.platform.database.write() as uow:
        uow.session.scalars(select(MembershipRow)).one().role = "read-only"
    assert world.call("own", "POST", SITES, json={"domain": "b.test"}).status_code == 403
    assert world.call("own", "GET", SITES).status_code == 200


def test_a_token_expires(world: World, clock: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosthold.web.authentication.CACHE_SECONDS", 0)
    body = {"name": "t", "permissions": ["site:read"], "expires_at": "2027-01-15T08:01:00Z"}
    made = world.call("alice", "POST", "/api/v1/tokens", json=body)
    world.tokens["short"] = made.json()["secret"]
    assert made.json()["expires_at"] == "2027-01-15T08:01:00.000Z"
    assert world.call("short", "GET", SITES).status_code == 200
    clock.advance(60_000)  # type: ignore[attr-defined]
    assert world.call("short", "GET", SITES).status_code == 401
    assert world.call("alice", "POST", "/api/v1/tokens", json=body).status_code == 422
