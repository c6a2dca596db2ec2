"""Cache: a Storage for any value, which it keeps as bytes."""

from __future__ import annotations

import contextlib
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import CACHE_MISS, Cache, CacheClosedError
from areole.errors import SerializationError, SettingsError
from areole.serializers import (
    Deserializer,
    JsonSerializer,
    Serializer,
    SignedPickle,
    pickle_deserializer,
    pickle_serializer,
)
from areole.testing import ManualClock

from ..kit import (
    Gate,
    Told,
    check_books,
    every_policy,
    repr_without_address,
    run_threads,
    start_threads,
    wait_until_waiting,
)

pytestmark = every_policy


class Refused(Exception):
    """What serializers raise here."""


class Point:
    """A value whose equality can be checked."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and other.x == self.x


VALUES = [None, 0, False, "text", b"bytes", (1, [2]), {"a": {1, 2}}, 1j, Point(3), ValueError, ..., CACHE_MISS, []]
FORMS: dict[str, Callable[[Cache, Any], Any]] = {
    "set": lambda cache, value: cache.set("a", value),
    "[]=": lambda cache, value: cache.__setitem__("a", value),
    "add": lambda cache, value: cache.add("a", value),
    "set_many": lambda cache, value: cache.set_many({"a": value}),
    "get_or_fill": lambda cache, value: cache.get_or_fill("a", lambda key: value),
}
READS: dict[str, Callable[[Cache], Any]] = {
    "get": lambda cache: cache.get("a"),
    "[]": lambda cache: cache["a"],
    "peek": lambda cache: cache.peek("a"),
    "get_many": lambda cache: cache.get_many(["a", "b"])["a"],
    "get_or_fill": lambda cache: cache.get_or_fill("a", lambda key: pytest.fail("it is there")),
    "pop": lambda cache: cache.pop("a"),
}
every_form = pytest.mark.parametrize("put", FORMS.values(), ids=FORMS)
every_read = pytest.mark.parametrize("read", READS.values(), ids=READS)


@every_form
@every_read
def test_any_value_can_be_put_and_read_in_any_way(policy: str, put: Any, read: Any) -> None:
    for value in VALUES:
        cache = make_cache(policy)
        put(cache, value)
        assert read(cache) == value
        check_books(cache)


@every_form
def test_what_is_read_is_a_copy_that_nobody_shares(policy: str, put: Any) -> None:
    cache, value = make_cache(policy), [1]
    put(cache, value)
    value.append(2)
    cache.get("a").append(3)
    assert cache.get("a") == [1]
    check_books(cache)


def test_get_or_fill_gives_its_first_caller_a_copy_too(policy: str) -> None:
    """Else the one who filled would hold another object than what all the others are given."""
    cache, value = make_cache(policy), [1]
    assert cache.get_or_fill("a", lambda key: value) == value
    assert cache.get_or_fill("a", lambda key: value) is not value
    check_books(cache)


def test_pickle_is_the_default_and_what_is_stored_is_bytes(policy: str) -> None:
    told = Told()
    cache = make_cache(policy, on_removal=told)
    cache.set("a", {"x": 1})
    cache.delete("a")
    ((key, data, cause),) = told.take()
    assert (key, cause) == ("a", "explicit") and type(data) is bytes and pickle.loads(data) == {"x": 1}
    assert pickle_deserializer(pickle_serializer(VALUES[6])) == VALUES[6]


def test_serializers_of_ones_own(policy: str) -> None:
    told = Told()
    serializer: Serializer = lambda value, /: json.dumps(value).encode()  # noqa: E731
    deserializer: Deserializer = lambda data, /: json.loads(data)  # noqa: E731
    cache = make_cache(policy, serializer=serializer, deserializer=deserializer, on_removal=told)
    cache.set("a", {"x": [1]})
    assert cache.get("a") == {"x": [1]} and cache.pop("a") == {"x": [1]}
    assert told.take() == [("a", b'{"x": [1]}', "explicit")]
    check_books(cache)


def test_the_serialisers_may_be_given_by_position_after_expiration_disabled(policy: str) -> None:
    cache = Cache(None, 5, None, 10.0, 0, False, False, repr_bytes, len, policy=policy)
    cache.set("a", "four")
    assert cache.get("a") == 6
    check_books(cache)


def repr_bytes(value: Any) -> bytes:
    return repr(value).encode()


class Digits:
    """A serializer as other libraries have them."""

    def dumps(self, value: int) -> bytes:
        return str(value).encode()

    def loads(self, data: bytes) -> int:
        return int(data)


class CalledDigits(Digits):
    def __call__(self, value: Any) -> bytes:
        raise AssertionError("it has dumps")


@pytest.mark.parametrize(
    "serializer",
    [
        *("json", "json+zlib://?min-size=0", JsonSerializer(), SignedPickle([b"k" * 16])),
        *(Digits(), CalledDigits(), (repr_bytes, int), json),
    ],
    ids=repr_without_address,
)
@every_form
@every_read
def test_a_serializer_may_be_a_name_an_object_or_a_pair(policy: str, serializer: Any, put: Any, read: Any) -> None:
    cache = make_cache(policy, serializer=serializer)
    put(cache, 12)
    assert read(cache) == 12
    check_books(cache)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"serializer": "jsn"}, SettingsError, "did you mean 'json'"),
        ({"serializer": JsonSerializer}, TypeError, r"write JsonSerializer\(\)"),
        ({"serializer": 5}, TypeError, 'serializer must be a name such as "json"'),
        ({"serializer": None}, TypeError, 'serializer must be a name such as "json"'),
        ({"serializer": "json", "deserializer": bytes}, TypeError, "deserializer is for a serializer that is a func"),
        ({"serializer": Digits(), "deserializer": bytes}, TypeError, "deserializer is for a serializer that is a func"),
        ({"serializer": len, "deserializer": 5}, TypeError, "deserializer must be callable, not int"),
    ],
    ids=repr_without_address,
)
def test_what_is_no_serializer_is_refused(policy: str, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_cache(policy, **options)


def test_a_callable_that_has_loads_too_may_have_another_deserializer(policy: str) -> None:
    class Both(Digits):
        def __call__(self, value: Any) -> bytes:
            return b"called"

    cache = make_cache(policy, serializer=Both(), deserializer=bytes)
    cache.set("a", 1)
    assert cache.get("a") == b"called"


def test_what_a_serializer_of_ours_refuses_is_said_and_is_a_value_error(policy: str) -> None:
    cache = make_cache(policy, serializer="json", name="my cache")
    cache.set("a", 1)
    message = r"my cache: cannot serialize a value of type dict: .* not give back a value of type tuple, at \['b'\]"
    with pytest.raises(SerializationError, match=message) as caught:
        cache.set("a", {"b": (1,)})
    assert isinstance(caught.value, ValueError) and cache.get("a") == 1
    check_books(cache)


def test_a_miss_calls_no_deserializer(policy: str) -> None:
    cache = make_cache(policy, deserializer=pytest.fail)
    assert cache.get("a") is cache.peek("a") is cache.pop("a") is CACHE_MISS
    assert cache.get("a", 7) == cache.peek("a", 7) == cache.pop("a", 7) == 7
    assert cache.get_many(["a"]) == {} and "a" not in cache
    cache.set("a", 1)
    assert "a" in cache and len(cache) == 1 and list(cache) == ["a"]
    check_books(cache)


@every_form
def test_a_serializer_that_fails_is_a_value_error_with_the_type_and_the_cause(policy: str, put: Any) -> None:
    cause = Refused("not this one")

    def serializer(value: Any) -> bytes:
        raise cause

    cache = make_cache(policy, serializer=serializer, name="my cache")
    with pytest.raises(ValueError, match=r"my cache: cannot serialize a value of type Point") as caught:
        put(cache, Point(1))
    assert caught.value.__cause__ is cause and len(cache) == 0
    check_books(cache)


@every_form
@pytest.mark.parametrize("data", ["text", bytearray(3), None, 7], ids=repr_without_address)
def test_a_serializer_that_gives_no_bytes_is_a_value_error(policy: str, put: Any, data: Any) -> None:
    cache = make_cache(policy, serializer=lambda value: data)
    with pytest.raises(ValueError, match=f"serializer must return bytes, not {type(data).__name__}"):
        put(cache, 1)
    assert len(cache) == 0
    check_books(cache)


def test_what_cannot_be_pickled_leaves_the_old_value(policy: str) -> None:
    cache = make_cache(policy)
    cache.set("a", 1)
    for put in (FORMS["set"], FORMS["add"], FORMS["set_many"]):
        with pytest.raises(ValueError, match="type function"):
            put(cache, lambda: None)
    assert cache.get("a") == 1
    check_books(cache)


@every_read
def test_a_corrupt_entry_is_a_value_error_with_its_cause_and_it_is_dropped(policy: str, read: Any) -> None:
    told, cause = Told(), Refused("broken")

    def deserializer(data: bytes) -> Any:
        raise cause

    cache = make_cache(policy, deserializer=deserializer, on_removal=told, name="my cache")
    cache.set("a", 1)
    with pytest.raises(ValueError, match=r"my cache: cannot turn \d+ stored bytes back into a value") as caught:
        read(cache)
    assert caught.value.__cause__ is cause
    assert "a" not in cache and cache.number_of_items == 0
    assert "the deserializer raised Refused" in str(caught.value)
    assert [key for key, _, _ in told.take()] == ["a"]
    check_books(cache)


@every_read
def test_a_corrupt_entry_is_counted_and_told_as_evicted(policy: str, read: Any) -> None:
    told = Told()
    cache = make_cache(policy, deserializer=lambda data: 1 // 0, on_removal=told)
    cache.set("a", 1)
    with pytest.raises(ValueError):
        read(cache)
    assert [cause for _, _, cause in told.take()] == ["evicted"] and cache.cache_info().evictions == 1
    check_books(cache)


@pytest.mark.parametrize("read", [READS[name] for name in ("get", "[]", "peek", "get_many", "get_or_fill", "pop")])
def test_a_corrupt_entry_that_three_threads_read_is_dropped_and_counted_once(policy: str, read: Any) -> None:
    """Allowed: who has read the bytes gets the ValueError; who came later a miss, which `get_or_fill` fills."""
    together, told = threading.Barrier(3), Told()

    def deserializer(data: bytes) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            together.wait(0.2)  # gives the others a chance to have read the same; nothing depends on it
        raise Refused

    cache = make_cache(policy, deserializer=deserializer, on_removal=told)
    cache.set("a", 1)
    results = run_threads(*[lambda: read(cache)] * 3)
    assert any(isinstance(result, ValueError) for result in results)
    assert [cause for _, _, cause in told.take()] == ["evicted"] and cache.cache_info().evictions == 1
    assert cache.number_of_items == 0
    check_books(cache)


def test_pop_of_a_corrupt_entry_that_has_expired_is_a_miss_and_calls_no_deserializer(policy: str) -> None:
    clock, told = ManualClock(), Told()
    cache = make_cache(policy, deserializer=pytest.fail, clock=clock, on_removal=told)
    cache.set("a", 1, ttl=5)
    clock.advance(5)
    assert cache.pop("a", 7) == 7
    assert [cause for _, _, cause in told.take()] == ["expired"] and cache.cache_info().evictions == 0
    check_books(cache)


@pytest.mark.parametrize("broken", ["serializer", "not bytes", "weigher"])
@pytest.mark.parametrize("put", [FORMS[name] for name in ("set", "[]=", "set_many")], ids=["set", "[]=", "set_many"])
def test_a_set_that_fails_before_it_stores_leaves_the_old_value_its_ttl_and_a_fill(
    policy: str, broken: str, put: Any
) -> None:
    armed: list[bool] = []

    def serializer(value: Any) -> Any:
        if armed and broken == "serializer":
            raise Refused
        return "text" if armed and broken == "not bytes" else repr_bytes(value)

    def weigher(key: Any, data: bytes) -> int:
        if armed and broken == "weigher":
            raise ValueError("refused")
        return len(data)

    told = Told()
    cache = make_cache(policy, serializer=serializer, deserializer=bytes, weigher=weigher, on_removal=told)
    cache.set("a", "old", ttl=1000)

    def fill(key: str) -> str:
        armed.append(True)
        with pytest.raises(ValueError):
            cache.set("filling", "new")
        armed.clear()
        return "filled"

    armed.append(True)
    with pytest.raises(ValueError):
        put(cache, "new")
    assert cache.get("a") == b"'old'" and cache.ttl_of("a") is not None and told.take() == []
    armed.clear()
    assert cache.get_or_fill("filling", fill) == cache.get("filling") == b"'filled'"
    check_books(cache)


def test_a_serializer_that_fails_in_get_or_fill_reaches_all_who_wait(policy: str) -> None:
    gate = Gate()

    def serializer(value: Any) -> bytes:
        gate.enter()
        raise Refused

    cache = make_cache(policy, serializer=serializer)
    join = start_threads(*[lambda: cache.get_or_fill("a", str)] * 3)
    gate.wait_until_entered()
    wait_until_waiting(cache, 2)  # type: ignore[arg-type]
    gate.open()
    for result in join():
        assert isinstance(result, ValueError) and "value of type str: the serializer raised Refused" in str(result)
        assert isinstance(result.__cause__, Refused)
    info = cache.cache_info()
    assert (info.fills, info.failures, info.currsize) == (1, 1, 0)
    check_books(cache)


def test_what_was_filled_and_cannot_be_turned_back_is_a_value_error_for_all_and_is_dropped_once(policy: str) -> None:
    gate, told = Gate(), Told()

    def fill(key: str) -> str:
        gate.enter()
        return key

    cache = make_cache(policy, deserializer=lambda data: 1 // 0, on_removal=told)
    join = start_threads(*[lambda: cache.get_or_fill("a", fill)] * 3)
    gate.wait_until_entered()
    wait_until_waiting(cache, 2)  # type: ignore[arg-type]
    gate.open()
    assert all(isinstance(result, ValueError) for result in join())
    assert [cause for _, _, cause in told.take()] == ["evicted"] and "a" not in cache
    check_books(cache)


def test_a_corrupt_entry_that_was_replaced_meanwhile_does_not_take_the_new_one_along(policy: str) -> None:
    def deserializer(data: bytes) -> Any:
        if data == b"'old'":
            cache.set("a", "new")
            raise Refused
        return data

    cache = make_cache(policy, serializer=repr_bytes, deserializer=deserializer)
    cache.set("a", "old")
    with pytest.raises(ValueError):
        cache.get("a")
    assert cache.get("a") == b"'new'" and cache.cache_info().evictions == 0
    check_books(cache)


def test_an_interrupt_in_a_serializer_is_not_made_a_value_error(policy: str) -> None:
    def interrupted(value: Any) -> Any:
        raise KeyboardInterrupt

    cache = make_cache(policy, serializer=interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.set("a", 1)
    other = make_cache(policy, deserializer=interrupted)
    other.set("a", 1)
    with pytest.raises(KeyboardInterrupt):
        other.get("a")
    assert "a" in other
    with pytest.raises(KeyboardInterrupt):
        other.pop("a")
    assert "a" not in other and other.cache_info().evictions == 0
    check_books(cache)
    check_books(other)


def test_a_fill_that_raises_is_raised_as_it_is(policy: str) -> None:
    cache = make_cache(policy)
    with pytest.raises(Refused):
        cache.get_or_fill("a", lambda key: (_ for _ in ()).throw(Refused))
    assert len(cache) == 0
    check_books(cache)


def test_limits_ttl_and_oversize_go_by_the_bytes(policy: str) -> None:
    clock = ManualClock()
    cache = make_cache(policy, size_limit_in_bytes=4096, default_ttl=10, clock=clock)
    assert cache.set("a", "text") and cache.ttl_of("a") == 10
    assert cache.set("a", "x" * 5000) is False and "a" not in cache
    assert cache.get_or_fill("a", lambda key: "x" * 5000) == "x" * 5000 and "a" not in cache
    for i in range(50):
        assert cache.set(i, "x" * 500, 5)
        check_books(cache)
    assert 3 < cache.number_of_items < 10
    clock.advance(5)
    assert len(cache) == 0
    check_books(cache)


def test_a_closed_cache_serialises_nothing_and_get_still_works(policy: str) -> None:
    cache = make_cache(policy)
    cache.set("a", [1])
    cache.close()
    assert cache.get("a") == [1] and cache.number_of_items == 1
    cache._dump = pytest.fail
    for put in FORMS.values():
        with pytest.raises(CacheClosedError):
            put(cache, 2)
    check_books(cache)


def make_cache(policy: str, **options: Any) -> Cache:
    return Cache(expiration_thread_max_checks_per_iteration=0, policy=policy, **options)
