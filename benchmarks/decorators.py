"""Other caches: the decorators, and the bare function, that `benchmarks.hits` measures beside ours; and the stores.

None has a limit or a ttl, where it can be had without. `benchmarks.aio_contenders` has those for coroutine functions.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from .contenders import GET, KEYWORDS, LOOPS, NONE, ONE, SET, THREE, Contender

__all__ = ["NoCache", "decorators", "other_stores"]

Function: TypeAlias = Callable[..., Any]
CALLS = (NONE, ONE, THREE, KEYWORDS)
MANY = 1_000_000
"""For caches that must be given a limit."""


class NoCache(Contender):
    """The function itself."""

    name = "no cache"
    shapes = CALLS

    def memoize(self, function: Callable[..., Any]) -> Any:
        return function


class Decorator(Contender):
    def __init__(self, name: str, distribution: str, wrap: Callable[[Function], Any]) -> None:
        self.name, self.distribution, self.memoize = name, distribution, wrap  # type: ignore[method-assign]
        self.shapes = CALLS


def _cachetools_lock(function: Function) -> Any:
    import cachetools

    return cachetools.cached({}, lock=threading.Lock())(function)


def _cachetools_condition(function: Function) -> Any:
    import cachetools

    return cachetools.cached({}, condition=threading.Condition())(function)


def _cachebox(function: Function) -> Any:
    import cachebox

    return cachebox.cached(cachebox.Cache(0))(function)


def _moka(function: Function) -> Any:
    import moka_py

    return moka_py.cached(maxsize=MANY, wait_concurrent=True)(function)


def _theine(function: Function) -> Any:
    import theine

    return theine.Memoize(MANY, None)(function)


def _diskcache(function: Function) -> Any:
    """Memoize in a file, which other processes could see: a hit reads it."""
    import diskcache

    folder = tempfile.mkdtemp(prefix="areole-benchmarks-")
    memoized = diskcache.Cache(folder).memoize()(function)
    weakref.finalize(memoized, shutil.rmtree, folder, ignore_errors=True)
    return memoized


def decorators() -> list[Contender]:
    """Return all, installed or not."""
    return [
        NoCache(),
        Decorator("cachetools lock", "cachetools", _cachetools_lock),
        Decorator("cachetools condition", "cachetools", _cachetools_condition),
        Decorator("cachebox", "cachebox", _cachebox),
        Decorator("moka-py", "moka-py", _moka),
        Decorator("theine", "theine", _theine),
        Decorator("diskcache", "diskcache", _diskcache),
    ]


class OtherStore(Contender):
    """A cache with `get` and `set`, and a limit of items."""

    shapes = (GET, SET)

    def __init__(self, name: str, make_store: Callable[[int], Any], max_items: int) -> None:
        self.name = self.distribution = name
        self.make_store, self.max_items = make_store, max_items

    def make(self, shape: str) -> Any:
        return self.make_store(self.max_items)

    def warm(self, shape: str, target: Any, keys: Iterable[int]) -> None:
        LOOPS[SET](target, keys)


def _cachebox_store(max_items: int) -> Any:
    import cachebox

    class Store(cachebox.LRUCache):  # type: ignore[misc,type-arg]
        set = cachebox.LRUCache.insert

    return Store(max_items)


def _moka_store(max_items: int) -> Any:
    import moka_py

    return moka_py.Moka(max_items)


def _theine_store(max_items: int) -> Any:
    import theine

    return theine.Cache(max_items)


def other_stores(max_items: int) -> list[Contender]:
    """Return all, installed or not."""
    makers = {"cachebox": _cachebox_store, "moka-py": _moka_store, "theine": _theine_store}
    return [OtherStore(name, make, max_items) for name, make in makers.items()]
