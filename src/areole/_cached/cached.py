"""areole.cached: memoize functions in a cache that is there already, several of them in one if need be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict, Unpack, overload

from .._cache.atomic_cache import AsyncAtomicCache, AtomicCache
from .._cache.storage import Storage
from .._core.sentinels import DEFAULT_TTL, DefaultTTLSentinel
from .._memoize.instance_in_key import CachedClassMethod, CachedMethod
from .._memoize.kinds import classes_of
from .._platform.arguments import check_plain, in_the_name_of, suggests_names
from .._platform.locks import run_locked
from ..serializers import AnySerializer
from ..typing import CacheInfo, MemoizeDecorator, SharedCacheInfo, SharedDecorator, Tags, Ttl
from .by_choice import KINDS, OWN_CACHES, FunctionByChoice, is_shared
from .in_cache import FunctionInCache
from .options import CachedOptions

if TYPE_CHECKING:
    from ..shared.cache import SharedCache

__all__ = ["cached"]

OwnCache: TypeAlias = Storage[Any] | AtomicCache[Any, Any] | AsyncAtomicCache[Any, Any]
AnyCache: TypeAlias = "OwnCache | SharedCache[Any]"
Lock: TypeAlias = AbstractContextManager[Any] | AbstractAsyncContextManager[Any]


_HINT: Final = "write @cached(cache) above the function"


class _Options(TypedDict, total=False):
    """The other arguments of `cached`, as it explains them."""

    skip: Callable[[Any], bool] | None
    exclude: Callable[[Any, Any], bool] | None
    typed: bool
    ttl: Ttl[Any, Any] | DefaultTTLSentinel | None
    ignore: Collection[str]
    allow_single_use: bool
    lock: Lock | None
    tags: Tags


class _SharedOptions(_Options, total=False):
    name: str | None
    version: str | int | None
    serializer: AnySerializer | None
    wait: float | timedelta | None


@overload
def cached(
    cache: OwnCache, *, key: Callable[..., Any] | str | None = None, **options: Unpack[_Options]
) -> MemoizeDecorator: ...
@overload
def cached(
    cache: SharedCache[Any], *, key: Callable[..., Any] | str | None = None, **options: Unpack[_SharedOptions]
) -> SharedDecorator[SharedCacheInfo]: ...
@overload
def cached(
    cache: Callable[..., AnyCache | None],
    *,
    key: Callable[..., Any] | str | None = None,
    **options: Unpack[_SharedOptions],
) -> SharedDecorator[CacheInfo | SharedCacheInfo]: ...


@suggests_names(called="cached")
def cached(
    cache: AnyCache | Callable[..., AnyCache | None],
    *,
    key: Callable[..., Any] | str | None = None,
    skip: Callable[[Any], bool] | None = None,
    exclude: Callable[[Any, Any], bool] | None = None,
    typed: bool = False,
    ttl: Ttl[Any, Any] | DefaultTTLSentinel | None = DEFAULT_TTL,
    ignore: Collection[str] = (),
    allow_single_use: bool = False,
    lock: Lock | None = None,
    name: str | None = None,
    version: str | int | None = None,
    serializer: AnySerializer | None = None,
    wait: float | timedelta | None = None,
    tags: Tags = None,
) -> Any:
    """Memoize a function, `def` or `async def`, in a cache that exists already, beside whatever else is in it.

    Args:
        cache: a Storage or Cache; a read-through cache, whose own fill has no part in this, but its Resilience has; or
            a SharedCache. Or a callable that gives one at each call, or None: then the function is called, and nothing
            is stored. It gets the arguments of the call if it cannot be called without any.
        key: a callable of the arguments that returns the key, or a template such as "user:{user_id}": its fields are
            parameters of the function, their attributes and items, of which the text is put in percent-escaped. In a
            SharedCache that is the very key: `shared.get("user:7")`. Elsewhere the keys of two functions never meet.
        typed, ignore: those of `AtomicCache.memoize`.
        skip: called with a result; if it returns true, waiters get the result and it is not stored. A refresh then
            leaves the old result.
        exclude: the same, called as (key, result).
        ttl: as for `AtomicCache`; a callable of (key, result) may return DEFAULT_TTL too. By default, that of the
            cache.
        allow_single_use: as for `AtomicCache`; not for a SharedCache.
        lock: a context manager that is entered around each run of the function, an asynchronous one for an `async def`:
            with a lock, one run at a time over all keys. A hit does not enter it. Functions may share one. A function
            that calls itself, or another one, under the same lock, needs a re-entrant lock, such as `threading.RLock`;
            under a `threading.Lock` or an `asyncio.Lock` that raises FillDeadlockError.
        name, version: for a SharedCache, where there is no `key`: the key is made of the function's module and name, or
            of `name`, of the names of the parameters, and of the arguments. `version`: to be changed with the code.
        serializer: for a SharedCache. By default the return annotation picks it where the cache has JSON, which would
            refuse what pydantic can write; else it is the cache's.
        wait: for a SharedCache: see its `get_or_fill`.
        tags: as for `AtomicCache.memoize`; they are tags of the cache, and `invalidate_tags` removes what else of the
            cache has one of them.

    Returns:
        A function with the same signature and the helpers of `AtomicCache.memoize`; `purge` is `invalidate`.
        `cache_clear` removes the results of this function only, and walks through the cache. In `cache_info`, evictions
        and expirations are the cache's.
        Of an `async def` in a SharedCache, `invalidate`, `purge`, `refresh`, `peek` and `cache_clear` are awaited; in a
        cache that is chosen too. There `cache_info`, `cache_clear` and `cache_parameters` take the arguments by which
        it is chosen.

    Under concurrency:
        One thread or task of this process runs the function per key, and the others wait for its outcome. `invalidate`,
        `cache_clear`, and a `delete` or `clear` of the cache, win over a call that is running; where the cache is
        shared, by any process.

    The user, the tenant and context variables are in a key only if they are arguments. A method's instance is part of
    the key, and the cache keeps it alive: `AtomicCache.memoize` keeps results with their instance. For a SharedCache a
    method needs a `key`. Once a function has been freed, its results are removed from a cache of this process as others
    are stored, or by `sweep`.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
        FillDeadlockError: from a call that needs the `lock` that its caller has, if that is known not to be re-entrant.
    """
    choose: Any = cache
    options = CachedOptions(
        key, skip, exclude, typed, ttl, ignore, allow_single_use, lock, name, version, serializer, wait, tags
    )
    is_own = isinstance(cache, OWN_CACHES)
    is_cache = is_own or is_shared(cache)
    if is_own:
        options.check_unshared()
    elif not is_cache:
        _check_choice(cache)

    def decorate(function: Any) -> Any:
        with in_the_name_of("cached"):
            return wrap(function)

    def wrap(function: Any) -> Any:
        is_bound = isinstance(function, classmethod | staticmethod)
        inner = function.__func__ if is_bound else function
        if not (is_cache or callable(inner)):
            raise TypeError(f"cached takes a function, not {type(inner).__name__}: {_HINT}")
        options.check_function(inner)
        if is_cache:
            wrapper = _cache_in(cache, inner, options, is_bound)
        else:
            wrapper = FunctionByChoice(choose, inner, options, partial(_cache_in, is_bound=is_bound)).make_wrapper()
        if isinstance(function, staticmethod):
            return staticmethod(wrapper)
        if isinstance(function, classmethod):
            return CachedClassMethod(wrapper)
        return CachedMethod(wrapper) if classes_of(function) else wrapper

    return decorate


def _check_choice(cache: Any) -> None:
    """Raise TypeError unless `cache`, which is none, is a callable that gives one."""
    if not callable(cache) or isinstance(cache, type):
        given = f"the class {cache.__name__}" if isinstance(cache, type) else type(cache).__name__
        raise TypeError(f"cache must be {KINDS}, or a callable that gives one, not {given}: {_HINT}")
    check_plain("cache", cache)


def _prepare(cache: Any) -> None:
    """Have `cache` do what results of functions need."""
    state = cache._state
    state.fills_plainly = False
    run_locked(state.index.lock, state.expire_lazily)  # it may have no ttl of its own


def _cache_in(cache: Any, function: Any, options: CachedOptions, is_bound: bool = False) -> Any:
    """Return `function`, cached in `cache`."""
    if not isinstance(cache, OWN_CACHES):
        from .in_shared import FunctionInShared  # what it needs is loaded where there is a SharedCache

        return FunctionInShared(cache, function, options, is_bound).make_wrapper()
    _prepare(cache)
    state = cache._state
    if state.freed:
        state.freed.remove_some(state)
    return FunctionInCache(cache, function, options).make_wrapper()
