"""The contenders: one small class for each cache, or each way of using one, behind one façade.

A further contender is one class: say its name, its distribution and the shapes that it can take, and make it. Values
are `-key`: objects of their own, made by the thread that fills.
"""

from __future__ import annotations

import functools
import importlib.metadata
import threading
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeAlias, cast

__all__ = [
    "EMPTY",
    "GET",
    "ITEM",
    "KEYWORDS",
    "LOCKED_GET",
    "LOCKED_SET",
    "LOOPS",
    "METHOD",
    "NONE",
    "ONE",
    "SET",
    "THREE",
    "AreoleStorage",
    "AtomicLru",
    "BoundedLruCache",
    "Contender",
    "LockedTtlCache",
    "Loop",
    "all_contenders",
    "counting_pairs",
    "loop_of_its_own",
]

Loop: TypeAlias = Callable[[Any, Iterable[int]], None]
Keys: TypeAlias = Iterable[int]
Fill: TypeAlias = Callable[[int], Any]

EMPTY = "empty loop"
NONE = "f()"
ONE = "f(k)"
THREE = "f(k, 1, 2)"
KEYWORDS = "f(k, b=1, c=2)"
METHOD = "obj.m(k)"
ITEM = "cache[k]"
GET = "store.get(k)"
SET = "store.set(k, k)"
LOCKED_GET = "with lock: cache.get(k)"
LOCKED_SET = "with lock: cache[k] = k"


def _empty(target: Any, keys: Keys) -> None:
    for _ in keys:
        pass


def _call_none(target: Any, keys: Keys) -> None:
    for _ in keys:
        target()


def _call_one(target: Any, keys: Keys) -> None:
    for k in keys:
        target(k)


def _call_three(target: Any, keys: Keys) -> None:
    for k in keys:
        target(k, 1, 2)


def _call_keywords(target: Any, keys: Keys) -> None:
    for k in keys:
        target(k, b=1, c=2)


def _call_method(target: Any, keys: Keys) -> None:
    for k in keys:
        target.m(k)


def _look_up(target: Any, keys: Keys) -> None:
    for k in keys:
        target[k]


def _get(target: Any, keys: Keys) -> None:
    for k in keys:
        target.get(k)


def _set(target: Any, keys: Keys) -> None:
    for k in keys:
        target.set(k, k)


def _get_locked(target: Any, keys: Keys) -> None:
    cache, lock = target
    for k in keys:
        with lock:
            cache.get(k)


def _set_locked(target: Any, keys: Keys) -> None:
    cache, lock = target
    for k in keys:
        with lock:
            cache[k] = k


LOOPS: dict[str, Loop] = {
    EMPTY: _empty,
    NONE: _call_none,
    ONE: _call_one,
    THREE: _call_three,
    KEYWORDS: _call_keywords,
    METHOD: _call_method,
    ITEM: _look_up,
    GET: _get,
    SET: _set,
    LOCKED_GET: _get_locked,
    LOCKED_SET: _set_locked,
}
"""How each shape uses a target, with as little around it as there can be."""


def loop_of_its_own(shape: str) -> Loop:
    """Return a copy of the loop of `shape`, with bytecode of its own.

    The interpreter adapts a call in place to what it calls, as it does in a program, where one place calls one
    function. In a loop shared by all contenders it would adapt to the first and be slow for the others.
    """
    loop = cast(FunctionType, LOOPS[shape])
    return FunctionType(loop.__code__.replace(), loop.__globals__, loop.__name__)


def _negative(k: int) -> int:
    return -k


def _one() -> int:
    return -1


def _negative_of_three(k: int, b: int, c: int) -> int:
    return -k


class Contender:
    """A cache to be measured; `make` gives what the loop of a shape takes."""

    name: str
    distribution: str | None = None  # None: comes with Python
    shapes: tuple[str, ...] = ()

    def version(self) -> str | None:
        """Return the installed version, "" for what comes with Python, None for what is not there."""
        if self.distribution is None:
            return ""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None

    def make(self, shape: str) -> Any:
        """Return a new, empty target for the loop of `shape`."""
        if shape == ITEM:
            return self.mapping(_negative)
        if shape == METHOD:
            return _holder_of(self.memoize)()
        return self.memoize({NONE: _one, ONE: _negative}.get(shape, _negative_of_three))

    def warm(self, shape: str, target: Any, keys: Keys) -> None:
        """Fill `target` with `keys`."""
        LOOPS[shape](target, keys)

    def memoize(self, function: Callable[..., Any]) -> Any:
        raise NotImplementedError

    def mapping(self, fill: Fill) -> Any:
        """Return an object whose `[key]` gives `fill(key)`."""
        raise NotImplementedError


def _holder_of(decorate: Callable[[Callable[..., Any]], Any]) -> Any:
    class Holder:
        @decorate
        def m(self, k: int) -> int:
            return -k

    return Holder


class EmptyLoop(Contender):
    name = "-"
    shapes = (EMPTY,)

    def make(self, shape: str) -> Any:
        return None


class BareDict(Contender):
    name = "dict"
    shapes = (ITEM,)

    def mapping(self, fill: Fill) -> Any:
        return {}

    def warm(self, shape: str, target: Any, keys: Keys) -> None:
        for k in keys:
            target.setdefault(k, -k)


class LruCache(Contender):
    name = "lru_cache"
    shapes = (NONE, ONE, THREE, KEYWORDS, METHOD)

    def memoize(self, function: Callable[..., Any]) -> Any:
        return functools.lru_cache(maxsize=None)(function)


class Cereggii(Contender):
    """Its memoize is no descriptor, so that it cannot serve a method."""

    distribution = "cereggii"

    def __init__(self, name: str, shapes: tuple[str, ...], **options: Any) -> None:
        self.name, self.shapes, self.options = name, shapes, options

    def memoize(self, function: Callable[..., Any]) -> Any:
        from cereggii import AtomicCache

        return AtomicCache.memoize(**self.options)(function)

    def mapping(self, fill: Fill) -> Any:
        from cereggii import AtomicCache

        return AtomicCache(fill, **self.options)


class Areole(Contender):
    distribution = "areole"

    def __init__(self, name: str, shapes: tuple[str, ...], **options: Any) -> None:
        self.name, self.shapes, self.options = name, shapes, options

    def version(self) -> str | None:
        try:
            import areole
        except ModuleNotFoundError:
            return None
        return areole.__version__  # right for a checkout on PYTHONPATH too

    def memoize(self, function: Callable[..., Any]) -> Any:
        from areole import AtomicCache

        return AtomicCache.memoize(**self.options)(function)

    def mapping(self, fill: Fill) -> Any:
        from areole import AtomicCache

        return AtomicCache(fill, **self.options)


class AreoleResilient(Areole):
    """With everything that a hit could come to feel."""

    def make(self, shape: str) -> Any:
        from areole import Resilience

        self.options["resilience"] = Resilience(stale_ttl=60, refresh_ahead="xfetch", jitter=0.1)
        return super().make(shape)


class BoundedLruCache(Contender):
    shapes = (ONE,)

    def __init__(self, max_items: int) -> None:
        self.name, self.max_items = f"lru_cache({max_items})", max_items

    def memoize(self, function: Callable[..., Any]) -> Any:
        return functools.lru_cache(maxsize=self.max_items)(function)


class AreoleStorage(Areole):
    def __init__(self, name: str, max_items: int, **options: Any) -> None:
        super().__init__(name, (GET, SET), max_items=max_items, **options)
        self.max_items = max_items

    def make(self, shape: str) -> Any:
        from areole import Storage

        return Storage(**self.options)

    def warm(self, shape: str, target: Any, keys: Keys) -> None:
        _set(target, keys)


class AreoleCached(Areole):
    """A function memoized in a Storage that is there already."""

    def __init__(self, name: str, max_items: int, shapes: tuple[str, ...] = (ONE,), **options: Any) -> None:
        super().__init__(name, shapes, max_items=max_items, **options)

    def memoize(self, function: Callable[..., Any]) -> Any:
        from areole import Storage, cached

        return cached(Storage(**self.options))(function)


class AtomicLru(Contender):
    """Without its thread, which would take turns with what is measured: nothing here has a ttl."""

    name = "atomic_lru"
    distribution = "atomic-lru"
    shapes = (GET, SET)

    def __init__(self, max_items: int) -> None:
        self.max_items = max_items

    def make(self, shape: str) -> Any:
        from atomic_lru import Storage

        return Storage(max_items=self.max_items, expiration_disabled=True)

    def warm(self, shape: str, target: Any, keys: Keys) -> None:
        _set(target, keys)


class LockedTtlCache(Contender):
    """It leaves the lock to its user, who writes it out around each use."""

    name = "TTLCache"
    distribution = "cachetools"
    shapes = (LOCKED_GET, LOCKED_SET)

    def __init__(self, max_items: int) -> None:
        self.max_items = max_items

    def make(self, shape: str) -> Any:
        from cachetools import TTLCache

        return TTLCache(self.max_items, ttl=3600), threading.Lock()

    def warm(self, shape: str, target: Any, keys: Keys) -> None:
        _set_locked(target, keys)


def all_contenders() -> list[Contender]:
    """Return the contenders, installed or not. A ttl here is an hour: nothing expires."""
    return [
        EmptyLoop(),
        BareDict(),
        LruCache(),
        Areole("areole", (NONE, ONE, THREE, KEYWORDS, METHOD, ITEM), index="dict"),
        Areole("areole atomic", (ONE, THREE, KEYWORDS, ITEM), index="atomic"),
        Areole("areole ttl", (NONE, ONE, THREE, ITEM), index="dict", ttl=3600),
        AreoleResilient("areole resilient", (ONE, ITEM), index="dict", ttl=3600),
        Areole("areole stats", (ONE, ITEM), index="dict", stats=True),
        Areole("areole atomic stats", (ONE, ITEM), index="atomic", stats=True),
        Cereggii("cereggii", (NONE, ONE, THREE, KEYWORDS, ITEM)),
        Cereggii("cereggii ttl", (ONE, THREE, ITEM), ttl=3600),
    ]


def counting_pairs(max_items: int) -> list[tuple[Contender, Contender]]:
    """Return each kind of cache of areole's without counts of hits, and with them. `max_items` evicts nothing."""

    def pair(kind: Callable[..., Contender], name: str, *args: Any, **options: Any) -> tuple[Contender, Contender]:
        return kind(name, *args, **options), kind(f"{name} stats", *args, **options, stats=True)

    return [
        pair(Areole, "areole", (ONE, METHOD, ITEM), index="dict"),
        pair(Areole, "areole atomic", (ONE, ITEM), index="atomic"),
        pair(Areole, "areole ttl", (ONE, ITEM), ttl=3600),
        pair(Areole, "areole lru", (ONE, ITEM), max_items=max_items, policy="lru"),
        pair(Areole, "areole s3fifo", (ONE, ITEM), max_items=max_items, policy="s3fifo"),
        pair(AreoleStorage, "Storage lru", max_items, policy="lru"),
        pair(AreoleStorage, "Storage s3fifo", max_items, policy="s3fifo"),
        pair(AreoleCached, "cached", max_items),
    ]


def cached_pairs(max_items: int) -> list[tuple[Contender, Contender]]:
    """Return, for each policy, a memoized function under a limit, and one cached in a Storage under the same limit."""
    shapes = (ONE, THREE)
    return [
        (
            Areole(f"memoize {policy}", shapes, max_items=max_items, policy=policy),
            AreoleCached(f"cached {policy}", max_items, shapes, policy=policy),
        )
        for policy in ("s3fifo", "lru")
    ]
