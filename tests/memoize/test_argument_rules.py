"""Rules for arguments that hold for every class and function of the library, and what the messages say."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, CacheInfo, Resilience, Storage, cached
from areole._cache.lookups import Lookups

from ..kit import ManualClock, assert_valid

MAKERS: dict[str, Callable[..., Any]] = {
    "AtomicCache": lambda **options: AtomicCache(str, **options),
    "AsyncAtomicCache": lambda **options: AsyncAtomicCache(str, **options),
    "memoize": lambda **options: AtomicCache.memoize(**options)(str.lower),
    "Storage": lambda **options: Storage(**options),
    "Cache": lambda **options: Cache(**options),
    "cached": lambda **options: cached(Storage(), **options)(str.lower),
}
every_maker = pytest.mark.parametrize("maker", [*MAKERS])
MAKERS["Resilience"] = Resilience


# ---- names


@pytest.mark.parametrize(
    ("maker", "wrong", "right"),
    [
        ("AtomicCache", "maxsize", "max_items"),
        ("AtomicCache", "max_item", "max_items"),
        ("AtomicCache", "size_limit_in_bytes", "max_bytes"),
        ("AtomicCache", "timer", "clock"),
        ("AtomicCache", "default_ttl", "ttl"),
        ("AsyncAtomicCache", "maxsize", "max_items"),
        ("AsyncAtomicCache", "on_abandoned", "on_abandon"),
        ("memoize", "maxsize", "max_items"),
        ("memoize", "type", "typed"),
        ("memoize", "time_to_live", "ttl"),
        ("Storage", "maxsize", "max_items"),
        ("Storage", "ttl", "default_ttl"),
        ("Storage", "max_bytes", "size_limit_in_bytes"),
        ("Cache", "maxsize", "max_items"),
        ("Cache", "serialiser", "serializer"),
        ("Cache", "on_eviction", "on_removal"),
        ("cached", "make_key", "key"),
        ("cached", "expire", "ttl"),
        ("cached", "skipp", "skip"),
        ("Resilience", "stale", "stale_ttl"),
    ],
)
def test_an_unknown_name_suggests_the_one_that_may_be_meant(maker: str, wrong: str, right: str) -> None:
    message = rf"{maker}\(\) got an unexpected keyword argument '{wrong}': did you mean '{right}'\?"
    with pytest.raises(TypeError, match=message):
        MAKERS[maker](**{wrong: 1})


@every_maker
def test_where_none_is_near_all_are_named(maker: str) -> None:
    with pytest.raises(TypeError, match=rf"{maker}\(\) got an unexpected keyword argument 'xyzzy': it takes .*ttl"):
        MAKERS[maker](xyzzy=1)


def test_a_subclass_may_take_names_of_its_own() -> None:
    class Tenant(AtomicCache[Any, Any]):
        def __init__(self, fill: Any, ttl: Any = None, *, tenant: str = "", **options: Any) -> None:
            super().__init__(fill, ttl, **options)
            self.tenant = tenant

    assert Tenant(str, tenant="a")[1] == "1"
    assert Tenant.memoize(tenant="b")(str.lower).cache.tenant == "b"  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"Tenant\(\) got an unexpected keyword argument 'maxsize'.*'max_items'"):
        Tenant(str, maxsize=1)
    with pytest.raises(TypeError, match=r"Tenant\(\) got an unexpected keyword argument 'maxsize'.*'max_items'"):
        Tenant.memoize(maxsize=1)(str.lower)  # type: ignore[call-overload]


@pytest.mark.parametrize("kind", [AtomicCache, AsyncAtomicCache, Storage, Cache, cached])
def test_signatures_are_those_that_are_written(kind: Any) -> None:
    parameters = inspect.signature(kind).parameters
    assert "args" not in parameters and "kwargs" not in parameters and len(parameters) >= 5


@every_maker
@pytest.mark.parametrize("name", [1, b"name", ["name"]])
def test_a_name_must_be_a_str(maker: str, name: Any) -> None:
    if maker != "cached":
        with pytest.raises(TypeError, match=f"name must be a str or None, not {type(name).__name__}"):
            MAKERS[maker](name=name)


# ---- flags


@pytest.mark.parametrize(
    ("maker", "flag"),
    [
        ("AtomicCache", "stats"),
        ("AsyncAtomicCache", "stats"),
        ("AsyncAtomicCache", "inline"),
        ("memoize", "stats"),
        ("memoize", "typed"),
        ("memoize", "inline"),
        ("Storage", "stats"),
        ("Storage", "expiration_disabled"),
        ("Storage", "expiration_thread_log"),
        ("Cache", "stats"),
        ("Cache", "expiration_disabled"),
        ("cached", "typed"),
    ],
)
@pytest.mark.parametrize("value", [1, 0, "no", None])
def test_a_flag_must_be_a_bool(maker: str, flag: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{flag} must be a bool, not {type(value).__name__}"):
        MAKERS[maker](**{flag: value})


def test_a_store_is_not_closed_by_a_wrong_flag() -> None:
    store = Storage[int]()
    with pytest.raises(TypeError, match="wait must be a bool, not int"):
        store.close(wait=1)  # type: ignore[arg-type]
    assert store.set("key", 1)


# ---- callables


async def asynchronous(*args: Any) -> Any:
    raise AssertionError("nobody calls it")


class AsyncCall:
    async def __call__(self, *args: Any) -> Any:
        raise AssertionError("nobody calls it")


@pytest.mark.parametrize("function", [asynchronous, AsyncCall()], ids=["async def", "object"])
@pytest.mark.parametrize(
    ("maker", "argument", "beside"),
    [
        *[(maker, "on_removal", {}) for maker in MAKERS if maker not in ("cached", "Resilience")],
        *[(maker, "clock", {}) for maker in MAKERS if maker not in ("cached", "Resilience")],
        *[(maker, "weigher", {"max_bytes": 5000}) for maker in ("AtomicCache", "AsyncAtomicCache", "memoize")],
        *[(maker, "weigher", {}) for maker in ("Storage", "Cache")],
        *[(maker, "ttl", {}) for maker in ("AtomicCache", "AsyncAtomicCache", "memoize", "cached")],
        *[(maker, "key", {}) for maker in ("memoize", "cached")],
        ("cached", "skip", {}),
        ("Cache", "serializer", {}),
        ("Cache", "deserializer", {}),
        ("Resilience", "random", {}),
    ],
)
def test_what_is_called_and_not_awaited_is_no_async_def(
    maker: str, argument: str, beside: dict[str, Any], function: Any
) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be a plain function, not the async def"):
        MAKERS[maker](**{argument: function}, **beside)


@pytest.mark.parametrize("maker", [name for name in MAKERS if name not in ("cached", "Resilience")])
@pytest.mark.parametrize(
    ("clock", "error", "message"),
    [
        (datetime.datetime.now, TypeError, "clock must give seconds as a number.* of type datetime"),
        (lambda: None, TypeError, "clock must give seconds as a number.* of type NoneType"),
        (time.ctime, TypeError, "clock must give seconds as a number.* of type str"),
        (lambda: math.nan, ValueError, "clock must give a finite number of seconds: it gave nan"),
        (lambda: 10**400, ValueError, "clock must give a finite number of seconds"),
    ],
)
def test_a_clock_that_gives_no_seconds_is_refused_at_once(
    maker: str, clock: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MAKERS[maker](clock=clock)


@pytest.mark.parametrize("maker", ["AsyncAtomicCache", "memoize"])
def test_on_abandon_is_one_of_two(maker: str) -> None:
    with pytest.raises(ValueError, match='on_abandon must be "cancel" or "complete", not 5'):
        MAKERS[maker](on_abandon=5)


def test_numbers_of_thousands_of_digits_are_shown_in_words() -> None:
    for options in ({"jitter": 10**5000}, {"refresh_ahead": 10**5000}, {"stale_ttl": 10**5000}):
        with pytest.raises(ValueError, match="not an int of thousands of digits"):
            Resilience(**options)
    for options in ({"ttl": 10**5000}, {"wait_timeout": 10**5000}, {"max_items": -(10**5000)}):
        with pytest.raises(ValueError, match="not an int of thousands of digits"):
            AtomicCache(str, **options)


def test_memoize_and_cached_say_where_a_property_goes() -> None:
    for decorator, name in ((AtomicCache.memoize, "memoize"), (cached(Storage()), "cached")):
        with pytest.raises(TypeError, match=f"{name} takes no property: put @property above {name}"):
            decorator(property(lambda self: 1))  # type: ignore[call-overload]


def test_messages_name_the_function_that_was_called() -> None:
    with pytest.raises(TypeError, match="cached takes a function, a method or a callable, not int"):
        cached(Storage())(5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="memoize takes a function, a method or a callable, not str"):
        AtomicCache.memoize("5")  # type: ignore[call-overload]
    for given, shown in ((5, "int"), (Storage, "the class Storage")):
        with pytest.raises(TypeError, match=rf"cache must be .*, not {shown}: write @cached\(cache\)"):
            cached(given)  # type: ignore[arg-type]
    undecorated: Any = cached(make_nothing)  # taken for what chooses the cache
    with pytest.raises(TypeError, match=r"cached takes a function, not int: write @cached\(cache\)"):
        undecorated(5)


@pytest.mark.parametrize(
    ("maker", "options", "match"),
    [
        ("AtomicCache", {"ttl": "5"}, "^AtomicCache: ttl must be seconds .*, not str"),
        ("AsyncAtomicCache", {"wait_timeout": -1}, "^AsyncAtomicCache: wait_timeout must be positive and finite"),
        ("memoize", {"max_items": 0}, "^memoize: max_items must be an int of at least 1, not 0"),  # and no other name
        ("Storage", {"default_ttl": -1}, "^Storage: default_ttl must be at least 0"),
        ("Cache", {"serializer": 5}, '^Cache: serializer must be a name such as "json"'),
        ("Cache", {"max_items": 0}, "^Cache: max_items must be"),
        ("cached", {"skip": 5}, "^cached: skip must be callable, not int"),
        ("Resilience", {"jitter": 2}, "^Resilience: jitter must be a fraction"),
    ],
)
def test_what_is_wrong_with_an_argument_begins_with_what_was_called(
    maker: str, options: dict[str, Any], match: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        MAKERS[maker](**options)


def test_a_class_of_a_users_own_is_named() -> None:
    class Users(AtomicCache[Any, Any]):
        pass

    with pytest.raises(TypeError, match=r"^Users: fill must be callable, not int"):
        Users(5)  # type: ignore[arg-type]


def make_nothing() -> None: ...


class Sized:
    """An integer of another library, as numpy's are."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __index__(self) -> int:
        return self.size


def test_integers_of_other_libraries_are_integers() -> None:
    sizes = {"small": Sized(7), "negative": Sized(-1)}
    cache: Any = AtomicCache(str, max_bytes=Sized(5000), max_items=Sized(3), weigher=lambda key, value: sizes[key])  # type: ignore[arg-type]
    store: Any = Storage(Sized(5000), Sized(3), weigher=lambda key, value: sizes[key])  # type: ignore[arg-type]
    assert cache["small"] == "small" and store.set("small", 1)
    for asked in (lambda: cache["negative"], lambda: store.set("negative", 1)):
        with pytest.raises(ValueError, match="weigher must return an int of at least 0, not"):
            asked()
    for each in (cache, store):
        assert len(each) == 1 and each.cache_info().maxsize == 3
        assert_valid(each)


# ---- several keys


@pytest.mark.parametrize("keys", ["abc", b"abc", bytearray(b"abc"), ""], ids=repr)
def test_one_text_is_not_several_keys(keys: Any) -> None:
    cache, store, tasks = AtomicCache(str), Storage[int](), AsyncAtomicCache(str)
    for name, asked in {
        "get_many": (cache.get_many, store.get_many, tasks.get_many),
        "fetch_many": (cache.fetch_many, lambda keys: asyncio.run(tasks.fetch_many(keys))),
        "delete_many": (store.delete_many,),
    }.items():
        for each in asked:
            kind = type(keys).__name__
            with pytest.raises(TypeError, match=rf"{name} takes an iterable of keys, .* of type {kind}: pass \[key\]"):
                each(keys)
    assert len(cache) == len(tasks) == 0


@pytest.mark.parametrize("keys", [3, None, str], ids=repr)
def test_what_cannot_be_iterated_over_is_not_several_keys(keys: Any) -> None:
    cache, store, tasks = AtomicCache(str), Storage[int](), AsyncAtomicCache(str)
    for name, call in {
        "get_many": cache.get_many,
        "fetch_many": cache.fetch_many,
        "delete_many": store.delete_many,
        "fetch_many ": lambda keys: asyncio.run(tasks.fetch_many(keys)),
    }.items():
        with pytest.raises(TypeError, match=f"{name.strip()} takes an iterable of keys, such as a list, not "):
            call(keys)
    assert set(cache.fetch_many(SequenceOfOld())) == {0, 1}


class SequenceOfOld:
    """Iterable by `__getitem__` alone."""

    def __getitem__(self, at: int) -> int:
        return range(2)[at]


@pytest.mark.parametrize("kind", [Storage, Cache])
def test_the_fill_of_get_or_fill_is_checked_before_it_is_called(kind: Any) -> None:
    async def fill(key: str) -> str:
        return key

    store = kind()
    with pytest.raises(TypeError, match="fill must be callable, not int"):
        store.get_or_fill("key", 1)
    with pytest.raises(TypeError, match=r"fill must be a plain function, not the async def .*\.fill: "):
        store.get_or_fill("key", fill)
    assert store.cache_info().fills == 0
    assert store.get_or_fill("key", str.upper) == "KEY"
    assert_valid(store)


@pytest.mark.parametrize("kind", [Storage, Cache])
def test_set_many_takes_a_mapping_or_pairs(kind: Any) -> None:
    store = kind(clock=ManualClock())
    assert store.set_many({"a": 1, "b": 2}) == 2
    assert store.set_many([("b", 3), ["c", 4]], ttl=10) == 2
    assert store.set_many((key, 5) for key in "de") == 2
    assert store.get_many([*"abcde"]) == {"a": 1, "b": 3, "c": 4, "d": 5, "e": 5}
    assert store.ttl_of("c") == 10
    assert_valid(store)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (5, r"set_many takes a mapping, or an iterable of \(key, value\) pairs, not int"),
        ("ab", r"set_many takes a mapping, or an iterable of \(key, value\) pairs, not str"),
        (["ab"], r"set_many takes \(key, value\) pairs, each a tuple or a list, not str"),
        ([1], r"set_many takes \(key, value\) pairs, each a tuple or a list, not int"),
        ([(1, 2, 3)], r"set_many takes \(key, value\) pairs, not a tuple of length 3"),
    ],
)
def test_set_many_says_what_is_no_pair(items: Any, message: str) -> None:
    store = Storage[Any]()
    with pytest.raises(TypeError, match=message):
        store.set_many(items)
    assert len(store) == 0
    assert_valid(store)


# ---- a cache as an object


def every_cache() -> list[Any]:
    memoized: Any = AtomicCache.memoize(str.lower)
    return [AtomicCache(lambda key: key), AsyncAtomicCache(str), Storage[int](), Cache(), memoized.cache]


def test_a_cache_cannot_be_reversed() -> None:
    for cache in every_cache():
        with pytest.raises(TypeError, match="not reversible"):
            reversed(cache)
        assert len(cache) == 0, "nothing was filled"


def test_an_empty_cache_is_true_and_a_closed_one_too() -> None:
    for cache in every_cache():
        assert bool(cache) and (cache or None) is cache and len(cache) == 0
    with Storage[int]() as store:
        pass
    assert bool(store)


def test_help_shows_nothing_that_is_not_to_be_used() -> None:
    public = {name for cache in every_cache() for name in dir(cache) if not name.startswith("_")}
    assert public.isdisjoint({"view_of", "sweep_due", "sweep_delay", "is_async"})
    for cache in every_cache():
        for name in ("get", "peek"):
            default = inspect.signature(getattr(cache, name)).parameters["default"].default
            assert repr(default) == ("<CacheMiss>" if isinstance(cache, Storage) else "None")
            assert getattr(cache, name)("absent") is default
    assert not hasattr(Lookups, "_absent")


def test_the_signature_of_cache_info_shows_types() -> None:
    shown = str(inspect.signature(CacheInfo))
    assert "hits: int | None" in shown and "ForwardRef" not in shown
