"""MemoryBackend: values in a Storage of this process, and their tokens beside them.

Invariant: an operation that is stopped anywhere, by an interrupt or a fork, leaves no token under which a value could
be stored that was read before an invalidation that has returned. So what changes a key removes its token first.

    1. `store_if_mine` finds its token       3. it stores, finds the token gone, and removes what it has stored. With
    2. a finalizer, inside that step,           the token removed before the store, this old value would stay.
       kills the key

Where the two lie
    `_storage`   read without a lock; written under `lock`
    `_tokens`    key -> (token, when its lease ends); read and written under `lock`
    `lock`       re-entrant: a finalizer, or a listener of the Storage, may call inside a step
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from .._cache.storage import Storage
from .._core.sentinels import CacheMissSentinel
from .._index.limits import check_at_least
from .._platform.arguments import suggests_names
from .._platform.locks import Guarded, run_locked
from ..errors import CacheClosedError
from ..typing import Clock
from .base import BaseBackend, is_unseen
from .in_executor import InPlace

__all__ = ["MemoryBackend"]

R = TypeVar("R")

LEAST_TTL: Final = 0.001
TOKENS_AT_LEAST: Final = 100
"""So many tokens are there before those whose lease has ended are looked for."""


class MemoryBackend(BaseBackend):
    """Keeps bytes in this process: for tests, and where one process is all there is.

    Args:
        storage: a Storage of bytes, whose limits and clock then hold; by default one of its own, with these limits.
        max_items, max_bytes: at least 1, and at least 4096; above them the least recently used values are evicted.
        clock: seconds, of ttls and leases.

    Under concurrency:
        A read takes no lock. Everything else is one step for each key, under one lock. A listener of the Storage is
        called inside that step: it must not wait for another thread.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
        CacheClosedError: after `close`, which drops the values, but not those of a Storage that was given.
    """

    is_shared = False
    clears_cheaply = True

    @suggests_names()
    def __init__(
        self,
        storage: Storage[bytes] | None = None,
        *,
        max_items: int | None = None,
        max_bytes: int | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._owns_storage = storage is None
        if storage is None:
            most_bytes = check_at_least("max_bytes", max_bytes, 4096)
            storage = Storage(most_bytes, max_items, clock=clock, name=type(self).__name__)
        elif not isinstance(storage, Storage):
            raise TypeError(f"MemoryBackend: storage must be a Storage or None, not {type(storage).__name__}")
        elif not (max_items is None and max_bytes is None and clock is time.monotonic):
            raise TypeError("MemoryBackend: max_items, max_bytes and clock are those of the Storage: give them to it")
        self._storage = storage
        self._clock = storage._state.clock
        self._tokens: dict[str, tuple[bytes, float]] = {}
        self._most_tokens = TOKENS_AT_LEAST
        self._guarded = Guarded()
        self._is_closed = False

    @property
    def aio(self) -> InPlace:
        """The same values for event loops, which run its calls themselves: none of them waits."""
        return InPlace(self)

    # ---- values

    def get(self, key: str, /) -> bytes | None:
        self._check_open()
        return self._storage.get(key, None)

    def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        self._check_open()
        get = self._storage.get
        return [get(key, None) for key in keys]

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        self._check_open()
        return self._storage.ttl_of(key)

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        return self._step(self._set, key, value, _rounded(ttl), only_if_absent)

    def _set(self, key: str, value: bytes, ttl: float | None, only_if_absent: bool) -> bool:
        if only_if_absent and self._storage.peek(key, None) is not None:
            return False
        self._tokens.pop(key, None)
        return self._storage.add(key, value, ttl) if only_if_absent else self._storage.set(key, value, ttl)

    def expire(self, key: str, ttl: float | None, /) -> bool:
        self._check_open()
        return self._storage.expire_in(key, ttl if ttl == 0 else _rounded(ttl))

    def clear(self, prefix: str, /) -> None:
        self._check_open()
        for key in [*self._step(list, self._tokens), *self._storage]:
            if isinstance(key, str) and key.startswith(prefix):
                self.kill(key)

    # ---- the fence

    def kill(self, key: str, /) -> bytes | None:
        return self._step(self._kill, key)

    def _kill(self, key: str) -> bytes | None:
        self._tokens.pop(key, None)
        return self._storage.pop(key, None)

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        return self._step(self._take, key, token, lease, seen)

    def _take(self, key: str, token: bytes, lease: float, seen: bytes | None) -> tuple[bytes | None, bytes | None]:
        value = self._storage.peek(key, None)
        if is_unseen(value, seen):
            return value, None
        now = self._clock()
        stands = self._tokens.get(key)
        if stands is None or stands[1] <= now:
            self._drop_ended(now)
            stands = self._tokens[key] = token, now + lease
        return None, stands[0]

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        return self._step(self._renew, key, token, lease)

    def _renew(self, key: str, token: bytes, lease: float) -> bool:
        now = self._clock()
        if not self._stands(key, token, now):
            return False
        self._tokens[key] = token, now + lease
        return True

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        return self._step(self._store_if_mine, key, value, token, _rounded(ttl))

    def _store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None) -> bool:
        if not self._stands(key, token, self._clock()):
            return False
        if value is not None:
            self._storage.set(key, value, ttl)
        if self._tokens.pop(key, (None,))[0] == token:
            return True
        self._storage.delete(key)  # killed in the midst of this step
        return False

    def _stands(self, key: str, token: bytes, now: float) -> bool:
        stands = self._tokens.get(key)
        return stands is not None and stands[0] == token and stands[1] > now

    def _drop_ended(self, now: float) -> None:
        """Drop what was left by fills that have not ended; in all, a constant time for each token that is taken."""
        if len(self._tokens) >= self._most_tokens:
            for key in list(self._tokens):
                if self._tokens.get(key, (b"", now))[1] <= now:
                    self._tokens.pop(key, None)
            self._most_tokens = max(TOKENS_AT_LEAST, 2 * len(self._tokens))

    # ---- life

    def close(self) -> None:
        run_locked(self._guarded.lock, self._close)

    def _close(self) -> None:
        if self._owns_storage and not self._is_closed:
            self._storage.clear()
            self._storage.close()
        self._is_closed = True

    def _step(self, function: Callable[..., R], *args: Any) -> R:
        self._check_open()
        return run_locked(self._guarded.lock, function, *args)

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheClosedError("MemoryBackend is closed: make another one")


def _rounded(ttl: float | None) -> float | None:
    return None if ttl is None else max(ttl, LEAST_TTL)
