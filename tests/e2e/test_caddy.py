"""The whole platform with Caddy in the place of nginx: the web server is a driver, and nothing else knows which."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import RunningPlatform, running, until
from tests.e2e.test_spine import PAGE, write


@pytest.fixture(scope="module")
def caddy() -> Iterator[RunningPlatform]:
    yield from running('webserver = "caddy"\n')


def test_a_site_lives_a_whole_life_behind_caddy(caddy: RunningPlatform) -> None:
    site = caddy.online("one.test", aliases=["www.one.test"], runtime={"settings": {"memory_limit": "96M"}})
    other = caddy.online("two.test")
    for each in (site, other):
        write(caddy, each, "who.php", PAGE)
        status, page = caddy.visit(each["domain"], "/who.php")
        assert (status, page.split(" ")[2]) == (200, str(caddy.state / "sites" / each["name"] / "home" / "public"))
    assert caddy.visit("WWW.one.test", "/who.php")[1] != caddy.visit("two.test", "/who.php")[1]
    assert caddy.visit("nobody.test") == (0, "")
    assert caddy.planned_changes(site["id"]) == []

    options = {
        "redirects": [{"path": "/old", "to": "https://two.test/new"}],
        "rules": [{"path": "/who.php", "access": "nobody"}],
    }
    answer = caddy.api("PUT", f"/sites/{site['id']}/web", options)
    assert answer.status_code == 202, answer.text
    assert caddy.settled(site["id"])["phase"] == "ready"
    assert [caddy.visit("one.test", path)[0] for path in ("/old", "/who.php", "/")] == [301, 403, 200]
    assert [caddy.visit("two.test", path)[0] for path in ("/who.php", "/")] == [200, 200]
    until("a line", lambda: caddy.get(f"/sites/{site['id']}/logs/access?contains=old")["lines"] or None)

    caddy.api("POST", f"/sites/{site['id']}/suspend")
    assert caddy.settled(site["id"])["phase"] == "ready"
    assert [caddy.visit("one.test", path)[0] for path in ("/", "/old", "/who.php")] == [503] * 3
    caddy.api("POST", f"/sites/{site['id']}/resume")
    assert caddy.settled(site["id"])["phase"] == "ready"
    assert caddy.visit("one.test", "/old")[0] == 301

    assert caddy.api("DELETE", f"/sites/{site['id']}").status_code == 202
    caddy.gone(site["id"])
    assert caddy.visit("one.test") == (0, "")
    assert caddy.traces_of(site) == []
    assert caddy.visit("two.test", "/who.php")[0] == 200


def test_what_caddy_cannot_do_is_said_and_changes_nothing(caddy: RunningPlatform) -> None:
    site = caddy.online("three.test")
    password = {"path": "/", "users": [{"name": "ann", "password": "long enough"}]}
    answer = caddy.api("PUT", f"/sites/{site['id']}/web", {"basic_auth": [password]})
    assert answer.status_code == 202, answer.text
    failed = caddy.settled(site["id"])
    assert failed["phase"] == "failed"
    assert "SHA-512" in failed["conditions"][0]["message"]
    assert "nginx" in failed["conditions"][0]["hint"]
    assert caddy.visit("three.test")[0] == 200
