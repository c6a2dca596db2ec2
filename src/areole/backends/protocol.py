"""What a backend offers: raw keys, raw bytes, and the steps that fence a fill.

A backend is where a SharedCache keeps its bytes. It knows nothing of values, namespaces or counters: the cache makes
the keys, and what is in the bytes is the cache's.

The fence
    A key can have a *token*: random bytes beside its value, which live for a lease. A fill takes the token before it
    begins: it makes one, or joins the one that stands. Whatever changes the key makes its token void. A fill may store
    only if the token that it took still stands, which is looked at and done in one atomic step:

    1. A misses, takes the token, reads the source       3. A has its old value, and stores it: refused, the token
    2. B changes the source, and invalidates the key        is void. Without the token it would stay for its ttl.

    A fill that takes longer renews its token. One that was stopped for longer than the lease has none any more.

Each method but `clear` is one atomic step for each key, as others see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

from .._core.sentinels import CacheMissSentinel

__all__ = ["ALL_THAT_BEGIN", "HEAD_BYTES", "SEEN_BYTES", "AsyncBackend", "Backend"]

HEAD_BYTES: Final = 4096
"""How much of a value `kill` gives back at least."""

SEEN_BYTES: Final = 64
"""How much of a value `take` compares at most."""

ALL_THAT_BEGIN: Final = "\t"
"""Ends a name by which a listener says that all keys that begin with what is before it were changed."""


@runtime_checkable
class Backend(Protocol):
    """A store of bytes under text keys, for threads.

    ttls are seconds above 0, or None: for ever; those below a millisecond count as one. `set`s that
    store, `delete` and `kill`, and those of many keys, make the tokens of their keys void, in the same step.

    Attributes:
        is_shared: other processes can write here, so that what is read must not be trusted.
        clears_cheaply: `clear` is a step or two, and not a walk over all keys of a server.

    Under concurrency:
        Threads share a backend. Every call ends within its time limit. One that fails leaves no connection behind that
        would answer somebody else's call. After a fork the child uses connections of its own.

    Raises:
        BackendError: from every method, if the store cannot be reached, is too slow, or refuses.
        CacheClosedError: after `close`.
    """

    is_shared: bool
    clears_cheaply: bool

    def get(self, key: str, /) -> bytes | None:
        """Return the value of `key`, or None."""

    def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """Return the value of each key, in that order, or None; each was there at some moment of this call."""

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        """Store `value`; say whether it was stored."""

    def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        """Store each value."""

    def delete(self, key: str, /) -> bool:
        """Remove `key`; say whether it had a value."""

    def delete_many(self, keys: Iterable[str], /) -> int:
        """Remove each key; return how many had a value."""

    def expire(self, key: str, ttl: float | None, /) -> bool:
        """Let `key` expire `ttl` seconds from now (None: never; 0: at once); say whether it had a value."""

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        """Return the seconds until `key` expires: None if it never does, CACHE_MISS if it has no value."""

    def clear(self, prefix: str, /) -> None:
        """Remove all keys that begin with `prefix`, and their tokens; keys that are stored meanwhile may stay."""

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        """Take the key's token for a fill, unless there is a value that the caller has not seen.

        If `key` has a value, and not one that begins with the first SEEN_BYTES of `seen`, return (value, None). Else
        let `token` stand for `lease` seconds if none does, and return (None, the token that stands).
        """

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        """If `token` stands, let it stand for `lease` seconds from now; say whether it does."""

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        """If `token` stands, store `value` (None: nothing is stored) and make the token void; say whether it stood."""

    def kill(self, key: str, /) -> bytes | None:
        """Remove `key`, and make its token void; return at least the first HEAD_BYTES of its value, None if none."""

    def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """Do what `kill` does for each key, in that order."""

    def close(self) -> None:
        """Close all connections. May be called again."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@runtime_checkable
class AsyncBackend(Protocol):
    """The same for event loops: any number of them, each with connections of its own.

    A call that is cancelled leaves no connection behind that would answer somebody else's call.
    """

    is_shared: bool
    clears_cheaply: bool

    async def get(self, key: str, /) -> bytes | None: ...
    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]: ...
    async def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool: ...
    async def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None: ...
    async def delete(self, key: str, /) -> bool: ...
    async def delete_many(self, keys: Iterable[str], /) -> int: ...
    async def expire(self, key: str, ttl: float | None, /) -> bool: ...
    async def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None: ...
    async def clear(self, prefix: str, /) -> None: ...
    async def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]: ...
    async def renew(self, key: str, token: bytes, lease: float, /) -> bool: ...
    async def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool: ...
    async def kill(self, key: str, /) -> bytes | None: ...
    async def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]: ...

    async def aclose(self) -> None:
        """Close the connections of the running loop."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
