"""Programs that a large order leaves asleep are tried afterwards, and what does not run is told at the next look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from hosthold.errors import Unavailable
from hosthold.node.apply import WAKES_AT_MOST
from hosthold.node.proof import EACH_MS, FEW, turn_in_ms
from hosthold.types.resource import Desired, Outcome, Probe, Service

MANY = WAKES_AT_MOST + 2
BAD = 2


class Answers(ThreadingHTTPServer):
    """Answers for every site, save those that are bad."""

    def __init__(self) -> None:
        self.bad = {f"s{BAD}.example.com"}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Answers)
        host = self.headers["Host"]
        self.server.asked.append(host)
        self.send_response(502 if host in self.server.bad else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def answers(world: Any) -> Iterator[Answers]:
    """A web server, and an agent that asks it."""
    server = Answers()
    Thread(target=server.serve_forever, daemon=True).start()
    world.agent.stop()
    world.port = server.server_port
    world.__post_init__()
    world.fence = 100
    world.agent.start()
    yield server
    server.shutdown()
    server.server_close()


def _site(world: Any, number: int) -> Desired:
    resources = [
        each.model_copy(update={"idle_seconds": 60}) if isinstance(each, Service) else each
        for each in world.site_resources(number)
    ]
    probes = (Probe(host=f"s{number}.example.com", path="/", status=(200,), wakes=True),)
    desired: Desired = world.desired(f"site:{number:032x}", *resources, probes=probes)
    return desired


def _look(world: Any, numbers: Any = range(1, MANY + 1)) -> dict[int, Outcome]:
    reply = world.handle(*(_site(world, number) for number in numbers))
    return dict(zip(numbers, reply.outcomes, strict=True))


def _until_tried(world: Any, wanted: Any) -> dict[int, Outcome]:
    deadline = time.monotonic() + 30
    while True:
        outcomes = _look(world)
        if wanted(outcomes):
            return outcomes
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_large_order_left_asleep_is_tried_afterwards_and_the_bad_one_is_told(
    world: Any, answers: Answers
) -> None:
    made = _look(world)
    assert [outcome.condition for outcome in made.values()] == [None] * MANY
    assert all(outcome.proven_in_ms for outcome in made.values())
    tried = _until_tried(world, lambda outcomes: all(outcome.proven_in_ms is None for outcome in outcomes.values()))
    assert {number for number, outcome in tried.items() if outcome.condition} == {BAD}
    condition = tried[BAD].condition
    assert condition is not None
    assert condition.reason == "ProbeFailed"
    assert not condition.is_permanent
    answers.bad.clear()
    _until_tried(world, lambda outcomes: outcomes[BAD].condition is None)


def test_a_supervisor_that_fails_ends_neither_the_trying_nor_what_is_found(
    world: Any, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("the supervisor is away")

    monkeypatch.setattr(world.supervisor, "rest", fail)
    assert all(outcome.proven_in_ms for outcome in _look(world).values())
    tried = _until_tried(world, lambda outcomes: all(outcome.proven_in_ms is None for outcome in outcomes.values()))
    assert {number for number, outcome in tried.items() if outcome.condition} == {BAD}


def test_a_small_order_leaves_nothing_to_try(world: Any, answers: Answers) -> None:
    answers.bad.clear()
    assert [outcome.proven_in_ms for outcome in _look(world, range(1, 3)).values()] == [None, None]


def test_a_node_that_is_started_again_tries_what_is_left_and_forgets_what_is_gone(world: Any, answers: Answers) -> None:
    world.agent.stop()
    world.agent = world.new_agent()
    world.agent.start()
    _look(world)
    world.agent.stop()
    world.agent = world.new_agent()
    world.agent.start()
    world.handle(world.no_site(BAD))
    others = [number for number in range(1, MANY + 1) if number != BAD]
    deadline = time.monotonic() + 30
    while any(outcome.proven_in_ms for outcome in _look(world, others).values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert {f"s{number}.example.com" for number in others} <= set(answers.asked)


def test_the_turn_of_a_subject_counts_the_pauses_of_a_long_queue() -> None:
    assert turn_in_ms(0, FEW) == turn_in_ms(0, 10 * FEW), "the first one is tried at once in each"
    assert turn_in_ms(200, FEW) == 200 * EACH_MS, "a short queue has no pauses"
    assert turn_in_ms(200, 10 * FEW) > 10 * turn_in_ms(200, FEW), "a long queue has them from its beginning"
    assert turn_in_ms(10 * FEW - 1, 10 * FEW) < turn_in_ms(9 * FEW, 10 * FEW) + FEW * EACH_MS, "and none at its end"
