"""Secrets of a platform that works and refuses, and every place where they must not be."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx

from tests.conftest import until
from tests.security.conftest import Company, Tenant

PASSWORD = "canary horse battery staple"
SHOWN = ("/sites", "/nodes", "/accounts", "/drift")
SHOWN_OF_A_SITE = ("", "/web", "/plan", "/usage", "/logs/access", "/logs/error", "/logs/php")


def _secrets(company: Company) -> dict[str, str]:
    keys = company.platform.folder / "state" / "keys"
    return {
        **{f"key {file.name}": line.split()[1] for file in keys.iterdir() for line in file.read_text().splitlines()},
        "password of visitors": PASSWORD,
        "token of the administrator": company.platform.token,
        "link that signs in": company.platform.sign_in_link().rpartition("=")[2].rpartition("/")[2],
    }


def _replies_about_a_password(company: Company, guarded: Tenant) -> Iterator[httpx.Response]:
    """What the API says when it takes a password, when it refuses one, and afterwards."""
    platform, path = company.platform, f"/sites/{guarded.site['id']}"
    for guarded_path in ("/inside", "/x/../y"):
        version = platform.api("GET", path).headers["ETag"]
        web = {"basic_auth": [{"path": guarded_path, "users": [{"name": "ann", "password": PASSWORD}]}]}
        yield platform.api("PUT", f"{path}/web", web, **{"If-Match": version})
        platform.settled(guarded.site["id"])
    until("the password to be asked for", lambda: guarded.ask("/inside/")[0] == 401 or None)
    for more in SHOWN_OF_A_SITE:
        yield platform.api("GET", f"{path}{more}")
    for more in SHOWN:
        yield platform.api("GET", more)


def _of_processes_and_files(company: Company) -> Iterator[tuple[str, bytes]]:
    """Command lines and environments of every process but this one, and all files of the platform but its keys."""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ") if int(process.name) != os.getpid() else ():
            with suppress(OSError):
                yield name, (process / name).read_bytes()
    for file in company.platform.folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and "keys" not in file.parts:
            with suppress(FileNotFoundError):
                yield str(file.relative_to(company.platform.folder)), file.read_bytes()


def test_s66_no_secret_is_seen_in_processes_files_or_answers(company: Company) -> None:
    guarded = company.tenant("guarded.test")
    secrets = _secrets(company)
    assert all(len(secret) > 20 for secret in secrets.values()), secrets.keys()

    replies = list(_replies_about_a_password(company, guarded))
    assert [reply.status_code for reply in replies[:2]] == [202, 422], replies[1].text
    assert {reply.status_code for reply in replies[2:]} <= {200, 503}
    places = [(str(reply.url), reply.content) for reply in replies]
    places += _of_processes_and_files(company)
    assert [
        (name, place) for place, text in places for name, secret in secrets.items() if secret.encode() in text
    ] == []

    control = company.platform.folder / "control.log"
    control.write_text(PASSWORD)
    found = [place for place, text in _of_processes_and_files(company) if PASSWORD.encode() in text]
    control.unlink()
    assert found == ["control.log"], "what is there is found"
    company.delete(guarded)


def test_s66_a_tenants_program_sees_nothing_of_the_platforms_processes(company: Company) -> None:
    pids = [process.pid for process in company.platform.processes.values()]
    found = company.a.attack("memory", as_program=True, pids=pids)
    assert "proc" not in found
    assert not any(secret in json.dumps(found) for secret in _secrets(company).values())
