"""Operations: asked for once, done once, and never silently repeated after a crash."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hosthold.db.unit_of_work import Database, UnitOfWork
from hosthold.errors import Conflict, Misconfigured, Unavailable
from hosthold.types.actor import Actor
from hosthold.types.identifier import new_identifier
from hosthold.work.models import EventRow, OperationRow
from hosthold.work.operations import MAX_ATTEMPTS, Handler, Operations, Run, prune, request
from sqlalchemy import select

ACTOR = Actor(label="ann@example.com", account_id=new_identifier(), account_path="/a", permissions=frozenset("*"))
LEASE_OVER = 60_001


class Died(BaseException):
    """The worker was killed."""


def ask(database: Database, key: str = "k", account: str = "/a", **parameters: Any) -> OperationRow:
    with database.write() as uow:
        return ask_in(uow, key, account, **parameters)


def ask_in(uow: UnitOfWork, key: str, account: str = "/a", **parameters: Any) -> OperationRow:
    return request(uow, ACTOR, "charge", "site:1", account, parameters, key)


def only(database: Database) -> OperationRow:
    with database.read() as uow:
        return uow.session.scalars(select(OperationRow)).one()


def operations(database: Database, handler: Handler) -> Operations:
    return Operations(database, {"charge": handler})


def test_an_operation_is_carried_out_once_and_its_result_kept(database: Database) -> None:
    runs: list[Run] = []

    def handle(run: Run) -> dict[str, Any]:
        runs.append(run)
        return {"paid": run.step("charge", lambda: run.operation.parameters["cents"], is_repeatable=False)}

    asked = ask(database, cents=500)
    worker = operations(database, handle)
    assert (worker.run(), worker.run()) == (1, 0)
    row = only(database)
    assert (row.id, row.state, row.result, row.requested_by) == (asked.id, "done", {"paid": 500}, "ann@example.com")
    assert [(step["name"], step["state"]) for step in row.steps] == [("charge", "finished")]
    assert [run.fence for run in runs] == [1]


def test_the_watchers_of_the_subject_hear_of_each_state(database: Database) -> None:
    ask(database)
    operations(database, lambda _run: None).run()
    with database.read() as uow:
        events = uow.session.scalars(select(EventRow).order_by(EventRow.sequence)).all()
    assert [(event.subject, event.payload["state"]) for event in events] == [("site:1", "running"), ("site:1", "done")]


def test_the_same_key_gives_the_same_row(database: Database) -> None:
    first, second = ask(database, cents=5), ask(database, cents=5)
    assert first.id == second.id
    assert ask(database, "other", cents=5).id != first.id


def test_the_same_key_for_something_else_is_a_conflict(database: Database) -> None:
    ask(database, cents=5)
    with pytest.raises(Conflict, match="another request"):
        ask(database, cents=6)


def test_two_accounts_may_use_the_same_key(database: Database) -> None:
    assert ask(database, account="/a", cents=5).id != ask(database, account="/b", cents=6).id


def test_requests_with_one_key_at_the_same_moment_give_one_row(database: Database) -> None:
    begin, ids = threading.Barrier(4), set()

    def concurrently() -> None:
        begin.wait()
        ids.add(ask(database, cents=5).id)

    threads = [threading.Thread(target=concurrently) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids == {only(database).id}


def test_r02_a_request_that_is_rolled_back_leaves_nothing(database: Database) -> None:
    def ask_and_fail() -> None:
        with database.write() as uow:
            ask_in(uow, "k")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_and_fail()
    with database.read() as uow:
        assert uow.session.scalar(select(OperationRow)) is None


def test_r03_a_step_that_must_not_run_twice_is_not_repeated_after_a_crash(database: Database, clock: Any) -> None:
    charged: list[int] = []

    def charge_and_die() -> None:
        charged.append(1)
        raise Died

    def handle(run: Run) -> None:
        run.step("charge", charge_and_die, is_repeatable=False)

    ask(database)
    worker = operations(database, handle)
    with pytest.raises(Died):
        worker.run()
    assert worker.run() == 0
    clock.advance(LEASE_OVER)
    assert worker.run() == 1
    row = only(database)
    assert charged == [1]
    assert row.state == "failed"
    assert row.result["condition"]["reason"] == "Interrupted"
    assert "Look whether it did" in row.result["condition"]["hint"]


def test_r03_finished_and_repeatable_steps_let_a_crashed_operation_go_on(database: Database, clock: Any) -> None:
    acts: list[str] = []

    def restart() -> str:
        acts.append("restart")
        if acts.count("restart") == 1:
            raise Died
        return "restarted"

    def prepare() -> str:
        acts.append("prepare")
        return "prepared"

    def handle(run: Run) -> dict[str, Any]:
        first = run.step("prepare", prepare, is_repeatable=False)
        return {"all": [first, run.step("restart", restart, is_repeatable=True)]}

    ask(database)
    worker = operations(database, handle)
    with pytest.raises(Died):
        worker.run()
    clock.advance(LEASE_OVER)
    worker.run()
    assert acts == ["prepare", "restart", "restart"]
    assert only(database).result == {"all": ["prepared", "restarted"]}


def test_a_passing_failure_of_a_repeatable_step_is_tried_again_after_a_pause(database: Database, clock: Any) -> None:
    failures = [Unavailable("The node is away."), Unavailable("The node is away.")]

    def handle(run: Run) -> None:
        def act() -> None:
            if failures:
                raise failures.pop()

        run.step("restart", act, is_repeatable=True)

    ask(database)
    worker = operations(database, handle)
    worker.run()
    row = only(database)
    assert (row.state, row.last_error) == ("pending", "The node is away.")
    assert worker.run() == 0
    for _ in range(2):
        clock.advance(10_000)
        assert worker.run() == 1
    assert (only(database).state, only(database).last_error) == ("done", "")


def test_a_passing_failure_of_a_step_that_must_not_run_twice_ends_the_operation(database: Database) -> None:
    def handle(run: Run) -> None:
        def act() -> None:
            raise Unavailable("No answer in 5 s.", hint="Wait.")

        run.step("charge", act, is_repeatable=False)

    ask(database)
    operations(database, handle).run()
    row = only(database)
    assert (row.state, row.due_at) == ("failed", None)
    assert row.result["condition"]["hint"] == "Wait. Look whether it took effect before you ask for it again."


def test_tries_of_an_operation_come_to_an_end(database: Database, clock: Any) -> None:
    def handle(_run: Run) -> None:
        raise Unavailable("The node is away.")

    ask(database)
    worker, tries = operations(database, handle), 0
    while only(database).due_at is not None:
        tries += worker.run()
        clock.advance(1_000_000)
    assert tries == MAX_ATTEMPTS
    assert only(database).state == "failed"


def test_r16_an_operation_that_kills_every_worker_is_given_up(database: Database, clock: Any) -> None:
    deaths = 0

    def handle(_run: Run) -> None:
        raise Died

    ask(database)
    worker = operations(database, handle)
    while only(database).state != "failed":
        try:
            worker.run()
        except Died:
            deaths += 1
        clock.advance(LEASE_OVER)
    assert deaths == MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Misconfigured("No key.", hint="Set it."), "Misconfigured"), (KeyError("hunter2"), "KeyError")],
)
def test_a_lasting_failure_ends_the_operation_with_its_reason_and_no_secret(
    database: Database, error: Exception, reason: str
) -> None:
    def handle(_run: Run) -> None:
        raise error

    ask(database)
    operations(database, handle).run()
    row = only(database)
    assert (row.state, row.result["condition"]["reason"]) == ("failed", reason)
    assert row.result["condition"]["hint"]
    assert "hunter2" not in str(row.result) + row.last_error


def test_r17_a_worker_that_lost_its_lease_does_no_further_step(database: Database, clock: Any) -> None:
    acts: list[str] = []

    def slow(run: Run) -> None:
        run.step("first", lambda: acts.append("slow first"), is_repeatable=True)
        clock.advance(LEASE_OVER)
        operations(database, quick).run()
        run.step("second", lambda: acts.append("slow second"), is_repeatable=True)

    def quick(run: Run) -> dict[str, Any]:
        run.step("second", lambda: acts.append("quick second"), is_repeatable=True)
        return {"by": "quick"}

    ask(database)
    operations(database, slow).run()
    assert acts == ["slow first", "quick second"]
    assert only(database).result == {"by": "quick"}


def test_r17_several_workers_carry_out_each_operation_once(database: Database) -> None:
    for number in range(20):
        ask(database, str(number))
    carried: list[str] = []
    worker = operations(database, lambda run: carried.append(run.operation.id))
    threads = [threading.Thread(target=worker.run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(carried) == len(set(carried)) == 20


def test_r33_a_kind_that_this_version_does_not_know_stays_in_the_database(database: Database) -> None:
    ask(database)
    assert Operations(database, {}).run() == 0
    assert Operations(database, {"refund": lambda _run: None}).run() == 0
    assert only(database).state == "pending"


def test_r30_a_clock_that_is_set_back_keeps_no_operation_waiting(database: Database, clock: Any) -> None:
    def die(_run: Run) -> None:
        raise Died

    ask(database)
    with pytest.raises(Died):
        operations(database, die).run()
    clock.advance(-86_400_000)
    assert operations(database, lambda _run: None).run() == 1


def test_operations_are_forgotten_thirty_days_after_they_were_asked_for_and_settled(
    database: Database, clock: Any
) -> None:
    ask(database, "settled")
    operations(database, lambda _run: None).run()
    ask(database, "waiting")
    clock.advance(31 * 86_400_000)
    with database.write() as uow:
        assert prune(uow) == 1
    assert only(database).state == "pending"
