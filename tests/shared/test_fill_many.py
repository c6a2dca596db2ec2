"""get_or_fill_many, and caches with fill_many in front of a SharedCache: one look, one call, each key fenced alone."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, BackendError, Resilience, SharedCache, Storage, sources
from areole.backends import MemoryBackend
from areole.backends.in_executor import InPlace
from areole.errors import BackendTimeout, KeyLeftOutError

from ..interleave import EXHAUSTIVE, Injected, before_each, inject, signal_steps
from ..kit import PATIENCE, Gate, ManualClock, assert_valid, run, start_threads, until

TOKEN = b"0123456789abcdef"


class Counting(MemoryBackend):
    """Counts what it is asked, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.fails: Callable[[str, str], bool] = lambda method, key: False
        self.unreadable: Any = ()

    def get_many(self, keys: Any, /) -> Any:
        self.asked["get_many"] += 1
        if any(key.endswith(self.unreadable) for key in keys):
            raise BackendError("get_many")
        return super().get_many(keys)

    def take(self, key: str, /, *args: Any) -> Any:
        self.asked["take"] += 1
        if self.fails("take", key):
            raise BackendError("take")
        return super().take(key, *args)

    def store_if_mine(self, key: str, /, *args: Any) -> Any:
        self.asked["store_if_mine"] += 1
        return super().store_if_mine(key, *args)


class Many(Counting):
    """Can be asked for many keys at once; fails as a whole."""

    def take_many(self, asked: Any, /) -> Any:
        self.asked["take_many"] += 1
        return [self.take(*each) for each in asked]

    def store_many_if_mine(self, asked: Any, /) -> Any:
        self.asked["store_many_if_mine"] += 1
        return [self.store_if_mine(*each) for each in asked]


class ManyLater(InPlace):
    """The same for tasks."""

    async def take_many(self, asked: Any, /) -> Any:
        return [await self.take(*each) for each in asked]

    async def store_many_if_mine(self, asked: Any, /) -> Any:
        return [await self.store_if_mine(*each) for each in asked]


class Source:
    """Gives of each key its double, but of "none"; notes what it was asked for."""

    def __init__(self, before: Callable[[], object] = int) -> None:
        self.calls: list[list[Any]] = []
        self.before = before

    def __call__(self, keys: list[Any]) -> Any:
        self.calls.append(keys)
        self.before()
        return {key: key * 2 for key in keys if key != "none"}

    async def later(self, keys: list[Any]) -> Any:
        await asyncio.sleep(0)
        return self(keys)


@pytest.fixture(params=[Counting, Many])
def backend(request: Any) -> Iterator[Counting]:
    with request.param() as made:
        yield made


def open_shop(backend: Any, **options: Any) -> SharedCache[Any]:
    return SharedCache(backend, namespace="shop", ttl=60, **options)


def stands_free(backend: MemoryBackend, key: str) -> bool:
    """Say whether no fill has the token of `key`, which this one takes."""
    return backend.take(f"shop:v1:{key}", TOKEN, 1.0)[1] == TOKEN


def test_what_is_there_is_read_at_once_and_the_rest_is_filled_by_one_call(backend: Counting) -> None:
    shop, source = open_shop(backend), Source()
    shop.set("b", "there")
    backend.asked.clear()
    with sources() as seen:
        assert shop.get_or_fill_many(["a", "b", "c", "a"], source) == {"a": "aa", "b": "there", "c": "cc"}
    assert source.calls == [["a", "c"]]
    by_one = {"take_many": 1, "store_many_if_mine": 1} if isinstance(backend, Many) else {}
    assert backend.asked == {"get_many": 1, "take": 2, "store_if_mine": 2, **by_one}
    assert [(each.key, each.source) for each in seen] == [("a", "filled"), ("b", "shared"), ("c", "filled")]
    info = shop.cache_info()
    assert (info.hits, info.misses, info.fills, info.failures) == (1, 2, 2, 0)
    assert shop.get_or_fill_many(["a", "c"], source) == {"a": "aa", "c": "cc"}
    assert shop.get_or_fill_many([], source) == {} and len(source.calls) == 1
    assert list(shop.aio.cache_info()) == list(shop.cache_info())


def test_values_in_order_are_taken_and_what_is_no_answer_is_refused(backend: Counting) -> None:
    shop = open_shop(backend)
    assert shop.get_or_fill_many([1, 2], lambda keys: [key + 1 for key in keys]) == {1: 2, 2: 3}
    with pytest.raises(ValueError, match="returned 1 values for 2 keys"):
        shop.get_or_fill_many([3, 4], lambda keys: [0])
    with pytest.raises(TypeError, match="fill_many must be a plain function"):
        shop.get_or_fill_many([3], Source().later)
    with pytest.raises(TypeError, match="get_or_fill_many takes an iterable of keys"):
        shop.get_or_fill_many("ab", Source())


def test_a_key_that_is_changed_during_the_call_is_stored_by_nobody_and_the_others_are(backend: Counting) -> None:
    """1. A's batch reads a, b and c    2. another process changes them    3. A stores what it had read: stale"""
    shop, other = open_shop(backend), open_shop(backend)

    def change() -> None:
        other.delete("a")
        other.set("b", "newer")

    assert shop.get_or_fill_many(["a", "b", "c"], Source(change)) == {"a": "aa", "b": "bb", "c": "cc"}
    assert other.get_many(["a", "b", "c"]) == {"b": "newer", "c": "cc"}
    shop.get_or_fill_many(["x", "y"], Source(other.clear))
    assert other.get_many(["x", "y"]) == {}


def test_what_fails_for_one_key_fails_for_no_other_and_no_token_is_left(backend: Counting) -> None:
    shop = open_shop(backend)
    with pytest.raises(KeyLeftOutError, match="none"):
        shop.get_or_fill_many(["a", "none", "b"], Source())
    assert shop.get_many(["a", "none", "b"]) == {"a": "aa", "b": "bb"}
    with pytest.raises(ZeroDivisionError):
        shop.get_or_fill_many(["c", "d"], lambda keys: 1 // 0)  # type: ignore[arg-type]
    backend.fails = lambda method, key: key.endswith(":f")
    with pytest.raises(BackendError):
        shop.get_or_fill_many(["e", "f", "g"], Source())
    backend.fails = lambda method, key: False
    assert shop.get_many(["e", "f", "g"]) == {"e": "ee", "g": "gg"}
    assert all(stands_free(backend, key) for key in ("none", "c", "d"))


class Late(Many):
    """Does not answer when it is asked for many tokens, and does that later; or at once, and its answer is lost."""

    is_done = False

    def take_many(self, asked: Any, /) -> Any:
        self.later = list(asked)
        if self.is_done:
            super().take_many(asked)
        raise BackendTimeout("take_many: no answer")


def test_a_token_that_a_late_server_takes_after_a_delete_stores_nothing() -> None:
    """Broken: 1. A takes tokens, unanswered, and again alone 2. B deletes 3. the server does the first: A's stands."""
    with Late() as backend:
        shop, other = open_shop(backend), open_shop(backend)
        shop.set("z", "there")  # under a version

        def delete_and_be_late() -> None:
            other.delete("a")
            for each in backend.later:
                backend.take(*each)

        assert shop.get_or_fill_many(["a", "b"], Source(delete_and_be_late)) == {"a": "aa", "b": "bb"}
        assert other.get_many(["a", "b"]) == {"b": "bb"}


def test_a_token_that_was_taken_though_the_answer_was_lost_is_given_back_by_a_fill_that_fails() -> None:
    with Late() as backend:
        backend.is_done = True
        shop = open_shop(backend)
        shop.set("z", "there")
        with pytest.raises(ZeroDivisionError):
            shop.get_or_fill_many(["a", "b"], lambda keys: 1 // 0)  # type: ignore[arg-type]
        assert stands_free(backend, "a") and stands_free(backend, "b")


def test_a_tag_that_cannot_be_read_fails_the_keys_that_have_it_and_no_other(backend: Counting) -> None:
    shop, calls = open_shop(backend), Source()
    cache: Any = AtomicCache(fill_many=calls, shared=shop, tags=["of:{key}"])
    backend.unreadable = "of:f"
    with pytest.raises(BackendError):
        cache.fetch_many(["e", "f", "g"])
    assert calls.calls == [["e", "g"]]
    backend.unreadable = ()
    assert list(cache) == ["e", "g"] and shop.get_many(["e", "f", "g"]) == {"e": "ee", "g": "gg"}


def test_where_the_store_fails_and_that_is_a_miss_all_are_filled(backend: Counting) -> None:
    shop, source = open_shop(backend, on_error="miss"), Source()
    backend.fails = lambda method, key: key.endswith(":b")
    assert shop.get_or_fill_many(["a", "b", "c"], source) == {"a": "aa", "b": "bb", "c": "cc"}
    assert source.calls == [["a", "b", "c"]]
    assert shop.get_many(["a", "b", "c"]) == {"a": "aa", "c": "cc"}


def test_a_key_that_another_caller_fills_is_joined(backend: Counting) -> None:
    shop, gate, is_called = open_shop(backend), Gate(), threading.Event()
    source = Source(is_called.set)
    first = start_threads(lambda: shop.get_or_fill("a", lambda key: gate.enter() or "by one"))  # type: ignore[func-returns-value]
    gate.wait_until_entered()
    many = start_threads(lambda: shop.get_or_fill_many(["a", "b"], source))
    assert is_called.wait(PATIENCE)
    gate.open()
    assert first() == ["by one"] and many() == [{"a": "by one", "b": "bb"}]
    assert source.calls == [["b"]]


def test_a_local_storage_keeps_them_and_a_bypass_passes_the_store(backend: Counting) -> None:
    shop, source = open_shop(backend, local=Storage(max_items=9)), Source()
    assert shop.get_or_fill_many(["a", "b"], source) == {"a": "aa", "b": "bb"}
    backend.asked.clear()
    assert shop.get_or_fill_many(["a", "b"], source) == {"a": "aa", "b": "bb"}
    assert not backend.asked and source.calls == [["a", "b"]]
    with pytest.raises(KeyError):
        shop.get_or_fill_many(["c", "none"], source)
    assert shop.get("c") == "cc"
    with shop.bypass():
        assert shop.get_or_fill_many(["a", "z"], source) == {"a": "aa", "z": "zz"}
    assert source.calls[-1] == ["a", "z"] and shop.get("z") is None


@pytest.mark.parametrize("kind", [MemoryBackend, Many])
def test_an_interrupt_before_any_instruction_leaves_a_cache_that_works(kind: type[MemoryBackend]) -> None:
    assert before_each(signal_steps, partial(interrupted, kind), stride=1 if EXHAUSTIVE else 60) > 200


def interrupted(kind: type[MemoryBackend], at: int) -> Injected:
    with kind() as backend:
        shop = open_shop(backend, lease=0.01)

        def interrupt() -> None:
            raise KeyboardInterrupt

        injected = inject(lambda: shop.get_or_fill_many(["a", "b"], Source()), interrupt, at)
        if injected.places:
            assert isinstance(injected.result, KeyboardInterrupt), f"{injected!r}: swallowed, for {injected.result!r}"
        assert start_threads(lambda: shop.get_or_fill_many(["a", "b"], Source()))() == [{"a": "aa", "b": "bb"}]
        assert shop._state.flights.index.snapshot() == []
        return injected


# ---- in front of it


def test_a_cache_with_fill_many_asks_the_shared_one_once_and_fills_the_rest_by_one_call(backend: Counting) -> None:
    shop, source = open_shop(backend), Source()
    shop.set("b", "there")
    cache: Any = AtomicCache(fill_many=source, shared=shop, local_ttl=30)
    backend.asked.clear()
    assert cache.fetch_many(["a", "b", "c"]) == {"a": "aa", "b": "there", "c": "cc"}
    assert source.calls == [["a", "c"]] and backend.asked["get_many"] == 1
    backend.asked.clear()
    assert cache.fetch_many(["c", "b", "a"]) == {"c": "cc", "b": "there", "a": "aa"} and not backend.asked
    other: Any = AtomicCache(fill_many=source, shared=open_shop(backend))
    assert other.fetch_many(["a", "c"]) == {"a": "aa", "c": "cc"} and len(source.calls) == 1
    info = cache.cache_info()
    assert (info.fills, info.shared_hits, info.misses) == (2, 1, 3)
    assert cache.refresh("a") == "aa" and source.calls[-1] == ["a"]
    for each in (cache, other):
        assert_valid(each)


def test_an_invalidation_of_one_key_during_the_call_wins_for_that_key_in_both_tiers(backend: Counting) -> None:
    shop, source = open_shop(backend), Source()
    cache: Any = AtomicCache(fill_many=source, shared=shop)
    source.before = lambda: cache.invalidate("a")
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    assert list(cache) == ["b"] and shop.get_many(["a", "b"]) == {"b": "bb"}
    assert_valid(cache)


def test_an_invalidated_tag_of_one_key_during_the_call_wins_for_that_key_in_both_tiers(backend: Counting) -> None:
    shop, other, source = open_shop(backend), open_shop(backend), Source()
    cache: Any = AtomicCache(fill_many=source, shared=shop, tags=["of:{key}"])
    source.before = lambda: other.invalidate_tags("of:a")
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    assert list(cache) == ["b"] and shop.get_many(["a", "b"]) == {"b": "bb"}
    other.invalidate_tags("of:b")
    assert len(cache) == 0 and shop.get("b") is None
    assert_valid(cache)


@pytest.mark.parametrize("is_async", [False, True])
def test_the_versions_of_all_tags_of_a_batch_are_read_at_once_before_the_call_and_after_it(is_async: bool) -> None:
    with Counting() as backend:
        shop, source = open_shop(backend), Source()
        kind: Any = AsyncAtomicCache if is_async else AtomicCache
        cache = kind(fill_many=source, shared=shop, tags=["all", "of:{key}"])

        def fetch(keys: list[Any]) -> Any:
            return asyncio.run(cache.fetch_many(keys)) if is_async else cache.fetch_many(keys)

        fetch(keys := list(range(20)))  # so that each tag has a version
        shop.delete_many(keys)
        asked = []
        source.before = lambda: asked.append(backend.asked["get_many"])
        backend.asked.clear()
        assert len(fetch(keys)) == 20 and asked == [2] and backend.asked["get_many"] == 3
        shop.invalidate_tags("of:3")
        assert sorted(cache) == sorted(shop.get_many(keys)) == [key for key in keys if key != 3]


def test_a_key_that_is_left_out_fails_alone_and_is_kept_for_its_negative_ttl(backend: Counting) -> None:
    clock, source = ManualClock(), Source()
    cache: Any = AtomicCache(
        fill_many=source, shared=open_shop(backend), clock=clock, resilience=Resilience(negative_ttl=1)
    )
    for _ in range(2):
        with pytest.raises(KeyLeftOutError):
            cache.fetch_many(["a", "none", "b"])
    assert source.calls == [["a", "none", "b"]]
    assert cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
    clock.advance(1)
    with pytest.raises(KeyLeftOutError):
        cache["none"]
    assert source.calls[1:] == [["none"]]
    assert_valid(cache)


# ---- loops


def test_tasks_read_once_and_fill_the_rest_by_one_call(on_loop: Any) -> None:
    async def main() -> None:
        with Counting() as backend:
            shop, source = open_shop(backend), Source()
            assert await shop.aio.get_or_fill_many(["a", "b"], source.later) == {"a": "aa", "b": "bb"}
            assert await shop.aio.get_or_fill_many(["a", "c"], source) == {"a": "aa", "c": "cc"}
            cache: Any = AsyncAtomicCache(fill_many=source.later, shared=shop, coalesce=60, max_batch=2)
            assert await cache.fetch_many(["a", "d", "e"]) == {"a": "aa", "d": "dd", "e": "ee"}
            assert await asyncio.gather(cache["f"], cache["g"]) == ["ff", "gg"]
            assert sorted(map(sorted, source.calls)) == [["a", "b"], ["c"], ["d"], ["e"], ["f", "g"]]
            with pytest.raises(KeyError):
                await cache.fetch_many(["none", "h"])
            assert await shop.aio.get("h") == "hh"
            assert await asyncio.to_thread(cache.sync.fetch_many, ["h", "i"]) == {"h": "hh", "i": "ii"}
            assert_valid(cache)

    on_loop(main)


@pytest.mark.parametrize("as_store", [lambda backend: backend, ManyLater])
def test_a_cancelled_call_leaves_no_token_and_takes_nothing_from_one_that_has_joined(as_store: Any) -> None:
    async def main() -> None:
        with Counting() as backend:
            shop, gate, calls = open_shop(as_store(backend)), asyncio.Event(), []

            async def load(keys: list[str]) -> list[str]:
                calls.append(keys)
                await gate.wait()
                return [key * 2 for key in keys]

            first = asyncio.create_task(shop.aio.get_or_fill_many(["a", "b"], load))
            await until(lambda: calls)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert stands_free(backend, "a") and stands_free(backend, "b")
            first = asyncio.create_task(shop.aio.get_or_fill_many(["x", "y"], load))
            await until(lambda: len(calls) == 2)
            second = asyncio.create_task(shop.aio.get_or_fill_many(["y", "z"], load))
            await until(lambda: len(calls) == 3)
            first.cancel()
            gate.set()
            assert await second == {"y": "yy", "z": "zz"}
            assert calls == [["a", "b"], ["x", "y"], ["z"]]

    run(main)
