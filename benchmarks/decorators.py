"""The decorators of other caches, and the bare function: what `benchmarks.hits` measures memoized functions beside.

None has a limit or a ttl, where it can be had without. `benchmarks.aio_contenders` has those for coroutine functions.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

from .contenders import KEYWORDS, NONE, ONE, THREE, Contender

__all__ = ["NoCache", "decorators"]

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
