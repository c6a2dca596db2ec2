"""NullBackend: stores nothing."""

from __future__ import annotations

from .._core.sentinels import CACHE_MISS, CacheMissSentinel
from ..errors import CacheClosedError
from .base import BaseBackend
from .in_executor import InPlace

__all__ = ["NullBackend"]


class NullBackend(BaseBackend):
    """Stores nothing, as if each value were evicted at once: every lookup misses, every fill runs.

    What stores says that it has stored, and every token stands: a cache on top behaves as over any other backend.
    """

    is_shared = False
    clears_cheaply = True

    def __init__(self) -> None:
        self._is_closed = False

    @property
    def aio(self) -> InPlace:
        """The same for event loops."""
        return InPlace(self)

    def get(self, key: str, /) -> bytes | None:
        self._check_open()
        return None

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        self._check_open()
        return True

    def expire(self, key: str, ttl: float | None, /) -> bool:
        self._check_open()
        return False

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        self._check_open()
        return CACHE_MISS

    def clear(self, prefix: str, /) -> None:
        self._check_open()

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        self._check_open()
        return None, token

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        self._check_open()
        return True

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        self._check_open()
        return True

    def kill(self, key: str, /) -> bytes | None:
        self._check_open()
        return None

    def close(self) -> None:
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheClosedError("NullBackend is closed: make another one")
