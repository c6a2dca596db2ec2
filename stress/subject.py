"""Subject: a cache as the scenarios use it. Ours by key, as a memoized function, or as a store; or a stranger's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from areole import AtomicCache, CacheInfo, Storage
from areole._index import atomic as _index
from areole.testing import assert_valid

from .stranger import StrangerCache, is_stranger, load
from .worker import current_worker

__all__ = [
    "INDEXES",
    "POLICIES",
    "Subject",
    "make_keyed",
    "make_memoized",
    "make_store",
    "make_subject",
    "make_tagged",
    "makers_of",
    "rough_clock",
]

INDEXES: Final = ("dict", "atomic")
POLICIES: Final = ("lru", "s3fifo")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a scenario calls. `check` raises AssertionError unless all is as it must be while it is idle."""

    read: Callable[[Any], Any]
    peek: Callable[[Any], Any]
    refresh: Callable[[Any], Any]
    invalidate: Callable[[Any], Any]
    clear: Callable[[], Any]
    put: Callable[[Any, Any], Any]
    check: Callable[[], None]
    info: Callable[[], CacheInfo] | None
    """None, where the cache counts nothing that is known here."""
    size: Callable[[], tuple[int, int]]
    """How many items are stored, and what they weigh: as they were at one moment."""
    is_locked_by_me: Callable[[], bool]
    """Whether this thread holds the cache's lock."""
    removes_again: bool = False
    """Whether one `invalidate` may also remove what was filled while it ran."""
    removes: bool = True
    """Whether there is an `invalidate`."""
    clears: bool = True
    """Whether there is a `clear` that may be called while others use the cache."""


def make_keyed(fill: Callable[[Any], Any], variant: str, **options: Any) -> Subject:
    """Make a cache that is asked by `cache[key]`."""
    cache = AtomicCache(fill, **_kind(variant), **options)
    return make_subject(cache, variant, cache.__getitem__, cache.get, cache.refresh, cache.invalidate, cache.clear)


def make_memoized(fill: Callable[[Any], Any], variant: str, **options: Any) -> Subject:
    """Make a memoized function of one parameter, the key."""

    def function(key: Any) -> Any:
        return fill(key)

    of: Any = AtomicCache.memoize(function, **_kind(variant), **options)
    return make_subject(of.cache, variant, of, of.peek, of.refresh, of.invalidate, of.cache_clear)


def make_store(fill: Callable[[Any], Any], variant: str, **options: Any) -> Subject:
    """Make a Storage that is asked by `get_or_fill`; takes the options of an AtomicCache. It has no refresh."""
    store_options = {_STORE_OPTIONS.get(name, name): value for name, value in options.items()}
    store: Storage[Any] = Storage(
        policy=variant,
        expiration_thread_max_checks_per_iteration=0,  # no background thread
        **store_options,
    )

    def read(key: Any) -> Any:
        return store.get_or_fill(key, fill)

    def peek(key: Any) -> Any:
        return store.peek(key, None)

    return make_subject(store, variant, read, peek, read, store.invalidate, store.clear, store.set)


def make_tagged(fill: Callable[[Any], Any], variant: str, **options: Any) -> Subject:
    """Make a cache of which `invalidate` and `clear` invalidate tags; its keys are texts."""
    cache = AtomicCache(fill, tags=["all", "key:{key}"], **_kind(variant), **options)

    def invalidate(key: str) -> int:
        return cache.invalidate_tags(f"key:{key}")

    def clear() -> int:
        return cache.invalidate_tags("all")

    made = make_subject(cache, variant, cache.__getitem__, cache.get, cache.refresh, invalidate, clear)
    return replace(made, removes_again=True)


def make_stranger(fill: Callable[[Any], Any], variant: str, **options: Any) -> Subject:
    """Make a stranger's cache. It gets those of the options that it takes, has no refresh, and is not looked into."""
    cache = StrangerCache(load(variant), fill, **options)
    return Subject(
        cache.read,
        cache.peek,
        cache.read,
        cache.invalidate,
        cache.clear,
        lambda key, value: cache.invalidate(key),
        check=cache.check,
        info=None,
        size=lambda: (0, 0),
        is_locked_by_me=lambda: False,
        removes=cache.offers("invalidate"),
        clears=cache.offers("clear"),
    )


Maker = Callable[..., Subject]
"""Called with the fill, the variant, and options of an AtomicCache."""


def makers_of(variant: str, *more: Maker) -> tuple[Maker, ...]:
    """Return what makes the caches of a variant. All of ours are made, and `more`; a stranger has one."""
    if is_stranger(variant):
        return (make_stranger,)
    return (make_keyed, make_memoized, *([make_store] if variant in POLICIES else []), *more)


_STORE_OPTIONS: Final = {"max_bytes": "size_limit_in_bytes", "ttl": "default_ttl"}


def _kind(variant: str) -> dict[str, Any]:
    return {"policy" if variant in POLICIES else "index": variant}


def make_subject(cache: Any, variant: str, *functions: Any) -> Subject:
    """Make the subject of `cache` from its read, peek, refresh, invalidate, clear and, where it has one, put."""
    index = cache._state.index
    # Where the process has as many AtomicDicts as it may, as happens on 3.13t, which never frees a memoized function,
    # the cache has a dict, as it should.
    is_at_limit = _index._atomic_dicts.get() >= _index.MAX_ATOMIC_DICTS
    fits = index.name == ("dict" if variant in POLICIES else variant) or (is_at_limit and index.name == "dict")
    assert fits, f"asked for {variant!r} and got the index {index.name!r}"
    read, peek, refresh, invalidate, clear, *put = functions
    return Subject(
        read,
        peek,
        refresh,
        invalidate,
        clear,
        put[0] if put else lambda key, value: invalidate(key),
        check=lambda: assert_valid(cache),
        info=cache.cache_info,
        size=index.count if index.is_bounded else lambda: (len(cache), 0),
        is_locked_by_me=lambda: index.lock._is_owned(),
    )


def rough_clock(source: Callable[[], float], chance: float = 0.04) -> Callable[[], float]:
    """Make a clock for a cache that pauses at random after it was read.

    A cache reads its clock between other steps of its protocol, so this is a way to make those meet other threads'
    without touching its code; and it is no more than any clock may do. The reading is from before the pause: it is as
    old as that of a thread which was switched away just then.
    """

    def clock() -> float:
        reading = source()
        worker = current_worker()
        if worker is not None:
            worker.pause(chance)
        return reading

    return clock
