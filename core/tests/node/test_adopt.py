"""Edits by hand are kept once somebody says so, exactly those that were looked at, and nothing that gives rights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hosthold.types.node import Isolation
from hosthold.types.resource import Change, Desired, OrderAction, Outcome, Repair, Seen

from core.tests.node.conftest import World
from core.tests.node.test_apply import _conf, _with


def plan(world: Any, desired: Desired) -> Outcome:
    outcome: Outcome = world.handle(desired, action=OrderAction.plan).outcomes[0]
    return outcome


def adopt(world: Any, *changes: Change) -> Outcome:
    keep = tuple(Seen(key=change.key, digest=change.digest) for change in changes)
    outcome: Outcome = world.handle(world.site(1, keep=keep), action=OrderAction.adopt).outcomes[0]
    return outcome


def lead_elsewhere(link: Path) -> None:
    link.unlink()
    link.symlink_to("/etc")


def edited(world: Any, content: str = "edited by hand\n") -> Change:
    """The change of a site whose configuration somebody edited."""
    world.apply(world.site(1))
    _conf(world, 1).write_text(content)
    (change,) = plan(world, world.site(1)).changes
    return change


def test_r37_an_adopted_edit_stays_and_is_told_as_kept(world: Any) -> None:
    change = edited(world)
    world.supervisor.calls.clear()
    adopted = adopt(world, change)
    assert (adopted.condition, adopted.changes) == (None, ())
    assert ("reload", "run-s1") in world.supervisor.calls
    looked = world.apply(world.site(1))
    assert (looked.condition, looked.changes) == (None, ())
    assert [kept.key for kept in looked.kept] == [change.key]
    assert "-edited by hand" in looked.kept[0].diff
    world.restart_agent()
    assert world.apply(world.site(1)).condition is None
    assert _conf(world, 1).read_text() == "edited by hand\n"


def test_r37_the_next_declared_change_overwrites_what_was_adopted(world: Any) -> None:
    adopt(world, edited(world))
    changed = _with(world.site_resources(1), "service.conf", content="declared anew\n")
    assert world.apply(world.desired(f"site:{1:032x}", *changed)).condition is None
    assert _conf(world, 1).read_text() == "declared anew\n"
    assert world.apply(world.site(1)).kept == ()
    assert _conf(world, 1).read_text() == "name = s1\n"


def test_a_change_of_something_else_leaves_what_was_adopted(world: Any) -> None:
    adopt(world, edited(world))
    fewer = world.desired(f"site:{1:032x}", *world.site_resources(1, service=False))
    outcome = world.apply(fewer)
    assert (outcome.condition, len(outcome.kept)) == (None, 1)
    assert _conf(world, 1).read_text() == "edited by hand\n"


def test_r37_a_repair_ends_what_was_adopted(world: Any) -> None:
    adopt(world, edited(world))
    assert world.apply(world.site(1, repair=Repair.all)).condition is None
    assert _conf(world, 1).read_text() == "name = s1\n"
    _conf(world, 1).write_text("edited by hand\n")
    assert world.apply(world.site(1)).condition is not None


def test_r37_an_edit_of_what_was_adopted_is_drift_again(world: Any) -> None:
    adopt(world, edited(world))
    _conf(world, 1).write_text("edited once more\n")
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert outcome.condition.reason == "Drifted"


def test_only_what_was_looked_at_is_adopted(world: Any) -> None:
    change = edited(world)
    _conf(world, 1).write_text("edited meanwhile\n")
    refused = adopt(world, change)
    assert refused.condition is not None
    assert (refused.condition.reason, refused.condition.is_permanent) == ("ChangedSince", True)
    assert world.apply(world.site(1)).condition is not None


def test_r37_what_gives_rights_or_is_not_there_cannot_be_adopted(world: Any) -> None:
    world.apply(world.site(1))
    link = Path(world.layout.hosts, "s1.example.com")
    folder = Path(world.layout.site("s1"))
    spoils: dict[str, Any] = {
        "mode": lambda: _conf(world, 1).chmod(0o666),
        "removed": _conf(world, 1).unlink,
        "link": lambda: lead_elsewhere(link),
        "folder": lambda: folder.chmod(0o777),
        "binary": lambda: _conf(world, 1).write_bytes(b"\xff\xfe\0"),
    }
    for name, spoil in spoils.items():
        spoil()
        changes = plan(world, world.site(1)).changes
        assert changes, name
        assert all(change.is_drift and change.refusal for change in changes), name
        refused = adopt(world, *changes)
        assert refused.condition is not None, name
        assert refused.condition.reason == "NotAdoptable", name
        assert world.apply(world.site(1, repair=Repair.all)).condition is None, name
    if os.geteuid() == 0:
        os.chown(_conf(world, 1), 12345, -1)
        assert plan(world, world.site(1)).changes[0].refusal


def test_r37_an_account_is_never_adopted(user_world: Any) -> None:
    world = user_world
    world.apply(world.site(1))
    passwd = world.accounts / "passwd"
    passwd.write_text(passwd.read_text().replace("/usr/sbin/nologin", "/bin/bash"))
    (change,) = plan(world, world.site(1)).changes
    refused = adopt(world, change)
    assert refused.condition is not None
    assert refused.condition.reason == "NotAdoptable"


def test_an_edit_that_its_server_refuses_is_not_adopted(place: Path) -> None:
    checks: dict[str, tuple[str, ...]] = {"run-s1": ("/bin/true",)}
    world = World(place, Isolation.none, checks=checks)
    world.begin()
    try:
        change = edited(world)
        checks["run-s1"] = ("/bin/false",)
        refused = adopt(world, change)
        assert refused.condition is not None
        assert refused.condition.reason == "CheckFailed"
        assert world.apply(world.site(1)).condition is not None
    finally:
        world.agent.stop(end_services=True)


def test_r37_policy_says_whether_what_was_removed_is_made_again(world: Any) -> None:
    world.apply(world.site(1))
    link = Path(world.layout.hosts, "s1.example.com")
    link.unlink()
    told = world.apply(world.site(1, repair=Repair.nothing))
    assert told.condition is not None
    assert (told.condition.reason, link.is_symlink()) == ("Drifted", False)
    mended = world.apply(world.site(1))
    assert (mended.condition, link.is_symlink()) == (None, True)
    assert [(change.action, change.is_drift) for change in mended.changes] == [("create", True)]


def test_looking_never_starts_a_sleeping_service(world: Any) -> None:
    world.apply(world.site(1))
    world.supervisor.calls.clear()
    _conf(world, 1).write_text("edited by hand\n")
    world.apply(world.site(1))
    world.handle(world.site(1), action=OrderAction.plan)
    assert world.supervisor.calls == []
