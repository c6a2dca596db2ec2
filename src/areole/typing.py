"""The types in areole's signatures."""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    get_type_hints,
    overload,
)

__all__ = [
    "CacheInfo",
    "CachedCall",
    "Clock",
    "FillResult",
    "FilledType",
    "IndexName",
    "ManyResults",
    "Memoized",
    "MemoizedCall",
    "MemoizedGeneric",
    "MemoizedLater",
    "MemoizedLaterCall",
    "MemoizedLaterOfClass",
    "MemoizedOfClass",
    "OnAbandon",
    "PolicyName",
    "RemovalCause",
    "RemovalListener",
    "SharedCacheInfo",
    "SharedCall",
    "SharedGeneric",
    "SharedMemoized",
    "SharedOfClass",
    "Source",
    "Sourced",
    "Tags",
    "TakesAnything",
    "Ttl",
]

K = TypeVar("K")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)

Clock: TypeAlias = Callable[[], float]
"""Gives seconds, like `time.monotonic`."""

Ttl: TypeAlias = float | timedelta | Callable[[K, V], float | timedelta | None]
"""For how long a value is live: seconds, a timedelta, or a callable of (key, value) that gives either or None.

One rule holds wherever a ttl is given:

- None: the value never expires.
- A number, in seconds, or a timedelta: from the end of the fill, or of the `set`; expired at exactly that time.
- 0: expired at once. What a fill gives is returned to its callers, and not stored. A read-through cache, `memoize` and
  `cached` refuse 0 as their one ttl for all values, with a ValueError: they would never store anything.
- A callable: for read-through caches, `memoize` and `cached`. Where it gives 0 or less, the value has expired at once,
  and a value that this one was to replace leaves. A store's ttls, and the times of a `Resilience`, are no callables.
- Anything else: a TypeError for another type (a bool too), a ValueError for a number below 0, infinite, or NaN.
"""


class FilledType(Generic[V_co]):
    """What `Filled` is in signatures."""

    __slots__ = ()


if TYPE_CHECKING:
    FillResult: TypeAlias = V | FilledType["FillResult[V]"]  # recursive, else mypy cannot tell V where it is Filled[V]
else:
    FillResult: TypeAlias = V | FilledType[V]
"""What a fill returns: a value, or a `Filled`."""

ManyResults: TypeAlias = Mapping[K, FillResult[V]] | Sequence[FillResult[V]]
"""What `fill_many` returns: a mapping of the keys to their results, or the results in the order of the keys."""

PolicyName: TypeAlias = Literal["lru", "s3fifo"]
"""What is evicted when a cache is full."""

IndexName: TypeAlias = Literal["auto", "dict", "atomic"]
"""What an unbounded cache keeps its entries in."""

Source: TypeAlias = Literal["local", "shared", "filled", "stale"]
"""Where a value comes from: kept by this process; found in the shared cache; filled; or past its ttl (Resilience)."""

Tags: TypeAlias = Iterable[str] | Callable[..., Iterable[str]] | None
"""By what `invalidate_tags` finds values: texts and templates, or a callable that gives texts for a key or a call.

None: no fill has tags.
"""

OnAbandon: TypeAlias = Literal["cancel", "complete"]
"""What becomes of an awaited fill that nobody waits for any more."""


class RemovalCause(enum.Enum):
    """Why a value left a cache (after Caffeine's enum of that name)."""

    EXPLICIT = "explicit"
    """Somebody asked for it: `invalidate`, `delete`, `clear`; or the function that was `cached` has been freed."""
    REPLACED = "replaced"
    """A newer value took its place: `refresh`, `set`."""
    EXPIRED = "expired"
    """Its ttl had passed."""
    EVICTED = "evicted"
    """The cache was full."""
    OVERSIZE = "oversize"
    """A new value for its key was too large to be stored. Reported once: with the live value that left for it, or,
    where there was none, with the one that was refused."""


RemovalListener: TypeAlias = Callable[[K, V, RemovalCause], object]
"""Is called as (key, value, cause) for each value that has left, outside every lock, in the thread that removed it."""


class CacheInfo(NamedTuple):
    """What a cache has done so far; each number is exact while no operation is running.

    The first four are those of `functools.lru_cache`: `hits, misses, maxsize, currsize, *rest = f.cache_info()`.

    Attributes:
        hits: lookups that found a live value; None unless the cache was made with `stats=True`.
        misses: lookups that found none.
        maxsize: the limit in items; None: no limit.
        currsize: how many live values there are.
        fills: runs of the fill function. (With `shared`, what that had is not filled: see `shared_hits`.)
        failures: those of them that raised.
        evictions: values that were removed since the cache was full, or since a new one was too large.
        expirations: values that were removed since their ttl had passed.
        waits: misses that waited for another caller's fill.
        stale_hits: lookups that were served a value past its ttl; neither hits nor misses (see Resilience).
        background_fills: fills that began in the background (see Resilience).
        max_bytes: the limit on the weight of all entries; None: no limit.
        size_in_bytes: what they weigh; None: they are not weighed, and the cache's `size_in_bytes` adds it up.
        hung_fills: background fills in threads that took longer than the `hard_timeout`, by default five seconds.
        shared_hits: values that the cache behind this one had (see `shared`), of the misses and of background fills.
        oversize: of the evictions, those since a new value was too large.
    """

    hits: int | None
    misses: int
    maxsize: int | None
    currsize: int
    fills: int
    failures: int
    evictions: int
    expirations: int
    waits: int
    stale_hits: int = 0
    background_fills: int = 0
    max_bytes: int | None = None
    size_in_bytes: int | None = None
    hung_fills: int = 0
    shared_hits: int = 0
    oversize: int = 0


class Sourced(NamedTuple):
    """Where one value came from: see `areole.sources`."""

    cache: str
    key: Any
    source: Source


class SharedCacheInfo(NamedTuple):
    """What a shared cache has done in this process so far.

    Attributes:
        hits: lookups that found a value in the store.
        misses: lookups that found none.
        maxsize: the limit in items that this process keeps; None: no limit.
        currsize: how many items this process counts under that limit; None without one.
        evictions: items that were removed since there were too many.
        fills: runs of a fill function.
        failures: those of them that raised.
        waits: misses that waited for another caller's fill in this process.
        refused_stores: values that were not stored, since their key was changed, or their token lost, meanwhile.
        rejected: values in the store that could not be used: cut, of another key or serializer, or with no valid
            signature. They are misses.
        backend_errors: calls that the store has failed, or that were not made since it had failed before.
        local_hits: lookups that found a value in `local`, and did not ask the store. They are neither hits nor misses.
    """

    hits: int
    misses: int
    maxsize: int | None
    currsize: int | None
    evictions: int
    fills: int
    failures: int
    waits: int
    refused_stores: int
    rejected: int
    backend_errors: int
    local_hits: int = 0


CacheInfo.__new__.__annotations__ = get_type_hints(CacheInfo)  # `help` would show a ForwardRef for each
SharedCacheInfo.__new__.__annotations__ = get_type_hints(SharedCacheInfo)


class MemoizedCache(Protocol):
    """What `f.cache` offers: the cache in which a memoized function keeps its results."""

    name: str

    def __contains__(self, key: Any) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def clear(self) -> None: ...
    def invalidate(self, key: Any) -> bool: ...
    def invalidate_tags(self, *tags: str) -> int: ...
    def get(self, key: Any, default: Any = None) -> Any: ...
    def peek(self, key: Any, default: Any = None) -> Any: ...
    def get_many(self, keys: Iterable[Any]) -> dict[Any, Any]: ...
    def sweep(self) -> int: ...
    def cache_info(self) -> CacheInfo: ...
    @property
    def size_in_bytes(self) -> int: ...


P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
D = TypeVar("D")

Later: TypeAlias = Coroutine[Any, Any, D]


class CachedCall(Protocol[P, R_co]):
    """What a memoized or cached callable offers, wherever its results are. `P` are the arguments that are left to give.

    `R_co` is what a call gives: of an `async def`, the coroutine.
    """

    @property
    def __name__(self) -> str: ...

    if TYPE_CHECKING:  # in a class body Python takes these two for the class's own

        @property
        def __qualname__(self) -> str: ...
        @property
        def __doc__(self) -> str | None: ...  # type: ignore[override]

    @property
    def __wrapped__(self) -> Callable[..., R_co]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    def cache_parameters(self) -> dict[str, Any]: ...


class MemoizedCall(CachedCall[P, R_co], Protocol[P, R_co]):
    """What every memoized callable offers; see `AtomicCache.memoize`."""

    @property
    def cache(self) -> MemoizedCache: ...
    @overload  # of an async def: its result, and no coroutine
    def peek(self: MemoizedCall[P, Coroutine[Any, Any, S]], *args: P.args, **kwargs: P.kwargs) -> S | None: ...
    @overload
    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R_co | None: ...
    @overload
    def peek(self: MemoizedCall[P, Coroutine[Any, Any, S]], *args: Any, default: D, **kwargs: Any) -> S | D: ...
    @overload
    def peek(self, *args: Any, default: D, **kwargs: Any) -> R_co | D: ...
    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def purge(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    def invalidate_tags(self, *tags: str) -> int: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_clear(self) -> None: ...


class Memoized(MemoizedCall[P, R_co], Protocol[P, R_co]):
    """A memoized function or method: through an instance, its first argument is given."""

    @overload
    def __get__(self, instance: None, owner: Any) -> Memoized[P, R_co]: ...
    @overload
    def __get__(self: Memoized[Concatenate[S, Q], R_co], instance: S, owner: Any) -> MemoizedCall[Q, R_co]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> MemoizedCall[P, R_co]: ...


class MemoizedLaterCall(MemoizedCall[P, Later[S_co]], Protocol[P, S_co]):
    """What a memoized `async def` offers: with `shared`, what these return can be awaited for the part in the store."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    def purge(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    def invalidate_tags(self, *tags: str) -> Any: ...
    def cache_clear(self) -> Any: ...


class MemoizedLater(MemoizedLaterCall[P, S_co], Protocol[P, S_co]):
    """A memoized `async def`: see `Memoized`."""

    @overload
    def __get__(self, instance: None, owner: Any) -> MemoizedLater[P, S_co]: ...
    @overload
    def __get__(
        self: MemoizedLater[Concatenate[S, Q], S_co], instance: S, owner: Any
    ) -> MemoizedLaterCall[Q, S_co]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> MemoizedLaterCall[P, S_co]: ...


class MemoizedOfClass(MemoizedCall[Concatenate[Any, P], R_co], Protocol[P, R_co]):
    """A memoized classmethod, or a function that takes a class: through a class or an instance, that is given.

    Type checkers show a decorator the bare function of a classmethod, so its first parameter must tell.
    """

    def __get__(self, instance: Any, owner: Any) -> MemoizedCall[P, R_co]: ...


class MemoizedLaterOfClass(MemoizedLaterCall[Concatenate[Any, P], S_co], Protocol[P, S_co]):
    """The same as an `async def`."""

    def __get__(self, instance: Any, owner: Any) -> MemoizedLaterCall[P, S_co]: ...


class _Witness:
    """A type that no function names: one that takes it takes anything, and one that gives it gives what it got."""


class GivesWhatItTakes(Protocol):
    """A generic function whose result depends on its first argument, which may be anything: `def f(x: T) -> T`."""

    def __call__(
        self, first: _Witness, /, *args: Any, **kwargs: Any
    ) -> _Witness | Iterable[_Witness] | Coroutine[Any, Any, _Witness]: ...


class GivesAnything(Protocol):
    """A function whose result may be anything: it is generic, or says nothing of it."""

    def __call__(self, *args: Any, **kwargs: Any) -> _Witness: ...


F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound=GivesWhatItTakes)
H = TypeVar("H", bound=GivesAnything)


class MemoizedGeneric(MemoizedCall[..., Any], Generic[F]):
    """A memoized function of that kind, for type checkers: calls and `refresh` keep its own type, all of it.

    `P` and `R_co` of the others are solved once, and the function's type variables would be lost by that. What else it
    offers takes any arguments here.
    """

    __call__: F  # no property: pyright then refuses it as an argument that is to be callable

    @property
    def refresh(self) -> F:
        raise NotImplementedError

    def peek(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    @overload
    def __get__(self, instance: None, owner: Any) -> MemoizedGeneric[F]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> Any: ...
    def __get__(self, instance: object, owner: Any) -> Any:
        raise NotImplementedError


class TakesAnything(Protocol[P, R_co]):
    """A function whose first argument may be anything, a class too, so that it is no classmethod for that."""

    @overload
    def __call__(self, first: object, /, *args: Any, **kwargs: Any) -> Any: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FillResult[R_co]: ...


class MemoizeDecorator(Protocol):
    """What `memoize` gives when it is called without a function."""

    @overload
    def __call__(self, function: G, /) -> MemoizedGeneric[G]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: TakesAnything[P, R_co], /
    ) -> Memoized[P, R_co]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, function: Callable[Concatenate[type[S], P], Later[D]], /
    ) -> MemoizedLaterOfClass[P, D]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[type[S], P], R_co], /) -> MemoizedOfClass[P, R_co]: ...
    @overload
    def __call__(self, function: H, /) -> MemoizedGeneric[H]: ...
    @overload
    def __call__(self, function: Callable[P, Later[FillResult[S]]], /) -> MemoizedLater[P, S]: ...
    @overload
    def __call__(self, function: Callable[P, FillResult[R_co]], /) -> Memoized[P, R_co]: ...


# ---- functions that are cached in a SharedCache, or in a cache that is chosen at each call

I_co = TypeVar("I_co", covariant=True)


class SharedCall(CachedCall[P, R_co], Protocol[P, R_co, I_co]):
    """What a function offers that is cached in a SharedCache, or by choice: of an `async def` it is to be awaited.

    `I_co` is what `cache_info` gives.
    """

    @property
    def cache(self) -> Any: ...
    @overload
    def peek(self: SharedCall[P, Later[S], Any], *args: P.args, **kwargs: P.kwargs) -> Later[S | None]: ...
    @overload
    def peek(self, *args: P.args, **kwargs: P.kwargs) -> R_co | None: ...
    @overload
    def peek(self: SharedCall[P, Later[S], Any], *args: Any, default: D, **kwargs: Any) -> Later[S | D]: ...
    @overload
    def peek(self, *args: Any, default: D, **kwargs: Any) -> R_co | D: ...
    @overload
    def invalidate(  # type: ignore[overload-overlap]
        self: SharedCall[P, Later[S], Any], *args: P.args, **kwargs: P.kwargs
    ) -> Later[bool]: ...
    @overload
    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    @overload
    def purge(  # type: ignore[overload-overlap]
        self: SharedCall[P, Later[S], Any], *args: P.args, **kwargs: P.kwargs
    ) -> Later[bool]: ...
    @overload
    def purge(self, *args: P.args, **kwargs: P.kwargs) -> bool: ...
    @overload
    def cache_clear(self: SharedCall[P, Later[S], Any], *args: Any, **kwargs: Any) -> Later[None]: ...
    @overload
    def cache_clear(self, *args: Any, **kwargs: Any) -> None: ...
    def cache_info(self, *args: Any, **kwargs: Any) -> I_co: ...


class SharedMemoized(SharedCall[P, R_co, I_co], Protocol[P, R_co, I_co]):
    """The same as a function or method: through an instance, its first argument is given."""

    @overload
    def __get__(self, instance: None, owner: Any) -> SharedMemoized[P, R_co, I_co]: ...
    @overload
    def __get__(
        self: SharedMemoized[Concatenate[S, Q], R_co, I_co], instance: S, owner: Any
    ) -> SharedCall[Q, R_co, I_co]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> SharedCall[P, R_co, I_co]: ...


class SharedOfClass(SharedCall[Concatenate[Any, P], R_co, I_co], Protocol[P, R_co, I_co]):
    """The same as a classmethod: see `MemoizedOfClass`."""

    def __get__(self, instance: Any, owner: Any) -> SharedCall[P, R_co, I_co]: ...


class SharedGeneric(SharedCall[..., Any, I_co], Generic[F, I_co]):
    """The same as a generic function: see `MemoizedGeneric`."""

    __call__: F

    @property
    def refresh(self) -> F:
        raise NotImplementedError

    def peek(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    @overload
    def __get__(self, instance: None, owner: Any) -> SharedGeneric[F, I_co]: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> Any: ...
    def __get__(self, instance: object, owner: Any) -> Any:
        raise NotImplementedError


class SharedDecorator(Protocol[I_co]):
    """What `cached` gives for a SharedCache, or for a callable that chooses the cache."""

    @overload
    def __call__(self, function: G, /) -> SharedGeneric[G, I_co]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: TakesAnything[P, R_co], /) -> SharedMemoized[P, R_co, I_co]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[type[S], P], R_co], /) -> SharedOfClass[P, R_co, I_co]: ...
    @overload
    def __call__(self, function: H, /) -> SharedGeneric[H, I_co]: ...
    @overload
    def __call__(self, function: Callable[P, Later[FillResult[S]]], /) -> SharedMemoized[P, Later[S], I_co]: ...
    @overload
    def __call__(self, function: Callable[P, FillResult[R_co]], /) -> SharedMemoized[P, R_co, I_co]: ...
