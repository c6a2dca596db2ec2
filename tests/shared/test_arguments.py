"""Two tiers as a newcomer uses them: arguments that are slightly wrong, use after close, copies, keys by a template."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from areole import (
    CACHE_MISS,
    DEFAULT_TTL,
    NOT_MODIFIED,
    AsyncAtomicCache,
    AtomicCache,
    Resilience,
    SharedCache,
    cached,
)
from areole.backends import MemoryBackend
from areole.errors import CacheClosedError

memoize: Any = AtomicCache.memoize


def double(key: Any) -> Any:
    return key * 2


def make(**options: Any) -> SharedCache[Any]:
    return SharedCache("memory://", namespace="shop", **options)


@pytest.mark.parametrize(
    "ask",
    [
        lambda cache: cache["new"],
        lambda cache: cache.fetch_many(["new", "newer"]),
        lambda cache: cache.refresh("a"),
        lambda cache: cache.invalidate("a"),
        lambda cache: cache.invalidate_tags("a"),
        lambda cache: cache.clear(),
        lambda cache: asyncio.run(cache.aio.fetch("new")),
    ],
)
def test_what_is_in_front_of_a_closed_cache_says_so_though_the_backend_is_open(ask: Callable[[Any], Any]) -> None:
    shop = SharedCache[Any](MemoryBackend(), namespace="shop")
    cache = AtomicCache(double, shared=shop, tags=())
    assert cache["a"] == "aa"
    shop.close()
    with pytest.raises(CacheClosedError, match="SharedCache 'shop' is closed"):
        ask(cache)


def test_a_function_whose_annotation_picks_the_serializer_says_that_the_cache_is_closed() -> None:
    shop = SharedCache[Any](MemoryBackend(), namespace="shop")

    @cached(shop, key="{a}")
    def pair(a: int) -> tuple[int, int]:
        return a, a

    kept = memoize(shared=shop, key="kept:{a}")(pair.__wrapped__)
    assert pair(1) == kept(1) == (1, 1)
    shop.close()
    for call in (pair, pair.invalidate, kept.invalidate, kept.refresh):
        with pytest.raises(CacheClosedError, match="SharedCache 'shop' is closed"):
            call(1)
    with pytest.raises(CacheClosedError, match="SharedCache 'shop' is closed"):
        asyncio.run(shop.aio.get("1"))


def test_neither_view_of_a_shared_cache_can_be_pickled_or_copied() -> None:
    shop = make()
    for view in (shop, shop.aio):
        for make_copy in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="SharedCache 'shop' cannot be pickled or copied: make one in each"):
                make_copy(view)


@pytest.mark.parametrize("sentinel", [NOT_MODIFIED, CACHE_MISS, DEFAULT_TTL], ids=repr)
def test_what_stands_for_itself_does_so_after_a_way_through_another_process(sentinel: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(sentinel, protocol)) is sentinel
    assert copy.copy(sentinel) is copy.deepcopy(sentinel) is sentinel


def test_the_class_is_no_shared_cache() -> None:
    with pytest.raises(TypeError, match=r"shared must be a SharedCache, such as .*, not the class"):
        AtomicCache(double, shared=SharedCache)


def test_bypass_names_what_it_takes_and_is_there_in_aio() -> None:
    shop = make()
    wrong: Any = ["local"]
    with pytest.raises(ValueError, match=r'"local", "shared" or both, not \[\'local\'\]'), shop.bypass(wrong):
        pass

    async def look() -> Any:
        await shop.aio.set("a", 1)
        with shop.aio.bypass("shared"):
            passed = await shop.aio.get("a")
        return passed, await shop.aio.get("a")

    assert asyncio.run(look()) == (None, 1)


def test_tags_that_bare_values_cannot_have_are_refused_where_they_are_given() -> None:
    bare = make(envelope=False)
    options: Any = {"shared": bare, "tags": ["a"]}
    decorate: Any = cached(bare, key="{key}", tags=["a"])
    for use in (
        lambda: AtomicCache(double, **options),
        lambda: AsyncAtomicCache(double, **options),
        lambda: memoize(key="{key}", **options)(double),
        lambda: decorate(double),
    ):
        with pytest.raises(ValueError, match="SharedCache 'shop': bare values have no tags: leave out tags="):
            use()


def test_a_stale_time_needs_a_ttl_of_some_tier() -> None:
    stale: Any = {"resilience": Resilience(stale_ttl=5)}
    with pytest.raises(ValueError, match="stale_ttl needs a ttl"):
        AtomicCache(double, shared=make(), **stale)
    for shop, more in ((make(ttl=5), {}), (make(), {"ttl": 5}), (make(), {"local_ttl": 5})):
        cache: Any = AtomicCache(double, shared=shop, **more, **stale)
        assert cache[1] == 2


def test_a_ttl_of_a_cache_in_front_is_checked_as_that_of_any_cache() -> None:
    for ttl in (0, -1):
        with pytest.raises(ValueError, match="ttl must be positive and finite"):
            AtomicCache(double, ttl, shared=make())


def test_clear_takes_no_pattern() -> None:
    shop = make()
    shop.set("a", 1)
    pattern: Any = "user:*"
    for clear in (shop.clear, lambda reclaim: asyncio.run(shop.aio.clear(reclaim))):
        with pytest.raises(TypeError, match="reclaim must be a bool, not str"):
            clear(pattern)
    assert shop["a"] == 1


class Shelf:
    def __init__(self, number: int) -> None:
        self.number = number
        self.calls = 0


def test_a_template_is_the_key_of_a_memoized_method_in_the_shared_cache() -> None:
    shop = make()

    class Labelled(Shelf):
        @memoize(shared=shop, key="label:{self.number}:{item}", tags=["item:{item}"])
        def label(self, item: str, size: int = 1) -> list[Any]:
            self.calls += 1
            return [self.number, item]

    one, same, two = Labelled(1), Labelled(1), Labelled(2)
    assert one.label("a/b") == same.label("a/b", 5) == [1, "a/b"] and (one.calls, same.calls) == (1, 0)
    assert one.label("a/b", size=7) is one.label("a/b")
    assert shop["label:1:a%2Fb"] == [1, "a/b"] and two.label("a/b") == [2, "a/b"]
    assert one.label.invalidate("a/b") is True and "label:1:a%2Fb" not in shop
    assert two.label.invalidate_tags("item:a%2Fb") == 1 and "label:2:a%2Fb" not in shop
    one.label("c"), shop.set("other", 1)
    Labelled.label.cache_clear()
    assert "label:1:c" not in shop and "other" in shop  # the template begins with a text of its own


def test_a_template_is_the_key_of_a_memoized_function_of_one_process_too() -> None:
    @memoize(key="{user}")
    def rights(user: int, project: str = "") -> list[str]:
        return [f"{user} {project}"]

    assert rights(1, "a") is rights(1, "b") and rights.cache_key(1) == "1"
    with pytest.raises(
        ValueError, match=r"key 'x:{nobody}' names nobody, but the parameters of .*rights are user, proj"
    ):
        memoize(key="x:{nobody}")(rights.__wrapped__)


@pytest.mark.parametrize("key", ["day:{day}", lambda day: f"day:{day}"], ids=["template", "callable"])
def test_the_parameter_of_the_old_value_is_no_part_of_a_key_of_ones_own(key: Any) -> None:
    @memoize(key=key, previous="old")
    def rates(day: int, *, old: Any = None) -> list[Any]:
        return [day, old]

    assert rates(1) == [1, None] and rates.cache_key(1) == "day:1"
    assert rates.refresh(1) == [1, [1, None]]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"executor": 5}, "^SharedCache: executor must be an Executor, or None for the default one .*, not int"),
        ({"timeout": None}, r"^SharedCache: timeout must be seconds \(int or float\) or a timedelta, not NoneType"),
        ({"lease": 0}, "^SharedCache: lease must be positive and finite, not 0$"),
        ({"ttl": double}, r"^SharedCache: ttl must be seconds \(int or float\), a timedelta or None, not function"),
    ],
)
def test_what_a_shared_cache_refuses_is_named_with_what_it_takes(options: dict[str, Any], match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        make(**options)
