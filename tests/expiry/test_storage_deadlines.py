"""Deadlines of a Storage that are moved: expire_in, expire_at, and what they leave behind."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from areole import DEFAULT_TTL, Storage
from areole.testing import ManualClock

from ..kit import Told, check_books, every_policy, make_store

pytestmark = every_policy


def test_expire_in_moves_the_deadline_both_ways_and_is_no_new_value(policy: str) -> None:
    told = Told()
    store, clock = make(policy, on_removal=told)
    store.set("a", 1, 10)
    assert store.expire_in("a", 100) is True and store.ttl_of("a") == 100
    clock.advance(50)
    assert store.expire_in("a", timedelta(seconds=5)) is True and store.ttl_of("a") == 5
    assert store.expire_in("a", None) is True and store.ttl_of("a") is None
    assert store.expire_in("a", DEFAULT_TTL) is True and store.ttl_of("a") is None
    assert told.take() == [] and store.get("a") == 1
    assert store.expire_in("a", 0) is True and "a" not in store
    assert store.expire_in("a", 10) is False and store.expire_in("b", 10) is False
    check_books(store)


def test_an_earlier_deadline_that_was_moved_takes_nothing_out(policy: str) -> None:
    """What is left of the first deadline in the structure of deadlines must not count when its time comes."""
    store, clock = make(policy, max_items=3)
    store.set_many({"a": 1, "b": 2, "c": 3}, 10)
    store.expire_in("a", 100)
    clock.advance(10)
    store.set("d", 4)
    assert sorted(store) == ["a", "d"]
    check_books(store)


@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=-9))], ids=str)
def test_expire_at_takes_a_time_of_day_with_or_without_a_zone(policy: str, zone: Any, monkeypatch: Any) -> None:
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=zone)
    monkeypatch.setattr(
        "areole._cache.storage_arguments.time", SimpleNamespace(time=now.timestamp, monotonic=time.monotonic)
    )
    store, clock = make(policy)
    store.set("a", 1)
    assert store.expire_at("a", now + timedelta(hours=1)) is True
    assert store.ttl_of("a") == 3600
    clock.advance(3600)
    assert "a" not in store
    assert store.expire_at("a", now) is False
    check_books(store)


def test_expire_at_a_time_that_has_passed_expires_at_once(policy: str) -> None:
    store, _ = make(policy)
    store.set_many({"a": 1, "b": 2})
    assert store.expire_at("a", datetime(2000, 1, 1)) and store.expire_at("b", datetime(2000, 1, 1, tzinfo=UTC))
    assert len(store) == 0
    check_books(store)


@pytest.mark.parametrize("zone", [None, UTC], ids=str)
def test_expire_at_takes_the_first_and_the_last_moment_of_the_calendar(policy: str, zone: Any) -> None:
    """In local time the epoch is further from them than a `timestamp` goes."""
    store, _ = make(policy)
    store.set_many({"a": 1, "b": 2})
    assert store.expire_at("a", datetime.max.replace(tzinfo=zone))
    assert store.expire_at("b", datetime.min.replace(tzinfo=zone))
    assert list(store) == ["a"]
    check_books(store)


@pytest.mark.parametrize(
    "make_eternal", [lambda s: s.expire_at("a", None), lambda s: s.expire_in("a")], ids=["at", "in"]
)
def test_none_is_for_ever_whatever_the_default_ttl_is(policy: str, make_eternal: Any) -> None:
    """Rows C8 and C40: as in cachetory, `expire_in` without a ttl makes a value eternal, and so does a time of None."""
    store, clock = make(policy, default_ttl=5)
    assert make_eternal(store) is False
    store.set("a", 1)
    assert make_eternal(store) is True and store.ttl_of("a") is None
    clock.advance(1e9)
    assert store["a"] == 1
    check_books(store)


@pytest.mark.parametrize("when", [10, "2030-01-01", False, timedelta(1), datetime.now().date()], ids=repr)
def test_expire_at_takes_nothing_else(policy: str, when: Any) -> None:
    store, _ = make(policy)
    store.set("a", 1)
    with pytest.raises(TypeError, match="when must be a datetime, or None for never, not"):
        store.expire_at("a", when)
    assert store.ttl_of("a") is None
    check_books(store)


def test_moving_deadlines_over_and_over_while_the_clock_stands_leaves_nothing(policy: str) -> None:
    store, _ = make(policy)
    store.set_many({i: i for i in range(50)}, 10)
    for i in range(5_000):
        store.expire_in(i % 50, 10)
    check_books(store)


def test_moving_deadlines_over_and_over_leaves_nothing(policy: str) -> None:
    store, _ = make(policy)
    store.set_many({i: i for i in range(50)}, 10)
    for i in range(5_000):
        store.expire_in(i % 50, 10 + i)
    check_books(store)


def make(policy: str, **options: Any) -> tuple[Storage[Any], ManualClock]:
    clock = ManualClock()
    return make_store(policy, clock=clock, **options), clock
