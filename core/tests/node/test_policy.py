"""A node refuses every order that reaches further than its own configuration allows, and changes nothing then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hosthold.types.node import Owner
from hosthold.types.resource import Account, Directory, File, Link, OrderAction, Service, UnixSocket
from hosthold.types.text import AbsolutePath

from core.tests.node.numbers import FIRST

Change = dict[str, Any]


@pytest.mark.parametrize(
    ("changes", "words", "is_permanent"),
    [
        ({"node": "n2"}, "is for n2", True),
        ({"expires_at": datetime.now(UTC) - timedelta(seconds=1)}, "expired", False),
        ({"expires_at": datetime.now() + timedelta(hours=1)}, "no time zone", True),  # noqa: DTZ005 - the hostile value
    ],
)
def test_s04_r30_an_order_that_is_not_for_here_and_now_is_refused(
    world: Any, changes: Change, words: str, is_permanent: bool
) -> None:
    before = world.files()
    reply = world.handle(world.site(1), **changes)
    assert reply.condition is not None
    assert (reply.condition.reason, reply.condition.is_permanent) == ("OrderRefused", is_permanent)
    assert words in reply.condition.message
    assert reply.outcomes == ()
    assert world.files() == before


def test_s06_an_order_is_carried_out_once(world: Any) -> None:
    order = world.order(world.site(1))
    assert world.agent.handle(order).condition is None
    world.restart_agent()
    reply = world.agent.handle(order)
    assert reply.condition is not None
    assert "before" in reply.condition.message
    assert not reply.condition.is_permanent, "whoever delivers an order twice must not stop the site for good"


def test_an_order_names_a_subject_once(world: Any) -> None:
    reply = world.handle(world.site(1), world.no_site(1))
    assert reply.condition is not None
    assert "twice" in reply.condition.message


def test_r17_an_older_claim_is_refused_even_after_the_removal(world: Any) -> None:
    old = world.site(1)
    assert world.apply(world.no_site(1)).condition is None
    condition = world.apply(old).condition
    assert condition is not None
    assert "older" in condition.message


def _hostile(world: Any) -> dict[str, tuple[Any, str]]:
    """One broken rule each: the resource, and what the refusal says."""
    layout, own, root = world.layout, world.owner(1), world.root
    folder, home = layout.site("s1"), layout.home("s1")

    def file(path: str, **changes: Any) -> File:
        return File(path=AbsolutePath(path), content="x", owner=root, mode=0o644).model_copy(update=changes)

    service = Service(name="extra-s1", command=("/bin/sleep", "1"), owner=own)
    socket = UnixSocket(path=layout.sockets.child("s1.extra.sock"), owner=root, mode=0o600)
    return {
        "outside": (file("/etc/shadow"), "not below"),
        "beside": (file(layout.state + "-other/x"), "not below"),
        "the database": (file(layout.state.child("node.db")), "not below"),
        "the trash": (file(layout.state.child("trash", "x")), "not below"),
        "another site's file": (file(layout.site("s2").child("x")), "more than one site"),
        "no site's file": (file(layout.state.child("x")), "not below"),
        "a host as file": (file(layout.hosts.child("x.test")), "not below"),
        "a tenant's folder": (file(layout.logs("s1").child("x")), "others than the node's root user may write"),
        "a file in the home": (file(home.child("x"), owner=own), "only folders and seeds"),
        "a link in the home": (Link(path=home.child("x"), target=folder, owner=own), "only folders and seeds"),
        "a foreign owner": (file(folder.child("x"), owner=Owner(uid=70_999, gid=70_999)), "may not give"),
        "a link out": (Link(path=layout.hosts.child("x.test"), target=AbsolutePath("/etc"), owner=root), "leads to"),
        "a link to a site": (
            Link(path=layout.hosts.child("x.test"), target=layout.site("s2"), owner=root),
            "more than one site",
        ),
        "a link elsewhere": (Link(path=layout.run.child("x"), target=folder, owner=root), "neither below"),
        "a link to a socket": (
            Link(path=folder.child("x"), target=layout.socket("s2"), owner=root),
            "outside of",
        ),
        "a name for a socket": (
            Link(path=layout.hosts.child("x.test"), target=layout.socket("s2"), owner=root),
            "outside of",
        ),
        "a command to reload": (service.model_copy(update={"reload": ("/bin/true",)}), "by a signal alone"),
        "a program": (
            service.model_copy(update={"command": ("/bin/sh", "-c", "id")}),
            "not a program that sites may run",
        ),
        "another's uid": (service.model_copy(update={"owner": Owner(uid=70_999, gid=70_999)}), "must run as"),
        "another's socket": (
            service.model_copy(update={"socket": socket.model_copy(update={"path": layout.socket("s2")})}),
            "not a socket of s1",
        ),
        "a socket elsewhere": (
            service.model_copy(update={"socket": socket.model_copy(update={"path": folder.child("s1.x.sock")})}),
            "not a socket of s1",
        ),
        "a log elsewhere": (service.model_copy(update={"log": AbsolutePath("/etc/passwd")}), "log of extra-s1"),
        "a log in the home": (service.model_copy(update={"log": home.child("a", "log")}), "inside the home"),
        "a log deep in a folder of the site": (
            service.model_copy(update={"log": layout.logs("s1").child("a", "log")}),
            "others than the node's root user may write",
        ),
        "a set-group-id program": (file(folder.child("x"), mode=0o2755), "rights of its group"),
        "a forgotten folder": (
            Directory(path=folder.child("x"), owner=own, mode=0o755, seed=True),
            "would be forgotten",
        ),
        "a second account": (Account(name="s2", uid=FIRST + 2, home=home), ""),
    }


@pytest.mark.parametrize(
    "rule",
    [
        "outside", "beside", "the database", "the trash", "another site's file", "no site's file", "a host as file",
        "a tenant's folder", "a file in the home", "a link in the home", "a foreign owner", "a link out",
        "a link to a site", "a link elsewhere", "a link to a socket", "a name for a socket",
        "a command to reload", "a program", "another's uid", "another's socket", "a socket elsewhere",
        "a log elsewhere", "a log in the home", "a log deep in a folder of the site", "a set-group-id program",
        "a forgotten folder", "a second account",
    ],
)  # fmt: skip
def test_s04_a_hostile_resource_is_refused(user_world: Any, rule: str) -> None:
    world = user_world
    assert _hostile(world).keys() >= {rule}
    resource, words = _hostile(world)[rule]
    before = world.files()
    outcome = world.apply(world.desired(f"site:{1:032x}", *world.site_resources(1), resource))
    assert outcome.condition is not None
    assert (outcome.condition.reason, outcome.condition.is_permanent) == ("OrderRefused", True)
    assert words in outcome.condition.message
    assert outcome.condition.hint
    assert world.files() == before
    assert world.supervisor.services == {}


def test_a_missing_runtime_is_told_from_a_forbidden_one(world: Any) -> None:
    gone = Service(name="extra-s1", command=("/usr/sbin/php-fpm1.0", "-F"), owner=world.owner(1))
    outcome = world.apply(world.desired(f"site:{1:032x}", *world.site_resources(1), gone))
    assert outcome.condition is not None
    assert (outcome.condition.reason, outcome.condition.is_permanent) == ("RuntimeMissing", True)


def test_a_subject_keeps_its_site(world: Any) -> None:
    world.apply(world.site(1))
    condition = world.apply(world.desired(f"site:{1:032x}", *world.site_resources(2))).condition
    assert condition is not None
    assert "more than one site" in condition.message


def test_what_belongs_to_another_subject_is_refused_naming_it(world: Any) -> None:
    world.apply(world.site(1))
    condition = world.apply(world.desired(f"site:{9:032x}", *world.site_resources(1))).condition
    assert condition is not None
    assert condition.reason == "PathTaken"
    assert f"site:{1:032x}" in condition.message
    assert not condition.is_permanent


@pytest.mark.parametrize("uid", [69_999, 80_000])
def test_s65_a_uid_out_of_range_is_refused(user_world: Any, uid: int) -> None:
    resources = [Account(name="s1", uid=uid, home=user_world.layout.home("s1"))]
    condition = user_world.apply(user_world.desired(f"site:{1:032x}", *resources)).condition
    assert condition is not None
    assert f"is not one of {FIRST} to 79999" in condition.message


def test_s65_an_account_of_somebody_else_is_refused(user_world: Any) -> None:
    world = user_world
    world.accounts.mkdir()
    (world.accounts / "passwd").write_text(f"stranger:x:{FIRST + 1}:{FIRST + 1}::/home/stranger:/bin/sh\n")
    condition = world.apply(world.site(1)).condition
    assert condition is not None
    assert condition.reason == "PathTaken"
    assert "stranger" in condition.message


@pytest.mark.parametrize("name", ["daemon", "sudo"])
def test_s65_a_name_of_the_machine_is_refused(user_world: Any, name: str) -> None:
    """Of a user, or of a group such as the one whose members may become root."""
    layout, own = user_world.layout, Owner(uid=FIRST + 1, gid=FIRST + 1)
    resources = [
        Account(name=name, uid=FIRST + 1, home=layout.home(name)),
        Directory(path=layout.site(name), owner=user_world.root, mode=0o755),
        Directory(path=layout.home(name), owner=own, mode=0o755),
    ]
    condition = user_world.apply(user_world.desired(f"site:{1:032x}", *resources)).condition
    assert condition is not None
    assert condition.reason == "PathTaken"


def test_an_account_keeps_its_number(user_world: Any) -> None:
    user_world.apply(user_world.site(1))
    resources = [
        item.model_copy(update={"uid": FIRST + 2}) if isinstance(item, Account) else item
        for item in user_world.site_resources(1)
    ]
    condition = user_world.apply(user_world.desired(f"site:{1:032x}", *resources)).condition
    assert condition is not None
    assert "keeps its number" in condition.message


def test_without_isolation_there_are_no_accounts_and_one_owner(world: Any) -> None:
    if world.isolation.value != "none":
        pytest.skip("about nodes without isolation")
    account = Account(name="s1", uid=FIRST + 1, home=world.layout.home("s1"))
    condition = world.apply(world.desired(f"site:{1:032x}", *world.site_resources(1), account)).condition
    assert condition is not None
    assert "no accounts" in condition.message
    stranger = File(path=world.layout.site("s1").child("x"), content="", owner=Owner(uid=FIRST + 1, gid=0), mode=0o600)
    condition = world.apply(world.desired(f"site:{1:032x}", *world.site_resources(1), stranger)).condition
    assert condition is not None
    assert "may not give" in condition.message


def test_s04_the_nodes_own_subject_is_what_its_drivers_declare_and_nothing_else(world: Any) -> None:
    """The web server's master runs as root: a `load_module` in its configuration would be root's own code."""
    world.apply(world.site(1))
    layout, root = world.layout, world.root
    server = Service(name="nginx", command=("/bin/sleep", "1000"), owner=root)
    conf = File(path=layout.state.child("nginx.conf"), content="user www-data;\n", owner=root, mode=0o644)
    world.own |= {server.key: server, conf.key: conf}
    assert world.apply(world.node_subject()).condition is None
    before = world.files()
    kept = [item for item in world.own.values() if item not in (server, conf)]
    for hostile in (
        conf.model_copy(update={"content": "load_module /var/lib/hosthold/sites/s1/home/evil.so;\n"}),
        conf.model_copy(update={"mode": 0o666}),
        server.model_copy(update={"command": ("/bin/sleep", "2000")}),
        server.model_copy(update={"name": "other"}),
        Account(name="s9", uid=FIRST + 9, home=layout.home("s9")),
        Directory(path=layout.state.child("nginx"), owner=world.web, mode=0o777),
        File(path=layout.site("s1").child("x"), content="", owner=root, mode=0o600),
        File(path=layout.state.child("node.db-journal"), content="", owner=root, mode=0o600),
        File(path=AbsolutePath("/etc/shadow"), content="", owner=root, mode=0o600),
        Link(path=layout.hosts.child("x.test"), target=layout.site("s1"), owner=root),
    ):
        condition = world.apply(world.desired("node:n1", *kept, hostile)).condition
        assert condition is not None, hostile
        assert condition.reason == "OrderRefused", hostile
        assert "not declared so on this node" in condition.message, hostile
    condition = world.apply(world.desired("node:n2")).condition
    assert condition is not None
    assert "not this node" in condition.message
    stolen = world.apply(world.desired(f"site:{1:032x}", *world.site_resources(1), server)).condition
    assert "may not run nginx" in stolen.message
    assert world.files() == before


def test_a_refused_plan_says_the_same_as_a_refused_apply(world: Any) -> None:
    bad = File(path=AbsolutePath("/etc/shadow"), content="", owner=world.root, mode=0o600)
    reply = world.handle(world.desired(f"site:{1:032x}", bad), action=OrderAction.plan)
    assert reply.outcomes[0].condition is not None
