"""What the web server reads as root is what the node renders itself; what it finds by a name is a name of the site."""

from __future__ import annotations

from typing import Any

import pytest
from hosthold.types.node import Owner
from hosthold.types.package import Limits
from hosthold.types.resource import Desired, Directory, File, Link, Resource
from hosthold.types.site import Runtime, Site
from hosthold.types.text import AbsolutePath
from hosthold.types.web import WebOptions

from core.tests.node.numbers import FIRST

WEB = WebOptions.model_validate({"headers": [{"name": "X-A", "value": "b"}]})


def _site(world: Any, **changes: Any) -> Site:
    values: dict[str, Any] = {
        "id": f"{1:032x}", "account_id": "0" * 32, "name": "s1", "uid": FIRST + 1, "domains": ("s1.example.com",),
        "runtime": Runtime(driver="php", version="8.2"), "document_root": "public", "limits": Limits(), "web": WEB,
    }  # fmt: skip
    return Site.model_validate(values | changes)


def _desired(world: Any, declared: Site | None, *more: Resource) -> Desired:
    desired: Desired = world.desired(f"site:{1:032x}", *world.site_resources(1), *more, declared=declared)
    return desired


def _assert_refused(world: Any, desired: Desired, words: str) -> None:
    before = world.files()
    condition = world.apply(desired).condition
    assert condition is not None
    assert (condition.reason, condition.is_permanent) == ("OrderRefused", True)
    assert words in condition.message
    assert world.files() == before


def test_a_block_is_written_as_this_node_renders_it(world: Any) -> None:
    site = _site(world)
    block = world.block(site, world.node)
    assert world.apply(_desired(world, site, block)).condition is None
    assert world.files()["state/blocks/s1.conf"][3] == "s1.example.com X-A"
    assert world.apply(_desired(world, None)).condition is None
    assert "state/blocks/s1.conf" not in world.files()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": f"{2:032x}"}, "comes without the site"),
        ({"name": "s2"}, "comes without the site"),
        ({"domains": ("s1.example.com", "s2.example.com")}, "s2.example.com, which is not a name of"),
        ({"web": WebOptions()}, "is not what this node"),
    ],
)
def test_s04_a_block_made_of_another_site_is_refused(world: Any, changes: dict[str, Any], words: str) -> None:
    world.apply(world.site(2))
    forged = _site(world, **changes)
    block = world.block(_site(world, domains=forged.domains), world.node)
    _assert_refused(world, _desired(world, forged, block), words)


def test_s04_a_block_for_another_uid_is_refused(user_world: Any) -> None:
    forged = _site(user_world, uid=FIRST + 2)
    _assert_refused(user_world, _desired(user_world, forged, user_world.block(forged, user_world.node)), "made for uid")


@pytest.mark.parametrize("text", ["s1.example.com X-A\n", "root;"])
def test_s22_text_of_somebody_elses_is_refused(world: Any, text: str) -> None:
    site = _site(world)
    block = world.block(site, world.node).model_copy(update={"content": text})
    _assert_refused(world, _desired(world, site, block), "is not what this node")
    _assert_refused(world, _desired(world, None, block), "comes without the site")


def test_a_block_under_another_name_is_refused(world: Any) -> None:
    site = _site(world)
    block = world.block(site, world.node)
    for path in (world.layout.blocks.child("s2.conf"), world.layout.blocks.child("deeper", "s1.conf")):
        condition = world.apply(_desired(world, site, block.model_copy(update={"path": path}))).condition
        assert condition is not None
        assert condition.reason == "OrderRefused"


def _certificate(world: Any, link: str, target: AbsolutePath) -> tuple[Resource, ...]:
    folder = world.layout.site("s1").child("tls")
    version = folder.child("1")
    group = Owner(uid=world.root.uid, gid=world.web.gid)
    return (
        Directory(path=folder, owner=world.root, mode=0o711),
        Directory(path=version, owner=group, mode=0o710),
        *(File(path=version.child(name), content="pem", owner=group, mode=0o640) for name in ("chain.pem", "key.pem")),
        Link(path=world.layout.certificates.child(link), target=target, owner=world.root),
    )


def test_a_certificate_belongs_to_a_name_of_the_site(world: Any) -> None:
    folder = world.layout.site("s1").child("tls", "1")
    assert world.apply(_desired(world, None, *_certificate(world, "s1.example.com", folder))).condition is None
    assert world.files()["state/certificates/s1.example.com"][3] == folder
    assert world.files()["state/sites/s1/tls/1/key.pem"][:3] == (0o100640, world.root.uid, world.web.gid)


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("s2.example.com", "tls/1", "s2.example.com, which is not a name of"),
        ("free.example.com", "tls/1", "free.example.com, which is not a name of"),
        ("s1.example.com", "home", ""),
        ("s1.example.com", "home/public", ""),
        ("s1.example.com", "logs", "may write"),
    ],
)
def test_s19_no_name_shows_a_certificate_that_is_not_the_platforms(
    world: Any, name: str, target: str, words: str
) -> None:
    if words == "may write" and world.root.uid == world.owner(1).uid:
        pytest.skip("there is one user only")
    world.apply(world.site(2))
    path = AbsolutePath(f"{world.layout.site('s1')}/{target}")
    _assert_refused(world, _desired(world, None, *_certificate(world, name, path)), words)
