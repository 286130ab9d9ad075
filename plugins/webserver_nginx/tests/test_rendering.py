"""What the renderer promises for every input that the types accept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import crossplane
import pytest
from hosthold_sdk import (
    AbsolutePath,
    Domain,
    File,
    Isolation,
    Limits,
    Link,
    Listen,
    Misconfigured,
    Node,
    NodeLayout,
    NotInstalled,
    Owner,
    RelativePath,
    Runtime,
    Site,
    UnixName,
    Upstream,
)
from hosthold_webserver_nginx.configuration import LONGEST_HOST
from hosthold_webserver_nginx.driver import NginxWebServer
from hosthold_webserver_nginx.locations import PING_PATH
from hosthold_webserver_nginx.settings import NginxSettings
from hypothesis import given, settings
from hypothesis import strategies as st

COMPONENT = st.from_regex(r"[A-Za-z0-9._@:+~,=-]{1,20}", fullmatch=True).filter(lambda text: text not in (".", ".."))
PATH = st.lists(COMPONENT, min_size=1, max_size=3).map(lambda parts: AbsolutePath("/" + "/".join(parts)))
LABEL = st.from_regex(r"[a-z]([a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
DOMAIN = st.lists(LABEL, min_size=2, max_size=4).map(lambda labels: Domain(".".join(labels)))
LISTEN = st.builds(Listen, address=st.sampled_from(["127.0.0.1", "0.0.0.0", "[::1]"]), port=st.integers(1, 65535))
NODE = st.builds(
    lambda layout, listen, isolation, user: Node(
        name="n1",
        layout=layout,
        listen=listen,
        isolation=isolation,
        root=Owner(uid=0, gid=0),
        web=Owner(uid=33, gid=33),
        web_user=user,
    ),
    layout=st.builds(NodeLayout, state=PATH, run=PATH),
    listen=LISTEN,
    isolation=st.sampled_from(Isolation),
    user=st.from_regex(r"[a-z_][a-z0-9_-]{0,20}", fullmatch=True),
)
SITE = st.builds(
    lambda domains, root, name, suspended: Site(
        id="0" * 32,
        account_id="0" * 32,
        name=name,
        uid=64001,
        domains=tuple(domains),
        runtime=Runtime(driver="php", version="8.2"),
        document_root=root,
        limits=Limits(),
        is_suspended=suspended,
    ),
    domains=st.lists(DOMAIN, min_size=1, max_size=4, unique=True),
    root=st.lists(COMPONENT, min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda text: not any(part.startswith("-") for part in text.split("/")))
    .map(RelativePath),
    name=st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True).map(UnixName),
    suspended=st.booleans(),
)
DRIVER = NginxWebServer(NginxSettings())


def _parsed(node: Node) -> list[dict[str, Any]]:
    text = next(
        resource.content
        for resource in DRIVER.render_node(node).resources
        if isinstance(resource, File) and resource.path.endswith("/nginx.conf")
    )
    assert all(character == "\n" or " " <= character <= "~" for character in text)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        parsed = crossplane.parse(file.name, single=True)
    assert parsed["errors"] == []
    directives: list[dict[str, Any]] = parsed["config"][0]["parsed"]
    return directives


def _names(directives: list[dict[str, Any]]) -> list[object]:
    named: list[object] = []
    for directive in directives:
        if directive["directive"] not in ("user", "worker_rlimit_nofile", "allow"):
            named.append((directive["directive"], len(directive["args"]), _names(directive.get("block", []))))
    return named


PLAIN = Node(
    name="n1",
    layout=NodeLayout(state=AbsolutePath("/state"), run=AbsolutePath("/run")),
    listen=Listen(),
    isolation=Isolation.none,
    root=Owner(uid=1000, gid=1000),
    web=Owner(uid=1000, gid=1000),
    web_user="me",
)


@settings(max_examples=40)
@given(NODE)
def test_s21_the_configuration_parses_to_the_same_directives_whatever_the_values(node: Node) -> None:
    directives = _parsed(node)

    assert _names(directives) == _names(_parsed(PLAIN))
    server = next(one for one in directives if one["directive"] == "http")["block"][-2]["block"]
    values = {one["directive"]: one["args"] for one in server if "block" not in one}
    assert values["listen"] == [f"{node.listen.address}:{node.listen.port}", "default_server"]
    assert values["root"] == [f"{node.layout.hosts}/$host/root"]
    users = [one["args"] for one in directives if one["directive"] == "user"]
    assert users == ([[node.web_user]] if node.isolation is Isolation.unix_user else [])


@given(SITE, NODE)
def test_s22_a_site_adds_no_text_to_the_configuration(site: Site, node: Node) -> None:
    upstream = Upstream(protocol="fastcgi", socket=node.layout.socket(site.name), ping=PING_PATH)

    rendered = DRIVER.render_site(site, node, upstream)

    assert not [resource for resource in rendered.resources if isinstance(resource, File)]
    links = {link.path: link.target for link in rendered.resources if isinstance(link, Link)}
    folder = node.layout.site(site.name)
    names = {path: target for path, target in links.items() if path.parent == node.layout.hosts}
    assert len(names) == len(site.domains)
    assert all(target.is_below(folder) for target in names.values())
    assert {path in names for path in map(node.layout.hosts.child, site.domains)} == {not site.is_suspended}


@pytest.mark.parametrize("name", ["www data", "www;data", "root\n", "", "-x", "$host"])
def test_s22_the_web_servers_user_is_a_name_and_nothing_else(name: str) -> None:
    node = PLAIN.model_copy(update={"isolation": Isolation.unix_user, "root": Owner(uid=0, gid=0), "web_user": name})

    with pytest.raises(Misconfigured):
        DRIVER.render_node(node)


def test_the_longest_host_fits_the_address_of_a_socket() -> None:
    assert len(f"{'x' * LONGEST_HOST}/upstream\0") == 108


def test_check_names_the_cure(tmp_path: Path) -> None:
    DRIVER.check()
    with pytest.raises(NotInstalled) as raised:
        NginxWebServer(NginxSettings(executable=AbsolutePath(str(tmp_path / "nginx")))).check()
    assert raised.value.hint.startswith("apt-get install")
    with pytest.raises(Misconfigured):
        NginxWebServer(NginxSettings(mime_types=AbsolutePath(str(tmp_path / "mime.types")))).check()
