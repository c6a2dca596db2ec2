"""Faults that bounded stores had, each with a test: what is under the lock at once, and what is told, and how often."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from typing import Any

import pytest

from areole import AtomicCache, Storage
from areole._eviction.lru import FILED_A_TIME, LruPolicy
from areole._index.limits import OVERHEAD
from areole.testing import ManualClock

from ..kit import (
    PATIENCE,
    Gate,
    Told,
    assert_valid,
    check_books,
    every_policy,
    is_free_threaded,
    make_store,
    make_weighed,
)

# ---- stored exceptions


def fail(key: Any) -> Any:
    if isinstance(key, int):
        raise LookupError(key)
    return key


@every_policy
def test_a_stored_exception_counts_as_an_item_and_is_put_out_like_a_value(policy: str) -> None:
    told = Told()
    cache = AtomicCache(fail, cache_exceptions=True, max_items=3, policy=policy, on_removal=told)
    for key in range(10):
        with pytest.raises(LookupError):
            cache[key]
        assert cache._state.index.count()[0] == len(cache._state.index.snapshot()) == min(key + 1, 3)
        check_books(cache)
    kept = [entry.key for entry in cache._state.index.snapshot()]
    fills = cache.cache_info().fills
    for key in kept:
        with pytest.raises(LookupError):
            cache[key]
    assert cache.cache_info().fills == fills == 10
    for key in "abcdef":
        assert cache[key] == key
    assert cache._state.index.count()[0] == 3 and {cause for _, _, cause in told.all} <= {_cause("EVICTED")}
    assert all(isinstance(value, str) for _, value, _ in told.all), "an exception was told as a value"
    check_books(cache)


def _cause(name: str) -> Any:
    from areole import RemovalCause

    return RemovalCause[name]


@every_policy
def test_a_stored_exception_weighs_its_key_and_expires_and_leaves_the_books(policy: str) -> None:
    clock = ManualClock()
    cache = make_weighed(policy, fail, 5, cache_exceptions=LookupError, ttl=10, clock=clock)
    for key in range(3):
        with pytest.raises(LookupError):
            cache[key]
    items, weight = cache._state.index.count()
    assert items == 3 and 0 < weight < 5000
    assert cache.invalidate(0) is True and cache._state.index.count()[0] == 2
    check_books(cache)
    clock.advance(10)
    with pytest.raises(LookupError):
        cache[1]
    assert cache._state.index.count()[0] == 1 and cache.cache_info().fills == 4, "the other had expired, and went"
    check_books(cache)


def test_a_stored_exception_that_is_used_is_kept_by_lru() -> None:
    cache = AtomicCache(fail, cache_exceptions=True, max_items=3, policy="lru")
    for key in (1, "a", "b", 1, "c", 1, "d", 1):
        if isinstance(key, int):
            with pytest.raises(LookupError):
                cache[key]
        else:
            cache[key]
    assert cache.cache_info().failures == 1
    check_books(cache)


# ---- keys that turn bad


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

    With another operation in between, which makes the first one fail, it is done a second time, and raises then.
    """
    told = Told()
    store = make_store(policy, max_items=2, on_removal=told)
    first, new = Acting(), Acting()
    store.set("out", 1), store.set(first, 2), store.get(first)
    acts = [lambda: None, refuse]
    if comes_in_between:
        acts = [lambda: None, lambda: (store.number_of_items, refuse()), refuse]
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
    """The same in `_do`: an operation that comes in as room is made has the rest of it done again, which raises."""
    told = Told()
    cache = AtomicCache(lambda key: key, max_items=3, policy="lru", on_removal=told)
    first, out, new = Acting(), Acting(), Acting()
    cache[first], cache[out], cache[first], cache["spare"]
    looks = [lambda: None] * 2  # by the lookup and the claim; the publishing makes room at once
    first.acts = [*looks, lambda: cache.invalidate("spare"), refuse, refuse]
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


# ---- operations inside others


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


# ---- how much is done under the lock at once


def count_filings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which each entry is added that an lru policy files again."""
    filed: list[Any] = []
    file_again = LruPolicy._file_again

    def count(policy: LruPolicy, entry: Any, used: int) -> None:
        filed.append(entry)
        file_again(policy, entry, used)

    monkeypatch.setattr(LruPolicy, "_file_again", count)
    return filed


def test_no_set_files_more_than_so_many_again_after_all_values_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the first `set` filed all of them again, 0.9 s in a store of 400,000."""
    filed, many, told = count_filings(monkeypatch), 10 * FILED_A_TIME, Told()
    store = make_store("lru", max_items=many, on_removal=told)
    for key in range(many):
        store.set(key, key)
    for key in range(many):
        store.get(key)
    for n in range(1, 30):
        store.set(("new", n), 0)
        assert len(filed) == min(n, 10) * FILED_A_TIME
    assert [key for key, _, _ in told.take()] == list(range(29)), "as used in order, so looked at in order: exact"
    check_books(store)


def test_a_set_after_fewer_uses_than_it_files_again_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    filed, many = count_filings(monkeypatch), FILED_A_TIME
    store = make_store("lru", max_items=many)
    for key in range(many):
        store.set(key, key)
    for key in reversed(range(1, many)):
        store.get(key)
    store.get(0)
    store.set("new", 0)
    assert many - 1 not in store and store.number_of_items == many
    store.set("newer", 0)
    assert many - 2 not in store
    assert len(filed) == many
    check_books(store)


def test_a_value_that_is_replaced_by_a_larger_one_stays_in_its_place_and_is_told_once() -> None:
    many, told = 10 * FILED_A_TIME, Told()
    weigh = lambda key, value: value  # noqa: E731
    store = make_store("lru", size_limit_in_bytes=10**7, weigher=weigh, on_removal=told)
    for key in range(many):
        store.set(key, 10**7 // many - 1000)
    spare = 10**7 - store.size_in_bytes
    for key in range(many):
        store.get(key)
    store.set(0, 10**7 // many - 1000 + spare + 1)
    assert sorted((key, cause) for key, _, cause in told.take()) == [(0, "replaced"), (1, "evicted")]
    assert 0 in store and store.size_in_bytes <= 10**7
    check_books(store)


@every_policy
def test_what_has_expired_leaves_first_though_deadlines_of_what_is_gone_stand_before_it(policy: str) -> None:
    many, clock, told = 256, ManualClock(), Told()
    store = make_store(policy, clock=clock, max_items=many, on_removal=told)
    for key in range(many - 1):
        store.set(key, key, 1000 if key % 2 else 10)
    store.set("last", 0, 20)
    for key in range(0, many - 1, 2):
        store.expire_in(key, 1000)  # the pairs of the first deadline stay, and stand first
    clock.advance(20)
    store.set("new", 0)
    store.set("newer", 0)
    assert [key for key, _, cause in told.take() if cause == "expired"] == ["last"], "a live one left before it"
    check_books(store)


@every_policy
def test_an_entry_takes_the_memory_that_it_counts_for(policy: str) -> None:
    """Within a quarter, and not more than it counts for by a tenth. Nothing here is a matter of time."""
    size = 12_500  # tables of dicts grow in leaps; this is just after one, when an entry takes most
    keys = list(range(10**7, 10**7 + size))
    store = make_store(policy, max_items=size, size_limit_in_bytes=1 << 40, weigher=lambda key, value: 0)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            store.set(key, None)
        taken = (tracemalloc.get_traced_memory()[0] - before) / size
    finally:
        tracemalloc.stop()
    assert 0.7 * OVERHEAD < taken < 1.1 * OVERHEAD
    check_books(store)


@every_policy
@pytest.mark.parametrize("max_items", [3, 5, 8, 20])
def test_a_recursion_over_its_last_two_results_finds_them_in_a_tiny_cache(policy: str, max_items: int) -> None:
    @AtomicCache.memoize(max_items=max_items, policy=policy)
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    for n in range(30):  # a fault here is exponential: let it show before it hangs
        fib(n)
    assert fib.cache_info().fills <= 60
    check_books(fib.cache)


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_value_whose_entry_an_interrupted_removal_took_out_is_not_stored(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal marks the flight, by which its leader knows. One that is cut short before that leaves no mark."""
    gate = Gate()
    cache = AtomicCache(lambda key: gate.enter() or key, max_items=3, policy=policy)
    thread = threading.Thread(target=cache.fetch, args=("a",))
    thread.start()
    gate.wait_until_entered()

    def interrupted(entry: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(type(cache._state.index), "_note_removed", lambda index, entry: interrupted(entry))
    with pytest.raises(KeyboardInterrupt):
        cache.invalidate("a")
    gate.open()
    thread.join(PATIENCE)
    assert "a" not in cache and len(cache) == 0
    assert cache["a"] == "a"
    assert_valid(cache)


@pytest.mark.skipif(not is_free_threaded(), reason="with a GIL a claim waits for the lock")
@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_set_detaches_a_fill_that_claims_its_key_between_its_look_and_its_store(policy: str) -> None:
    gate = Gate()
    store = Storage[Any](max_items=3, policy=policy)
    thread = threading.Thread(target=store.get_or_fill, args=("a", lambda key: gate.enter() or "filled"))

    class ClaimedBetween(dict[Any, Any]):
        """Has the fill claim right after a look has found nothing."""

        def get(self, key: Any, default: Any = None) -> Any:
            found = super().get(key, default)
            if found is None and thread.ident is None:
                thread.start()
                gate.wait_until_entered()
            return found

    store._state.index.entries = store._entries = ClaimedBetween()
    store.set("a", "set")
    gate.open()
    thread.join(PATIENCE)
    assert store.get("a") == "set"
    assert store.number_of_items == 1
    assert_valid(store)
