"""The journal undoes an apply that was cut off, and finishes one that was committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hosthold.node.apply import Transaction
from hosthold.node.files import Tree
from hosthold.types.resource import Desired


class _Crash(BaseException):
    """What no handler of ours catches, as a kill."""


def _crash_in(world: Any, monkeypatch: pytest.MonkeyPatch, target: type, method: str, desired: Desired) -> None:
    def crash(*_: Any) -> None:
        raise _Crash

    with monkeypatch.context() as patch:
        patch.setattr(target, method, crash)
        with pytest.raises(_Crash):
            world.apply(desired)


def _changed(world: Any) -> Desired:
    resources = [
        item.model_copy(update={"content": "changed\n"}) if item.key.endswith("service.conf") else item
        for item in world.site_resources(1)
    ]
    return world.desired(f"site:{1:032x}", *resources)  # type: ignore[no-any-return]


@pytest.mark.parametrize("stage", ["_check", "_probe", "_verify"])
def test_r01_a_create_that_was_cut_off_is_undone_at_start(
    world: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    before = world.files()
    _crash_in(world, monkeypatch, Transaction, stage, world.site(1))
    assert world.files() != before
    world.restart_agent()
    assert world.files() == before
    assert world.supervisor.services == {}
    assert world.apply(world.site(1)).condition is None


def test_r01_a_change_that_was_cut_off_is_undone_and_its_service_told(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(world.site(1))
    before = world.files()
    _crash_in(world, monkeypatch, Transaction, "_verify", _changed(world))
    world.supervisor.calls.clear()
    world.restart_agent()
    assert world.files() == before
    assert world.supervisor.calls == [("reload", "run-s1")]


def test_r01_a_removal_that_was_cut_off_is_undone(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(world.site(1))
    before, services = world.files(), dict(world.supervisor.services)
    _crash_in(world, monkeypatch, Transaction, "_record", world.no_site(1))
    world.restart_agent()
    assert world.files() == before
    assert world.supervisor.services == services


def test_what_was_committed_stays_and_its_trash_is_purged(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = world.files()
    world.apply(world.site(1))

    def crash(*_: Any) -> None:
        raise _Crash

    with monkeypatch.context() as patch:
        patch.setattr("hosthold.node.journal.Journal.discard", crash)
        with pytest.raises(_Crash):
            world.apply(world.no_site(1))
    assert Path(world.layout.state, "trash").exists()
    world.restart_agent()
    assert world.files() == empty


def test_an_undo_may_itself_be_cut_off(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(world.site(1))
    before = world.files()
    _crash_in(world, monkeypatch, Transaction, "_verify", _changed(world))
    world.agent.stop()

    def crash(*_: Any) -> None:
        raise _Crash

    world.agent = world.new_agent()
    with monkeypatch.context() as patch:
        patch.setattr(Tree, "sync", crash)
        with pytest.raises(_Crash):
            world.agent.start()
    world.restart_agent()
    assert world.files() == before
