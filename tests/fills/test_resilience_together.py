"""Calls with different Resiliences for one key: what one of them leaves there never keeps another from going on.

Found in review: after a failed refresh under one Resilience, a lookup under another, which may not serve the stale
value, was sent back by its own claim for as long as the failure counted, on a whole CPU and past its `hard_timeout`.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest

from areole import Resilience, Storage

from ..kit import ManualClock, Numbered, assert_valid, settle, wait_until_settled

READINGS = 1000
"""How often one lookup may read the clock: one that turns in circles reads it at every turn."""

RESILIENCES = {
    "nothing": Resilience(),
    "stale": Resilience(stale_ttl=5),
    "fail safe": Resilience(stale_ttl=5, fail_safe=True),
    "fail safe, long": Resilience(stale_ttl=5, fail_safe=True, negative_ttl=4),
    "soft": Resilience(stale_ttl=5, fail_safe=True, soft_timeout=60),
    "hard": Resilience(hard_timeout=60),
    "ahead": Resilience(refresh_ahead=0.5, negative_ttl=2),
    "ahead and stale": Resilience(refresh_ahead=0.5, stale_ttl=5, negative_ttl=20),
}
every_pair = pytest.mark.parametrize("first, second", [*itertools.product(RESILIENCES, RESILIENCES)])
MOMENTS = [1, 6, 10, 10.5, 11, 12.5, 14, 15, 17, 31]


class Bounded(ManualClock):
    """A clock that can be read so many times: what never ends ends by that."""

    left = READINGS

    def __call__(self) -> float:
        self.left -= 1
        assert self.left > 0, "a lookup turns in circles"
        return super().__call__()


@every_pair
def test_what_one_call_leaves_never_keeps_another_from_going_on(first: str, second: str) -> None:
    for moment in MOMENTS:
        fail_then_ask(first, second, moment)


def fail_then_ask(first: str, second: str, moment: float) -> None:
    clock, fill = Bounded(), Numbered()
    store: Storage[Any] = Storage(default_ttl=10, clock=clock)

    def look_up(resilience: str) -> Any:
        clock.left = READINGS
        return store.get_or_fill("a", fill, resilience=RESILIENCES[resilience])

    look_up(first)
    clock.advance(moment)
    fill.error = ValueError("fails")
    for _ in range(2):
        with suppress(ValueError):
            assert look_up(first) == ("a", 1)
        settle()
    fill.error = None
    for step in (0, 0.75, 1, 2):
        clock.advance(step)
        key, number = look_up(second)
        may_be_stale = RESILIENCES[first].stale_ttl is not None and RESILIENCES[second].stale_ttl is not None
        age_allowed = 15 if may_be_stale else 10
        assert key == "a" and (number > 1 or clock() < age_allowed)
        settle()
        wait_until_settled(store)
    clock.left = READINGS
    assert_valid(store)


def test_a_call_that_may_not_serve_the_stale_value_fills_at_once() -> None:
    """The case of the review: not after `negative_ttl`, and its own timeout counts."""
    clock, fill = Bounded(), Numbered()
    store: Storage[Any] = Storage(default_ttl=10, clock=clock)
    in_need = Resilience(stale_ttl=100, fail_safe=True, negative_ttl=3)
    store.get_or_fill("a", fill, resilience=in_need)
    clock.advance(10)
    fill.error = ValueError("fails")
    assert store.get_or_fill("a", fill, resilience=in_need) == ("a", 1)
    fill.error = None
    assert store.get_or_fill("a", fill, resilience=Resilience(hard_timeout=60)) == ("a", 3)
    assert store.cache_info().misses == 2
    assert_valid(store)
