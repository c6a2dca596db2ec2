"""What comes first, by a number that says when: against a sorted list, whatever leaves meanwhile."""

from __future__ import annotations

import random
from typing import Any

import pytest

from areole._eviction.lazy_heap import SPARE, LazyHeap
from areole._index.deadline_queue import DeadlineQueue

from ..kit import assert_filing_sound


class Item:
    """What is filed; the numbers that it is filed by need not differ."""

    expiry: Any = None
    times = None


ORDERS = {
    "in order": lambda chance, step: step // 3,
    "backwards": lambda chance, step: -step,
    "at random": lambda chance, step: chance.randrange(200),
    "two ttls": lambda chance, step: step + chance.choice((10, 1000)),
    "all at once": lambda chance, step: 7,
}
LEAVE = {
    "first": lambda chance, items: items[0],
    "last": lambda chance, items: items[-1],
    "any": lambda chance, items: chance.choice(items),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("leaves", LEAVE)
def test_what_was_filed_comes_in_order_and_nothing_gathers(order: str, leaves: str) -> None:
    chance = random.Random(f"{order} {leaves}")
    filing, items = LazyHeap(), list[Any]()  # sorted, as the model
    for step in range(4000):
        grows = chance.random() < (0.6 if step % 1000 < 500 else 0.4)
        if grows or not items:
            items.append(filing.add(ORDERS[order](chance, step), Item()))
            items.sort(key=lambda item: item[:2])
        else:
            gone = LEAVE[leaves](chance, items)
            items = [item for item in items if item is not gone]
            filing.remove(gone)
            assert gone[2] is None, "it is kept"
        if step % 7 == 0:
            assert filing.first() is (items[0] if items else None)
        assert filing.live == len(items)
        assert len(filing._heap) <= 2 * len(items) + SPARE, "what is gone gathers"
    assert_filing_sound(filing)
    assert {id(item[2]) for item in items} == set(map(id, filing))


def test_deadlines_of_one_ttl_never_see_the_heap() -> None:
    deadlines = DeadlineQueue()
    items = [Item() for _ in range(1000)]
    for when, item in enumerate(items):
        deadlines.schedule(item, when)
        if when >= 100:
            deadlines.cancel(items[when - 100])
    assert len(list(deadlines)) == deadlines.live == 100
    assert not deadlines._heap


def test_nothing_is_looked_for_before_it_is_due() -> None:
    deadlines, item = DeadlineQueue(), Item()
    assert deadlines.pop_expired(10.0**9) is None
    deadlines.schedule(item, 5.0)
    deadlines.schedule(Item(), 8.0)
    assert deadlines.due == 5.0
    deadlines.cancel(item)
    assert deadlines.pop_expired(5.0) is None, "it is gone"
    assert deadlines.due == 8.0
    assert deadlines.pop_expired(7.999) is None
    assert isinstance(deadlines.pop_expired(8.0), Item), "it expires at its deadline"
    assert deadlines.pop_expired(8.0) is None
    assert deadlines.due == float("inf")
