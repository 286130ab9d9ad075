"""R-37: what is changed by hand is found without anybody's doing, shown with its difference, adopted or repaired."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningPlatform, running, until
from tests.faults.invariants import add_page, check_invariants

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: every site has a user of its own"),
]


@pytest.fixture(scope="module")
def platform() -> Iterator[RunningPlatform]:
    """A platform that looks at everything every other second."""
    yield from running("[drift]\nlook_seconds = 2\n")


@pytest.fixture(scope="module")
def untouched(platform: RunningPlatform) -> dict[str, Any]:
    """A site that nobody changes."""
    site = platform.online("untouched.test")
    add_page(platform, site)
    return site


def online(platform: RunningPlatform, domain: str) -> dict[str, Any]:
    site = platform.online(domain)
    add_page(platform, site)
    return site


def configuration(platform: RunningPlatform, site: Mapping[str, Any]) -> Path:
    return platform.state / "sites" / str(site["name"]) / "php-fpm.conf"


def drift(platform: RunningPlatform, subject: str, state: str) -> dict[str, Any]:
    """What the platform says of a subject, once it is in this state."""

    def look() -> dict[str, Any] | None:
        found = [item for item in platform.get("/drift")["items"] if item["subject"] == subject]
        return found[0] if found and found[0]["state"] == state else None

    return until(f"{subject} to be {state}", look)


def is_gone(platform: RunningPlatform, subject: str) -> bool | None:
    return subject not in {item["subject"] for item in platform.get("/drift")["items"]} or None


def done(platform: RunningPlatform, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """The operation that a request asked for, once it is over."""
    answer = platform.api(method, path, body)
    assert answer.status_code == 202, answer.text
    operation = f"/operations/{answer.json()['id']}"

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = platform.get(operation)
        return found if found["state"] in ("done", "failed") else None

    return until("the operation", look)


def test_r37_an_edit_is_found_shown_and_repaired(platform: RunningPlatform, untouched: dict[str, Any]) -> None:
    site = online(platform, "edited.test")
    file = configuration(platform, site)
    before = file.read_text()
    file.write_text(before + "; edited by hand\n")
    found = drift(platform, f"site:{site['id']}", "found")
    assert [(change["action"], change["refusal"]) for change in found["changes"]] == [("update", "")]
    assert "-; edited by hand" in found["changes"][0]["diff"]
    assert "edited.test" in platform.command("drift", status=2)
    assert "-; edited by hand" in platform.command("drift", "--diff", status=2)
    assert file.read_text() != before
    platform.command("drift", "repair", "edited.test")
    assert file.read_text() == before
    until("the list to be empty", lambda: is_gone(platform, f"site:{site['id']}"))
    platform.command("drift")
    check_invariants(platform, [site, untouched])


def test_r37_an_edit_is_adopted_until_it_is_repaired(platform: RunningPlatform, untouched: dict[str, Any]) -> None:
    site = online(platform, "adopted.test")
    file = configuration(platform, site)
    before = file.read_text()
    file.write_text(before + "php_admin_value[user_agent] = by-hand\n")
    found = drift(platform, f"site:{site['id']}", "found")
    stale = platform.api("POST", f"/sites/{site['id']}/adopt", {"seen": "0" * 32})
    assert stale.status_code == 412, stale.text
    assert done(platform, "POST", f"/sites/{site['id']}/adopt", {"seen": found["seen"]})["state"] == "done"
    kept = drift(platform, f"site:{site['id']}", "kept")
    assert [change["key"] for change in kept["kept"]] == [f"path:{file}"]
    assert platform.settled(site["id"], "ready")["conditions"] == []
    page = platform.state / "sites" / site["name"] / "home" / "public" / "agent.php"
    page.write_text("<?php echo ini_get('user_agent');")
    os.chown(page, page.parent.stat().st_uid, page.parent.stat().st_uid)
    assert platform.visit("adopted.test", "/agent.php") == (200, "by-hand")
    check_invariants(platform, [site, untouched])
    assert "kept" in platform.command("drift")
    assert done(platform, "POST", f"/sites/{site['id']}/repair")["state"] == "done"
    assert file.read_text() == before
    until("the list to be empty", lambda: is_gone(platform, f"site:{site['id']}"))
    check_invariants(platform, [site, untouched])


def test_r37_a_changed_mode_can_only_be_repaired(platform: RunningPlatform, untouched: dict[str, Any]) -> None:
    site = online(platform, "chmod.test")
    file = configuration(platform, site)
    mode = file.stat().st_mode
    file.chmod(0o666)
    found = drift(platform, f"site:{site['id']}", "found")
    assert "mode" in found["changes"][0]["refusal"]
    refused = platform.api("POST", f"/sites/{site['id']}/adopt", {"seen": found["seen"]})
    assert refused.status_code == 422, refused.text
    assert "mode" in refused.json()["detail"]
    platform.command("drift", "adopt", "chmod.test", status=1)
    assert file.stat().st_mode & 0o777 == 0o666
    assert done(platform, "POST", f"/sites/{site['id']}/repair")["state"] == "done"
    assert file.stat().st_mode == mode
    check_invariants(platform, [site, untouched])


def test_r37_what_was_removed_is_made_again_and_told(platform: RunningPlatform, untouched: dict[str, Any]) -> None:
    site = online(platform, "removed.test")
    subject = f"site:{site['id']}"
    (platform.state / "hosts" / "removed.test").unlink()
    configuration(platform, site).unlink()
    accounts = platform.accounts_directory / "passwd"
    lines = accounts.read_text().splitlines(keepends=True)
    accounts.write_text("".join(line for line in lines if not line.startswith(f"{site['name']}:")))
    keys = {change["key"] for change in drift(platform, subject, "mended")["changes"]}
    until("all of it", lambda: (platform.visit("removed.test", "/who.php")[0] == 200) or None)
    assert f"path:{platform.state}/hosts/removed.test" in keys
    assert f"{site['name']}:" in accounts.read_text()
    check_invariants(platform, [site, untouched])


def test_r37_a_site_that_failed_for_good_is_looked_at_too(platform: RunningPlatform, untouched: dict[str, Any]) -> None:
    site = online(platform, "parked.test")
    file = configuration(platform, site)
    before = file.read_text()
    file.write_text(before + "; edited by hand\n")
    drift(platform, f"site:{site['id']}", "found")
    platform.api("PATCH", f"/sites/{site['id']}", {"document_root": "web"})
    assert platform.settled(site["id"], "failed")["conditions"][0]["reason"] == "Drifted"
    file.write_text(before + "; edited again\n")
    until(
        "the second edit",
        lambda: "edited again" in drift(platform, f"site:{site['id']}", "found")["changes"][0]["diff"] or None,
    )
    file.write_text(before)
    assert platform.settled(site["id"], "ready")["document_root"] == "web"
    until("the list to be empty", lambda: is_gone(platform, f"site:{site['id']}"))


def test_r37_a_nodes_own_files_are_looked_at_too(platform: RunningPlatform, untouched: dict[str, Any]) -> None:
    file = platform.state / "nginx" / "nginx.conf"
    before = file.read_text()
    node = platform.get("/nodes")["items"][0]
    file.write_text(before + "# edited by hand\n")
    found = drift(platform, "node:local", "found")
    assert done(platform, "POST", f"/nodes/{node['id']}/adopt", {"seen": found["seen"]})["state"] == "done"
    drift(platform, "node:local", "kept")
    check_invariants(platform, [untouched])
    file.write_text(before + "nonsense;\n")
    found = drift(platform, "node:local", "found")
    refused = done(platform, "POST", f"/nodes/{node['id']}/adopt", {"seen": found["seen"]})
    assert refused["state"] == "failed"
    assert "nonsense" in refused["result"]["condition"]["message"]
    assert done(platform, "POST", f"/nodes/{node['id']}/repair")["state"] == "done"
    until("the list to be empty", lambda: is_gone(platform, "node:local"))
    assert file.read_text() == before
    check_invariants(platform, [untouched])


def test_looking_wakes_no_php(platform: RunningPlatform) -> None:
    names = [{"domain": f"asleep{number}.test", "account_id": platform.customer} for number in range(6)]
    declared = platform.api("POST", "/sites:batch", {"sites": names})
    assert declared.status_code == 202, declared.text
    site, *_ = [platform.settled(each["id"], "ready") for each in declared.json()["items"]]
    master = f"{platform.state}/sites/{site['name']}/".encode()

    def is_asleep() -> bool | None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if master in (folder / "cmdline").read_bytes():
                    return None
            except OSError:
                continue
        return True

    until("PHP to sleep", is_asleep)
    orders = fences(platform, site)
    until("three more looks", lambda: fences(platform, site) >= orders + 3 or None)
    assert is_asleep()


def fences(platform: RunningPlatform, site: Mapping[str, Any]) -> int:
    """How often the node was asked about a site."""
    with sqlite3.connect(f"file:{platform.state}/node.db?mode=ro", uri=True) as node:
        found = node.execute("SELECT fence FROM subjects WHERE subject = ?", (f"site:{site['id']}",)).fetchone()
    return int(found[0])
