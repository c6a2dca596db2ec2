"""How long a Storage keeps what: forms of ttl, deadlines that are moved, what leaves first."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from areole import CACHE_MISS, DEFAULT_TTL, DefaultTTLSentinel, Storage
from areole.testing import ManualClock

from ..kit import Told, check_books, collect, every_policy, make_store, repr_without_address

pytestmark = every_policy

FORMS: list[Any] = [10, 10.0, Fraction(10), timedelta(seconds=10)]
SETTERS: dict[str, Callable[[Storage[Any], Any], Any]] = {
    "set": lambda store, ttl: store.set("a", 1, ttl),
    "set by name": lambda store, ttl: store.set("a", 1, ttl=ttl),
    "add": lambda store, ttl: store.add("a", 1, ttl),
    "set_many": lambda store, ttl: store.set_many({"a": 1}, ttl),
    "get_or_fill": lambda store, ttl: store.get_or_fill("a", lambda key: 1, ttl),
    "expire_in": lambda store, ttl: store.set("a", 1, None) and store.expire_in("a", ttl),
}
every_setter = pytest.mark.parametrize("put", SETTERS.values(), ids=SETTERS)


@every_setter
@pytest.mark.parametrize("ttl", FORMS, ids=repr)
def test_a_value_has_expired_at_exactly_its_deadline_and_not_before(policy: str, put: Any, ttl: Any) -> None:
    store, clock = make(policy)
    put(store, ttl)
    assert store.ttl_of("a") == 10
    clock.advance(10 - 2**-20)
    assert store.get("a") == 1 and "a" in store and store.ttl_of("a") == 2**-20
    clock.advance(2**-20)
    assert store.ttl_of("a") is CACHE_MISS and "a" not in store and store.get("a") is CACHE_MISS
    check_books(store)


@pytest.mark.parametrize("ttl", FORMS, ids=repr)
def test_the_default_holds_where_no_ttl_is_given(policy: str, ttl: Any) -> None:
    store, clock = make(policy, default_ttl=ttl)
    store.set("a", 1)
    store["b"] = 1
    store.add("c", 1)
    store.get_or_fill("d", str)
    store.set_many({"e": 1})
    assert [store.ttl_of(key) for key in "abcde"] == [10] * 5
    clock.advance(10)
    assert len(store) == 0
    check_books(store)


@every_setter
@pytest.mark.parametrize("sentinel", [DEFAULT_TTL, DefaultTTLSentinel()], ids=["DEFAULT_TTL", "another instance"])
def test_any_default_ttl_sentinel_means_the_default(policy: str, put: Any, sentinel: Any) -> None:
    store, _ = make(policy, default_ttl=7)
    put(store, sentinel)
    assert store.ttl_of("a") == 7
    check_books(store)
    forever, _ = make(policy)
    put(forever, sentinel)
    assert forever.ttl_of("a") is None
    check_books(forever)


@every_setter
def test_none_is_never_whatever_the_default(policy: str, put: Any) -> None:
    store, clock = make(policy, default_ttl=1)
    put(store, None)
    assert store.ttl_of("a") is None
    clock.advance(1e15)
    assert store.get("a") == 1
    check_books(store)


@every_setter
@pytest.mark.parametrize("ttl", [0, 0.0, -0.0, timedelta(0)], ids=repr)
def test_zero_expires_at_once(policy: str, put: Any, ttl: Any) -> None:
    store, _ = make(policy)
    assert put(store, ttl) == 1
    assert "a" not in store and store.get("a") is CACHE_MISS and store.ttl_of("a") is CACHE_MISS
    assert store.number_of_items == store.size_in_bytes == 0
    check_books(store)


@every_setter
@pytest.mark.parametrize(
    "ttl",
    [-1, -0.5, timedelta(-1), math.nan, math.inf, -math.inf, 10**400, 10**5000],
    ids=["-1", "-0.5", "-1 day", "nan", "inf", "-inf", "10**400", "10**5000"],
)
def test_a_number_below_zero_or_not_finite_is_a_value_error_and_changes_nothing(
    policy: str, put: Any, ttl: Any
) -> None:
    refuses(policy, put, ttl, ValueError, "ttl must be at least 0 and finite, or None for never, not")


@every_setter
@pytest.mark.parametrize(
    "ttl", [True, False, "10", b"1", Decimal(10), 1j, [10], lambda key, value: 1], ids=repr_without_address
)
def test_what_is_no_number_is_a_type_error_and_changes_nothing(policy: str, put: Any, ttl: Any) -> None:
    kind = type(ttl).__name__
    refuses(policy, put, ttl, TypeError, rf"ttl must be seconds \(int or float\), a timedelta or None, not {kind}")


def refuses(policy: str, put: Any, ttl: Any, error: type[Exception], message: str) -> None:
    store, _ = make(policy, default_ttl=60)
    with pytest.raises(error, match=message):
        put(store, ttl)
    assert store.get("a", 1) == 1 and store.ttl_of("a") in (None, CACHE_MISS)
    assert store.cache_info().fills == 0
    check_books(store)


def test_a_set_anew_has_a_deadline_anew(policy: str) -> None:
    store, clock = make(policy)
    store.set("a", 1, 10)
    clock.advance(9)
    store.set("a", 2, 10)
    clock.advance(9)
    assert store.get("a") == 2
    store.set("a", 3, None)
    clock.advance(100)
    assert store.get("a") == 3
    check_books(store)


def test_an_expired_key_counts_as_absent(policy: str) -> None:
    for act, expected in [
        (lambda store: store.delete("a"), False),
        (lambda store: store.pop("a"), CACHE_MISS),
        (lambda store: store.invalidate("a"), False),
        (lambda store: store.delete_many(["a"]), 0),
        (lambda store: store.expire_in("a", 10), False),
        (lambda store: store.add("a", 2), True),
        (lambda store: store.get_or_fill("a", lambda key: 2), 2),
        (lambda store: store.get_many(["a"]), {}),
    ]:
        store, clock = make(policy)
        store.set("a", 1, 10)
        clock.advance(10)
        assert act(store) == expected
        check_books(store)


def test_with_expiration_disabled_nothing_expires(policy: str) -> None:
    store, clock = make(policy, default_ttl=1, expiration_disabled=True)
    store.set("a", 1)
    store.set("b", 2, 0)
    store.add("c", 3, 5)
    store.get_or_fill("d", str, 5)
    store.expire_in("a", 0)
    store.expire_at("a", datetime(2000, 1, 1))
    clock.advance(1e9)
    assert sorted(store) == ["a", "b", "c", "d"] and store.ttl_of("b") is None
    assert store.sweep() == 0
    check_books(store)


def test_each_write_takes_out_a_few_of_the_expired(policy: str) -> None:
    """Without a limit and without reads: else what nobody asks for again would stay for ever."""
    told = Told()
    store, clock = make(policy, on_removal=told)
    store.set_many({i: i for i in range(100)}, 10)
    clock.advance(10)
    left = [store.number_of_items]
    for i in range(200):
        store.set("live", i)
        left.append(store.number_of_items)
    assert left[-1] == 1 and all(1 <= before - after <= 3 for before, after in pairwise(left) if after > 1)
    assert [cause for _, _, cause in told.take() if cause != "replaced"] == ["expired"] * 100
    assert store.cache_info().expirations == 100
    check_books(store)


def test_a_sweep_takes_out_the_first_to_expire_and_says_how_many(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store: Storage[int] = Storage(
        expiration_thread_max_checks_per_iteration=3, policy=policy, clock=clock, on_removal=told
    )
    for i in (5, 2, 9, 1, 7):
        store.set(i, i, i)
    clock.advance(8)
    assert store.sweep() == 3 and told.take() == [(i, i, "expired") for i in (1, 2, 5)]
    assert store.sweep() == 1 and told.take() == [(7, 7, "expired")]
    assert store.sweep() == 0 and store.number_of_items == 1
    check_books(store)


def test_a_read_that_comes_upon_an_expired_value_takes_it_out(policy: str) -> None:
    for read in (Storage.get, Storage.peek, Storage.__contains__):
        told = Told()
        store, clock = make(policy, on_removal=told)
        store.set("a", 1, 10)
        clock.advance(10)
        assert store.number_of_items == 1
        read(store, "a")
        assert store.number_of_items == store.size_in_bytes == 0
        assert told.take() == [("a", 1, "expired")] and store.cache_info().expirations == 1
        check_books(store)


class Value:
    """Something that a weak reference can be made to."""


@pytest.mark.parametrize("act", [Storage.delete, Storage.pop, lambda store, key: store.set(key, 0)])
def test_a_value_with_a_deadline_is_let_go_of_as_soon_as_it_leaves(policy: str, act: Any) -> None:
    store, _ = make(policy)
    value = Value()
    ref = weakref.ref(value)
    store.set("a", value, 1000)
    del value
    act(store, "a")
    collect()
    assert ref() is None
    check_books(store)


def make(policy: str, **options: Any) -> tuple[Storage[Any], ManualClock]:
    clock = ManualClock()
    return make_store(policy, clock=clock, **options), clock
