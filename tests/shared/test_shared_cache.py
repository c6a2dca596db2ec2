"""SharedCache over a MemoryBackend: what holds over every backend."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from areole import CACHE_MISS, CacheClosedError, SharedCache
from areole.backends import MemoryBackend, set_default_backend
from areole.testing import ManualClock

from ..kit import PATIENCE


def make_cache(**options: Any) -> SharedCache[Any]:
    return SharedCache("memory://", namespace="shop", **options)


def test_a_value_comes_back_and_a_missing_one_gives_the_default() -> None:
    cache = make_cache()
    assert cache.get("a") is None and cache.get("a", 7) == 7
    assert cache.set("a", {"x": [1, None]}) is True
    assert cache.get("a") == cache["a"] == {"x": [1, None]}
    assert "a" in cache and "b" not in cache
    with pytest.raises(KeyError):
        cache["b"]


def test_none_is_a_value() -> None:
    cache = make_cache()
    cache["a"] = None
    assert cache.get("a", 1) is None and "a" in cache
    assert cache.get_or_fill("a", lambda key: 2) is None


def test_delete_says_whether_there_was_a_value() -> None:
    cache = make_cache()
    cache["a"], cache["b"] = 1, 2
    assert cache.delete("a") and not cache.delete("a")
    assert cache.delete_many(["a", "b", "c"]) == 1
    with pytest.raises(KeyError):
        del cache["a"]


def test_get_many_keeps_the_order_that_was_asked() -> None:
    cache = make_cache()
    assert cache.set_many({"a": 1, "b": 2, "c": 3}) == 3
    assert list(cache.get_many(["c", "x", "a"]).items()) == [("c", 3), ("a", 1)]
    assert cache.set_many([("d", 4)]) == 1 and cache["d"] == 4
    with pytest.raises(TypeError, match=r"pass \[key\]"):
        cache.get_many("abc")


def test_clear_leaves_nothing_and_says_so_to_add_and_delete() -> None:
    cache = make_cache()
    cache["a"] = 1
    cache.clear(reclaim=False)
    assert cache.get("a") is None and "a" not in cache and cache.ttl_of("a") is CACHE_MISS
    assert not cache.delete("a")
    cache["a"] = 1
    cache.clear(reclaim=False)
    assert cache.expire_in("a", 5) is False
    assert cache.add("a", 2) and not cache.add("a", 3)
    assert cache["a"] == 2


def test_values_expire() -> None:
    clock = ManualClock()
    cache = make_cache(clock=clock, ttl=10)
    cache["a"] = 1
    cache.set("b", 2, ttl=None)
    cache.set("c", 3, 0)
    assert cache.ttl_of("a") == 10 and cache.ttl_of("b") is None and "c" not in cache
    clock.advance(10)
    assert cache.get_many(["a", "b"]) == {"b": 2}
    assert cache.expire_in("b", 5)
    clock.advance(5)
    assert "b" not in cache


@pytest.mark.parametrize("ttl", [-1, float("nan"), float("inf"), True, "1"])
def test_ttls_that_are_none_are_refused(ttl: Any) -> None:
    cache = make_cache()
    with pytest.raises((TypeError, ValueError), match="ttl must be"):
        cache.set("a", 1, ttl)
    assert "a" not in cache


def test_one_thread_fills_and_each_gets_an_object_of_its_own() -> None:
    cache = make_cache()
    are_here = threading.Barrier(4)  # the fill, and the three that are about to ask
    fills: list[str] = []
    results: list[Any] = []

    def fill(key: str) -> list[int]:
        fills.append(key)
        are_here.wait(PATIENCE)
        return [1]

    def ask(waits: bool) -> None:
        if waits:
            are_here.wait(PATIENCE)
        results.append(cache.get_or_fill("a", fill))

    threads = [threading.Thread(target=ask, args=(waits,)) for waits in (False, True, True, True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert fills == ["a"] and results == [[1]] * 4
    assert len({id(result) for result in results}) == 4


def test_an_invalidation_during_a_fill_wins() -> None:
    cache = make_cache()

    def fill(key: str) -> int:
        cache.delete(key)
        return 1

    assert cache.get_or_fill("a", fill) == 1
    assert "a" not in cache and cache.cache_info().refused_stores == 1


@pytest.mark.parametrize("change", ["set", "clear", "delete"])
def test_a_change_by_another_cache_of_the_namespace_wins(change: str) -> None:
    backend = MemoryBackend()
    one, other = (SharedCache[Any](backend, namespace="shop") for _ in range(2))

    def fill(key: str) -> str:
        {"set": lambda: other.set(key, "new"), "clear": other.clear, "delete": lambda: other.delete(key)}[change]()
        return "old"

    assert one.get_or_fill("a", fill) == "old"
    assert one.get("a") == ("new" if change == "set" else None)


def test_what_a_fill_raises_is_raised_and_not_stored() -> None:
    cache = make_cache()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_fill("a", lambda key: 1 // 0)
    assert cache.get_or_fill("a", lambda key: 1) == 1
    assert cache.cache_info().failures == 1


def test_a_refresh_replaces_the_value_and_keeps_it_if_the_fill_fails() -> None:
    cache = make_cache()
    cache["a"] = 1
    with pytest.raises(ZeroDivisionError):
        cache.refresh("a", lambda key: 1 // 0)
    assert cache["a"] == 1
    assert cache.refresh("a", lambda key: 2) == cache["a"] == 2


def test_namespaces_do_not_meet() -> None:
    backend = MemoryBackend()
    one, other = SharedCache[int](backend, namespace="a"), SharedCache[int](backend, namespace="a.b")
    one["x"] = 1
    assert "x" not in other
    one.clear()
    other["x"] = 2
    one.clear(reclaim=True)
    assert other["x"] == 2


def test_a_namespace_has_one_format() -> None:
    backend = MemoryBackend()
    kept = SharedCache[int](backend, namespace="a")
    with pytest.raises(ValueError, match="take another namespace"):
        SharedCache(backend, namespace="a", envelope=False)
    assert kept.set("x", 1)


@pytest.mark.parametrize("namespace", ["", "a b", "a:b", "a{b}", "é", "x" * 101])
def test_namespaces_with_other_characters_are_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="namespace must be"):
        SharedCache("memory://", namespace=namespace)


def test_the_least_recently_used_are_evicted_beyond_max_items() -> None:
    cache = make_cache(max_items=2)
    cache["a"], cache["b"] = 1, 2
    assert cache["a"] == 1
    cache["c"] = 3
    assert "b" not in cache and "a" in cache and "c" in cache
    info = cache.cache_info()
    assert (info.evictions, info.maxsize, info.currsize) == (1, 2, 2)


def test_bare_values_are_what_others_wrote() -> None:
    backend = MemoryBackend()
    cache = SharedCache[Any](backend, namespace="shop", envelope=False)
    backend.set("shop:a", b'{"x": 1}')
    assert cache["a"] == {"x": 1}
    cache["b"] = [2]
    assert backend.get("shop:b") == b"[2]"
    cache.clear()
    assert backend.get("shop:a") is None


def test_to_close_a_cache_closes_the_backend_that_it_made_and_no_other() -> None:
    backend = MemoryBackend()
    with SharedCache[Any](backend, namespace="shop") as cache:
        cache["a"] = 1
    with pytest.raises(CacheClosedError, match="SharedCache 'shop' is closed"):
        cache.get("a")
    cache.close()
    other = SharedCache[Any](backend, namespace="shop")
    assert other["a"] == 1
    own = make_cache()
    own.close()
    with pytest.raises(CacheClosedError):
        own._sync_backend.get("a")


def test_to_close_a_cache_closes_the_backend_that_the_environment_named_and_not_the_registered_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered = MemoryBackend()
    set_default_backend(registered)
    try:
        SharedCache[Any](namespace="shop").close()
    finally:
        set_default_backend(None)
    assert registered.get("shop:v1:a") is None
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    cache = SharedCache[Any](namespace="shop")
    cache.close()
    with pytest.raises(CacheClosedError):
        cache._sync_backend.get("a")
