"""Who may do what: checked over the table of all operations, so that a new one is included."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hosthold.app import API
from hosthold.drift.models import DriftRow
from hosthold.nodes.models import NodeRow
from hosthold.sites.models import SiteRow
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.types.resource import Change
from hosthold.web.operation import Operation, operation, operations_of
from sqlalchemy import select

from .conftest import World

OPERATIONS = operations_of(API)
UNKNOWN = "0" * 32
STRANGERS = ("bob", "carol", "reseller")
PROVIDERS = frozenset(
    {"account:create", "drift:read", "node:adopt", "node:read", "node:repair", "package:create", "plugin:read",
     "site:adopt"}
)  # fmt: skip
"""Permissions that a customer cannot have."""


def body_of(each: Operation, world: World) -> dict[str, Any]:
    """A body that the operation accepts."""
    bodies: dict[str, dict[str, Any]] = {
        "create_site": {"domain": "new.test"}, "create_sites": {"sites": [{"domain": "new.test"}]},
        "change_site": {"document_root": "web"}, "replace_web": {},
        "create_account": {"name": "New", "package_id": world.package_id}, "create_package": {"name": "new"},
        "create_token": {"name": "new", "permissions": ["site:read"]},
        "adopt_site": {"seen": UNKNOWN}, "adopt_node": {"seen": UNKNOWN},
    }  # fmt: skip
    return {"json": bodies[each.name]} if each.body else {}


def own_object(each: Operation, world: World) -> str:
    """An object of Alice's, or a node, that the operation's path names. Somebody has changed it by hand."""
    if "site_id" in each.path:
        site = world.site("alice", "own.test")
        changed_by_hand(world, f"site:{site['id']}", world.actors["alice"].account_path)
        return str(site["id"])
    if "node_id" in each.path:
        with world.platform.database.read() as uow:
            node = uow.session.scalars(select(NodeRow)).one()
        changed_by_hand(world, f"node:{node.name}", "")
        return str(node.id)
    if "account_id" in each.path:
        return world.actors["alice"].account_id
    if "operation_id" in each.path:
        site = world.site("alice", "own.test")
        return str(world.call("alice", "POST", f"/api/v1/sites/{site['id']}/restart").json()["id"])
    body = {"name": "t", "permissions": ["site:read"]}
    return str(world.call("alice", "POST", "/api/v1/tokens", json=body).json()["id"])


def changed_by_hand(world: World, subject: str, account_path: str) -> None:
    change = Change(action="update", key="path:/srv/x", summary="", is_drift=True, digest="d")
    with world.platform.database.write() as uow:
        uow.session.add(
            DriftRow(
                id=new_identifier(), subject=subject, label="x", account_path=account_path, state="found",
                changes=[change.model_dump(mode="json")], kept=[], mark=UNKNOWN, found_at=0,
            )
        )  # fmt: skip


def ask(world: World, name: str | None, each: Operation, identifier: str) -> httpx.Response:
    path = each.path
    for parameter in each.path_parameters:
        path = path.replace(f"{{{parameter.name}}}", identifier)
    return world.call(name, each.method, path, **body_of(each, world))


def same(answer: httpx.Response) -> tuple[object, ...]:
    """What a caller can tell answers apart by, save for what names the request itself."""
    body = {key: value for key, value in answer.json().items() if key != "instance"}
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, body, headers


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_s29_s35_nobody_unknown_gets_in(world: World, each: Operation) -> None:
    world.tokens["forged"] = "hh_" + "A" * 43
    for name in (None, "forged"):
        answer = ask(world, name, each, UNKNOWN)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("each", [each for each in OPERATIONS if each.path_parameters], ids=lambda each: each.name)
def test_s29_somebody_elses_object_looks_like_none(world: World, each: Operation) -> None:
    identifier = own_object(each, world)
    for name in STRANGERS:
        assert same(ask(world, name, each, identifier)) == same(ask(world, name, each, UNKNOWN))
        assert ask(world, name, each, identifier).status_code == (403 if each.permission in PROVIDERS else 404)


@pytest.mark.parametrize("each", [each for each in OPERATIONS if not each.streams], ids=lambda each: each.name)
def test_s29_owner_and_parent_get_what_strangers_do_not(world: World, each: Operation) -> None:
    if each.name in ("plan_site", "read_log"):
        pytest.skip("needs a worker; the end-to-end tests ask for plans and logs")
    identifier = own_object(each, world) if each.path_parameters else ""
    is_providers = each.permission in PROVIDERS

    assert ask(world, "alice", each, identifier).status_code == (403 if is_providers else each.status)
    if each.path_parameters and each.method == "DELETE" and each.status == 204:
        identifier = own_object(each, world)
    has_no_package = each.name in ("create_site", "create_sites")  # the provider itself
    expected = 422 if has_no_package else each.status
    assert ask(world, "root", each, identifier).status_code == expected


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_s43_a_token_does_only_what_it_names(world: World, each: Operation) -> None:
    if each.permission in ("site:read", "account:read"):
        return
    answer = ask(world, "reader", each, UNKNOWN)
    assert answer.status_code == 403
    assert each.permission in answer.json()["detail"]


def test_lists_show_ones_own_part_of_the_tree_only(world: World) -> None:
    sites = {name: world.site(name, f"{name}.test")["id"] for name in ("alice", "bob", "carol")}

    def seen(name: str) -> set[str]:
        return {site["id"] for site in world.call(name, "GET", "/api/v1/sites").json()["items"]}

    assert [seen(name) for name in sites] == [{site} for site in sites.values()]
    assert seen("reseller") == {sites["carol"]}
    assert seen("root") == set(sites.values())
    accounts = world.call("reseller", "GET", "/api/v1/accounts").json()["items"]
    assert {account["id"] for account in accounts} == {world.actors[name].account_id for name in ("reseller", "carol")}
    assert world.call("bob", "GET", "/api/v1/tokens").json()["items"][0]["account_id"] == world.actors["bob"].account_id


def test_s30_a_body_cannot_name_somebody_elses_account_or_package(world: World) -> None:
    theirs = world.actors["bob"].account_id
    site = world.call("alice", "POST", "/api/v1/sites", json={"domain": "a.test", "account_id": theirs})
    token = {"name": "t", "permissions": ["site:read"], "account_id": theirs}
    package = world.call("reseller", "POST", "/api/v1/packages", json={"name": "own"}).json()["id"]
    account = world.call("root", "POST", "/api/v1/accounts", json={"name": "x", "package_id": package})

    assert site.status_code == 422
    assert site.json()["errors"][0]["pointer"] == "/account_id"
    assert world.call("alice", "POST", "/api/v1/tokens", json=token).status_code == 422
    assert account.status_code == 422
    same_as_unknown = world.call("alice", "POST", "/api/v1/sites", json={"domain": "a.test", "account_id": UNKNOWN})
    assert same(site) == same(same_as_unknown)


@pytest.mark.parametrize("each", [each for each in OPERATIONS if each.body], ids=lambda each: each.name)
def test_s33_fields_that_are_not_the_callers_to_set_are_refused(world: World, each: Operation) -> None:
    identifier = own_object(each, world) if each.path_parameters else ""
    path = each.path.replace("{site_id}", identifier).replace("{node_id}", identifier)
    for field in ("id", "role", "owner_id", "is_admin", "uid", "phase", "generation", "account_path", "created_at",
                  "is_suspended", "secret_hash", "user_id", "kind", "random_key"):  # fmt: skip
        body = {**body_of(each, world)["json"], field: 1}
        answer = world.call("root", each.method, path, json=body)
        assert answer.status_code == 422
        assert {"pointer": f"/{field}", "detail": "is not a known field"} in answer.json()["errors"]
    with world.platform.database.read() as uow:
        assert {row.generation for row in uow.session.scalars(select(SiteRow))} <= {1}


def test_s34_a_token_cannot_give_more_than_its_maker_has(world: World) -> None:
    with world.platform.database.write() as uow:
        from .conftest import token_for

        world.tokens["maker"] = token_for(uow, world.actors["alice"], ("token:create", "site:read"))
    for permissions, status in (
        (["site:read"], 201), (["*"], 201), (["site:delete"], 422), (["node:read"], 422), (["no:such"], 422), ([], 422),
    ):  # fmt: skip
        answer = world.call("maker", "POST", "/api/v1/tokens", json={"name": "t", "permissions": permissions})
        assert answer.status_code == status, permissions
        if permissions == ["*"]:
            assert answer.json()["permissions"] == ["site:read", "token:create"]


def test_s35_other_verbs_and_their_disguises_reach_nothing(world: World) -> None:
    site = world.site("alice", "a.test")
    for each in OPERATIONS:
        path = each.path.replace("{site_id}", site["id"])
        for verb in ("OPTIONS", "TRACE", "CONNECT", "FOO", "__INIT__", "DISPATCH"):
            assert world.call(None, verb, path).status_code in (404, 405)
    headers = {"x-http-method-override": "DELETE", "x-http-method": "DELETE", "x-method-override": "DELETE"}
    path = f"/api/v1/sites/{site['id']}"
    assert world.call("alice", "POST", path, headers=headers).status_code == 405
    assert world.call("alice", "GET", path, params={"_method": "DELETE"}).status_code == 422
    assert world.call("alice", "GET", path).json()["phase"] == "pending"


def test_every_operation_names_one_permission_or_says_that_it_is_public() -> None:
    assert all(each.permission for each in OPERATIONS)
    for options in ({}, {"permission": "site:read", "public": True}):
        with pytest.raises(TypeError, match="must name one permission"):

            @operation("GET", "/nothing", **options)  # type: ignore[arg-type]
            async def nothing(actor: Actor) -> None:
                """Do nothing."""


def test_an_operation_that_cannot_work_is_refused_when_it_is_declared() -> None:
    with pytest.raises(TypeError, match="unit of work"):

        @operation("POST", "/things", permission="thing:create")
        async def no_transaction(actor: Actor) -> None:
            """Do nothing."""

    with pytest.raises(TypeError, match="same parameters"):

        @operation("GET", "/things/{thing_id}", permission="thing:read")
        async def no_parameter(actor: Actor) -> None:
            """Do nothing."""

    with pytest.raises(TypeError, match="needs a default"):

        @operation("GET", "/things", permission="thing:read")
        async def no_default(actor: Actor, colour: str) -> None:
            """Do nothing."""
