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

from ..interleave import Injected, inject, met_new_code, signal_steps, watched
from ..kit import check_books, every_policy, make_store


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
    at = 1
    with watched(signal_steps):
        while act_before_step(at, OPERATIONS[operation], ACTIONS[action], partial(Watched, policy, is_store)).places:
            at += 1
    assert at > 20


def act_before_step(at: int, operate: Any, act: Any, make: Callable[[], Watched]) -> Injected:
    again = True
    while again:
        subject = make()
        again, injected = met_new_code(partial(inject, partial(operate, subject), partial(acted, act, subject), at))
    assert not isinstance(injected.result, BaseException), repr(injected)
    try:
        subject.check()
    except AssertionError as error:
        raise AssertionError(f"{injected}: {error}") from None
    return injected


def acted(act: Callable[[Watched], Any], subject: Watched) -> None:
    act(subject)
    subject.look()
