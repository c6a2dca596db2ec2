"""Tags of a SharedCache: what has one is a miss in all processes after it was invalidated, or its version was lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from areole import CACHE_MISS, AsyncAtomicCache, AtomicCache, Filled, SharedCache, Storage, cached
from areole.backends import MemoryBackend
from areole.errors import BackendError
from areole.serializers import SignedPickle
from areole.testing import assert_valid

from ..kit import run_python
from .kit import ENGINES, opened
from .servers import RedisServer, require_redis_py, wait_until


def cache_over(backend: Any, **options: Any) -> SharedCache[Any]:
    return SharedCache(backend, namespace="shop", **options)


@pytest.fixture(params=[each for each in ENGINES if not each.is_slow], ids=lambda engine: engine.name)
def caches(request: pytest.FixtureRequest) -> Any:
    """Two caches, each of which stands for a process."""
    with opened(request.param, request) as subject:
        yield cache_over(subject.backend), cache_over(subject.connect())


def test_what_has_a_tag_is_gone_in_all_processes_once_it_is_invalidated(caches: Any) -> None:
    one, other = caches
    one.set("a", 1, tags=["home", "odd {tag}\n", "a[1]*"])
    assert one.add("b", 2, tags=["home"]) and one.set_many({"c": 3, "d": 4}, tags=["odd {tag}\n"]) == 2
    one["e"] = 5
    assert other.get_many([*"abcde"]) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5} and other["a"] == 1
    assert other.get_or_fill("f", lambda key: 6, tags=["home"]) == 6 == one["f"]
    assert other.invalidate_tags("a1", "a[1]", "*") and one["a"] == 1
    assert other.invalidate_tags("home", "unknown")
    assert one.get_many([*"abcdef"]) == {"c": 3, "d": 4, "e": 5} and "a" not in one and one.ttl_of("b") is CACHE_MISS
    assert not one.expire_in("a", 5) and not one.delete("a") and one.delete_many([*"bcf"]) == 1
    assert one.invalidate_tags("odd {tag}\n")
    assert other.get_many([*"abcdef"]) == {"e": 5}
    assert other.add("d", 7, tags=["home"]) and not one.add("d", 8)
    assert one.get_or_fill("a", lambda key: 9, tags=["home"]) == 9 == other.get_or_fill("a", lambda key: 0)


def test_a_tag_that_is_invalidated_during_a_fill_wins(caches: Any) -> None:
    one, other = caches

    def fill(key: str) -> int:
        other.invalidate_tags("home")
        return 1

    assert one.get_or_fill("a", fill, tags=["home"]) == 1
    assert "a" not in one and one.cache_info().refused_stores == 1
    assert one.get_or_fill("a", fill, tags=["away"]) == 1 == other["a"]


def test_a_version_that_was_evicted_makes_values_misses_and_never_valid_again(caches: Any) -> None:
    one, other = caches
    one.set("a", 1, tags=["home"])
    one.invalidate_tags("home")
    assert one._state.backend.delete("shop:v1:#tag:home")
    assert "a" not in other
    other.set("b", 2, tags=["home"])
    assert one.get_many([*"ab"]) == {"b": 2}
    assert one._state.backend.delete("shop:v1:#tag:home")
    assert one.get_many([*"ab"]) == {}


class Counting(MemoryBackend):
    """Counts what is asked of it; fails for a method in `failing`."""

    failing = ""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "get_many", "set", "set_many", "take", "store_if_mine", "kill_many"):
            self.calls[name] += 1
            if name == self.failing:
                raise BackendError("injected")
        return super().__getattribute__(name)


def test_a_hit_takes_one_request_and_one_with_tags_two() -> None:
    backend = Counting()
    cache = cache_over(backend)
    cache.set("a", 1, tags=["x", "y"])
    cache.set("b", 2, tags=["z"])
    cache["c"] = 3
    for keys, requests in (("c", 1), ("a", 2), ("abc", 2)):
        backend.calls.clear()
        assert len(cache.get_many(list(keys))) == len(keys)
        assert backend.calls == {"get_many": requests}
    backend.calls.clear()
    assert cache["c"] == 3 and backend.calls == {"get_many": 1}
    assert cache["a"] == 1 and backend.calls == {"get_many": 3}


def test_a_signed_value_keeps_its_tags_when_its_end_changes() -> None:
    cache = cache_over(MemoryBackend(), serializer=SignedPickle(keys=[b"a secret of 16 b"]))
    cache.set("a", {1}, 10, tags=["home"])
    assert cache.expire_in("a", 100) and cache["a"] == {1}
    cache.invalidate_tags("home")
    assert "a" not in cache


def test_tags_need_an_envelope_and_are_texts() -> None:
    bare = cache_over(MemoryBackend(), envelope=False)
    for call in (
        lambda: bare.set("a", "1", tags=["home"]),
        lambda: bare.set_many({"a": "1"}, tags=["home"]),
        lambda: bare.get_or_fill("a", str, tags=["home"]),
        lambda: bare.invalidate_tags("home"),
    ):
        with pytest.raises(ValueError, match="envelope=False"):
            call()
    cache = cache_over(MemoryBackend())
    with pytest.raises(TypeError, match=r"\['...'\]"):
        cache.set("a", 1, tags="home")
    with pytest.raises(TypeError, match="a tag must be a text, not int"):
        cache.invalidate_tags(7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fewer tags"):
        cache.set("a", 1, tags=[f"{i:0>100}" for i in range(40)])
    assert "a" not in cache


def test_an_invalidation_that_could_not_be_sent_is_sent_before_the_tag_is_read_again() -> None:
    for failing in ("set", "set_many"):
        backend = Counting()
        cache, other = cache_over(backend, on_error="miss"), SharedCache[Any](backend, namespace="other")
        cache.set("a", 1, tags=["home"])
        other.set("a", 1, tags=["home"])
        backend.failing = failing
        assert cache.invalidate_tags("home") is False
        backend.failing = ""
        assert "a" not in cache and other["a"] == 1
        cache.close()


def test_cached_functions_have_tags_of_their_arguments() -> None:
    cache = cache_over(MemoryBackend())
    calls: Counter[int] = Counter()

    @cached(cache, key="user:{user_id}", tags=["user:{user_id}", "users"])
    def user(user_id: int) -> int:
        calls[user_id] += 1
        return user_id

    @cached(cache, key="friends:{user_id}", tags=lambda user_id: [f"user:{user_id}"])
    async def friends(user_id: int) -> int:
        calls[-user_id] += 1
        return user_id

    def ask() -> None:
        assert [user(1), user(2), asyncio.run(friends(1))] == [1, 2, 1]

    ask()
    cache.invalidate_tags("user:1")
    ask()
    assert calls == {1: 2, 2: 1, -1: 2}
    assert user.invalidate_tags("users") is True
    ask()
    assert calls == {1: 3, 2: 2, -1: 2}
    assert asyncio.run(friends.invalidate_tags("user:1")) is True
    assert user.refresh(2) == 2
    ask()
    assert calls == {1: 4, 2: 3, -1: 3}


# ---- tags that a fill has brought


def test_tags_that_a_fill_brings_are_those_of_what_is_stored(caches: Any) -> None:
    one, other = caches

    def fill(key: str) -> Any:
        other.set("x", 1, tags=["late"])  # changes no version
        return Filled(key, tags=["late", "early"])

    assert one.get_or_fill("a", fill, tags=["early"]) == "a" == other["a"]
    for tag in ("late", "early"):
        assert one.get_or_fill("b", fill, tags=()) == "b" == other["b"]
        other.invalidate_tags(tag)
        assert "b" not in one


def test_such_a_value_is_not_stored_if_any_tag_was_invalidated_meanwhile(caches: Any) -> None:
    one, other = caches

    def fill(key: str) -> Any:
        other.invalidate_tags("late" if key == "a" else "unrelated")
        return Filled(1, tags=["late"])

    for key in "ab":
        assert one.get_or_fill(key, fill, tags=()) == 1
        assert key not in one
    assert one.cache_info().refused_stores == 2
    with pytest.raises(TypeError, match=r"tags=\(\) too"):
        one.get_or_fill("a", fill)
    assert one.get_or_fill("a", lambda key: 2) == 2


# ---- caches in front of it


def test_what_is_kept_in_front_is_dropped_with_its_tag() -> None:
    shop = cache_over(MemoryBackend())
    calls: Counter[str] = Counter()

    def fill(key: str) -> int:
        calls[key] += 1
        return calls[key]

    prices = AtomicCache(fill, shared=shop, tags=["price:{key}", "prices"])
    plain = AtomicCache(fill, shared=shop)
    local = SharedCache[Any](shop._state.backend, namespace="shop", local=Storage(max_items=10))
    shop.set("banner", 7, tags=["home"])
    assert prices["a"] == prices["a"] == plain["a"] == local["a"] == 1 and calls["a"] == 1
    assert plain["banner"] == local["banner"] == 7
    assert prices.invalidate_tags("price:a") == 1
    assert [prices.get("a"), plain.get("a"), local.get("a"), shop.get("a")] == [None] * 4
    assert prices["a"] == 2 == plain["a"] == local["a"]
    shop.invalidate_tags("prices", "home")
    assert [prices.get("a"), plain.get("a"), local.get("a"), plain.get("banner"), local.get("banner")] == [None] * 5
    assert prices.refresh("a") == 3 == prices["a"] == prices.get("a")
    local.invalidate_tags("prices")
    assert prices.get("a") is None
    assert_valid(prices)
    assert_valid(plain)


def test_memoized_functions_with_a_shared_cache_have_tags_of_their_arguments() -> None:
    shop = cache_over(MemoryBackend())
    calls: Counter[int] = Counter()

    @AtomicCache.memoize(shared=shop, tags=["user:{user_id}"], name="user")
    def user(user_id: int) -> int:
        calls[user_id] += 1
        return user_id

    @AsyncAtomicCache.memoize(shared=shop, tags=lambda user_id: [f"user:{user_id}"], name="friends")
    async def friends(user_id: int) -> Any:
        calls[-user_id] += 1
        return user_id

    async def ask() -> None:
        assert [user(1), user(2), await friends(1)] == [1, 2, 1]

    async def ask_and_invalidate() -> None:
        await ask()
        removing = friends.invalidate_tags("user:1")
        assert user.peek(1) is None and friends.peek(1) is None and user.peek(2) == 2
        assert await removing == 1  # type: ignore[misc]
        await ask()

    asyncio.run(ask_and_invalidate())
    assert calls == {1: 2, 2: 1, -1: 2}
    assert user.invalidate_tags("user:2") == 1
    assert user(2) == 2 and calls[2] == 2


def test_a_value_whose_tag_is_invalidated_while_it_is_read_is_not_kept() -> None:
    """After its tags have been read, and before its entry is noted under them."""

    class Sly(MemoryBackend):
        tag = ""

        def get_many(self, keys: Any, /) -> list[bytes | None]:
            values = super().get_many(keys)
            if keys == ["shop:v1:#tag:home"] and self.tag:
                other.invalidate_tags(self.tag)
            return values

    backend = Sly()
    shop, other = cache_over(backend), cache_over(backend)
    front = AtomicCache(lambda key: "none", shared=shop)
    local = SharedCache[Any](backend, namespace="shop", local=Storage(max_items=10))
    for backend.tag in ("home", "unrelated"):
        for reader in (front, local):
            shop.set("a", 1, tags=["home"])
            assert reader["a"] == 1
        assert front.get("a") is None and len(local._operations.local._state.entries) == 0  # type: ignore[union-attr]
    backend.tag = ""
    assert front["a"] == 1 == local["a"] == front.get("a")


INVALIDATE = """
from areole import SharedCache
cache = SharedCache({url!r}, namespace="shop.a")
assert cache["banner"] == cache.get("a") == 1
cache.invalidate_tags("home")
assert "banner" not in cache and "a" not in cache
cache.close()
"""


def test_another_process_invalidates_a_tag(redis_single: RedisServer) -> None:
    require_redis_py()
    redis_single.flush()
    shop = SharedCache[Any](redis_single.socket_url, namespace="shop.a", timeout=10)
    front = AtomicCache[str, int](lambda key: 1, shared=shop, tags=["home"])
    plain = AtomicCache[str, int](lambda key: 2, shared=shop)
    shop.set("banner", 1, tags=["home"])

    def is_kept() -> bool:
        return front["a"] == 1 == front.get("a", 0) and plain["banner"] == 1 == plain.get("banner", 0)

    wait_until(is_kept, "both are kept: the plane hears")
    fills = front.cache_info().fills
    run_python(INVALIDATE.format(url=redis_single.socket_url))
    wait_until(lambda: plain.get("banner") is front.get("a") is None, "the messages come")
    assert front["a"] == 1 and front.cache_info().fills == fills + 1
    assert plain["banner"] == 2
    shop.close()


def test_keys_that_are_filled_by_one_call_have_tags_of_their_own() -> None:
    shop = cache_over(MemoryBackend())
    calls: list[list[str]] = []

    def load(keys: list[str]) -> list[Any]:
        calls.append(list(keys))
        return [Filled(key, tags=[f"late:{key}"]) for key in keys]

    front = AtomicCache[str, str](fill_many=load, shared=shop, tags=["key:{key}"])
    assert front.fetch_many([*"abc"]) == {key: key for key in "abc"} == shop.get_many(["a", "b", "c"])
    shop.invalidate_tags("key:a", "late:b")
    assert [front.get(key) for key in "abc"] == [None, None, "c"] and shop.get_many(["a", "b"]) == {}
    assert front.fetch_many([*"abc"]) == {key: key for key in "abc"} and calls == [["a", "b", "c"], ["a", "b"]]
    shop.clear()
    assert shop.get_or_fill_many(["a", "b"], load, tags=["all"]) == {"a": "a", "b": "b"}
    shop.invalidate_tags("late:b")
    assert shop.get_many(["a", "b"]) == {"a": "a"}
    shop.invalidate_tags("all")
    assert "a" not in shop
