"""Cache: a Storage for any value, which it keeps as bytes."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack, overload

from .._core.entry import Empty, Entry
from .._core.sentinels import CACHE_MISS, DEFAULT_TTL, CacheMissSentinel
from .._fill.resilience import Resilience
from .._platform.arguments import check_plain, suggests_names
from .._platform.locks import run_locked
from ..errors import SerializationError
from ..serializers import AnySerializer, Deserializer, Serializer, as_serializer, pickle_deserializer, pickle_serializer
from ..serializers.foreign import text_of
from ..typing import Clock, FillResult, PolicyName, RemovalCause, RemovalListener
from .lookups import T
from .storage import Storage

__all__ = ["Cache"]

D = TypeVar("D")


class _Options(TypedDict, total=False):
    """What `Storage` takes by name alone."""

    policy: PolicyName
    weigher: Callable[[Any, bytes], int] | None
    on_removal: RemovalListener[Any, bytes] | None
    stats: bool
    clock: Clock
    name: str | None
    idle: float | timedelta | None


class Cache(Storage[T]):
    """A Storage for any value, which it keeps as bytes: each lookup returns an object of its own.

    The default, pickle, is safe here, since the bytes never leave the process. `Cache[User]` tells type checkers what
    the values are.

    Args:
        serializer: an object with `dumps` and `loads`, a name such as "json+zstd", or a pair of callables, as for
            `areole.serializers.as_serializer`; or a callable, with its inverse as `deserializer`. They run under no
            lock, and may use the cache. The other arguments are those of `Storage`; a weigher and `on_removal` get the
            bytes.

    Raises:
        SerializationError, which is a ValueError: from `set` and the like for a value that cannot be serialized, which
            leaves the old value in place; from a lookup of bytes that cannot be deserialized. Those are dropped, and
            reported and counted once, as an eviction. The message names the type; the cause is chained.
    """

    __slots__ = ("_dump", "_load", "deserializer", "serializer")
    serializer: Serializer
    deserializer: Deserializer

    @suggests_names(_Options.__optional_keys__)
    def __init__(
        self,
        size_limit_in_bytes: int | None = None,
        max_items: int | None = None,
        default_ttl: float | timedelta | None = None,
        expiration_thread_delay: float = 10.0,
        expiration_thread_max_checks_per_iteration: int = 10_000,
        expiration_thread_log: bool = False,
        expiration_disabled: bool = False,
        serializer: Serializer | AnySerializer = pickle_serializer,
        deserializer: Deserializer = pickle_deserializer,
        **options: Unpack[_Options],
    ) -> None:
        self.serializer, self.deserializer = _callables_of(serializer, deserializer)
        super().__init__(
            size_limit_in_bytes,
            max_items,
            default_ttl,
            expiration_thread_delay,
            expiration_thread_max_checks_per_iteration,
            expiration_thread_log,
            expiration_disabled,
            **options,  # type: ignore[arg-type]  # what is weighed, and leaves, is bytes
        )
        self._dump: Any = partial(_dump, self.serializer, self.name)  # no method of its own: that would make a cycle
        self._load: Any = partial(_load, self.deserializer, self.name)
        self._fills.rules = replace(self._fills.rules, dump=self._dump, load=self._load)

    # ---- bytes and back

    def _read(self, key: Hashable, data: Any) -> Any:
        try:
            return self._load(data)
        except SerializationError:
            self._drop_corrupt(key, data)
            raise

    def _drop_corrupt(self, key: Hashable, data: bytes) -> None:
        """Take out `data`. Of several threads that have read it, one finds it there; a newer value stays."""
        # The lock makes one step of looking and removing: a refresh may publish in between.
        entry = run_locked(self._index.lock, self._remove_if_it_has, key, data)
        if entry is not None:
            self._state.notify([(entry.key, data, RemovalCause.EVICTED)])

    def _remove_if_it_has(self, key: Hashable, data: bytes) -> Entry | None:
        entry = self._state.find(key)
        # One that is pending has no value, whatever it shows: that was reported when it was removed.
        is_there = entry is not None and entry.is_published and entry.value is data
        return entry if entry is not None and is_there and self._index.remove_if(entry) else None

    # ---- what is asked

    @overload  # type: ignore[override]
    def get(self, key: Hashable) -> T | CacheMissSentinel: ...
    @overload
    def get(self, key: Hashable, default: D) -> T | D: ...
    def get(self, key: Hashable, default: Any = CACHE_MISS) -> Any:
        """Return the value of `key`, or `default` if it has none or has expired. Never fills, never waits."""
        data = super().get(key, Empty)
        return default if data is Empty else self._read(key, data)

    @overload  # type: ignore[override]
    def peek(self, key: Hashable) -> T | CacheMissSentinel: ...
    @overload
    def peek(self, key: Hashable, default: D) -> T | D: ...
    def peek(self, key: Hashable, default: Any = CACHE_MISS) -> Any:
        """Return what `get` would, without counting as a use."""
        data = super().peek(key, Empty)
        return default if data is Empty else self._read(key, data)

    # ---- what is changed

    def set(self, key: Hashable, value: T, ttl: Any = DEFAULT_TTL, *, tags: Iterable[str] = ()) -> bool:
        """Store `value` as bytes, as `Storage.set` does. Raises SerializationError if it cannot be serialized."""
        self._check_open()
        return super().set(key, self._dump(value), ttl, tags=tags)

    def add(self, key: Hashable, value: T, ttl: Any = DEFAULT_TTL, *, tags: Iterable[str] = ()) -> bool:
        """Store `value` only if the key is absent or has expired; say whether it was stored."""
        self._check_open()
        return super().add(key, self._dump(value), ttl, tags=tags)

    def _is_too_large(self, key: Hashable, value: Any) -> bool:
        return super()._is_too_large(key, self._dump(value))

    def _read_removed(self, entry: Entry, now: float) -> Any:
        if not entry.is_live(now):
            self._state.notify_removed(entry, now)
            return Empty
        cause = RemovalCause.EXPLICIT
        try:
            return self._load(entry.value)
        except SerializationError:
            cause = RemovalCause.EVICTED  # like every corrupt one
            raise
        finally:
            self._state.notify([(entry.key, entry.value, cause)])

    def get_or_fill(
        self,
        key: Hashable,
        fill: Callable[[Any], FillResult[T]],
        ttl: Any = DEFAULT_TTL,
        resilience: Resilience | None = None,
        *,
        allow_single_use: bool = False,
        tags: Iterable[str] | None = None,
    ) -> T:
        """Return the value of `key`; if it has none, run `fill(key)` in exactly one thread and store the result.

        Each waiter gets an object of its own, or the SerializationError of a value that cannot be serialized.
        """
        data = super().get_or_fill(key, fill, ttl, resilience, allow_single_use=allow_single_use, tags=tags)
        return self._read(key, data)  # type: ignore[no-any-return]


def _dump(serializer: Serializer, name: str, value: Any) -> bytes:
    try:
        data = serializer(value)
    except Exception as error:
        raise SerializationError(
            f"{name}: cannot serialize a value of type {type(value).__name__}: the serializer raised {text_of(error)}"
        ) from error
    if not isinstance(data, bytes):
        raise SerializationError(f"{name}: serializer must return bytes, not {type(data).__name__}")
    return data


def _load(deserializer: Deserializer, name: str, data: bytes) -> Any:
    try:
        return deserializer(data)
    except Exception as error:
        raise SerializationError(
            f"{name}: cannot turn {len(data)} stored bytes back into a value: "
            f"the deserializer raised {text_of(error)}; the entry is dropped"
        ) from error


def _callables_of(serializer: Any, deserializer: Any) -> tuple[Serializer, Deserializer]:
    """Return the two functions to use: those given, or the methods of a serializer that has both."""
    has_both = hasattr(serializer, "loads") or hasattr(serializer, "deserialize")
    if callable(serializer) and (deserializer is not pickle_deserializer or not has_both):
        check_plain("serializer", serializer)
        check_plain("deserializer", deserializer)
        return serializer, deserializer
    if deserializer is not pickle_deserializer:
        raise TypeError("deserializer is for a serializer that is a function: this one has both, so leave it out")
    both = as_serializer(serializer)
    return both.dumps, both.loads
