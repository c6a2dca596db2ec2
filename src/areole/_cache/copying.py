"""Read-through caches that keep bytes, of which each caller gets an object of its own: those with `copies=True`.

What the caches they are made of find and fill is opened here, as the last step of each call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from .._core.entry import Empty
from .read_through import ReadThrough

__all__ = ["CopyingForTasks", "CopyingForThreads"]

K = TypeVar("K")
V = TypeVar("V")


class Copying(ReadThrough[K, V]):
    """What both have in common. `get_many` and the like go by these methods."""

    __slots__ = ()
    _opens_copies = True

    def _open(self, raw: Any) -> Any:
        return self._fills.rules.load(raw)

    def _open_all(self, raws: dict[K, Any]) -> dict[K, Any]:
        return {key: raw if raw is Empty else self._open(raw) for key, raw in raws.items()}

    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if it has none or has expired. Never fills, never waits."""
        raw = super().get(key, Empty)
        return default if raw is Empty else self._open(raw)

    def peek(self, key: K, default: Any = None) -> Any:
        """Return what `get` would, without counting as a use."""
        raw = super().peek(key, Empty)
        return default if raw is Empty else self._open(raw)

    def _look_up_many(self, keys: Iterable[K]) -> tuple[dict[K, Any], list[K]]:
        raws, missing = super()._look_up_many(keys)
        return self._open_all(raws), missing


class CopyingForThreads(Copying[K, V]):
    """Stands before AtomicCache."""

    __slots__ = ()

    def __getitem__(self, key: K) -> V:
        """Return an object of the value of `key`. If it has none, fill it, or wait for the fill that is running."""
        return self._open(super().__getitem__(key))  # type: ignore[misc, no-any-return]

    fetch = __getitem__

    def _fill_missing(self, keys: list[K]) -> dict[K, V]:
        return self._open_all(super()._fill_missing(keys))  # type: ignore[misc]

    def refresh(self, key: K) -> V:
        """Fill `key` again and return an object of the new value; other callers get the old one meanwhile."""
        return self._open(super().refresh(key))  # type: ignore[misc, no-any-return]


class CopyingForTasks(Copying[K, V]):
    """Stands before AsyncAtomicCache."""

    __slots__ = ()

    async def fetch(self, key: K) -> V:
        """Return an object of the value of `key`, filling it, or waiting for the fill that is running."""
        return self._open(await super().fetch(key))  # type: ignore[misc, no-any-return]

    __getitem__ = fetch

    async def _fill_missing(self, keys: list[K]) -> dict[K, V]:
        return self._open_all(await super()._fill_missing(keys))  # type: ignore[misc]

    async def refresh(self, key: K) -> V:
        """Fill `key` again and return an object of the new value; other callers get the old one meanwhile."""
        return self._open(await super().refresh(key))  # type: ignore[misc, no-any-return]
