"""A Storage against a plain model, step by step: whatever the steps, the two agree, exactly for lru.

The model learns from the listener which items left, and judges each: who was EXPIRED must have been, who was EVICTED
must have been the one used longest ago, in a full store, with nobody left who had expired. What nobody was told of must
still be there.
"""

from __future__ import annotations

from typing import Any

import pytest

from areole import CACHE_MISS, Storage
from areole.testing import ManualClock

from ..kit import Told, check_books

pytest.importorskip("hypothesis")

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

KEYS = st.integers(0, 7)
TTLS = st.sampled_from([None, 0, 1, 2, 2, 5, 100])
DEFAULT = 3


class StorageMachine(RuleBasedStateMachine):
    """`model` is key -> (value, deadline), in the order of use for lru, the longest ago first."""

    policy = "lru"

    @initialize(most=st.sampled_from([1, 2, 3, 5, None]))
    def start(self, most: int | None) -> None:
        self.clock, self.told = ManualClock(), Told()
        self.most = most
        self.store: Storage[int] = Storage(
            max_items=most,
            default_ttl=DEFAULT,
            expiration_thread_max_checks_per_iteration=0,
            policy=self.policy,
            clock=self.clock,
            on_removal=self.told,
            stats=True,
        )
        self.model: dict[int, tuple[int, float | None]] = {}
        self.last = self.expired = self.evicted = self.hits = self.misses = self.fills = 0

    # ---- the model

    def new_value(self) -> int:
        self.last += 1
        return self.last

    def is_live(self, key: int) -> bool:
        if key not in self.model:
            return False
        deadline = self.model[key][1]
        return deadline is None or deadline > self.clock()

    def live(self) -> list[int]:
        return [key for key in self.model if self.is_live(key)]

    def deadline(self, ttl: float | None) -> float | None:
        return None if ttl is None else self.clock() + ttl

    def use(self, key: int) -> None:
        self.model[key] = self.model.pop(key)

    def look_up(self, key: int) -> Any:
        """What `get` gives; counts as a use."""
        if not self.is_live(key):
            self.misses += 1
            return CACHE_MISS
        self.hits += 1
        self.use(key)
        return self.model[key][0]

    def stores(self, key: int, value: int, deadline: float | None) -> None:
        """The store has put in a new value; judge what it was told to have left for it."""
        told = self.told.take()
        if key in self.model:
            cause = "replaced" if self.is_live(key) else "expired"
            assert told.pop(0) == (key, self.model.pop(key)[0], cause)
            self.expired += cause == "expired"
        self.judge([each for each in told if each[1] != value])
        self.model[key] = value, deadline
        self.judge([each for each in told if each[1] == value])  # a ttl of zero

    def judge(self, told: list[Any]) -> None:
        for key, value, cause in told:
            assert self.model[key][0] == value
            if cause == "expired":
                assert not self.is_live(key), "a live item was told to have expired"
                self.expired += 1
            else:
                self.judge_eviction(key, cause)
            del self.model[key]

    def judge_eviction(self, key: int, cause: str) -> None:
        assert cause == "evicted"
        assert len(self.model) == self.most, "an item was put out of a store that was not full"
        assert len(self.live()) == len(self.model), "a live item was put out before one that had expired"
        assert self.policy != "lru" or key == next(iter(self.model)), "not the one used longest ago was put out"
        self.evicted += 1

    def comes_upon(self, key: int) -> None:
        """A lookup takes out what it finds expired, and nothing else."""
        told = self.told.take()
        assert [each[0] for each in told] == [key] * (key in self.model and not self.is_live(key))
        self.judge(told)

    def takes_out(self, key: int) -> int | None:
        """The value that is to be taken out on request; an item that has expired goes too, as that."""
        if not self.is_live(key):
            self.comes_upon(key)
            return None
        value = self.model.pop(key)[0]
        assert self.told.take() == [(key, value, "explicit")]
        return value

    # ---- the steps

    @rule(key=KEYS, ttl=TTLS)
    def set(self, key: int, ttl: float | None) -> None:
        value = self.new_value()
        assert self.store.set(key, value, ttl) is True
        self.stores(key, value, self.deadline(ttl))

    @rule(key=KEYS)
    def set_by_default(self, key: int) -> None:
        self.store[key] = value = self.new_value()
        self.stores(key, value, self.deadline(DEFAULT))

    @rule(key=KEYS, ttl=TTLS)
    def add(self, key: int, ttl: float | None) -> None:
        value, was_live = self.new_value(), self.is_live(key)
        assert self.store.add(key, value, ttl) is not was_live
        if was_live:
            assert self.told.take() == []
        else:
            self.stores(key, value, self.deadline(ttl))

    @rule(key=KEYS, ttl=TTLS)
    def get_or_fill(self, key: int, ttl: float | None) -> None:
        value, was_live = self.new_value(), self.is_live(key)
        got = self.store.get_or_fill(key, lambda key: value, ttl)
        found = self.look_up(key)
        assert got == (found if was_live else value)
        if not was_live:
            self.fills += 1
            self.stores_filled(key, value, self.deadline(ttl), is_stored=ttl != 0)

    def stores_filled(self, key: int, value: int, deadline: float | None, is_stored: bool = True) -> None:
        """The lookup has taken out what had expired, before the fill; with a ttl of 0, nothing is stored."""
        if key in self.model:
            told = self.told.all.pop(0)
            assert told[:2] == (key, self.model.pop(key)[0]) and told[2].value == "expired"
            self.expired += 1
        if is_stored:
            self.stores(key, value, deadline)

    @rule(key=KEYS)
    def get(self, key: int) -> None:
        got = self.store.get(key)
        self.comes_upon(key)
        assert got == self.look_up(key)

    @rule(key=KEYS)
    def peek(self, key: int) -> None:
        expected = self.model[key][0] if self.is_live(key) else CACHE_MISS
        assert self.store.peek(key) == expected
        self.comes_upon(key)

    @rule(key=KEYS)
    def ttl_of(self, key: int) -> None:
        deadline = self.model[key][1] if key in self.model else None
        expected = None if deadline is None else deadline - self.clock()
        assert self.store.ttl_of(key) == (expected if self.is_live(key) else CACHE_MISS)
        assert self.told.take() == []

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        was_live = self.is_live(key)
        assert self.store.delete(key) is was_live
        self.takes_out(key)

    @rule(key=KEYS)
    def pop(self, key: int) -> None:
        got = self.store.pop(key, None)
        assert got == self.takes_out(key)

    @rule(key=KEYS, ttl=TTLS)
    def expire_in(self, key: int, ttl: float | None) -> None:
        was_live = self.is_live(key)
        assert self.store.expire_in(key, ttl) is was_live
        if was_live:
            self.model[key] = self.model[key][0], self.deadline(ttl)
        assert self.told.take() == []

    @rule(by=st.sampled_from([1, 1, 2, 50]))
    def advance(self, by: float) -> None:
        self.clock.advance(by)

    @rule()
    def clear(self) -> None:
        self.store.clear()
        told = dict.fromkeys(key for key, _, _ in self.told.all)
        assert set(told) == set(self.model)
        assert all(cause == ("explicit" if self.is_live(key) else "expired") for key, _, cause in self.told.take())
        self.expired += len(self.model) - len(self.live())
        self.model.clear()

    # ---- after each step

    @invariant()
    def the_books_are_in_order(self) -> None:
        check_books(self.store)

    @invariant()
    def store_and_model_agree(self) -> None:
        live = self.live()
        assert sorted(self.store) == sorted(live) and len(self.store) == len(live)
        assert self.store.number_of_items == len(self.model)
        assert {key: self.store._state.find(key).value for key in live} == {key: self.model[key][0] for key in live}
        info = self.store.cache_info()
        assert (info.hits, info.misses, info.fills) == (self.hits, self.misses, self.fills)
        assert (info.expirations, info.evictions, info.currsize) == (self.expired, self.evicted, len(live))


class S3FifoMachine(StorageMachine):
    """The same, but for the order in which items are put out."""

    policy = "s3fifo"


BUDGET = settings(stateful_step_count=60)  # and what conftest.py says
TestLru = StorageMachine.TestCase
TestS3Fifo = S3FifoMachine.TestCase
TestLru.settings = TestS3Fifo.settings = BUDGET
