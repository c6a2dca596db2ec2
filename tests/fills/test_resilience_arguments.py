"""Resilience as an object, and what it refuses."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from areole import AtomicCache, Resilience, Storage

from ..kit import ManualClock, Numbered, assert_valid


def test_all_is_off_by_default() -> None:
    assert Resilience() == Resilience(stale_ttl=None, fail_safe=False, refresh_ahead=None, jitter=0, negative_ttl=None)


def test_it_is_frozen_has_keywords_only_and_says_what_it_is() -> None:
    resilience = Resilience(stale_ttl=timedelta(seconds=5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        resilience.stale_ttl = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Resilience(5)  # type: ignore[call-arg]
    assert "stale_ttl=datetime.timedelta(seconds=5)" in repr(resilience) and "_plan" not in repr(resilience)
    assert hash(resilience) == hash(Resilience(stale_ttl=timedelta(seconds=5)))
    assert dataclasses.replace(resilience, stale_ttl=1, fail_safe=True) == Resilience(stale_ttl=1, fail_safe=True)


@pytest.mark.parametrize("name", ["stale_ttl", "soft_timeout", "hard_timeout", "negative_ttl"])
@pytest.mark.parametrize("bad", [0, -1, float("inf"), float("nan"), timedelta(0), 10**400])
def test_a_span_is_positive_and_finite(name: str, bad: Any) -> None:
    with pytest.raises(ValueError, match=name):
        Resilience(**{name: bad})


@pytest.mark.parametrize("name", ["stale_ttl", "soft_timeout", "hard_timeout", "negative_ttl"])
@pytest.mark.parametrize("bad", ["1", True, object()])
def test_a_span_is_seconds_or_a_timedelta(name: str, bad: Any) -> None:
    with pytest.raises(TypeError, match=name):
        Resilience(**{name: bad})


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"refresh_ahead": 0}, ValueError),
        ({"refresh_ahead": 1}, ValueError),
        ({"refresh_ahead": float("nan")}, ValueError),
        ({"refresh_ahead": "fetch"}, ValueError),
        ({"refresh_ahead": True}, TypeError),
        ({"refresh_ahead": timedelta(1)}, TypeError),
        ({"jitter": 1}, ValueError),
        ({"jitter": -0.1}, ValueError),
        ({"jitter": "0.1"}, TypeError),
        ({"jitter": False}, TypeError),
        ({"fail_safe": 5, "stale_ttl": 5}, TypeError),
        ({"random": 0.5}, TypeError),
    ],
)
def test_other_values_are_refused_by_name(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        Resilience(**arguments)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"fail_safe": True}, "fail_safe needs a stale_ttl"),
        ({"soft_timeout": 1}, "soft_timeout is for fail_safe"),
        ({"stale_ttl": 5, "soft_timeout": 1}, "soft_timeout is for fail_safe"),
        ({"stale_ttl": 5, "fail_safe": True, "soft_timeout": 2, "hard_timeout": 2}, "less than hard_timeout"),
    ],
)
def test_contradictions_are_refused(arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Resilience(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"stale_ttl": 5}, {"refresh_ahead": 0.5}, {"refresh_ahead": "xfetch"}, {"jitter": 0.1}]
)
def test_what_begins_with_the_end_of_a_ttl_needs_one(arguments: dict[str, Any]) -> None:
    name = next(iter(arguments))
    with pytest.raises(ValueError, match=f"{name} needs a ttl"):
        AtomicCache(Numbered(), resilience=Resilience(**arguments))
    with pytest.raises(ValueError, match=f"{name} needs a ttl"):
        AtomicCache.memoize(resilience=Resilience(**arguments))(Numbered())
    storage: Storage[Any] = Storage(default_ttl=5)
    with pytest.raises(ValueError, match=f"{name} needs a ttl"):
        storage.get_or_fill("a", Numbered(), ttl=None, resilience=Resilience(**arguments))
    assert_valid(storage)


def test_a_store_that_ignores_every_ttl_ignores_what_comes_after() -> None:
    clock = ManualClock()
    storage: Storage[Any] = Storage(default_ttl=5, expiration_disabled=True, clock=clock)
    for _ in range(3):
        assert storage.get_or_fill("a", Numbered(), resilience=Resilience(stale_ttl=5, refresh_ahead=0.5)) == ("a", 1)
        clock.advance(100)
    assert_valid(storage)


def test_negative_ttl_needs_something_to_keep() -> None:
    with pytest.raises(ValueError, match="negative_ttl needs cache_exceptions"):
        AtomicCache(Numbered(), 10, resilience=Resilience(negative_ttl=1))


def test_hard_timeout_and_wait_timeout_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="leave out wait_timeout"):
        AtomicCache(Numbered(), wait_timeout=1, resilience=Resilience(hard_timeout=1))


@pytest.mark.parametrize("bad", [True, 5, {"stale_ttl": 5}, Resilience])
def test_resilience_must_be_one(bad: Any) -> None:
    with pytest.raises(TypeError, match="resilience must be a Resilience or None"):
        AtomicCache(Numbered(), 10, resilience=bad)
    storage: Storage[Any] = Storage()
    with pytest.raises(TypeError, match="resilience must be a Resilience or None"):
        storage.get_or_fill("a", Numbered(), resilience=bad)


def test_an_unhashable_key_is_named_as_ever() -> None:
    cache = AtomicCache(Numbered(), 10, resilience=Resilience(stale_ttl=5, hard_timeout=60))
    with pytest.raises(TypeError, match="list"):
        cache[["a"]]
    with pytest.raises(TypeError, match="not hashable"):
        Storage[Any](default_ttl=1).get_or_fill(["a"], Numbered(), resilience=Resilience(stale_ttl=5))  # type: ignore[arg-type]
    assert_valid(cache)


def test_cache_parameters_tell_it() -> None:
    resilience = Resilience(stale_ttl=5)
    function = AtomicCache.memoize(10, resilience=resilience)(Numbered())
    assert function.cache_parameters()["resilience"] is resilience


def test_a_ttl_that_says_never_needs_no_refresh() -> None:
    clock = ManualClock()
    resilience = Resilience(stale_ttl=5, refresh_ahead=0.5, jitter=0.5)
    cache = AtomicCache(fill := Numbered(), lambda key, value: None, clock=clock, resilience=resilience)
    for _ in range(3):
        assert cache["a"] == cache.get("a") == ("a", 1)
        clock.advance(1e9)
    assert fill.keys == ["a"]
    assert_valid(cache)


def test_negative_ttl_is_for_how_long_cache_exceptions_keeps_a_failure() -> None:
    clock = ManualClock()
    fill = Numbered()
    fill.error = ValueError("no")
    cache = AtomicCache(
        fill, cache_exceptions=True, clock=clock, resilience=Resilience(negative_ttl=timedelta(seconds=3))
    )
    for seconds, fills in ((0, 1), (3 - 2**-20, 1), (2**-20, 2)):
        clock.advance(seconds)
        with pytest.raises(ValueError, match="no"):
            cache["a"]
        assert len(fill.keys) == fills
    fill.error = None
    clock.advance(3)
    assert cache["a"] == ("a", 3)
    clock.advance(1e9)
    assert cache["a"] == ("a", 3)
    assert_valid(cache)


def test_a_stale_value_goes_before_a_stored_exception() -> None:
    clock = ManualClock()
    fill = Numbered()
    resilience = Resilience(stale_ttl=10, fail_safe=True, negative_ttl=2)
    cache = AtomicCache(fill, 10, cache_exceptions=True, clock=clock, resilience=resilience)
    cache["a"]
    fill.error = ValueError("no")
    clock.advance(19)
    assert cache["a"] == ("a", 1)
    clock.advance(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            cache["a"]
    assert len(fill.keys) == 3
    assert_valid(cache)
