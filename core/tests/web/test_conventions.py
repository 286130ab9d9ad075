"""The conventions that every operation keeps: problems, pages, versions, keys, headers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hosthold.sites.models import SiteRow
from hosthold.web import idempotency
from hosthold.web.models import IdempotencyRow
from hosthold.web.problems import TYPES
from hosthold.web.request import MAX_BODY
from sqlalchemy import func, select

from .conftest import World, run

UNKNOWN = "0" * 32


def count(world: World, model: type) -> int:
    with world.platform.database.read() as uow:
        return uow.session.scalar(select(func.count()).select_from(model)) or 0


def test_a_declared_site_is_answered_with_202_its_phase_its_place_and_its_version(world: World) -> None:
    answer = world.call("alice", "POST", "/api/v1/sites", json={"domain": "Shop.Test."})

    site = answer.json()
    assert (answer.status_code, site["domain"], site["phase"], site["generation"]) == (202, "shop.test", "pending", 1)
    assert answer.headers["location"] == f"/api/v1/sites/{site['id']}"
    assert answer.headers["etag"] == '"1"'
    assert world.call("alice", "GET", answer.headers["location"]).json() == site
    assert ("site", site["id"]) in world.platform.bell.rung  # type: ignore[attr-defined]


def test_every_error_is_a_problem_whose_type_leads_to_a_readable_page(world: World) -> None:
    answer = world.call("alice", "GET", f"/api/v1/sites/{UNKNOWN}")

    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.keys() >= {"type", "title", "status", "detail", "instance", "hint"}
    assert problem["instance"].endswith(answer.headers["x-request-id"])
    page = world.call(None, "GET", problem["type"])
    assert page.status_code == 200
    assert problem["title"] in page.text
    for slug in TYPES:
        assert world.call(None, "GET", f"/api/problems/{slug}").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/api/v1/nothing", {}, 404),
        ("GET", "/api/v1/sites/../sites", {}, 200),
        ("GET", "/api/v1/sites/", {}, 404),
        ("GET", "/api/v1//sites", {}, 404),
        ("GET", "/api/v1/sites/not-an-identifier", {}, 404),
        ("PUT", "/api/v1/sites", {}, 405),
        ("POST", "/api/docs", {}, 405),
        ("POST", "/api/v1/sites", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("POST", "/api/v1/sites", {"content": b"", "headers": {"content-type": "application/json"}}, 400),
        ("POST", "/api/v1/sites", {"content": b"\xff\xfe", "headers": {"content-type": "application/json"}}, 400),
        ("POST", "/api/v1/sites", {"content": b'{"domain":"a.test"}', "headers": {"content-type": "text/plain"}}, 415),
        ("POST", "/api/v1/sites", {"json": {"domain": "a.test", "colour": "red"}}, 422),
        ("POST", "/api/v1/sites", {"json": {"domain": "a\x00.test"}}, 422),
        ("POST", "/api/v1/packages", {"json": {"name": "a\x00b"}}, 422),
        ("GET", "/api/v1/sites?colour=red", {}, 422),
        ("GET", "/api/v1/sites?limit=1&limit=2", {}, 422),
        ("GET", "/api/v1/sites?limit=0", {}, 422),
        ("GET", "/api/v1/sites?limit=101", {}, 422),
        ("GET", "/api/v1/sites?limit=%D9%A1", {}, 422),
        ("GET", "/api/v1/sites?cursor=%00", {}, 422),
        ("GET", "/api/v1/sites?cursor=Jw", {}, 422),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_its_own_status(
    world: World, method: str, path: str, options: dict[str, object], status: int
) -> None:
    answer = world.call("reseller" if "packages" in path else "alice", method, path, **options)

    assert answer.status_code == status, answer.text
    assert answer.json().get("status", 200) == status
    if status == 405:
        assert answer.headers["allow"]


def test_fields_that_cannot_be_accepted_are_named_by_json_pointers_and_never_repeated(world: World) -> None:
    body = {"domain": "bad name", "runtime": {"driver": 7, "settings": {}}, "a/b": "s3cret-value"}
    answer = world.call("alice", "POST", "/api/v1/sites", json=body)

    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {"/domain", "/runtime/driver", "/a~1b"}
    assert "s3cret-value" not in answer.text


def test_unexpected_exceptions_are_500_with_an_identifier_and_without_internals(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_arguments: object) -> None:
        raise ValueError("the password is hunter2")

    monkeypatch.setattr("hosthold.accounts.service.page", broken)
    answer = world.call("alice", "GET", "/api/v1/accounts")

    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.headers["x-request-id"] in capsys.readouterr().out


def test_pages_are_linked_until_the_last_and_together_hold_everything_once(world: World) -> None:
    made = [world.site("alice", f"site{number}.test")["id"] for number in range(5)]
    seen, path, pages = [], "/api/v1/sites?limit=2", 0
    while path:
        answer = world.call("alice", "GET", path)
        seen += [site["id"] for site in answer.json()["items"]]
        link = answer.links.get("next")
        assert (link is None) is (answer.json()["next_cursor"] is None)
        path, pages = link["url"] if link else "", pages + 1

    assert seen == made[::-1]
    assert pages == 3


def test_an_edit_of_an_old_version_is_refused_with_412_and_changes_nothing(world: World) -> None:
    site = world.site("alice", "a.test")
    path = f"/api/v1/sites/{site['id']}"
    first = world.call("alice", "PATCH", path, json={"document_root": "web"}, headers={"if-match": '"1"'})
    second = world.call("alice", "PATCH", path, json={"document_root": "old"}, headers={"if-match": '"1"'})

    assert (first.status_code, first.headers["etag"]) == (202, '"2"')
    assert (second.status_code, second.json()["type"]) == (412, "/api/problems/precondition-failed")
    assert world.call("alice", "GET", path).json()["document_root"] == "web"
    assert world.call("alice", "DELETE", path, headers={"if-match": '"1"'}).status_code == 412
    assert world.call("alice", "PATCH", path, json={}, headers={"if-match": "W/3"}).status_code == 422
    assert world.call("alice", "DELETE", path, headers={"if-match": "*"}).status_code == 202


def test_a_repeated_key_gives_the_first_answer_and_acts_once(world: World) -> None:
    headers = {"idempotency-key": "one"}
    first, second = (
        world.call("alice", "POST", "/api/v1/sites", json={"domain": "a.test"}, headers=headers) for _ in range(2)
    )
    other = world.call("alice", "POST", "/api/v1/sites", json={"domain": "b.test"}, headers=headers)

    assert (second.status_code, second.json(), second.headers["location"]) == (
        202,
        first.json(),
        first.headers["location"],
    )
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["type"]) == (422, "/api/problems/idempotency-key-reused")
    assert count(world, SiteRow) == 1
    assert world.call("bob", "POST", "/api/v1/sites", json={"domain": "b.test"}, headers=headers).status_code == 202


def test_a_refused_request_does_not_use_up_its_key(world: World) -> None:
    headers = {"idempotency-key": "one"}
    refused = world.call("alice", "POST", "/api/v1/sites", json={"domain": "localhost"}, headers=headers)

    assert refused.status_code == 422
    assert count(world, IdempotencyRow) == 0
    assert world.call("alice", "POST", "/api/v1/sites", json={"domain": "a.test"}, headers=headers).status_code == 202


def test_of_many_requests_with_one_key_at_once_one_acts_and_all_get_its_answer(world: World) -> None:
    async def many() -> list[httpx.Response]:
        async with world.client("alice", **{"Idempotency-Key": "same"}) as client:
            body = {"domain": "a.test"}
            return await asyncio.gather(*(client.post("/api/v1/sites", json=body) for _ in range(8)))

    answers = run(many())

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert count(world, SiteRow) == 1


def test_keys_are_forgotten_after_two_days_and_not_before(world: World, clock: Callable[[], int]) -> None:
    world.call("alice", "POST", "/api/v1/sites", json={"domain": "a.test"}, headers={"idempotency-key": "one"})
    for step, left in ((24 * 3_600_000, 1), (24 * 3_600_000 + 1, 0)):
        clock.advance(step)  # type: ignore[attr-defined]
        with world.platform.database.write() as uow:
            idempotency.prune(uow)
        assert count(world, IdempotencyRow) == left


def test_s66_the_secret_of_a_token_is_not_stored_with_the_answer(world: World) -> None:
    body, headers = {"name": "deploy", "permissions": ["site:read"]}, {"idempotency-key": "one"}
    first, again = (world.call("alice", "POST", "/api/v1/tokens", json=body, headers=headers) for _ in range(2))

    secret = first.json()["secret"]
    assert secret.startswith("hh_")
    assert again.json() == {**first.json(), "secret": None}
    with world.platform.database.read() as uow:
        assert secret.encode() not in uow.session.scalars(select(IdempotencyRow.body)).one()


def test_head_is_get_without_a_body(world: World) -> None:
    answer = world.call("alice", "HEAD", "/api/v1/sites")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_s70_a_large_deep_or_broken_body_is_refused_at_once(world: World) -> None:
    json = {"content-type": "application/json"}
    for content, status in (
        (b'{"domain":"' + b"a" * MAX_BODY + b'"}', 413),
        (b"[" * 100_000, 400),
        (b'{"domain":' * 5_000, 400),
        (b"{" + b",".join(b'"f%d":1' % number for number in range(10_000)) + b"}", 422),
    ):
        answer = world.call("alice", "POST", "/api/v1/sites", content=content, headers=json)
        assert answer.status_code == status
        assert len(answer.content) < 20_000
        assert answer.elapsed.total_seconds() < 1


def test_s70_a_body_that_is_sent_without_its_length_is_capped_all_the_same(world: World) -> None:
    async def send() -> httpx.Response:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(MAX_BODY // 65536 + 2):
                yield b" " * 65536

        async with world.client("alice") as client:
            return await client.post("/api/v1/sites", content=chunks(), headers={"content-type": "application/json"})

    assert run(send()).status_code == 413


def test_s70_a_body_that_never_ends_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hosthold.web.request.BODY_SECONDS", 0.05)

    async def send() -> httpx.Response:
        async def slow() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(30)

        async with world.client("alice") as client:
            return await client.post("/api/v1/sites", content=slow(), headers={"content-type": "application/json"})

    assert run(send()).status_code == 408


def test_answers_carry_the_headers_that_keep_browsers_careful(world: World) -> None:
    data, page = world.call("alice", "GET", "/api/v1/sites"), world.call(None, "GET", "/api/docs")

    assert data.headers["cache-control"] == "no-store"
    for answer in (data, page):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "strict-transport-security" not in answer.headers


def test_s45_only_the_public_host_and_loopback_are_answered(world: World) -> None:
    refused = ("evil.example", "127.0.0.1.evil.example", "", "[", "127.0.0.1@evil.example")
    served = ("127.0.0.1:8600", "localhost", "[::1]:8600")
    for host, status in (*((host, 200) for host in served), *((host, 421) for host in refused)):
        answer = world.call("alice", "GET", "/api/v1/sites", headers={"host": host})
        assert answer.status_code == status, host


def test_s52_what_a_caller_sends_cannot_break_out_of_a_header_or_a_log_line(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in ("/api/v1/a%0d%0aset-cookie:x=1", "/api/v1/%1b]0;x%07", "/api/v1/sites?limit=%0d%0aa:b"):
        answer = world.call("alice", "GET", path)
        assert "set-cookie" not in answer.headers
        assert answer.status_code in (404, 422)
        assert "\x1b" not in answer.text
    assert "\x1b]" not in capsys.readouterr().out


def test_the_list_shows_each_site_exactly_as_it_is_read_alone(world: World) -> None:
    body = {"domain": "a.test", "aliases": ["b.test", "c.test"], "runtime": {"settings": {"memory_limit": "64M"}}}
    assert world.call("alice", "POST", "/api/v1/sites", json=body).status_code == 202
    failed = world.site("carol", "d.test")
    condition = {"reason": "CheckFailed", "message": 'Said "no".', "hint": "Ask again.", "is_permanent": True}
    with world.platform.database.write() as uow:
        row = uow.session.get_one(SiteRow, failed["id"])
        row.phase, row.conditions, row.is_suspended = "failed", [condition], True

    for name, count in (("root", 2), ("alice", 1), ("reseller", 1)):
        listed = world.call(name, "GET", "/api/v1/sites").json()["items"]
        assert len(listed) == count
        assert listed == [world.call(name, "GET", f"/api/v1/sites/{site['id']}").json() for site in listed]
