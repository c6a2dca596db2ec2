"""SharedCache: values that other processes see."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Generic, Literal, NoReturn, Self, TypeVar, overload

from .._cache.storage import Storage
from .._cache.storage_arguments import check_fill, pairs_of, seconds_until
from .._core.entry import Empty
from .._core.sentinels import DEFAULT_TTL, CacheMissSentinel, DefaultTTLSentinel
from .._core.ttl import seconds_of
from .._fill.filled import previous_in
from .._index.limits import check_at_least
from .._platform.arguments import check_bool, check_keys, check_plain, suggests_names
from .._platform.weak import WeakTable
from ..serializers import as_serializer
from ..typing import Clock, FillResult, ManyResults, SharedCacheInfo, Ttl
from .aio import AsyncSharedCache
from .bypass import bypass
from .envelope import Bare, Envelope
from .fill_many import get_or_fill_many
from .fills import FillOperations
from .local import LocalTier
from .modes import INLINE, Tasks, Threads
from .picked import picked_serializer
from .plane import plane_of
from .shared_state import SharedState
from .steps import run
from .stores import backend_of, backends_for
from .tier import Tier

__all__ = ["SharedCache"]

V = TypeVar("V")
D = TypeVar("D")

LEASE: Final = 10.0
"""Seconds for which the token of a fill stands that is not renewed."""


class SharedCache(Generic[V]):
    """A mapping whose values other processes see, in Redis or Valkey, SQLite, Django's cache, or in memory.

    An application has one for each namespace. It connects when it is first used, and again after a fork.

    Args:
        store: a URL (`redis://`, `rediss://`, `unix://`, `redis+cluster://`, `sentinel://`, `valkey://`, `sqlite:///path`,
            `django://alias`, `memory://`, `null://`), a backend, a client of redis-py, a Storage, or a path for SQLite.
            None: the backend that was registered as the default, else the one that the environment names.
        namespace: what all keys begin with. Caches of one namespace see the same values, in all processes.
        serializer: makes bytes of values: a name ("json", "msgpack", "json+zstd"), or an object with `dumps` and
            `loads`. Pickle must be signed where other processes can write.
        ttl: for how long values live by default, in seconds, or a timedelta; None: for ever.
        timeout: seconds: for a loop, within which each call of the store ends; for a thread, each wait for the store in
            it, of which a first call has several, to connect.
        on_error: "raise" a BackendError where the store fails, or take that as a "miss": lookups give the default,
            fills go on and are stored nowhere, changes say so by False or 0. Both are counted. Either way the keys of a
            change are deleted once the store is back, and not read before. What is unsent as the process ends is lost.
        envelope: False stores bare values, for others to read: without checks, and `clear` walks through all keys.
        executor: what codes large values for an event loop, and calls a store that has no asynchronous client. If not
            given, values are coded on the loop; None: the loop's default executor.
        lease: seconds after which a fill loses its right to be stored if its process is stopped, or was killed.
        max_items: the most items that this process keeps in the store: the least recently used ones are deleted.
        local: a Storage, for this cache alone, in which this process keeps what it has read. What `get`, `[]`,
            `get_many` and `get_or_fill`, also those of `aio`, find there needs no request. Its limits and its ttl are
            those of the copies. Changes in any process drop them: see "Copies in each process" in docs/shared.md.
        copies: with `local`, keep bytes, from which each hit makes an object of its own. Otherwise all get the same
            object: do not change it.
        plane: "tracking": what other programs write into Redis drops copies too; the server tells of it. Otherwise the
            messages of areole do that.
        clock: gives seconds; for the pauses after failures, and for values in memory.

    Under concurrency:
        Threads, tasks, loops and processes may use it at once. After a `set`, `delete` or `clear` has returned, no
        lookup that begins later, in any process, gets a value from before, nor one from a fill that began before (for
        Django's caches see DjangoBackend). A miss is filled by exactly one thread or task of this process.

    Raises:
        TypeError, ValueError: for an argument; the message names it. SettingsError: for a URL.
        BackendError: from each call, if the store fails; see `on_error`.
        SerializationError: from what stores a value that the serializer would not give back equal.
    """

    __iter__ = None  # else Python would take `[0]`, and the keys after it, for what is in it

    @suggests_names()
    def __init__(
        self,
        store: Any = None,
        *,
        namespace: str,
        serializer: Any = "json",
        ttl: float | timedelta | None = None,
        timeout: float = 0.25,
        on_error: Literal["raise", "miss"] = "raise",
        envelope: bool = True,
        executor: Any = INLINE,
        lease: float = LEASE,
        max_items: int | None = None,
        local: Storage[Any] | None = None,
        copies: bool = False,
        plane: Literal["messages", "tracking"] = "messages",
        clock: Clock = time.monotonic,
    ) -> None:
        check_bool("envelope", envelope)
        if on_error not in ("raise", "miss"):
            raise ValueError(f'on_error must be "raise" or "miss", not {on_error!r}')
        if plane not in ("messages", "tracking"):
            raise ValueError(f'plane must be "messages" or "tracking", not {plane!r}')
        codec = as_serializer(serializer)
        state = SharedState(
            namespace,
            format_name=codec.name,
            has_envelope=envelope,
            ttl=ttl,
            raises=on_error == "raise",
            lease=seconds_of(lease, "lease"),
            max_items=check_at_least("max_items", max_items, 1),
            clock=clock,
        )
        timeout = seconds_of(timeout, "timeout")
        backend, self._owns_backend = backend_of(store, timeout, clock)
        _check_safe(codec, backend, envelope)
        state.register(store if isinstance(store, str) and backend.is_shared else id(backend))
        sync, asynchronous = backends_for(backend, None if executor is INLINE else executor)
        self._state = state
        state.backend = asynchronous if sync is None else sync
        with suppress(TypeError):  # one of a user's may take no weak references
            state.outbox.backends.add_if_absent(state.backend, None)
        self._sync_backend = sync
        self._by_choice: WeakTable[Any] = WeakTable()  # what functions that choose their cache are in this one
        self._threads = None if sync is None else Threads(sync, state.breaker, state.counters, state.flights)
        self._tasks = Tasks(asynchronous, state.breaker, state.counters, state.flights, timeout, sync, executor)
        self._use(codec)
        if plane == "tracking":
            plane_of(state.backend).track(f"{namespace}:")
        check_bool("copies", copies)
        if local is not None:
            self._keep_in(local, copies)
        elif copies:
            raise TypeError("copies is for a cache with local=")

    def _keep_in(self, local: Any, copies: bool) -> None:
        """Have lookups find in `local` what this process has read."""
        if self._state.item_limit is not None:
            raise TypeError(
                "max_items goes by what is read in the store, which local= saves: limit the Storage instead"
            )
        threads, tasks = self._operations, self._aio._operations
        tasks.local = LocalTier(local, copies, self._state.keys, tasks.envelope, plane_of(self._state.backend))
        if threads is not None:
            threads.local = tasks.local

    def _use(self, codec: Any) -> None:
        """Become a view with this serializer."""
        envelope = Envelope(codec) if self._state.has_versions else Bare(codec)
        self._serializer = codec
        self._operations = None if self._threads is None else FillOperations(self._state, self._threads, envelope)
        self._aio: AsyncSharedCache[V] = AsyncSharedCache(FillOperations(self._state, self._tasks, envelope))

    def _view(self, serializer: Any) -> Self:
        """Return the same cache with another serializer, for a function whose annotation picks it."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        codec = as_serializer(serializer)
        _check_safe(codec, self._sync_backend or self._tasks.backend, self._state.has_versions)
        view._use(codec)
        return view

    def _operations_for(self, is_async: bool, serializer: Any, name: str, make_fills: Any) -> FillOperations:
        """Return the operations of a function that is cached here, with counters of its own, which count here too."""
        view = self if serializer is None else self._view(serializer)
        whole = view._aio._operations if is_async else view._steps()
        return whole.over(self._state.with_own_counters(name), make_fills)

    def _for_function(self, function: Callable[..., Any]) -> Self:
        """Return this cache, with the serializer that the annotation of `function` picks, if that picks one."""
        picked = picked_serializer(function, self._serializer)
        return self if picked is None else self._view(picked)

    def _open_tier(self, ttl: Any, local_ttl: float | None, tags: Any, copies: bool) -> Tier:
        """Return what a read-through cache of this process needs to be in front of this one."""
        self._state.check_tagged(bool(tags))
        state = self._state.with_own_counters(self._state.name)
        threads = None if self._operations is None else self._operations.over(state)
        seconds_of = state.seconds_for(DEFAULT_TTL if ttl is None else ttl)
        tier = Tier(threads, self._aio._operations.over(state), plane_of(state.backend), seconds_of, local_ttl, copies)
        tier.expires = not (ttl is None and state.ttl is None and local_ttl is None)
        return tier

    @property
    def aio(self) -> AsyncSharedCache[V]:
        """The same cache for event loops, any number of them: the same values, fills and counters."""
        return self._aio

    @property
    def namespace(self) -> str:
        """What all keys begin with."""
        return self._state.name

    def _check_open(self) -> None:
        self._state.check_open()

    def _steps(self) -> FillOperations:
        if self._state.life.is_closed:
            self._check_open()
        if self._operations is None:
            raise TypeError(f"SharedCache {self._state.name!r}: its backend is asynchronous: use `.aio`")
        return self._operations

    # ---- lookups

    @overload
    def get(self, key: Any) -> V | None: ...
    @overload
    def get(self, key: Any, default: D) -> V | D: ...
    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if it has none."""
        return self._steps().get_now(key, default)

    def __getitem__(self, key: Any) -> V:
        """Return the value of `key`. Raise KeyError if it has none."""
        value = self._steps().get_now(key, Empty)
        if value is Empty:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def get_many(self, keys: Iterable[Any]) -> dict[Any, V]:
        """Return a dict of those of `keys` that have a value, in the order asked, by one call of the store."""
        check_keys("get_many", keys)
        return run(self._steps().get_many(list(keys)))

    def __contains__(self, key: Any) -> bool:
        """Say whether `key` has a value; it is read for that."""
        return run(self._steps().contains(key))

    def ttl_of(self, key: Any) -> float | CacheMissSentinel | None:
        """Return the seconds until `key` expires: None if it never does, CACHE_MISS if it has no value."""
        return run(self._steps().ttl_of(key))  # type: ignore[no-any-return]

    def get_or_fill(
        self,
        key: Any,
        fill: Callable[[Any], FillResult[V]],
        ttl: Ttl[Any, V] | DefaultTTLSentinel | None = DEFAULT_TTL,
        wait: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> V:
        """Return the value of `key`; if it has none, run `fill(key)` and store the result.

        In this process one thread or task fills, and the others wait for it. Other processes fill at the same time;
        with `wait`, in seconds, they wait so long for the one that fills, and take over if it ends without a value. A
        change of the key during the fill wins: what was filled is returned to its caller, and not stored. `ttl` may be
        a callable of (key, value). What `fill` raises is raised; those who wait get a copy. `tags`: texts by which
        `invalidate_tags` finds the value; one that is invalidated during the fill wins, too.
        """
        steps = self._steps()
        check_fill(fill, False)
        wait = None if wait is None else seconds_of(wait, "wait", may_be_zero=True)
        more = self._state.seconds_for(ttl), wait, False, None, self._state.tags_for(tags)
        return run(steps.get_or_fill(key, fill, *more))  # type: ignore[no-any-return]

    def get_or_fill_many(
        self,
        keys: Iterable[Any],
        fill_many: Callable[[list[Any]], ManyResults[Any, V]],
        ttl: Ttl[Any, V] | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] | None = None,
    ) -> dict[Any, V]:
        """Return a dict of the values of `keys`: one look for all, and one call of `fill_many` for what is not there.

        `fill_many(keys)` returns a mapping, or a sequence of values in the order of its keys. Each key is filled as
        `get_or_fill` fills it: by one thread or task of this process, and a change of it during the call wins for it
        alone. A key that is left out of the mapping is a KeyLeftOutError, a KeyError. What one key raises is raised
        when the others have been stored.
        """
        check_keys("get_or_fill_many", keys)
        check_plain("fill_many", fill_many)
        steps, more = self._steps(), (self._state.seconds_for(ttl), self._state.tags_for(tags))
        return run(get_or_fill_many(steps, keys, fill_many, *more))

    def refresh(
        self,
        key: Any,
        fill: Callable[[Any], FillResult[V]],
        ttl: Ttl[Any, V] | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] | None = None,
    ) -> V:
        """Fill `key` again and return the new value; others get the old one meanwhile. If `fill` raises, that stays."""
        steps = self._steps()
        check_fill(fill, False)
        more = self._state.seconds_for(ttl), None, True, previous_in(fill), self._state.tags_for(tags)
        return run(steps.get_or_fill(key, fill, *more))  # type: ignore[no-any-return]

    def bypass(self, *tiers: Literal["local", "shared"]) -> AbstractContextManager[None]:
        """Have the lookups of this thread or task within `with` pass by a tier: `with shop.bypass("local"):`.

        Without "local", what this process keeps; without "shared", the store; `bypass()`, both: then nothing is found,
        and each fill runs for its caller alone. What is passed by keeps nothing of such a lookup. This holds for `get`,
        `[]`, `get_many` and `get_or_fill`, also those of `aio`, and for functions under `cached`. A cache with
        `shared=`, whose hits look at nothing, passes by the store where it misses. Changes are made everywhere.
        """
        return bypass(self._state.keys, tiers)

    # ---- changes

    def set(
        self,
        key: Any,
        value: V,
        ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL,
        if_not_exists: bool = False,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store `value`; say whether it was stored.

        `if_not_exists`: only if there is none; of several callers, in all processes, one stores. `ttl`: seconds
        or a timedelta; None: for ever; 0: it expires at once. `tags`: texts by which `invalidate_tags` finds it.
        """
        check_bool("if_not_exists", if_not_exists)
        return run(self._steps().set(key, value, ttl, if_not_exists, tags))

    def __setitem__(self, key: Any, value: V) -> None:
        self.set(key, value)

    def add(
        self,
        key: Any,
        value: V,
        ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] = (),
    ) -> bool:
        """Store `value` only if `key` has none; say whether it was stored."""
        return run(self._steps().set(key, value, ttl, True, tags))

    def set_many(
        self,
        items: Mapping[Any, V] | Iterable[tuple[Any, V]],
        ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL,
        tags: Iterable[str] = (),
    ) -> int:
        """Store each item of a mapping, or each (key, value) pair, with these tags; return how many.

        Where the serializer refuses one, none is stored; where the store fails, some may be.
        """
        return run(self._steps().set_many(list(pairs_of(items)), ttl, tags))

    def delete(self, key: Any) -> bool:
        """Remove `key`, and have no fill stored that is running in any process; say whether it had a value."""
        return run(self._steps().delete(key))

    invalidate = delete

    def __delitem__(self, key: Any) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def delete_many(self, keys: Iterable[Any]) -> int:
        """Delete each of `keys`; return how many had a value."""
        check_keys("delete_many", keys)
        return run(self._steps().delete_many(list(keys)))

    def invalidate_tags(self, *tags: str) -> bool:
        """Remove all values that have one of `tags`, and have no fill of theirs stored that is running in any process.

        Say whether that was done: not where the store fails, and `on_error` takes that as a miss. It takes two
        requests, however many values there are; they stay in the store, unread, until their ttl ends.
        """
        return run(self._steps().invalidate_tags(tags))

    def expire_in(self, key: Any, ttl: float | timedelta | None = None) -> bool:
        """Let `key` expire `ttl` from now, in seconds (None: never; 0: delete it); say whether it had a value."""
        return run(self._steps().expire(key, self._state.seconds_of(ttl)))

    def expire_at(self, key: Any, when: datetime | None = None) -> bool:
        """Let `key` expire at `when`, in local time if it has no zone; at once if that has passed; None: never."""
        return run(self._steps().expire(key, seconds_until(when)))

    def clear(self, reclaim: bool | None = None) -> None:
        """Remove all values of the namespace, and have no fill stored that is running in any process.

        That is one step, by another version of the namespace; old values stay in the store, unread, until their ttl.
        `reclaim`: remove them too; None: where that is cheap. Without an envelope this walks through all keys.
        """
        return run(self._steps().clear(reclaim))

    # ---- life

    def cache_info(self) -> SharedCacheInfo:
        """Return what this process has done; see `areole.typing.SharedCacheInfo`."""
        return self._state.info()

    def close(self) -> None:
        """Close this cache, and the backend, unless that was given or registered: others may use it.

        It may be closed more than once. What is stored stays. Invalidations that the store has not taken yet are sent
        now, if it can be reached. A cache with `shared=`, and functions under `cached`, then raise CacheClosedError
        where they would need the store, as this one does.
        """
        if self._sync_backend is not None and not self._state.life.is_closed:
            with suppress(Exception):  # of any client library
                self._state.outbox.send()
        self._state.life.is_closed = True
        if self._owns_backend and self._sync_backend is not None:
            self._sync_backend.close()

    def __enter__(self) -> Self:
        self._steps()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        store = self._sync_backend or self._tasks.backend
        return f"<SharedCache {self._state.name!r} in {type(store).__name__}>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._state.refuse_copy()


def _check_safe(codec: Any, backend: Any, has_envelope: bool) -> None:
    """Refuse what would let others run code here, or a signature that would be bound to nothing."""
    if codec.runs_code and backend.is_shared:
        raise ValueError(
            f"serializer {codec.name} runs code that is in the store, where other processes can write: "
            "use SignedPickle(keys=[...]), or json"
        )
    if codec.is_signed and not has_envelope:
        raise ValueError("a signed serializer needs envelope=True: what it signs is bound to the key by that")
