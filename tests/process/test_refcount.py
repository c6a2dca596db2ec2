"""Deferred reference counts are a matter of speed alone: used where the interpreter has them, else nothing happens.

Known fault that this stays away from: an object with deferred counts is freed by the garbage collector only, so values,
entries, and the cache of an instance never get them.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import sys
import weakref
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from areole import AtomicCache
from areole._cache import read_through as _base
from areole._platform import refcount as _refcount

from ..kit import assert_valid, every_index

NAME = "PyUnstable_Object_EnableDeferredRefcount"


class FakeFunction:
    """Stands for the function of the C API, and notes what it was called with."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.argtypes: Any = None
        self.restype: Any = None

    def __call__(self, obj: object) -> int:
        self.seen.append(obj)
        return 1


@pytest.fixture
def free_threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)


@pytest.fixture
def with_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)


def test_without_a_gil_and_with_the_function_it_is_found_and_typed(
    free_threaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeFunction()
    monkeypatch.setattr(ctypes, "pythonapi", SimpleNamespace(**{NAME: fake}))
    assert _refcount._look_up() is fake
    assert (fake.argtypes, fake.restype) == ([ctypes.py_object], ctypes.c_int)  # an object, not a pointer cut to an int


def test_without_the_function_nothing_is_found(free_threaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on 3.13t: ctypes says AttributeError."""
    monkeypatch.setattr(ctypes, "pythonapi", SimpleNamespace())
    assert _refcount._look_up() is None


def test_without_ctypes_nothing_is_found(free_threaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds lack ctypes, and some sandboxes forbid it: the import then says ImportError."""
    import_module = builtins.__import__

    def refuse_ctypes(name: str, *args: Any) -> ModuleType:
        if name == "ctypes":
            raise ImportError(name)
        return import_module(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse_ctypes)
    assert _refcount._look_up() is None


def test_with_a_gil_it_is_not_even_looked_for(with_a_gil: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is there on every 3.14 build; with a GIL it would only delay freeing."""
    monkeypatch.setattr(ctypes, "pythonapi", SimpleNamespace(**{NAME: FakeFunction()}))
    assert _refcount._look_up() is None


def test_before_3_13_there_is_a_gil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)
    assert _refcount.is_free_threaded() is False
    assert _refcount._look_up() is None


def test_defer_calls_the_function_for_each_object(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeFunction()
    monkeypatch.setattr(_refcount, "_enable", fake)
    first, second = object(), object()
    _refcount.defer(first, second)
    assert fake.seen == [first, second]


def test_defer_does_nothing_where_there_is_no_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_refcount, "_enable", None)
    _refcount.defer(object(), 1, None)


@every_index
def test_a_cache_works_where_the_function_exists_and_defers_long_lived_objects_alone(
    index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache and what a hit reads through are deferred; no key, value, entry or flight ever is."""
    fake = FakeFunction()
    monkeypatch.setattr(_refcount, "_enable", fake)
    cache = AtomicCache(lambda key: ["value", key], index=index)
    deferred = list(fake.seen)
    assert any(each is cache for each in deferred)
    assert any(each is cache._entries for each in deferred)
    assert cache["key"] == ["value", "key"]
    cache.invalidate("key")
    cache.refresh("key")
    assert [id(each) for each in fake.seen] == [id(each) for each in deferred]
    assert_valid(cache)


def test_the_cache_of_an_instance_is_not_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lives and dies with the instance, and waits for no garbage collector."""

    class Owner:
        @AtomicCache.memoize
        def method(self, key: str) -> str:
            return key

    fake = FakeFunction()
    monkeypatch.setattr(_refcount, "_enable", fake)
    owner = Owner()
    assert owner.method("key") == "key"
    assert fake.seen == []
    assert_valid(owner.method.cache)


def test_values_go_at_once_when_they_are_invalidated() -> None:
    """Whatever the build: no garbage collection is needed for a value."""

    class Value:
        pass

    cache: AtomicCache[str, Value] = AtomicCache(lambda key: Value())
    ref = weakref.ref(cache["key"])
    gc.disable()
    try:
        cache.invalidate("key")
        assert ref() is None
    finally:
        gc.enable()
    assert_valid(cache)


def test_defer_is_what_the_caches_use() -> None:
    """So that the tests above, which replace `_enable` in `_refcount`, replace what counts."""
    assert _base.defer is _refcount.defer
