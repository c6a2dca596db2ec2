"""A removal or a set inside another operation of a bounded index, at every moment: each value is reported once.

Found by the scenario `removals`, in stores and caches with limits:

    1. a set finds nothing under its key     2. a finalizer sets the key     3. the set overwrites that: not reported
and:
    1. an operation has stored its value, and changes the accounts     3. that change raises, as the accounts are new;
    2. a finalizer removes the value, and reports it                      the operation is done again: it is back
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest

from areole import AtomicCache, Storage
from areole.testing import assert_valid

from ..interleave import Injected, before_each, inject, signal_steps
from ..kit import Told, check_books, every_policy, make_store


class Watched:
    """A full cache or store of two items, `a` and `b`; which values were in it, and which were reported."""

    def __init__(self, policy: str, is_store: bool) -> None:
        self.numbers = count(1)
        self.reported: list[int] = []
        self.stored: set[int] = set()
        listen = lambda key, value, cause: self.reported.append(value)  # noqa: E731
        if is_store:
            self.cache: Any = make_store(policy, max_items=2, on_removal=listen)
        else:
            self.cache = AtomicCache(self.fill, max_items=2, policy=policy, on_removal=listen)
        for key in "ab":
            self.put(key) if is_store else self.cache[key]
        self.look()

    def fill(self, key: str) -> int:
        return next(self.numbers)

    def put(self, key: str) -> None:
        value = next(self.numbers)
        if self.cache.set(key, value):
            self.stored.add(value)

    def look(self) -> None:
        self.stored.update(value for key in "abcd" if (value := self.cache.peek(key, None)) is not None)

    def check(self) -> None:
        check_books(self.cache)
        self.look()
        for _ in range(2):  # what nested code could not report, the next operation does
            for key in "abcd":
                self.cache.invalidate(key)
            self.put("a") if isinstance(self.cache, Storage) else self.cache["a"]
        self.cache.invalidate("a")
        assert len(self.reported) == len(set(self.reported)), f"reported twice: {self.reported}"
        assert self.stored <= set(self.reported), f"stored {self.stored}, reported {self.reported}"


OPERATIONS: dict[str, Callable[[Watched], Any]] = {
    "set": lambda watched: watched.put("c"),
    "set over": lambda watched: watched.put("a"),
    "fill": lambda watched: watched.cache.get_or_fill("c", watched.fill),
    "pop": lambda watched: watched.cache.pop("a"),
    "read": lambda watched: watched.cache["c"],
    "refresh": lambda watched: watched.cache.refresh("a"),
}
ACTIONS: dict[str, Callable[[Watched], Any]] = {
    "set the same": lambda watched: (watched.put("c"), watched.put("a")),
    "set another": lambda watched: watched.put("d"),
    "invalidate another": lambda watched: watched.cache.invalidate("b"),
    "clear": lambda watched: watched.cache.clear(),
}
OF_STORES = [(operation, action) for operation in ("set", "set over", "fill", "pop") for action in ACTIONS]
OF_CACHES = [(operation, action) for operation in ("read", "refresh") for action in ("invalidate another", "clear")]


@every_policy
@pytest.mark.parametrize(
    ("operation", "action", "is_store"),
    [*[(*each, True) for each in OF_STORES], *[(*each, False) for each in OF_CACHES]],
)
def test_each_value_is_reported_once_whatever_a_handler_does_meanwhile(
    operation: str, action: str, is_store: bool, policy: str
) -> None:
    make = partial(Watched, policy, is_store)
    assert before_each(signal_steps, partial(act_before_step, OPERATIONS[operation], ACTIONS[action], make)) > 20


def act_before_step(operate: Any, act: Any, make: Callable[[], Watched], at: int) -> Injected:
    subject = make()
    injected = inject(partial(operate, subject), partial(acted, act, subject), at)
    assert not isinstance(injected.result, BaseException), repr(injected)
    try:
        subject.check()
    except AssertionError as error:
        raise AssertionError(f"{injected}: {error}") from None
    return injected


def acted(act: Callable[[Watched], Any], subject: Watched) -> None:
    act(subject)
    subject.look()


class Meddling:
    """A key whose `__hash__` calls a function, once, when it has been called so many times."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._calls_left = 0

    def call_at(self, nth: int) -> None:
        self._calls_left = nth

    def __hash__(self) -> int:
        self._calls_left -= 1
        if self._calls_left == 0:
            self._call()
        return 7


def test_what_a_key_has_put_in_the_place_of_what_is_deleted_is_told_though_the_items_are_counted_first() -> None:
    def meddle() -> None:
        assert storage.delete(key)
        assert storage.set(key, "other")

    told, key = Told(), Meddling(meddle)
    storage = make_store(max_items=10, on_removal=told)
    storage.set(key, "value")
    key.call_at(3)  # found; looked at again under the lock; taken out
    assert not storage.delete(key)
    assert storage.number_of_items == 0
    storage.set("next", "value")
    assert told.take() == [(key, "value", "explicit"), (key, "other", "evicted")]
    assert_valid(storage)


def test_what_was_put_out_for_a_value_whose_key_then_raises_is_told() -> None:
    def fail() -> None:
        raise LookupError

    told, key = Told(), Meddling(fail)
    storage = make_store(max_items=1, on_removal=told)
    storage.set("old", "value")
    key.call_at(3)  # hashed; looked up; put in, after room was made
    with pytest.raises(LookupError):
        storage.set(key, "value")
    storage.set("next", "value")
    assert told.take() == [("old", "value", "evicted")] and storage.cache_info().evictions == 1
    assert_valid(storage)


class Restless:
    """A key that does something to the store whenever it is compared."""

    def __init__(self, n: int, act: Any) -> None:
        self.n = n
        self.act = act

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        self.act()
        return isinstance(other, Restless) and self.n == other.n


@every_policy
@pytest.mark.parametrize("seed", range(4))
def test_no_value_is_told_twice_however_operations_come_inside_others(policy: str, seed: int) -> None:
    import random

    chance, told, inside = random.Random(seed), Told(), [False]
    store: Storage[int] = make_store(policy, max_items=3, on_removal=told)
    values = iter(range(10**6))

    def act() -> None:
        if not inside[0] and chance.random() < 0.3:
            inside[0] = True
            try:
                key = keys[chance.randrange(6)]
                chance.choice([store.delete, lambda key: store.set(key, next(values)), lambda _: store.set(99, 0)])(key)
            finally:
                inside[0] = False

    keys = [Restless(n, act) for n in range(6)]
    for _ in range(300):
        key = keys[chance.randrange(6)]
        chance.choice([store.delete, lambda key: store.set(key, next(values)), store.get])(key)
        assert store.number_of_items <= 3
    inside[0] = True
    present = [value for value in store.get_many(list(store)).values() if value]
    left = [value for _, value, _ in told.all if value]
    assert len(set(left)) == len(left), "a value was told twice"
    assert not set(left) & set(present), "a value was told, and is there"
    check_books(store)
