"""What a site sets of its web server: kept, shown without secrets, refused with the place of the mistake."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hosthold.audit.models import AuditRow
from hosthold.auth.sha512_crypt import sha512_crypt
from hosthold.errors import InvalidInput, NotFound, PreconditionFailed
from hosthold.sites import web_options
from hosthold.sites.jobs import _told
from hosthold.sites.models import SiteRow
from hosthold.sites.schema import SiteDraft
from hosthold.sites.service import declare, snapshot
from hosthold.sites.web_options import WebDraft, WebView
from hosthold.types.web import WebOptions
from hosthold.work.models import EventRow
from pydantic import ValidationError
from sqlalchemy import select

from core.tests.sites.conftest import World

EVERYTHING: dict[str, Any] = {
    "redirects": [{"path": "/old", "to": "/new"}],
    "headers": [{"name": "X-Frame-Options", "value": "DENY"}],
    "basic_auth": [{"path": "/admin", "users": [{"name": "ann", "password": "correct horse"}]}],
    "rules": [{"path": "/private", "access": "nobody"}],
    "proxies": [{"path": "/app", "socket": "run/app.sock"}],
}


@pytest.fixture
def site_id(world: World) -> str:
    with world.database.write() as uow:
        return str(declare(uow, world.alice, SiteDraft.model_validate({"domain": "a.test"})).id)


def _replace(world: World, site_id: str, draft: dict[str, Any], generation: int | None = None) -> WebView:
    with world.database.write() as uow:
        return web_options.replace(uow, world.alice, site_id, WebDraft.model_validate(draft), generation)


def _stored(world: World, site_id: str) -> WebOptions:
    with world.database.read() as uow:
        return snapshot(uow.session.get_one(SiteRow, site_id)).web


def test_options_are_kept_and_declared_again_only_when_they_change(world: World, site_id: str) -> None:
    view = _replace(world, site_id, EVERYTHING)
    assert view.generation == 2
    assert view.basic_auth[0].users == ("ann",)
    assert _stored(world, site_id).redirects[0].to == "/new"
    same = {**EVERYTHING, "basic_auth": [{"path": "/admin", "users": [{"name": "ann"}]}]}
    assert _replace(world, site_id, same).generation == 2
    assert _replace(world, site_id, {}).generation == 3
    assert _stored(world, site_id).is_standard
    with world.database.read() as uow:
        assert uow.session.get_one(SiteRow, site_id).web == {}


def test_a_user_keeps_a_password_that_is_not_named_and_needs_one_if_new(world: World, site_id: str) -> None:
    _replace(world, site_id, EVERYTHING)
    before = _stored(world, site_id).basic_auth[0].users[0].password_hash
    two = [{"name": "ann"}, {"name": "bob", "password": "another secret"}]
    _replace(world, site_id, {"basic_auth": [{"path": "/admin", "users": two}]})
    ann, bob = _stored(world, site_id).basic_auth[0].users
    assert ann.password_hash == before
    assert bob.password_hash != before
    with pytest.raises(InvalidInput) as raised:
        _replace(world, site_id, {"basic_auth": [{"path": "/other", "users": [{"name": "ann"}]}]})
    assert [error.pointer for error in raised.value.errors] == ["/basic_auth/0/users/0/password"]
    assert _stored(world, site_id).basic_auth[0].path == "/admin"


def test_s66_no_password_and_no_hash_is_in_audit_events_or_views(world: World, site_id: str) -> None:
    view = _replace(world, site_id, EVERYTHING)
    _replace(world, site_id, {"basic_auth": [{"path": "/admin", "users": [{"name": "ann", "password": "changed it"}]}]})
    with world.database.read() as uow:
        rows = uow.session.scalars(select(AuditRow).where(AuditRow.subject == f"site:{site_id}")).all()
        audited = json.dumps([[row.before, row.after] for row in rows])
        events = json.dumps([row.payload for row in uow.session.scalars(select(EventRow))])
        told = json.dumps(_told(snapshot(uow.session.get_one(SiteRow, site_id))))
    assert "ann" in audited
    assert len([row for row in rows if row.action == "site:update"]) == 2, "a new password is a change"
    for text in (audited, events, told, view.model_dump_json(), repr(view)):
        assert "$6$" not in text
        assert "correct horse" not in text


@pytest.mark.parametrize(
    "draft",
    [
        {"redirects": [{"path": "/a;b", "to": "/"}]},
        {"redirects": [{"path": "/a", "to": "javascript:alert(1)"}]},
        {"redirects": [{"path": "/a", "to": "/$host"}]},
        {"headers": [{"name": "X-A", "value": 'a"; return 200;'}]},
        {"headers": [{"name": "X-A", "value": "a\nX-B: c"}]},
        {"headers": [{"name": "Set-Cookie", "value": "a"}]},
        {"rules": [{"path": "/a", "access": "listed", "addresses": ["1.2.3.4; allow all"]}]},
        {"rules": [{"path": "/a", "access": "listed", "addresses": ["fe80::%a;allow all;"]}]},
        {"rules": [{"path": "/a", "access": "listed", "addresses": ["fe80::%eth0/64"]}]},
        {"rules": [{"path": "/a", "access": "listed"}]},
        {"proxies": [{"path": "/a", "socket": "../../other/app.sock"}]},
        {"proxies": [{"path": "/a", "socket": "/run/mysqld.sock"}]},
        {"basic_auth": [{"path": "/a", "realm": 'x" y', "users": [{"name": "ann", "password": "12345678"}]}]},
        {"basic_auth": [{"path": "/a", "users": [{"name": "a:b", "password": "12345678"}]}]},
        {"basic_auth": [{"path": "/a", "users": [{"name": "ann", "password": "short"}]}]},
        {"raw": "return 200;"},
    ],
)
def test_s22_nothing_that_could_be_nginxs_own_words_is_accepted(draft: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebDraft.model_validate(draft)


def test_two_of_one_are_refused_naming_what(world: World, site_id: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        _replace(world, site_id, {"redirects": [{"path": "/a", "to": "/"}, {"path": "/a", "to": "/b"}]})
    assert "two of one redirect" in raised.value.errors[0].detail


def test_others_do_not_reach_it_and_a_change_meanwhile_is_noticed(world: World, site_id: str) -> None:
    with pytest.raises(NotFound), world.database.read() as uow:
        web_options.read(uow, world.bob, site_id)
    with pytest.raises(PreconditionFailed):
        _replace(world, site_id, EVERYTHING, generation=7)


@pytest.mark.parametrize("password", ["secret", "x" * 100, "ünïcode pass", "a"])
def test_hashes_are_those_of_crypt(password: str) -> None:
    made = sha512_crypt(password)
    salt = made.split("$")[2]
    command = ("openssl", "passwd", "-6", "-salt", salt, "-stdin")
    assert (
        subprocess.run(command, input=password + "\n", capture_output=True, text=True, check=True).stdout.strip()
        == made
    )
    assert sha512_crypt(password) != made


def test_a_password_that_would_take_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        sha512_crypt("ü" * 65)
