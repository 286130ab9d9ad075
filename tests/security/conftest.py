"""Two hostile customers on one running platform: their PHP runs the attacks, and says what of them worked."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunningPlatform, running, until

ATTACKS = Path(__file__).parent / "attacks"
CANARY = "canary-of-the-neighbour"
AS_PAGE_AND_AS_PROGRAM = pytest.mark.parametrize("as_program", [False, True], ids=["page", "program"])
"""In PHP-FPM with all that it forbids, and in a program that a page starts, which is bound by the kernel alone."""


class Tenant:
    """A site, and what its owner can do: put files there, and have them run by asking for them."""

    def __init__(self, platform: RunningPlatform, site: dict[str, Any]) -> None:
        self.platform = platform
        self.site = site
        self.domain: str = site["domain"]
        self.name: str = site["name"]
        self.folder: Path = platform.state / "sites" / self.name
        self.home: Path = self.folder / "home"
        self.public: Path = self.home / "public"
        self.uid: int = self.home.stat().st_uid
        for script in ATTACKS.glob("*.php"):
            self.put(f"attack/{script.name}", script.read_text())

    @property
    def socket(self) -> str:
        """Where the site's PHP listens."""
        return str((self.folder / "serve" / "upstream").readlink())

    def put(self, path: str, content: str = "", mode: int = 0o644) -> Path:
        """Write a file below the document root as the owner would."""
        file = self.public / path
        for folder in reversed(file.relative_to(self.public).parents):
            if not (self.public / folder).exists():
                (self.public / folder).mkdir()
                os.chown(self.public / folder, self.uid, self.uid)
        file.write_text(content)
        file.chmod(mode)
        os.chown(file, self.uid, self.uid)
        return file

    def ask(self, path: str, body: bytes = b"", *, seconds: float = 30, **headers: str) -> tuple[int, str]:
        """A request to the site through the web server: status and page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.platform.site_port, timeout=seconds)
        try:
            connection.request("POST" if body else "GET", path, body or None, {"Host": self.domain, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            connection.close()

    def attack(self, script: str, /, *, as_program: bool = False, seconds: float = 30, **given: Any) -> Any:
        """What an attack says, run as a page of the site or as a program that a page of it starts."""
        path = f"/attack/as_program.php?attack={script}" if as_program else f"/attack/{script}.php"
        status, page = self.ask(path, json.dumps(given).encode(), seconds=seconds)
        assert status == 200, (status, page)
        return json.loads(page)

    def processes(self) -> list[int]:
        """What the site's user runs now; what has ended and waits for its parent to notice does not run."""
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _runs_as(entry, self.uid)]


def _runs_as(process: Path, uid: int) -> bool:
    try:
        is_there = (process / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        return is_there and process.stat().st_uid == uid
    except (FileNotFoundError, ProcessLookupError):
        return False


class Company:
    """A platform with two customers who do not trust each other, each with a site that is awake."""

    def __init__(self, platform: RunningPlatform) -> None:
        self.platform = platform
        self.a = self.tenant("a.test")
        package = platform.get("/packages")["items"][0]["id"]
        other = platform.api("POST", "/accounts", {"name": "Neighbour", "package_id": package}).json()["id"]
        self.b = self.tenant("b.test", account_id=other)
        self.b.put("secret.php", f"<?php return '{CANARY}';", 0o600)
        self.b.put("secret.txt", CANARY, 0o600)
        self.b.put("open.txt", CANARY)
        self.b.put("open.php", f"<?php echo '{CANARY}';")
        self.b.put("warm.php", "<?php echo include __DIR__ . '/secret.php'; session_start(); $_SESSION['is'] = 'mine';")
        assert self.b.ask("/warm.php") == (200, CANARY)
        assert self.b.ask("/open.txt") == (200, CANARY)

    def tenant(self, domain: str, **more: Any) -> Tenant:
        """A new site, online."""
        return Tenant(self.platform, self.platform.online(domain, **more))

    def delete(self, tenant: Tenant) -> None:
        """Delete a tenant's site, and wait until it is gone."""

        def accepted() -> bool | None:
            version = self.platform.api("GET", f"/sites/{tenant.site['id']}").headers["ETag"]
            answer = self.platform.api("DELETE", f"/sites/{tenant.site['id']}", **{"If-Match": version})
            assert answer.status_code in (202, 412), answer.text
            return answer.status_code == 202 or None  # 412: the worker settled it in between, so it is read again

        until("the deletion to be accepted", accepted)
        self.platform.gone(tenant.site["id"])


@pytest.fixture(scope="session")
def company() -> Iterator[Company]:
    """The two customers, for all tests that leave them as they were."""
    if os.geteuid() != 0:
        pytest.skip("needs root: sites have users of their own")
    for platform in running():
        yield Company(platform)
