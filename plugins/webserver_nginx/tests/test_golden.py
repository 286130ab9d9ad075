"""Golden files: an input as JSON, a line of dashes, then every resource that it renders to, or the error.

After a wanted change, write them anew and read the difference before committing it:
`HOSTHOLD_UPDATE_GOLDEN=1 pytest plugins/webserver_nginx/tests/test_golden.py`
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hosthold_sdk import (
    Directory,
    DriverError,
    File,
    Link,
    Node,
    Owner,
    Resource,
    Service,
    Site,
    Upstream,
)
from hosthold_webserver_nginx.driver import NginxWebServer
from hosthold_webserver_nginx.settings import NginxSettings

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.txt"))
DASHES = "-" * 72 + "\n"


def _owner(owner: Owner) -> str:
    return f"{owner.uid}:{owner.gid}"


def _described(resource: Resource) -> str:
    match resource:
        case Directory():
            seed = " seed" if resource.seed else ""
            return f"directory {resource.path} {_owner(resource.owner)} {resource.mode:04o}{seed}\n"
        case File():
            seed = " seed" if resource.seed else ""
            notifies = f" notifies {resource.notifies}" if resource.notifies else ""
            content = "".join(f"    {line}\n" for line in resource.content.splitlines())
            return f"file {resource.path} {_owner(resource.owner)} {resource.mode:04o}{seed}{notifies}\n{content}"
        case Link():
            return f"link {resource.path} -> {resource.target} {_owner(resource.owner)}\n"
        case Service():
            return "service " + json.dumps(resource.model_dump(mode="json"), indent=4) + "\n"
    raise AssertionError(resource.key)


def _rendered(text: str) -> str:
    given = json.loads(text)
    node = Node.model_validate(given["node"])
    driver = NginxWebServer(NginxSettings.model_validate(given.get("settings", {})))
    try:
        if "site" in given:
            site = Site.model_validate(given["site"])
            ping = given.get("ping", "/.well-known/hosthold-ping")
            upstream = Upstream(protocol="fastcgi", socket=node.layout.socket(site.name), ping=ping)
            rendered = driver.render_site(site, node, upstream)
        else:
            rendered = driver.render_node(node)
    except DriverError as error:
        return f"{type(error).__name__}: {error.detail}\nhint: {error.hint}\n"
    probes = "".join(f"probe {probe.host} {probe.path} {probe.status}\n" for probe in rendered.probes)
    return "".join(map(_described, rendered.resources)) + probes


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_input_renders_as_recorded(path: Path) -> None:
    given, _, expected = path.read_text().partition(DASHES)
    rendered = _rendered(given)
    if os.environ.get("HOSTHOLD_UPDATE_GOLDEN"):
        path.write_text(given + DASHES + rendered)
        expected = rendered

    assert rendered == expected
