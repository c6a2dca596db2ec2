"""The methods of a dict that a store has beside its own, and the views that `keys`, `values` and `items` give."""

from __future__ import annotations

from collections.abc import Callable, Hashable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from itertools import chain
from typing import Any, Generic

from .._core.entry import Empty, Entry
from .._core.sentinels import DEFAULT_TTL
from .._index.bounded import BoundedIndex
from .._platform.locks import run_locked
from .._state.cache_state import CacheState
from ..typing import Clock
from .lookups import T
from .storage_arguments import pairs_of

__all__ = ["StorageMapping"]


class _StoreView:
    """Looks into its store each time: an iteration goes over what was there when it began, and none counts as a use."""

    __slots__ = ()
    _mapping: Any

    def _pairs(self) -> list[tuple[Any, Any]]:
        store = self._mapping
        store._check_open()
        return [(entry.key, value) for entry in store._state.live_entries() if (value := entry.value) is not Empty]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._mapping!r}>"  # never keys or values


class StoreKeys(_StoreView, KeysView[Any]):
    """The keys of a store: see `Storage.keys`."""

    __slots__ = ()


class StoreValues(_StoreView, ValuesView[Any]):
    """The values of a store: see `Storage.values`."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return any(each is value or each == value for each in self)

    def __iter__(self) -> Iterator[Any]:
        return (self._mapping._read(key, value) for key, value in self._pairs())


class StoreItems(_StoreView, ItemsView[Any, Any]):
    """The (key, value) pairs of a store: see `Storage.items`."""

    __slots__ = ()

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2:
            return False
        value = self._mapping.peek(item[0], Empty)
        return value is not Empty and (value is item[1] or value == item[1])

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return ((key, self._mapping._read(key, value)) for key, value in self._pairs())


class StorageMapping(Generic[T]):
    """Gives a store the rest of what a MutableMapping has."""

    __slots__ = ()
    _state: CacheState
    _index: BoundedIndex
    _clock: Clock
    _check_open: Callable[[], None]
    get: Callable[..., Any]
    set: Callable[..., bool]
    add: Callable[..., bool]

    def keys(self) -> KeysView[Any]:
        """Return a view of the keys; like `values` and `items` it looks into the store each time it is used.

        An iteration goes over what was there when it began, however the store changes meanwhile: a key and its value
        belong together. So `dict(store.items())` is safe where other threads write; `dict(store)` looks up each key by
        itself, and may raise KeyError. No view counts as a use.
        """
        return StoreKeys(self)  # type: ignore[arg-type]

    def values(self) -> ValuesView[T]:
        """Return a view of the values; see `keys`."""
        return StoreValues(self)  # type: ignore[arg-type]

    def items(self) -> ItemsView[Any, T]:
        """Return a view of the (key, value) pairs; see `keys`."""
        return StoreItems(self)  # type: ignore[arg-type]

    def _read(self, key: Hashable, value: Any) -> Any:
        """Return what a lookup gives for a value that is stored."""
        return value

    def update(self, items: Mapping[Any, T] | Iterable[tuple[Any, T]] = (), /, **more: T) -> None:
        """Store items as `set_many` does, and those given by keyword, whose keys are texts."""
        self._check_open()
        for key, value in chain(pairs_of(items, "update"), more.items()):
            self.set(key, value)

    def setdefault(self, key: Hashable, default: T, ttl: Any = DEFAULT_TTL, *, tags: Iterable[str] = ()) -> T:
        """Return the value of `key`; if it has none, store `default`, as `add` does, and return that.

        Of several threads that ask at once, one stores its own, and all get that. If it is too large, it is returned
        and not stored.
        """
        self._check_open()
        while (value := self.get(key, Empty)) is Empty:
            if self.add(key, default, ttl, tags=tags) or self._is_too_large(key, default):
                return default
        return value  # type: ignore[no-any-return]

    def _is_too_large(self, key: Hashable, value: Any) -> bool:
        return self._index.weigh(key, value) > self._index._max_entry_weight

    def popitem(self) -> tuple[Any, T]:
        """Remove some key and return it with its value; raise KeyError if there is none.

        Of several threads, each gets another one. Takes a bounded time, whatever the size.
        """
        self._check_open()
        while (entry := run_locked(self._index.lock, self._some_entry)) is not None:
            now = self._clock()
            if self._state.remove_entry(entry):
                value = self._read_removed(entry, now)
                if value is not Empty:
                    return entry.key, value
            else:
                self._state.discard_lost([entry], now)  # its own key may not find it; else it is gone by now
        raise KeyError(f"{self._state.name}: popitem: it is empty")

    def _some_entry(self) -> Entry | None:
        """Return one that is stored; under the lock, as nothing may change meanwhile.

        Inside another operation of this thread from the dict, as the policy may have what is out of that already.
        """
        stored: Any = self._index.policy if self._index.is_accounted else self._index.snapshot()
        return next((entry for entry in stored if entry.is_published), None)

    def _read_removed(self, entry: Entry, now: float) -> Any:
        """Report an entry that was taken out; return its value, or Empty if it had none that was live."""
        return entry.value if self._state.notify_removed(entry, now) else Empty
