"""What comes first, by a number that says when: against a sorted list, whatever leaves meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest

from areole._eviction.lazy_heap import CARRIED_A_TIME, SPARE, Filing
from areole._index.deadline_queue import Deadlines

from .storage_support import assert_filing_sound


class Item:
    """What is filed; the numbers that it is filed by need not differ."""

    filing: Any = None


ORDERS = {
    "in order": lambda chance, step: step // 3,
    "backwards": lambda chance, step: -step,
    "at random": lambda chance, step: chance.randrange(200),
    "two ttls": lambda chance, step: step + chance.choice((10, 1000)),
    "all at once": lambda chance, step: 7,
}
LEAVE = {
    "first": lambda chance, slips: slips[0],
    "last": lambda chance, slips: slips[-1],
    "any": lambda chance, slips: chance.choice(slips),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("leaves", LEAVE)
def test_what_was_filed_comes_in_order_and_nothing_gathers(order: str, leaves: str) -> None:
    chance = random.Random(f"{order} {leaves}")
    filing, slips = Filing(), list[Any]()  # sorted, as the model
    for step in range(4000):
        grows = chance.random() < (0.6 if step % 1000 < 500 else 0.4)
        if grows or not slips:
            slips.append(filing.add(ORDERS[order](chance, step), Item()))
            slips.sort(key=lambda slip: slip[:2])
        else:
            gone = LEAVE[leaves](chance, slips)
            slips = [slip for slip in slips if slip is not gone]
            before = len(filing)
            filing.remove(gone)
            assert before - len(filing) <= CARRIED_A_TIME + 1
            assert gone[2] is None, "it is kept"
        if step % 7 == 0:
            assert filing.first() is (slips[0] if slips else None)
        assert filing.held == len(slips)
        assert len(filing) <= 4 * len(slips) + 4 * SPARE, "what is gone gathers"
    assert_filing_sound(filing)
    assert {id(slip[2]) for slip in slips} == set(map(id, filing))


def test_deadlines_of_one_ttl_never_see_the_heap() -> None:
    deadlines = Deadlines()
    items = [Item() for _ in range(1000)]
    for when, item in enumerate(items):
        deadlines.file(item, when)
        if when >= 100:
            deadlines.take_off(items[when - 100])
    assert len(deadlines) == deadlines.held == 100
    assert not deadlines._heap


def test_nothing_is_looked_for_before_it_is_due() -> None:
    deadlines, item = Deadlines(), Item()
    assert deadlines.pop_expired(10.0**9) is None
    deadlines.file(item, 5.0)
    deadlines.file(Item(), 8.0)
    assert deadlines.due == 5.0
    deadlines.take_off(item)
    assert deadlines.pop_expired(5.0) is None, "it is gone"
    assert deadlines.due == 8.0
    assert deadlines.pop_expired(7.999) is None
    assert isinstance(deadlines.pop_expired(8.0), Item), "it expires at its deadline"
    assert deadlines.pop_expired(8.0) is None
    assert deadlines.due == float("inf")
