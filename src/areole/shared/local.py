"""LocalTier: what a shared cache itself keeps in this process, in a Storage, in front of its store.

A look that finds nothing there puts an entry with a flight into the Storage, before it reads the store. What it reads
is kept in that entry, which a change that is heard meanwhile removes: see P1 in `plane`.

    1. A's entry is in      2. A reads the old value, or that there is none      3. B changes the key
    4. the change is heard: A's entry is removed      5. A publishes in its entry, which nobody finds.

Nobody waits for such a flight. A look that finds that of another one reads the store for itself, and keeps nothing, so
that it gets nothing older than what it has asked for; fills are joined behind that (see `fills`). So what it gets may
be newer than the copy that the other one keeps, until the change is heard: what is kept is bound by that alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from .._cache.serialized_cache import Cache
from .._cache.storage import Storage
from .._cache.storage_arguments import weigh_bytes
from .._core.entry import Empty
from .._core.flight import Flight
from .._core.sentinels import CACHE_MISS
from .._core.ttl import make_deadline, make_seconds
from .._fill.filled import Filled, special_types
from .._fill.rules import FillRules
from .._fill.threads import ThreadFills
from .._platform.weak import WeakTable
from .kept import Kept
from .operations import Operations
from .outcome import Found
from .plane import Plane
from .steps import Steps
from .wire_keys import WireKeys

__all__ = ["LocalTier"]

_taken: Final[WeakTable[object]] = WeakTable()
"""Each Storage that is in front of a shared cache."""


class LocalTier(Kept):
    """Values by their names without the prefix; with `copies`, as bytes, which each hit turns into an object."""

    def __init__(self, storage: Any, copies: bool, keys: WireKeys, envelope: Any, plane: Plane) -> None:
        super().__init__(keys, envelope, plane, take_storage(storage, copies))
        self._copies = copies
        self._get = storage.get
        self._cut = len(self._keys.prefix)
        state = storage._state
        deadline_of, special = (
            make_deadline(lambda key, found: self.ttl_of(found), state.clock),
            special_types(allow_single_use=False),
        )
        rules = FillRules(deadline_of, make_seconds(None), refused_types=special, dump=self.value_of)
        self._fills = ThreadFills(state, rules)
        self.use(state)

    def value_of(self, found: Found) -> Any:
        return found.raw if self._copies else found.value

    def _name_of(self, key: Any) -> str:
        return self._keys.prefix + str(key)

    def find_kept(self, operations: Operations, name: str) -> Any:
        """Return what is kept of `name`, or Empty."""
        value = self._get(name[self._cut :], Empty)
        if self._copies and value is not Empty:
            value = operations.open_again(value)
        if value is not Empty:
            operations.state.counters.local_hits.increment_and_get()
        return value

    def look(self, operations: Operations, names: list[str]) -> Steps[list[Any]]:
        """Return the value of each name in the store, or Empty, and keep it."""
        found = yield from self.keep(names, partial(_look, operations, names))
        return [each.value for each in found]

    def keep(self, names: list[str], find: Callable[[list[bool]], Steps[list[Found]]]) -> Steps[list[Found]]:
        """Return what `find` gives for these names, and keep it. `find` is called with whether each can be kept."""
        fills = self._fills
        flights = [Flight(name[self._cut :], fills.state.entry_type) for name in names]
        latch = flights[0].latch
        for flight in flights:
            flight.latch = latch  # one for all, opened by one step
        try:
            for flight in flights:
                fills.claim(flight, is_counted=True)
            is_live = self._plane.is_live()  # after the entries are in, which P2 removes, and before anything is read
            epoch = self.epoch()
            found = yield from find([is_live and flight.leads for flight in flights])
            for flight, each in zip(flights, found, strict=True):
                if flight.leads:
                    each.seconds = each.seconds if is_live else 0.0
                    each.epoch = epoch
                    self.note_tags(flight, each)
                    fills.complete(flight, each if each.weight is None else Filled(each, weight=each.weight))
        except BaseException as error:
            for flight in flights:
                flight.error = error
                fills.abort(flight)
            del flights, flight  # the traceback keeps this frame: it must not lead back to the exception
            raise
        finally:
            latch.release()
        for flight in flights:
            if flight.leads:
                fills.after_lead(flight)
            flight.entry.flight = flight.joined = None
        return found


def _look(operations: Operations, names: list[str], keeps: list[bool]) -> Steps[list[Found]]:
    """Look, and for how long what is there may be kept."""
    kept = [name for name, keep in zip(names, keeps, strict=True) if keep]
    values, raws, _, lefts = yield from operations.look_many(names, kept)
    left = dict(zip(kept, [0.0 if each is CACHE_MISS else each for each in lefts], strict=True))
    return [
        _found(operations, value, raw, 0.0 if value is Empty else left.get(name, 0.0))
        for name, value, raw in zip(names, values, raws, strict=True)
    ]


def _found(operations: Operations, value: Any, raw: bytes | None, left: float | None) -> Found:
    seconds = max(0.0, left - operations.envelope.stale_of(raw)) if left and raw is not None else left
    return Found(value, seconds, "shared", raw)


def take_storage(storage: Any, copies: bool) -> float | None:
    """Return for how many seconds it keeps something at most; raise unless it is a Storage for one cache alone."""
    if not isinstance(storage, Storage) or isinstance(storage, Cache):
        raise TypeError(f"local must be a Storage, such as Storage(max_items=10_000), not {type(storage).__name__}")
    if storage.expiration_disabled:
        raise ValueError("local must not have expiration_disabled: values would be kept after their ttl")
    if storage._index.weigh is weigh_bytes and not copies:
        raise ValueError("local has size_limit_in_bytes, and keeps objects: pass copies=True, or give it a weigher")
    mark = object()
    if storage.number_of_items or _taken.add_if_absent(storage, mark) is not mark:
        raise ValueError("local must be a Storage of its own: another cache uses this one, or there is something in it")
    storage._ask_for_sweeps()
    return storage._default_ttl
