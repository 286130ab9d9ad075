"""When rows are looked at again."""

from __future__ import annotations

from random import Random

from hosthold.reconcile.retry import look_at_ms

NOW, EVERY = 1_795_000_000_123, 600_000


def test_looks_are_spread_and_those_whose_turns_are_close_fall_together() -> None:
    random = Random(1)
    moments = [look_at_ms(NOW, EVERY, random) for _ in range(5000)]
    assert min(moments) >= NOW + 0.7 * EVERY
    assert max(moments) <= NOW + 1.3 * EVERY + 10_000
    assert 30 <= len(set(moments)) <= 37, "every ten seconds of the six minutes"


def test_a_look_is_never_now_and_rests_may_be_short() -> None:
    random = Random(1)
    assert all(NOW < look_at_ms(NOW, 40, random) <= NOW + 60 for _ in range(100))
