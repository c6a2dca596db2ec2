"""Lookups: what every cache offers that neither fills nor waits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar, overload

from .._core.accelerator import View, accelerate_get, accelerated, lookup_of
from .._core.entry import Empty, Entry
from .._core.stats import make_hit_counter
from .._core.ttl import as_float, make_deadline
from .._index.protocol import Index
from .._platform.arguments import check_bool, check_keys, check_plain, check_tags, shown
from .._state.cache_state import CacheState
from .._state.tags import invalidate_tags
from ..typing import CacheInfo, Clock

__all__ = ["Lookups", "T", "new_state"]

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault  # type checkers have it, whatever is installed

    T = TypeVarWithDefault("T", default=Any)
else:
    T = TypeVar("T")
"""The values of a store: of any type, where none is named."""

_PACKAGE = __name__.partition(".")[0] + "."


class Lookups(View, Generic[K, V]):
    """A view of a state: lookups that neither fill nor wait, removal, counters.

    A hit takes no lock and writes nothing that threads share. `len`, iteration, `clear` and `cache_info` are weakly
    consistent under concurrent writes: each key is seen as it was at some moment during the call.
    """

    __slots__ = ("__weakref__", "_clock", "_entries", "_hits", "_on_hit", "_state")
    __reversed__ = None  # else Python would take `[0]`, and the keys before it, for what is to be reversed

    def _use(self, state: CacheState) -> None:
        """Become a view of `state`. What a hit reads is kept here too: that saves it one attribute each."""
        if accelerated:
            self._attach(lookup_of(state, state.noted_by))  # first: it refuses a cache that is made again
        elif hasattr(self, "_state"):
            raise TypeError("a cache is made once: its __init__ was called again; make another one")
        self._state = state
        self._entries = state.entries
        self._clock = state.clock
        self._hits = state.hits
        self._on_hit = state.on_hit

    def _copy(self) -> Self:
        """Return a view of the same kind, with what a user's subclass has added; `_use` makes it one of its own."""
        made: Self = object.__new__(type(self))
        if type(self).__module__.startswith(_PACKAGE):
            return made  # it is no user's
        attributes: Any = object.__getstate__(self)  # whatever the subclass says of pickling
        del attributes[1]["_state"]  # by it `_use` knows what has been made
        for name, value in attributes[1].items():
            setattr(made, name, value)
        if attributes[0]:
            made.__dict__.update(attributes[0])
        return made

    def _check_open(self) -> None:
        """Raise where this may not be used any more: a closed store does."""

    @property
    def name(self) -> str:
        """The name in messages and in `repr`."""
        return self._state.name

    # ---- lookups

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: D) -> V | D: ...
    def get(self, key: K, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if it has none or has expired. Never fills, never waits."""
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > (now := self._clock()):
                if self._on_hit is not None:
                    self._on_hit(entry)
                return entry.value
            if (value := self._state.hit_past_deadline(entry, now)) is not Empty:
                return value
        except KeyError:
            pass
        except TypeError:
            self._state.refuse_unhashable(key)
            raise
        self._state.counters.misses.increment_and_get()
        return default

    @overload
    def peek(self, key: K) -> V | None: ...
    @overload
    def peek(self, key: K, default: D) -> V | D: ...
    def peek(self, key: K, default: Any = None) -> Any:
        """Return what `get` would, without counting as a use."""
        return self._state.peek(key, default)

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """Return a dict of those of `keys` that have a value. Each is looked up by itself."""
        self._check_open()
        check_keys("get_many", keys)
        found = ((key, self.get(key, Empty)) for key in keys)
        return {key: value for key, value in found if value is not Empty}  # type: ignore[misc]

    def __contains__(self, key: K) -> bool:
        """Say whether `key` has a value that has not expired. Never fills, never waits."""
        self._check_open()
        return self._state.peek(key, Empty) is not Empty

    def __len__(self) -> int:
        """Count the values that have not expired.

        Constant time with limits, while nothing stored has expired; otherwise it walks through all entries.
        """
        self._check_open()
        return self._state.count_live()

    def __iter__(self) -> Iterator[K]:
        """Iterate over the keys that had a value when the iteration began."""
        self._check_open()
        return iter([entry.key for entry in self._state.live_entries()])

    # ---- removal

    def invalidate(self, key: K) -> bool:
        """Remove the value of `key`, and detach a fill that is running; say whether there was either.

        Does not wait. A lookup that starts after this has returned never gets a value whose fill began before it; a
        running fill finishes for its waiters and is not stored.
        """
        self._check_open()
        return self._state.invalidate(key, self._clock())

    def invalidate_tags(self, *tags: str) -> int:
        """Remove all values that have one of `tags`, and detach running fills that have; return how many there were.

        Does not wait. A lookup that starts after this has returned never gets a value of these whose fill began before
        it, as with `invalidate`.
        """
        self._check_open()
        return invalidate_tags(self._state, check_tags("invalidate_tags", tags))

    def clear(self) -> None:
        """Invalidate everything that is there when the call begins. What is filled meanwhile may stay."""
        self._check_open()
        self._state.clear()

    def sweep(self) -> int:
        """Remove all expired values; return how many. Holds no lock longer than one removal takes."""
        self._check_open()
        return self._state.sweep()

    # ---- the cache as an object

    def __bool__(self) -> bool:
        """A cache is true, an empty one too: `cache or make_cache()` keeps the one that was given."""
        return True

    def cache_info(self) -> CacheInfo:
        """Return the counters, and how many values there are; see `areole.typing.CacheInfo`."""
        self._check_open()
        return self._state.info()

    @property
    def size_in_bytes(self) -> int:
        """What the stored values are charged, with their keys and 336 bytes each.

        Exact while no operation is running. Expired values count until they are removed. Without a limit in bytes it
        walks through the cache.
        """
        return self._state.size_in_bytes()

    def __repr__(self) -> str:
        counters, values = self._state.counters, self._state.count_live()
        counts = f"{values} values, {counters.fills.get()} fills, {counters.misses.get()} misses"
        return f"<{type(self).__name__} {self.name!r}{self._shown_settings()}: {counts}>"

    def _shown_settings(self) -> str:
        return ""

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"{self.name}: a cache cannot be pickled or copied; share the object itself, or make a new one. A memoized "
            "function is pickled by its name: if it is in __main__, whose functions cloudpickle sends by value, move "
            "it into a module that the other process imports"
        )


accelerate_get(Lookups)


def new_state(
    name: str,
    index: Index,
    clock: Clock,
    on_removal: Any,
    stats: bool,
    ttl: Any = None,
    entry_type: type[Entry] | None = None,
    idle: float | None = None,
) -> CacheState:
    """Check what every cache is given, and make its state."""
    if on_removal is not None:
        check_plain("on_removal", on_removal)
    _check_clock(clock)
    check_bool("stats", stats)
    hits = make_hit_counter() if stats else None
    deadline_of = make_deadline(ttl, clock)
    return CacheState(
        name,
        index,
        clock,
        ttl=ttl,
        deadline_of=deadline_of,
        on_removal=on_removal,
        hits=hits,
        entry_type=entry_type,
        idle=idle,
    )


def _check_clock(clock: Any) -> None:
    """Raise unless `clock` is a function that gives seconds, by calling it once."""
    check_plain("clock", clock)
    reading = clock()
    if not isinstance(reading, Real) or isinstance(reading, bool):
        raise TypeError(
            f"clock must give seconds as a number, as time.monotonic does: it gave one of type {type(reading).__name__}"
        )
    if not math.isfinite(as_float(reading)):
        raise ValueError(f"clock must give a finite number of seconds: it gave {shown(reading)}")
