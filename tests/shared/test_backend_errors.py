"""A store that fails: a BackendError, or with `on_error="miss"` a counted miss; and the pause after failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from areole import CACHE_MISS, BackendError, SharedCache
from areole.backends import MemoryBackend
from areole.errors import BackendTimeout
from areole.testing import ManualClock

STEPS = [
    "get",
    "get_many",
    "set",
    "set_many",
    "take",
    "store_if_mine",
    "kill",
    "kill_many",
    "expire",
    "ttl_of",
    "clear",
]


class Faulty(MemoryBackend):
    """Fails from the call number `fails_at` on, as long as that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.fails_at: int | None = None
        self.error: Exception = BackendError("the store is down")

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(self.count, name, found) if name in STEPS else found

    def count(self, name: str, method: Callable[..., Any], *args: Any) -> Any:
        self.calls.append(name)
        if self.fails_at is not None and len(self.calls) > self.fails_at:
            raise self.error
        return method(*args)

    def fail(self, after: int = 0) -> None:
        self.calls.clear()
        self.fails_at = after


def make_cache(**options: Any) -> tuple[SharedCache[Any], Faulty]:
    backend = Faulty()
    return SharedCache(backend, namespace="shop", **options), backend


def fill(key: Any) -> str:
    return "filled"


CALLS: dict[str, tuple[Callable[[Any], Any], Any]] = {  # what is called, and what it gives where errors are misses
    "get": (lambda cache: cache.get("a", "default"), "default"),
    "get_many": (lambda cache: cache.get_many(["a"]), {}),
    "in": (lambda cache: "a" in cache, False),
    "ttl_of": (lambda cache: cache.ttl_of("a"), CACHE_MISS),
    "set": (lambda cache: cache.set("a", 1), False),
    "add": (lambda cache: cache.add("a", 1), False),
    "set_many": (lambda cache: cache.set_many({"a": 1}), 0),
    "delete": (lambda cache: cache.delete("a"), False),
    "delete_many": (lambda cache: cache.delete_many(["a"]), 0),
    "expire_in": (lambda cache: cache.expire_in("a", 1), False),
    "clear": (lambda cache: cache.clear(), None),
    "get_or_fill": (lambda cache: cache.get_or_fill("a", fill), "filled"),
    "get_or_fill, wait": (lambda cache: cache.get_or_fill("a", fill, wait=1), "filled"),
    "refresh": (lambda cache: cache.refresh("a", fill), "filled"),
}
AWAITED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    name: (call, expected) for name, (call, expected) in CALLS.items() if name != "in"
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_raises_by_default(name: str) -> None:
    cache, backend = make_cache()
    backend.fail()
    with pytest.raises(BackendError, match="the store is down"):
        CALLS[name][0](cache)
    assert cache.cache_info().backend_errors == 1


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("after", range(4))
def test_with_miss_each_call_goes_on_wherever_the_store_fails(name: str, after: int) -> None:
    cache, backend = make_cache(on_error="miss")
    call, expected = CALLS[name]
    backend.fail(after)
    result = call(cache)
    if len(backend.calls) > after:
        assert result == expected and cache.cache_info().backend_errors >= 1


@pytest.mark.parametrize("name", AWAITED)
def test_the_same_for_event_loops(name: str) -> None:
    cache, backend = make_cache(on_error="miss")
    call, expected = AWAITED[name]
    backend.fail()
    assert asyncio.run(call(cache.aio)) == expected
    cache, backend = make_cache()
    backend.fail()
    with pytest.raises(BackendError):
        asyncio.run(call(cache.aio))


def test_errors_of_the_system_become_ours() -> None:
    cache, backend = make_cache()
    backend.fail()
    for error, kind in [(ConnectionResetError("reset"), BackendError), (TimeoutError("late"), BackendTimeout)]:
        backend.error = error
        with pytest.raises(kind) as caught:
            cache.get("a")
        assert caught.value.__cause__ is error


def test_a_fill_that_fails_while_the_store_is_down_is_raised() -> None:
    cache, backend = make_cache(on_error="miss")
    backend.fail()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_fill("a", lambda key: 1 // 0)


def test_after_five_failures_the_store_is_not_asked_for_a_second() -> None:
    clock = ManualClock()
    cache, backend = make_cache(on_error="miss", clock=clock)
    backend.fail()
    for _ in range(5):
        cache.get("a")
    assert len(backend.calls) == 5
    assert cache.get("a", 7) == 7 and cache.get_or_fill("a", fill) == "filled"
    assert len(backend.calls) == 5 and cache.cache_info().backend_errors > 5
    clock.advance(1)
    backend.fails_at = None
    assert cache.set("a", 1) and cache["a"] == 1
    backend.fail()
    cache.get("a")
    assert len(backend.calls) == 1  # one failure opens nothing


def test_one_call_tries_again_after_the_pause() -> None:
    clock = ManualClock()
    cache, backend = make_cache(clock=clock)
    backend.fail()
    for _ in range(5):
        with pytest.raises(BackendError, match="down"):
            cache.get("a")
    with pytest.raises(BackendError, match="was not asked: 5 calls in a row have failed"):
        cache.get("a")
    clock.advance(1)
    with pytest.raises(BackendError, match="down"):
        cache.get("a")
    with pytest.raises(BackendError, match="was not asked"):
        cache.get("a")


def test_a_clock_that_is_set_back_makes_no_pause_longer() -> None:
    clock = ManualClock(5000.0)
    cache, backend = make_cache(on_error="miss", clock=clock)
    backend.fail()
    for _ in range(5):
        cache.get("a")
    clock.advance(-3600)
    backend.fails_at = None
    assert cache.set("a", 1) and cache["a"] == 1
