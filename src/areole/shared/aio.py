"""AsyncSharedCache: a shared cache for event loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Generic, Literal, NoReturn, Self, TypeVar, overload

from .._cache.storage_arguments import pairs_of, seconds_until
from .._core.sentinels import DEFAULT_TTL, CacheMissSentinel, DefaultTTLSentinel
from .._core.ttl import seconds_of
from .._fill.filled import previous_in
from .._platform.arguments import check_bool, check_callable, check_keys
from ..errors import BackendError, CacheClosedError
from ..typing import FillResult, ManyResults, SharedCacheInfo, Ttl
from .bypass import bypass
from .fill_many import get_or_fill_many
from .fills import FillOperations
from .steps import run_async

__all__ = ["AsyncSharedCache"]

V = TypeVar("V")
D = TypeVar("D")


class AsyncSharedCache(Generic[V]):
    """A shared cache whose calls are awaited: the methods of `SharedCache`, on any number of event loops.

    Got by `SharedCache.aio`. Each loop has connections of its own; to leave `async with` closes those of its loop, and
    the next call makes new ones. A fill runs in a task, with what AsyncAtomicCache promises: callers that are cancelled
    leave it running for the others, and the last one cancels it. A plain function runs in the loop's executor.
    """

    def __init__(self, operations: FillOperations) -> None:
        self._operations = operations
        self._state = operations.state

    def _steps(self) -> FillOperations:
        self._state.check_open()
        return self._operations

    # ---- lookups

    @overload
    async def get(self, key: Any) -> V | None: ...
    @overload
    async def get(self, key: Any, default: D) -> V | D: ...
    async def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if it has none."""
        return await run_async(self._steps().get(key, default))

    async def get_many(self, keys: Iterable[Any]) -> dict[Any, V]:
        """Return a dict of those of `keys` that have a value, in the order asked, by one call of the store."""
        check_keys("get_many", keys)
        return await run_async(self._steps().get_many(list(keys)))

    async def contains(self, key: Any) -> bool:
        """Say whether `key` has a value; it is read for that."""
        return await run_async(self._steps().contains(key))

    async def ttl_of(self, key: Any) -> float | CacheMissSentinel | None:
        """Return the seconds until `key` expires: None if it never does, CACHE_MISS if it has no value."""
        return await run_async(self._steps().ttl_of(key))

    async def get_or_fill(
        self,
        key: Any,
        fill: Callable[[Any], Awaitable[FillResult[V]]] | Callable[[Any], FillResult[V]],
        ttl: Ttl[Any, V] | DefaultTTLSentinel | None = DEFAULT_TTL,
        wait: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> V:
        """Return the value of `key`; if it has none, run or await `fill(key)` and store the result."""
        steps = self._steps()
        check_callable("fill", fill)
        wait = None if wait is None else seconds_of(wait, "wait", may_be_zero=True)
        more = self._state.seconds_for(ttl), wait, False, None, self._state.tags_for(tags)
        return await run_async(steps.get_or_fill(key, fill, *more))

    async def get_or_fill_many(
        self,
        keys: Iterable[Any],
        fill_many: Callable[[list[Any]], Awaitable[ManyResults[Any, V]]] | Callable[[list[Any]], ManyResults[Any, V]],
        ttl: Ttl[Any, V] | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] | None = None,
    ) -> dict[Any, V]:
        """Return a dict of the values of `keys`, by one call of `fill_many` for those that are not there."""
        check_keys("get_or_fill_many", keys)
        check_callable("fill_many", fill_many)
        steps, more = self._steps(), (self._state.seconds_for(ttl), self._state.tags_for(tags))
        return await run_async(get_or_fill_many(steps, keys, fill_many, *more))

    async def refresh(
        self,
        key: Any,
        fill: Callable[[Any], Awaitable[FillResult[V]]] | Callable[[Any], FillResult[V]],
        ttl: Ttl[Any, V] | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] | None = None,
    ) -> V:
        """Fill `key` again and return the new value; others get the old one meanwhile. If `fill` raises, that stays."""
        steps = self._steps()
        check_callable("fill", fill)
        more = self._state.seconds_for(ttl), None, True, previous_in(fill), self._state.tags_for(tags)
        return await run_async(steps.get_or_fill(key, fill, *more))

    def bypass(self, *tiers: Literal["local", "shared"]) -> AbstractContextManager[None]:
        """Have the lookups of this task within `with` pass by a tier; a plain call: see `SharedCache.bypass`."""
        return bypass(self._state.keys, tiers)

    # ---- changes

    async def set(
        self,
        key: Any,
        value: V,
        ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL,
        if_not_exists: bool = False,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store `value`; say whether it was stored. `if_not_exists`: only if there is none."""
        check_bool("if_not_exists", if_not_exists)
        return await run_async(self._steps().set(key, value, ttl, if_not_exists, tags))

    async def add(
        self,
        key: Any,
        value: V,
        ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store `value` only if `key` has none; say whether it was stored."""
        return await run_async(self._steps().set(key, value, ttl, True, tags))

    async def set_many(
        self,
        items: Mapping[Any, V] | Iterable[tuple[Any, V]],
        ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] = (),
    ) -> int:
        """Store each item of a mapping, or each (key, value) pair; return how many, as `SharedCache` does."""
        return await run_async(self._steps().set_many(list(pairs_of(items)), ttl, tags))

    async def delete(self, key: Any) -> bool:
        """Remove `key`, and have no fill stored that is running in any process; say whether it had a value."""
        return await run_async(self._steps().delete(key))

    invalidate = delete

    async def delete_many(self, keys: Iterable[Any]) -> int:
        """Delete each of `keys`; return how many had a value."""
        check_keys("delete_many", keys)
        return await run_async(self._steps().delete_many(list(keys)))

    async def invalidate_tags(self, *tags: str) -> bool:
        """Remove all values that have one of `tags`, in all processes; say whether that was done."""
        return await run_async(self._steps().invalidate_tags(tags))

    async def expire_in(self, key: Any, ttl: float | timedelta | None = None) -> bool:
        """Let `key` expire `ttl` from now, in seconds (None: never; 0: delete it); say whether it had a value."""
        return await run_async(self._steps().expire(key, self._state.seconds_of(ttl)))

    async def expire_at(self, key: Any, when: datetime | None = None) -> bool:
        """Let `key` expire at `when`, in local time if it has no zone; at once if that has passed; None: never."""
        return await run_async(self._steps().expire(key, seconds_until(when)))

    async def clear(self, reclaim: bool | None = None) -> None:
        """Remove all values of the namespace, and have no fill stored that is running in any process."""
        return await run_async(self._steps().clear(reclaim))

    # ---- life

    def cache_info(self) -> SharedCacheInfo:
        """Return what this process has done; a plain call."""
        return self._state.info()

    async def aclose(self) -> None:
        """Close the connections of the running loop; the next call makes new ones.

        Invalidations that the store has not taken yet are sent before, if it can be reached.
        """
        operations = self._operations
        try:
            with suppress(BackendError, CacheClosedError):
                await run_async(operations.settle(*operations.state.outbox.queued))
        finally:
            await operations.backend.aclose()

    async def __aenter__(self) -> Self:
        self._steps()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._state.refuse_copy()

    def __repr__(self) -> str:
        return f"<AsyncSharedCache {self._state.name!r} in {type(self._operations.backend).__name__}>"
