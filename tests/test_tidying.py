"""Expired values leave a cache without limits, though nobody asks for them again (known fault: cereggii, measured)."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from areole import AtomicCache, RemovalCause
from areole._index import DictIndex
from areole._tidier import LEAST_FILLS

from .support import ManualClock, assert_valid, run_threads


def filled(count: int, **options: Any) -> tuple[AtomicCache[Any, Any], ManualClock]:
    clock = ManualClock()
    cache = AtomicCache(lambda key: key, 10, clock=clock, **options)
    for key in range(count):
        cache[key]
    return cache, clock


@pytest.mark.parametrize("count", [10, 1000, 3000])
def test_what_has_expired_leaves_as_other_keys_are_filled(count: int) -> None:
    cache, clock = filled(count)
    clock.advance(10)
    fills = 0
    while any(key < count for key in [entry.key for entry in cache._index.snapshot()]):
        fills += 1
        assert fills <= 2 * count + 2 * LEAST_FILLS
        cache[count + fills]
    assert cache.cache_info().expirations == count
    assert_valid(cache)


def test_of_keys_that_are_used_once_only_so_many_are_kept_as_live_at_once() -> None:
    cache, clock = filled(0)
    for key in range(20_000):
        cache[key]
        clock.advance(0.01)  # so a thousand live at once
        assert len(cache._index.snapshot()) <= 2 * 1000 + 2 * LEAST_FILLS
    assert_valid(cache)


def test_a_value_that_lives_stays_and_one_that_was_filled_anew_too() -> None:
    cache, clock = filled(100)
    clock.advance(9)
    cache.refresh(0)
    clock.advance(1)
    cache[1]
    for key in range(1000, 1400):
        cache[key]
    assert (cache.get(0), cache.get(1), cache.get(2)) == (0, 1, None)
    assert cache.cache_info().fills == 100 + 2 + 400


def test_each_is_told_once() -> None:
    told: list[Any] = []
    cache, clock = filled(500, on_removal=lambda key, value, cause: told.append((key, cause)))
    clock.advance(10)
    for key in range(1000, 2200):
        cache[key]
    assert sorted(key for key, cause in told) == list(range(500))
    assert {cause for key, cause in told} == {RemovalCause.EXPIRED}


def test_sweep_takes_out_all_at_once() -> None:
    cache, clock = filled(100)
    clock.advance(5)
    assert cache.sweep() == 0
    cache["late"]
    clock.advance(5)
    assert cache.sweep() == 100
    assert list(cache) == ["late"]
    assert_valid(cache)


def test_each_instance_of_a_class_has_its_own() -> None:
    clock = ManualClock()

    class Owner:
        @AtomicCache.memoize(ttl=10, clock=clock)
        def method(self, n: int) -> int:
            return n

    one, other = Owner(), Owner()
    for n in range(100):
        assert one.method(n) == n
    clock.advance(10)
    for n in range(300):
        assert other.method(n) == n
    assert len(one.method.cache._index.snapshot()) == 100, "the other's fills are not its"
    for n in range(1000, 1300):
        assert one.method(n) == n
    assert len(one.method.cache._index.snapshot()) == 300


def test_a_key_whose_methods_raise_spoils_no_other_keys_fill() -> None:
    class Key:
        is_broken = False

        def __hash__(self) -> int:
            if self.is_broken:
                raise LookupError("hash")
            return 1

    cache, clock = filled(0)
    keys = [Key() for _ in range(10)]
    for key in keys:
        cache[key]
    clock.advance(10)
    for key in keys:
        key.is_broken = True
    assert [cache[n] for n in range(500)] == list(range(500))


def test_threads_that_fill_at_once_lose_and_tell_nothing_twice() -> None:
    told: list[Any] = []
    cache, clock = filled(2000, on_removal=lambda key, value, cause: told.append(key))
    clock.advance(10)
    ranges = [range(start, start + 1500) for start in (10_000, 20_000, 30_000, 40_000)]
    assert run_threads(*[lambda keys=keys: [cache[key] for key in keys] for keys in ranges]) == [*map(list, ranges)]
    assert sorted(told) == list(range(2000))
    assert len(cache) == 6000
    assert_valid(cache)


class Value:
    pass


REMOVALS: dict[str, Any] = {
    "invalidate": lambda cache, key: cache.invalidate(key),
    "get": lambda cache, key: cache.get(key),
    "fill": lambda cache, key: cache[key],
    "refresh": lambda cache, key: cache.refresh(key),
}


@pytest.mark.parametrize(
    ("comes", "how"), [*(("after", how) for how in REMOVALS), ("during", "invalidate"), ("during", "get")]
)
def test_an_expired_value_that_is_taken_out_singly_is_kept_nowhere(
    comes: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of them leave after the cache has looked what has expired, or while it looks:

    1. a look takes down which entries there are     3. it is let go of, and was not known
    2. one of them is taken out                      4. the look makes it known: kept until it is its turn
    """
    remove, clock = REMOVALS[how], ManualClock()
    cache = AtomicCache(lambda key: Value(), 10, clock=clock)
    count = 8 * LEAST_FILLS
    alive = [weakref.ref(cache[key]) for key in range(count)]
    clock.advance(10)
    snapshot, left = DictIndex.snapshot, iter(range(count // 2))

    def take_down(index: DictIndex) -> list[Any]:
        entries = snapshot(index)
        for key in left if comes == "during" else ():
            remove(cache, key)
        return entries

    monkeypatch.setattr(DictIndex, "snapshot", take_down)
    tidier: Any = cache._tidier
    while not tidier._expired:
        cache[object()]
        assert len(cache._index.entries) <= 3 * count, "it never looked"  # type: ignore[arg-type]
    for key in left:
        remove(cache, key)
    gc.collect()
    assert [ref for ref in alive[: count // 2] if ref() is not None] == []
    assert_valid(cache)


@pytest.mark.parametrize("remove", [lambda cache: cache.clear(), lambda cache: cache.sweep()], ids=["clear", "sweep"])
def test_what_a_clear_or_sweep_takes_out_is_kept_nowhere(remove: Any) -> None:
    clock = ManualClock()
    cache = AtomicCache(lambda key: Value(), 10, clock=clock)
    alive = [weakref.ref(cache[key]) for key in range(1000)]
    clock.advance(10)
    cache["looks"]
    remove(cache)
    gc.collect()
    assert [ref() for ref in alive if ref() is not None] == []
