"""What backends have in common: what follows from fewer steps, and the checks of what they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from .._core.sentinels import CacheMissSentinel

__all__ = ["BaseBackend", "is_unseen"]

from .protocol import SEEN_BYTES


def is_unseen(value: bytes | None, seen: bytes | None) -> bool:
    """Say whether `take` is to return `value`: there is one, and it is not the one that its caller has seen."""
    return value is not None and (seen is None or value[:SEEN_BYTES] != seen[:SEEN_BYTES])


class BaseBackend:
    """Makes a `Backend` of one that has `get`, `set`, `kill`, `expire`, `ttl_of`, `clear` and the other fence steps.

    An engine that can do many keys at once does so in methods of its own.
    """

    is_shared = True
    clears_cheaply = False

    def get(self, key: str, /) -> bytes | None:
        raise NotImplementedError

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        raise NotImplementedError

    def kill(self, key: str, /) -> bytes | None:
        raise NotImplementedError

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        raise NotImplementedError

    def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    def get_many_timed(
        self, keys: Sequence[str], timed: Sequence[str], /
    ) -> tuple[list[bytes | None], list[float | CacheMissSentinel | None]]:
        """Return what `get_many` does, and what `ttl_of` says of each key in `timed`, which is asked before.

        A cache that keeps values in front of a store asks for that.
        """
        left = [self.ttl_of(key) for key in timed]
        return self.get_many(keys), left

    def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        for key, value in items.items():
            self.set(key, value, ttl)

    def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        return [self.kill(key) for key in keys]

    def delete(self, key: str, /) -> bool:
        return self.kill(key) is not None

    def delete_many(self, keys: Iterable[str], /) -> int:
        return sum(found is not None for found in self.kill_many(list(keys)))

    def close(self) -> None:
        """Close all connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()
