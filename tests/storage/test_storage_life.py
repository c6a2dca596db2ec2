"""A Storage as an object: what its constructor refuses, its end, its text."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import weakref
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from areole import CACHE_MISS, DEFAULT_TTL, Cache, CacheClosedError, Storage
from areole.serializers import pickle_deserializer, pickle_serializer
from areole.testing import assert_valid

from ..kit import check_books, collect, every_policy, is_free_threaded, make_store, repr_without_address

REFUSED = [
    *[("size_limit_in_bytes", value, "at least 4096") for value in (4095, 0, -1, 8192.0, "8192", True, math.nan)],
    *[("max_items", value, "at least 1") for value in (0, -1, 1.5, "1", True, math.inf)],
    *[("default_ttl", value, "at least 0 and finite") for value in (-1, -0.001, math.nan, math.inf)],
    ("default_ttl", timedelta(seconds=-1), "at least 0 and finite"),
    ("default_ttl", 10**400, "at least 0 and finite"),
    *[
        ("expiration_thread_delay", value, "positive and finite")
        for value in (0, -1, math.nan, math.inf, "10", None, True, 10**400)
    ],
    *[("expiration_thread_max_checks_per_iteration", value, "at least 0") for value in (-1, 1.5, "1", True, None)],
    *[("policy", value, "'lru', 's3fifo'") for value in ("LRU", "", None, 3, ["lru"])],
]


@pytest.mark.parametrize("kind", [Storage, Cache])
@pytest.mark.parametrize(("argument", "value", "bound"), REFUSED, ids=lambda each: repr(each)[:40])
def test_a_bad_argument_is_a_value_error_that_names_it_and_the_bound(
    kind: Any, argument: str, value: Any, bound: str
) -> None:
    with pytest.raises(ValueError) as caught:
        kind(**{argument: value})
    message = str(caught.value)
    assert (
        message.startswith(f"{kind.__name__}: {argument} must be")
        and bound in message
        and message.endswith(f"not {value!r}")
    )


@pytest.mark.parametrize("kind", [Storage, Cache])
@pytest.mark.parametrize("value", ["1", True, DEFAULT_TTL, [1], lambda key, value: 1], ids=repr_without_address)
def test_a_default_ttl_of_another_type_is_a_type_error(kind: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"default_ttl must be seconds .*or None, not {type(value).__name__}"):
        kind(default_ttl=value)


def test_limits_of_thousands_of_digits_are_no_errors_of_another_kind() -> None:
    store = Storage[bytes](10**5000, 10**400)
    assert store.set("a", b"1")
    with pytest.raises(ValueError, match="max_items must be an int of at least 1, not an int of thousands of digits"):
        Storage(max_items=-(10**5000))
    check_books(store)


@pytest.mark.parametrize("argument", ["on_removal", "clock"])
def test_what_is_to_be_called_must_be_callable(argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be callable, not int"):
        Storage(**{argument: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", ["weigher", "serializer", "deserializer"])
def test_so_must_weigher_and_serializers(argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be (callable|a name such as .*, an object with .*), not"):
        Cache(**{argument: 5})


def test_the_least_of_each_argument_is_taken() -> None:
    store = Storage[bytes](4096, 1, 0, 0.001, 0, True, True, policy="s3fifo", name="least")
    assert store.set("a", b"1") and store.set("b", b"2") and store.number_of_items == 1
    check_books(store)


@pytest.mark.parametrize("argument", ["size_limit_in_bytes", "max_items", "default_ttl"])
def test_none_is_no_limit(argument: str) -> None:
    store = make_store(**{argument: None})
    assert all(store.set(i, i) for i in range(1000))
    assert store.number_of_items == 1000 and store.ttl_of(7) is None
    check_books(store)


def test_what_follows_expiration_disabled_is_given_by_name_alone() -> None:
    with pytest.raises(TypeError, match="positional argument"):
        Storage(None, None, None, 10.0, 0, False, False, "lru")  # type: ignore[call-arg]


CLOSED: dict[str, Callable[[Storage[Any]], Any]] = {
    "set": lambda store: store.set("a", 1),
    "[]=": lambda store: store.__setitem__("a", 1),
    "add": lambda store: store.add("a", 1),
    "set_many": lambda store: store.set_many({"a": 1}),
    "delete": lambda store: store.delete("a"),
    "del": lambda store: store.__delitem__("a"),
    "delete_many": lambda store: store.delete_many(["a"]),
    "pop": lambda store: store.pop("a"),
    "invalidate": lambda store: store.invalidate("a"),
    "clear": lambda store: store.clear(),
    "expire_in": lambda store: store.expire_in("a", 1),
    "expire_at": lambda store: store.expire_at("a", datetime.now()),
    "ttl_of": lambda store: store.ttl_of("a"),
    "get_or_fill": lambda store: store.get_or_fill("a", str),
    "get_or_fill of another": lambda store: store.get_or_fill("z", str),
    "with": lambda store: store.__enter__(),
    "get_many": lambda store: store.get_many([*"a"]),
    "in": lambda store: "a" in store,
    "len": lambda store: len(store),
    "iteration": lambda store: list(store),
    "cache_info": lambda store: store.cache_info(),
    "sweep": lambda store: store.sweep(),
}
STILL_ANSWERED: dict[str, Callable[[Storage[Any]], Any]] = {
    "[]": lambda store: store["a"],
    "peek": lambda store: store.peek("a"),
    "set_many of nothing": lambda store: store.set_many({}),
    "delete_many of nothing": lambda store: store.delete_many([]),
}


def closed_store(policy: str = "lru") -> Storage[Any]:
    store = make_store(policy, name="my store")
    store.set("a", 1)
    store.close()
    return store


def refuses_as_closed(call: Callable[[Storage[Any]], Any]) -> None:
    store = closed_store()
    with pytest.raises(CacheClosedError, match=r"my store is closed: only .* still work") as caught:
        call(store)
    assert isinstance(caught.value, RuntimeError)
    assert store.get("a") == 1 and store.number_of_items == 1
    check_books(store)


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_a_closed_store_refuses_and_changes_nothing(call: Any) -> None:
    refuses_as_closed(call)


@pytest.mark.parametrize("call", STILL_ANSWERED.values(), ids=STILL_ANSWERED)
def test_a_closed_store_refuses_these_too(call: Any) -> None:
    refuses_as_closed(call)


@every_policy
def test_get_and_the_two_counts_still_work_on_a_closed_store(policy: str) -> None:
    store = closed_store(policy)
    size = store.size_in_bytes
    assert store.get("a") == 1 and store.get("b") is CACHE_MISS and store.get("b", 7) == 7
    assert store.number_of_items == 1 and size > 0
    check_books(store)


def test_assert_valid_is_for_closed_stores_too() -> None:
    assert_valid(closed_store())


def test_the_repr_of_a_closed_store_is_no_error() -> None:
    assert "my store" in repr(closed_store())


@pytest.mark.parametrize("wait", [False, True])
def test_closing_twice_is_the_same_as_once(wait: bool) -> None:
    store = Storage[int](default_ttl=10)  # one that the background thread sweeps
    store.set("a", 1)
    store.close(wait)
    store.close(wait=wait)
    assert store.get("a") == 1
    check_books(store)


def test_a_with_statement_gives_the_store_and_closes_it() -> None:
    store = make_store()
    with store as same:
        assert same is store and same.set("a", 1)
    with pytest.raises(CacheClosedError):
        store.set("a", 2)
    assert store.get("a") == 1
    check_books(store)


def test_a_with_statement_that_is_left_by_an_exception_closes_it_too_and_swallows_nothing() -> None:
    store = make_store()
    with pytest.raises(ZeroDivisionError), store:
        raise ZeroDivisionError
    with pytest.raises(CacheClosedError):
        store.clear()
    check_books(store)


def test_one_closed_store_does_not_close_another() -> None:
    closed_store()
    store = make_store()
    assert store.set("a", 1)
    check_books(store)


def test_the_repr_has_name_and_counts_and_no_key_and_no_value() -> None:
    store = make_store(name="tokens")
    store.set("secret key", "secret value")
    assert "tokens" in repr(store) and "1 values" in repr(store) and "secret" not in repr(store)
    assert "Storage" in repr(make_store())
    check_books(store)


SETTINGS: dict[str, Any] = {
    "size_limit_in_bytes": 4096,
    "max_items": 10,
    "default_ttl": 60.0,
    "expiration_thread_delay": 5.0,
    "expiration_thread_max_checks_per_iteration": 100,
    "expiration_thread_log": True,
    "expiration_disabled": True,
}


@pytest.mark.parametrize("kind", [Storage, Cache])
def test_the_settings_can_be_read_and_repr_shows_those_that_were_given(kind: Any) -> None:
    """Row A2: after atomic_lru, whose stores are dataclasses."""
    store = kind(**SETTINGS, name="tokens")
    assert {name: getattr(store, name) for name in SETTINGS} == SETTINGS
    shown = " ".join(f"{name}={value!r}" for name, value in SETTINGS.items())
    assert repr(store) == f"<{kind.__name__} 'tokens' {shown}: 0 values, 0 fills, 0 misses>"
    plain = kind()
    assert [getattr(plain, name) for name in SETTINGS] == [None, None, None, 10.0, 10_000, False, False]
    assert repr(plain) == f"<{kind.__name__} {plain.name!r}: 0 values, 0 fills, 0 misses>"
    assert kind(default_ttl=timedelta(minutes=1)).default_ttl == 60.0


def test_the_functions_of_a_cache_can_be_read() -> None:
    assert Cache().serializer is pickle_serializer and Cache().deserializer is pickle_deserializer
    cache: Cache[Any] = Cache(serializer="json")
    assert cache.deserializer(cache.serializer([1])) == [1]


def test_cache_is_generic_as_storage_is() -> None:
    """Row E13."""
    assert type(Cache[int](max_items=5)) is Cache and Cache[int](max_items=5).max_items == 5


@pytest.mark.parametrize("name", [each for each in SETTINGS if each != "expiration_disabled"])
def test_a_setting_cannot_be_changed_later(name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(make_store(), name, SETTINGS[name])


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_store_is_neither_copied_nor_pickled(act: Any) -> None:
    store = make_store(name="tokens")
    with pytest.raises(TypeError, match=r"tokens: a cache cannot be pickled or copied.*move it into a module"):
        act(store)
    check_books(store)


@pytest.mark.parametrize("kind", [Storage, Cache])
@pytest.mark.parametrize("options", [{}, {"default_ttl": 5, "max_items": 9}], ids=["plain", "ttl"])
def test_a_store_that_nobody_has_is_freed_at_once(kind: Any, options: Any) -> None:
    store = kind(**options)
    store.set("a", b"1")
    store.get_or_fill("b", lambda key: b"2")
    ref = weakref.ref(store)
    gc.disable()
    try:
        del store
        if is_free_threaded():  # its reference counts are deferred there
            collect()
        assert ref() is None
    finally:
        gc.enable()
