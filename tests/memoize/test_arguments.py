"""The arguments of the constructor, but for ttl and cache_exceptions, which have files of their own; which index."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from areole import AtomicCache
from areole._index import atomic as _index

from ..kit import assert_valid, collect


@pytest.mark.parametrize("argument", ["on_removal", "clock"])
def test_what_must_be_callable_is_checked_and_named(argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be callable, not int"):
        AtomicCache(str, **{argument: 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("fill", [1, "name"])
def test_fill_must_be_callable(fill: Any) -> None:
    with pytest.raises(TypeError, match="fill must be callable"):
        AtomicCache(fill)


def test_a_clock_of_none_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="clock"):
        AtomicCache(str, 10, clock=None)  # type: ignore[arg-type]


def test_the_signature_is_the_one_that_is_documented() -> None:
    parameters = inspect.signature(AtomicCache).parameters
    assert list(parameters) == [
        "fill",
        "ttl",
        "fill_many",
        "coalesce",
        "max_batch",
        "cache_exceptions",
        "wait_timeout",
        "on_removal",
        "stats",
        "clock",
        "name",
        "index",
        "max_items",
        "max_bytes",
        "weigher",
        "policy",
        "resilience",
        "allow_single_use",
        "shared",
        "local_ttl",
        "copies",
        "idle",
        "tags",
    ]
    assert [name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY] == list(parameters)[2:]
    assert parameters["clock"].default is time.monotonic


def test_no_other_argument_is_taken() -> None:
    with pytest.raises(TypeError, match="maxsize"):
        AtomicCache(str, maxsize=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="maxsize"):
        AtomicCache.memoize(maxsize=1)(len)  # type: ignore[call-overload]


@pytest.mark.parametrize("index", ["Dict", "", "none", None, 1, True])
def test_an_unknown_index_is_a_value_error_that_lists_the_known_ones(index: Any) -> None:
    with pytest.raises(ValueError, match=r'"auto", "atomic" or "dict"'):
        AtomicCache(str, index=index)


def test_the_atomic_index_refuses_a_ttl_and_says_what_to_use() -> None:
    with pytest.raises(ValueError, match=r'index="dict"'):
        AtomicCache(str, 10, index="atomic")
    with pytest.raises(ValueError, match=r'index="dict"'):
        AtomicCache.memoize(10, index="atomic")(len)


@pytest.mark.parametrize("index", ["auto", "dict"])
def test_any_other_index_takes_a_ttl(index: str) -> None:
    cache = AtomicCache(str, 10, index=index)
    assert cache[1] == "1"
    assert_valid(cache)


def test_atomic_caches_that_are_gone_do_not_count() -> None:
    """In a process of its own: others' memoized functions, with their caches, may be immortal (3.13t)."""
    code = """
import gc
from areole import AtomicCache
for _ in range(3):
    caches = [AtomicCache(str, index="atomic") for _ in range(100)]
    print({cache._state.index.name for cache in caches})
    del caches
    gc.collect()  # their reference counts may be deferred
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["{'atomic'}"] * 3, done.stderr


def test_past_256_atomic_caches_the_others_have_a_dict_and_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index, "MAX_ATOMIC_DICTS", 256)  # conftest raises it on 3.13t
    collect()
    caches = [AtomicCache(str, index="atomic") for _ in range(276)]
    kinds = [cache._state.index.name for cache in caches]
    assert kinds.count("atomic") <= 256
    assert kinds == sorted(kinds), "from some cache on, all are dicts"
    assert kinds[-20:] == ["dict"] * 20
    for n, cache in enumerate(caches):
        assert (cache[n], cache.invalidate(n), n in cache) == (str(n), True, False)
        assert_valid(cache)
    del caches, cache
    collect()


def test_names_tell_caches_apart_and_are_the_fills_own_by_default() -> None:
    class Fetcher:
        def __call__(self, key: object) -> object:
            return key

    assert AtomicCache(str, name="users").name == "users"
    assert AtomicCache(make_nothing).name == "make_nothing"
    assert "Fetcher" in AtomicCache(Fetcher()).name


def make_nothing(key: object) -> None:
    return None


def test_wait_timeout_does_not_limit_the_leader() -> None:
    cache = AtomicCache(str, wait_timeout=math.ulp(0))
    assert cache[1] == "1"
    assert_valid(cache)


def test_a_subclass_may_add_to_a_lookup() -> None:
    class Doubling(AtomicCache[int, int]):
        def __getitem__(self, key: int) -> int:
            return 2 * super().__getitem__(key)

    cache = Doubling(lambda n: n + 1)
    assert cache[1] == 4
    assert cache.peek(1) == 2
    assert_valid(cache)
