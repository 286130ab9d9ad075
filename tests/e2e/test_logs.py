"""A request becomes a line of its site's log, which the owner reads over the API, in the terminal and as it grows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import RunningPlatform, until
from tests.e2e.test_spine import write


def _lines(platform: RunningPlatform, site: dict[str, Any], query: str, log: str = "access") -> list[str]:
    answer = platform.api("GET", f"/sites/{site['id']}/logs/{log}{query}")
    assert answer.status_code == 200, answer.text
    lines: list[str] = answer.json()["lines"]
    return lines


def test_each_owner_reads_the_lines_of_their_own_site(platform: RunningPlatform) -> None:
    one, two = platform.online("log-one.test"), platform.online("log-two.test")
    write(platform, one, "broken.php", "<?php trigger_error('a mistake of mine', E_USER_WARNING);")
    platform.visit("log-one.test", "/broken.php?first")
    platform.visit("log-two.test", "/nowhere.html?second")
    until("line", lambda: _lines(platform, one, "?contains=FIRST") or None)
    until("line", lambda: _lines(platform, two, "?contains=second") or None)

    assert [line for line in _lines(platform, one, "?lines=1000") if "second" in line] == []
    (line,) = _lines(platform, one, "?contains=first")
    assert line.startswith("127.0.0.1 - - [")
    assert '"GET /broken.php?first HTTP/1.1" 200 ' in line
    until("error", lambda: _lines(platform, one, "?contains=mistake", "php") or None)
    file = Path(platform.state) / "sites" / one["name"] / "logs" / "access.log"
    assert line in file.read_text()
    if os.geteuid() == 0:
        assert (file.stat().st_uid, file.stat().st_gid, file.stat().st_mode & 0o777) == (
            0,
            file.parent.parent.joinpath("home").stat().st_uid,
            0o640,
        )
    said = platform.command("sites", "logs", "log-one.test", "--contains", "first")
    assert said == line + "\n"

    assert platform.api("GET", f"/sites/{one['id']}/logs/access?lines=0").status_code == 422
    assert platform.api("GET", f"/sites/{one['id']}/logs/secret").status_code in (404, 422)
    assert platform.api("GET", f"/sites/{'0' * 32}/logs/access").status_code == 404


def test_a_log_is_followed_as_it_grows(platform: RunningPlatform) -> None:
    site = platform.online("log-live.test")
    url = f"{platform.url}/api/v1/sites/{site['id']}/logs/access/follow?contains=live"
    headers = {"Authorization": f"Bearer {platform.token}"}
    found: list[str] = []
    with httpx.stream("GET", url, headers=headers, timeout=30) as stream:
        assert stream.status_code == 200
        platform.visit("log-live.test", "/live-1")
        for text in stream.iter_lines():
            if text.startswith("data: "):
                found += json.loads(text[6:])["lines"]
                if len(found) == 1:
                    platform.visit("log-live.test", "/live-2")
            if len(found) == 2:
                break
    assert ["/live-1" in found[0], "/live-2" in found[1]] == [True, True]


def test_a_log_comes_back_after_its_splitter_was_killed(platform: RunningPlatform) -> None:
    site = platform.online("log-killed.test")
    before = _splitter(platform)
    os.kill(before, 9)
    platform.visit("log-killed.test", "/after-the-kill")
    until("line", lambda: _lines(platform, site, "?contains=after-the-kill") or None)
    assert _splitter(platform) != before


def _splitter(platform: RunningPlatform) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.endswith(b"node/logs.py") for word in words) and str(platform.state).encode() in words[-2]:
                return int(entry.name)
    raise AssertionError("no program shares out the logs")
