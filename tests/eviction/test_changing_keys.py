"""Keys that come to raise, or act, while they are stored in a cache with limits: what was evicted is reported."""

from __future__ import annotations

from typing import Any

import pytest

from areole import AtomicCache

from ..kit import Told, check_books, every_policy, make_store


class Key:
    """Can be told to raise when it is hashed, or compared too."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.raises: tuple[str, ...] = ()

    def __hash__(self) -> int:
        if "hash" in self.raises:
            raise ValueError("hash")
        return hash(self.n) % 2

    def __eq__(self, other: object) -> bool:
        if "eq" in self.raises:
            raise ValueError("eq")
        return isinstance(other, Key) and self.n == other.n


class Acting:
    """Does the next of `acts`, where there is one, when it is compared with another of its kind."""

    def __init__(self) -> None:
        self.acts: list[Any] = []

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self.acts:
            self.acts.pop(0)()
        return self is other


def refuse() -> None:
    raise ValueError("eq")


@every_policy
@pytest.mark.parametrize("comes_in_between", [False, True])
def test_what_a_set_has_put_out_is_told_though_it_raises(policy: str, comes_in_between: bool) -> None:
    """A key that is there raises when the new one is compared with it, after room was made; the next operation tells.

    It may raise after another operation has come in between.
    """
    told = Told()
    store = make_store(policy, max_items=2, on_removal=told)
    first, new = Acting(), Acting()
    store.set("out", 1), store.set(first, 2), store.get(first)
    acts = [lambda: None, refuse]
    if comes_in_between:
        acts = [lambda: None, lambda: (store.delete(0), refuse())]
    first.acts = acts
    with pytest.raises(ValueError, match="eq"):
        store.set(new, 3)
    assert first.acts == [], "it raised too early"
    assert told.take() == []
    assert store.number_of_items == 1 and store.size_in_bytes, "who only counts has nobody to tell"
    assert store.set("next", 4)
    assert told.take() == [("out", 1, "evicted")]
    check_books(store)


def test_what_a_fill_has_put_out_is_told_though_its_publishing_raises() -> None:
    """The same where an operation that comes in as room is made has the rest of it look again, which raises."""
    told = Told()
    cache = AtomicCache(lambda key: key, max_items=3, policy="lru", on_removal=told)
    first, out, new = Acting(), Acting(), Acting()
    cache[first], cache[out], cache[first], cache["spare"]
    cache._state.index._trusts_marks = False  # as after an operation that was cut short: it looks its key up
    looks = [lambda: None] * 3  # by the lookup, the claim, and the publishing, which then makes room
    first.acts = [*looks, lambda: cache.invalidate("spare"), refuse]
    with pytest.raises(ValueError, match="eq"):
        cache[new]
    assert first.acts == [], "it raised too early"
    cache["next"]
    assert [(value, cause) for _, value, cause in told.take()] == [("spare", "explicit"), (out, "evicted")]
    assert list(cache) == [first, "next"]
    check_books(cache)


@every_policy
@pytest.mark.parametrize("raises", [("hash",), ("hash", "eq")], ids="+".join)
def test_a_key_that_has_come_to_raise_is_evicted_all_the_same(policy: str, raises: tuple[str, ...]) -> None:
    told = Told()
    store = make_store(policy, max_items=3, on_removal=told)
    bad = [Key(0), Key(1), Key(2)]
    store.set_many({key: key.n for key in bad})
    for key in bad:
        key.raises = raises
    for n in range(10, 40):
        assert store.set(n, n)
        store.get(n)
        assert store.number_of_items == 3
    gone = sorted(value for _, value, _ in told.all if value < 3)
    assert gone == sorted(set(gone)) and gone, "none has left, or one twice"
    kept = {entry.key for entry in store._state.index.snapshot() if entry.is_stored and isinstance(entry.key, int)}
    assert len(kept) == len(gone)
    if raises == ("hash",):
        assert len(store._state.index.entries) == 3
