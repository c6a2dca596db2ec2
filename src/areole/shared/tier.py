"""Tier: what a read-through cache of this process has to do with a shared cache behind it.

A miss of the cache asks the shared one, in the flight of its key, and that fills. So what the plane hears of the key
meanwhile detaches that flight: see P1 in `plane`. A hit knows nothing of all this: it is a hit of the cache.
The version of a tag is a key as others are: hearing of it drops what lists that tag, by the cache's TagTable.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from functools import partial
from math import inf
from types import SimpleNamespace
from typing import Any

from .._core.sources import note_source
from .._core.ttl import SecondsOf
from .._fill.blocking import call_fill
from .._fill.filled import Filled
from .._fill.outcomes import Failed
from .._fill.protocol import Fills
from .._fill.resilience import StaleRules
from .._fill.task_waiter import running_loop
from .._fill.tasks import TaskFills
from .._memoize.key_template import KeyTemplate
from .._platform.arguments import is_async_function
from .._state.cache_state import CacheState
from ..backends.protocol import ALL_THAT_BEGIN
from ..errors import BackendError
from .background import Done, in_background
from .counters import SharedCounters
from .envelope import VERSION_BYTES
from .fill_call import FillCall
from .fill_many import find_or_fill_many
from .fills import FillOperations
from .kept import Kept
from .outcome import Found
from .plane import Plane
from .stale_times import Wanted, times_of
from .steps import Steps, run, run_async
from .versions import COUNT
from .wire_names import as_fill, has_own_keys, key_of_arguments, wire_name_of

__all__ = ["Tier"]


class Tier(Kept):
    """One cache in front of a shared one; `threads` and `tasks` are the shared cache's operations."""

    def __init__(
        self,
        threads: FillOperations | None,
        tasks: FillOperations,
        plane: Plane,
        ttl: SecondsOf[Any, Any],
        local_ttl: float | None,
        copies: bool = False,
    ) -> None:
        super().__init__(tasks.state.keys, tasks.envelope, plane, local_ttl)
        self._threads = threads
        self._tasks = tasks
        self._seconds_of = ttl
        self._copies = copies
        self.expires = True  # whether values have a ttl, here or in the store
        self._prefix: str | None = None  # of a memoized function's keys; "": they have none
        self.previous: str | None = None  # see `FillRules`
        self.tags: Callable[[Any], Iterable[str]] | None = None  # of a key; None: fills give none either

    # ---- fills

    def find(
        self,
        operations: FillOperations,
        key: Any,
        fill: Callable[[Any], Any],
        is_refresh: bool,
        tags_of: Callable[[], Iterable[str]] | None = None,
    ) -> Steps[Any]:
        """Return what the shared cache has for `key`; it fills what it has not."""
        call = self._call(key, fill, is_refresh, tags_of)
        heard = self._plane.is_live(), self.epoch()  # before anything is read: see P3
        return self._kept(key, (yield from operations.find_or_fill(call)), *heard)

    def find_many(
        self, operations: FillOperations, keys: list[Any], fill_many: Callable[[list[Any]], Any]
    ) -> Steps[list[Any]]:
        """Do so for many keys, by one look and one call of `fill_many`; Failed stands for a key that has failed."""
        calls = [self._call(key, None, False, self._tags_for(key)) for key in keys]
        heard = self._plane.is_live(), self.epoch()
        found = yield from find_or_fill_many(operations, calls, fill_many, measures=True)
        return [
            each if type(each) is Failed else self._kept(key, call.found_as(each), *heard)
            for key, call, each in zip(keys, calls, found, strict=True)
        ]

    def _call(
        self, key: Any, fill: Callable[[Any], Any] | None, is_refresh: bool, tags_of: Callable[[], Any] | None
    ) -> FillCall:
        """Note the name of a key, and return what is asked of the shared cache for it."""
        self._tasks.state.check_open()
        wire_key = self._wire_key(key)
        name = self._keys.name(wire_key)
        self._note(name, key)
        seconds_of = self._seconds_of if wire_key is key else lambda _, value: self._seconds_of(key, value)
        assert self._state is not None
        wanted = None if self._stale is None else self._wanted(key, self._state, self._stale)
        tag_names = self._tasks.state.tag_names
        names_of = None if tags_of is None else lambda: tag_names(tags_of())
        return FillCall(name, wire_key, fill, seconds_of, None, is_refresh, self.previous, wanted, names_of)

    def _kept(self, key: Any, found: Found, is_live: bool, epoch: object) -> Any:
        """Return what the cache may keep of what was found."""
        assert self._state is not None
        found.epoch = epoch
        if found.source != "stale":  # else all look again, and one that takes it notes that
            note_source(self._state.name, key, found.source)
        if not is_live:
            found.doubt(self._stale is not None and self._stale.fail_safe)
        return found if found.weight is None else Filled(found, weight=found.weight)

    def value_of(self, found: Found) -> Any:
        if not self._copies:
            return found.value
        return found.raw or self._envelope.pack(found.value, "", bytes(VERSION_BYTES), None)  # it is in no store

    @property
    def load(self) -> Callable[[Any], Any] | None:
        """Makes an object of what is kept; None: that is the object."""
        return self._envelope.open_again if self._copies else None

    def _wanted(self, key: Any, state: CacheState, stale: StaleRules) -> Wanted:
        """Return what the lookup wants, which has its flight in the index, alone or in the place of a copy."""
        most = getattr(state.index, "max_entry_weight", None)

        def fits(value: Any, raw: Any) -> bool:
            return most is None or state.index.weigh(key, raw if self._copies else value) <= most

        return Wanted(stale, state.find(key), state.clock(), fits)

    def times(self, key: Any, found: Found, began: float, now: float) -> Any:
        """Return the moments of a copy under a Resilience."""
        assert self._stale is not None
        whole: float | None = None
        if self._stale.refresh_ahead is not None:
            whole = found.seconds if found.source == "filled" else self._seconds_of(key, found.value)
        return times_of(self._stale, found, whole, self._most_seconds, began, now)

    def fill_for_threads(self, fill: Callable[[Any], Any]) -> TierFill:
        self._for_threads()
        return TierFill(lambda is_refresh, args, _: self._find_now(fill, args[0], is_refresh, self._tags_for(args[0])))

    def _for_threads(self) -> FillOperations:
        if self._threads is None:
            raise TypeError(f"SharedCache {self._tasks.state.name!r} has an asynchronous backend: use AsyncAtomicCache")
        return self._threads

    def _tags_for(self, key: Any) -> Callable[[], Iterable[str]] | None:
        return None if self.tags is None else partial(self.tags, key)

    def _find_now(self, fill: Callable[[Any], Any], key: Any, is_refresh: bool, tags_of: Any) -> Any:
        return run(self.find(self._for_threads(), key, fill, is_refresh, tags_of))

    def fill_for_tasks(self, fill: Callable[[Any], Any], inline: bool) -> TierFill:
        called = partial(_call_inline, fill) if inline and not is_async_function(fill) else fill
        return AsyncTierFill(
            lambda is_refresh, args, _: self._find_later(called, args[0], is_refresh, self._tags_for(args[0]))
        )

    def _find_later(self, fill: Callable[[Any], Any], key: Any, is_refresh: bool, tags_of: Any) -> Awaitable[Any]:
        return run_async(self.find(self._tasks, key, fill, is_refresh, tags_of))

    def fill_many_for_threads(self, fill_many: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
        self._for_threads()
        return lambda keys: run(self.find_many(self._for_threads(), keys, fill_many))

    def fill_many_for_tasks(
        self, fill_many: Callable[[list[Any]], Any], inline: bool
    ) -> Callable[[list[Any]], Awaitable[Any]]:
        called = partial(_call_inline, fill_many) if inline and not is_async_function(fill_many) else fill_many

        async def find(keys: list[Any]) -> Any:
            return await run_async(self.find_many(self._tasks, keys, called))

        return find

    def memoize(self, memoized: Any, name: str | None) -> TierFill:
        """Return what a memoized function calls for a miss, with the function's arguments, and for a refresh.

        Its keys are those of `cached` over the shared cache.
        """
        function, cache_key, signature = memoized.function, memoized.cache_key, memoized.signature
        self._tasks.state.check_tagged(bool(memoized.parameters.get("tags")))
        if has_own_keys(signature):
            key = signature.names["key_function"]
            self._prefix = key.prefix if isinstance(key, KeyTemplate) else ""
        else:
            named = wire_name_of(function, SimpleNamespace(name=name, version=None, key=None))
            self._prefix, self._wire_key = f"{named}:", partial(key_of_arguments, named, signature)
        is_async = is_async_function(function)
        find: Any = self._find_later if is_async else self._find_now

        def find_call(is_refresh: bool, args: Any, kwargs: Any) -> Any:
            call = partial(function, *args, **kwargs)
            tags_of = None if memoized.tags_of is None else partial(memoized.tags_of, *args, **kwargs)
            return find(as_fill(call, is_async), cache_key(*args, **kwargs), is_refresh, tags_of)

        return AsyncTierFill(find_call) if is_async else TierFill(find_call)

    def ttl(self, key: Any, found: Any) -> float | None:
        """Be the ttl of the cache: for how long what was found, or a stored exception, is kept here."""
        return self.ttl_of(found) if isinstance(found, Found) else self.error_ttl(self._seconds_of, key, found)

    def error_ttl(self, seconds_of: SecondsOf[Any, Any], key: Any, error: Exception) -> float | None:
        """Return for how long an exception is kept: it is not in the store, so others' changes may not tell of it."""
        if isinstance(error, BackendError) or not self._plane.is_live():
            return 0.0
        given, most = seconds_of(key, error), self._plane.lag if self._plane.listens else inf
        least = min(inf if given is None else given, most, self._most_seconds)
        return None if least == inf else least

    @property
    def counters(self) -> SharedCounters:
        return self._tasks.state.counters

    def reset_counters(self) -> None:
        self.counters.reset()

    # ---- removal

    def invalidate(self, key: Any, fills: Fills) -> Any:
        """Remove `key` here and there; say whether there was something. For tasks: return that to be awaited."""
        name = self._keys.name(self._wire_key(key))
        return self._change(fills, partial(self._invalidate, key, self._drop_key(key)), name)

    def _invalidate(self, key: Any, was_here: bool, operations: FillOperations) -> Steps[bool]:
        try:
            return (yield from operations.delete(self._wire_key(key))) or was_here
        finally:
            self._drop_key(key)  # again: it may have been read before it was removed there

    def invalidate_tags(self, tags: Collection[str], fills: Fills) -> Any:
        """Remove what has one of these tags here and there; return how many were here. For tasks: to be awaited."""
        state, prefix = self._tasks.state, self._keys.tag_prefix
        found = state.tag_names(tags)
        names, count = [prefix + tag for tag in found], self._drop_tags(found)
        for name in names:
            state.drop_kept(name)  # in other tiers of this process
        return self._change(fills, partial(self._invalidate_tags, tags, count), prefix + COUNT, *names)

    def _invalidate_tags(self, tags: Collection[str], count: int, operations: FillOperations) -> Steps[int]:
        yield from operations.invalidate_tags(tags)  # which has every tier drop them again
        return count

    def clear(self, fills: Fills) -> Any:
        """Clear the namespace, or what belongs to a memoized function, here and there."""
        if self._prefix == "":
            raise TypeError(
                "cache_clear cannot know the keys of a function that is memoized with key= and shared=: pass a "
                "template that begins with a text of its own, such as 'user:{user_id}', or clear the whole SharedCache"
            )
        self.drop_all()
        outbox, prefix = self._tasks.state.outbox, self._prefix
        name = outbox.everything if prefix is None else self._keys.prefix + prefix + ALL_THAT_BEGIN
        return self._change(fills, self._clear, name)

    def _clear(self, operations: FillOperations) -> Steps[None]:
        try:
            yield from operations.clear(None) if self._prefix is None else operations.clear_keys(self._prefix)
        finally:
            self.drop_all()

    def _change(self, fills: Fills, steps: Callable[[FillOperations], Steps[Any]], *names: str) -> Any:
        """Change these names in the store; on a loop in a task, and if that is cancelled they are queued."""
        self._tasks.state.check_open()
        if not isinstance(fills, TaskFills):
            return run(steps(self._for_threads()))
        if running_loop() is None:
            return Done(run(steps(self._for_threads())))
        state = self._tasks.state
        return in_background(run_async(steps(self._tasks)), partial(state.queue, names))


class TierFill:
    """The fill of a cache that is in front of a shared one: called with a key, or with a function's arguments."""

    def __init__(self, find: Callable[[bool, Any, Any], Any]) -> None:
        self._find = find

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._find(False, args, kwargs)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Have the shared cache fill this again."""
        return self._find(True, args, kwargs)


class AsyncTierFill(TierFill):
    """The same for tasks."""

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return await self._find(False, args, kwargs)


async def _call_inline(fill: Callable[..., Any], key: Any, **previous: Any) -> Any:
    return await call_fill(partial(fill, key, **previous), offloads=False)
