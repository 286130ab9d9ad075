"""Golden files: an input as JSON, a line of dashes, then every resource that it renders to, or the error.

They lie in a folder `golden` beside the test file, one `NAME.txt` for each case. The input has a `node`, may have a
`site` and the driver's `settings`, and for a web server the `ping` of the upstream. To record a new case, write its
input and the dashes; after a wanted change, read the difference before committing it:
`HOSTHOLD_UPDATE_GOLDEN=1 pytest TEST_FILE -k recorded`
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hosthold_sdk import (
    Directory,
    Driver,
    DriverError,
    File,
    Link,
    Node,
    Owner,
    Resource,
    RuntimeDriver,
    Service,
    Site,
    Upstream,
    WebServerDriver,
)

DASHES = "-" * 72 + "\n"


class GoldenFiles:
    """Compares what a driver that renders makes of recorded inputs with what was recorded."""

    driver_class: ClassVar[type[Driver[Any]]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each file."""
        if "golden" in metafunc.fixturenames:
            folder = Path(str(metafunc.module.__file__)).parent / "golden"
            metafunc.parametrize("golden", sorted(folder.glob("*.txt")), ids=lambda path: path.stem)

    def test_an_input_renders_as_recorded(self, golden: Path) -> None:
        """Rendering changes only on purpose. If it was, record it anew and commit the difference with the change."""
        given, _, expected = golden.read_text().partition(DASHES)
        rendered = _rendered(self.driver_class, json.loads(given))
        if os.environ.get("HOSTHOLD_UPDATE_GOLDEN"):
            golden.write_text(given + DASHES + rendered)
            expected = rendered
        assert rendered == expected, f"{golden.name}: if this is wanted, run again with HOSTHOLD_UPDATE_GOLDEN=1"


def _rendered(driver_class: type[Driver[Any]], given: dict[str, Any]) -> str:
    driver = driver_class(driver_class.settings_model.model_validate(given.get("settings", {})))
    node = Node.model_validate(given["node"])
    site = Site.model_validate(given["site"]) if "site" in given else None
    try:
        if isinstance(driver, RuntimeDriver):
            assert site is not None, "a runtime renders sites: the input needs one"
            runtime = driver.render(site, node)
            end = f"upstream {runtime.upstream.protocol} {runtime.upstream.socket} {runtime.upstream.ping}\n"
            return "".join(map(_described, runtime.resources)) + end
        assert isinstance(driver, WebServerDriver), f"{driver.kind} drivers do not render"
        if site is None:
            rendered = driver.render_node(node)
        else:
            ping = given.get("ping", "/.well-known/hosthold-ping")
            upstream = Upstream(protocol="fastcgi", socket=node.layout.socket(site.name), ping=ping)
            rendered = driver.render_site(site, node, upstream)
    except DriverError as error:
        return f"{type(error).__name__}: {error.detail}\nhint: {error.hint}\n"
    probes = "".join(f"probe {probe.host} {probe.path} {probe.status}\n" for probe in rendered.probes)
    return "".join(map(_described, rendered.resources)) + probes


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
    raise AssertionError(f"{resource.key} is not for a driver to render")


def _owner(owner: Owner) -> str:
    return f"{owner.uid}:{owner.gid}"
