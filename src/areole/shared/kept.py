"""Kept: what this process keeps in front of a shared cache, in the entries of a cache of its own, and how it leaves.

The plane says under which names something was changed. Its thread drops what is kept under them, and detaches flights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from math import inf, nextafter
from operator import methodcaller
from typing import Any, Final

from .._core.entry import Entry
from .._core.flight import Flight
from .._fill.resilience import StaleRules
from .._platform.locks import Guarded, run_locked
from .._state.cache_state import CacheState
from .._state.tags import invalidate_tags, note_late_tags, tags_in
from .outcome import Found
from .plane import Plane
from .reports import Reports
from .wire_keys import WireKeys

__all__ = ["Kept"]

LEAST_NAMES: Final = 1000
"""So many names are kept before those of keys that are not there any more are dropped."""

LONGEST_DROP: Final = 0.25
"""Seconds that the names of what is kept may be looked at: nothing else is heard meanwhile."""

MOST_REMOVED: Final = 10_000
"""So many entries are removed without a look at what was heard meanwhile: in about as long."""

ENDED_AT_ONCE: Final = 1000
"""So many entries are ended under the index's lock without letting others have it."""


class Kept(Guarded):
    """The entries of one cache, as the plane sees them.

    `lock` guards `_key_of`, from wire names to keys; one of them is looked up without it.
    """

    def __init__(self, keys: WireKeys, envelope: Any, plane: Plane, most_seconds: float | None) -> None:
        super().__init__()
        self._keys = keys
        self._envelope = envelope
        self._plane = plane
        self._most_seconds = inf if most_seconds is None else most_seconds
        self._key_of: dict[str, Any] = {}
        self._most_names = LEAST_NAMES
        self._state: CacheState | None = None
        self._stale: StaleRules | None = None
        self._ended: list[Entry] = []  # and still to be removed; both are the plane's thread's
        self._as_of = -inf
        self._wire_key: Callable[[Any], Any] = _itself
        self.version_key = keys.version_key

    def use(self, state: CacheState, stale: StaleRules | None = None) -> None:
        """Be in front of the shared cache with the entries of `state`."""
        self._state, self._stale = state, stale
        tags_in(state.index)
        if state.on_removal is not None:
            state.on_removal = Reports(state.on_removal, self._plane, state.name)
        self._plane.add(self)

    # ---- what is kept

    def ttl_of(self, found: Found) -> float | None:
        """Return for how many seconds what was found is kept here; None: for ever."""
        least = self._most_seconds if found.seconds is None else min(found.seconds, self._most_seconds)
        return None if least == inf else least

    def value_of(self, found: Found) -> Any:
        """Return what is stored in this process, and given to those who wait."""
        return found.value

    def epoch(self) -> object:
        """Return what differs after each tag that was invalidated here."""
        assert self._state is not None
        return tags_in(self._state.index).epoch

    def note_tags(self, flight: Flight, found: Found) -> None:
        """Note the entry of a flight under the tags of what was found: by T3 of `_state.tags`, if they were not known.

        1. A reads a value, and that its tag stands     3. the message comes, and finds nothing under the tag
        2. B invalidates the tag                        4. A notes its entry under it: too late, as the epoch says.
        """
        assert self._state is not None
        known = getattr(flight, "tags", ())
        tags = [] if found.raw is None else [tag for tag, _ in self._envelope.tags_of(found.raw)]
        late = [tag for tag in {*tags, *found.tag_names} if tag not in known]
        if late:
            flight.tags, flight.tags_epoch = known, found.epoch
            if not note_late_tags(self._state, flight, late):
                found.doubt(False)

    # ---- how it leaves

    def _drop_key(self, key: Any) -> bool:
        assert self._state is not None
        return self._state.invalidate(key, self._now())

    def _drop_tags(self, tags: Collection[str]) -> int:
        """Drop what is kept with one of these tags, as they are called in the store: in the plane's thread, if few."""
        if self._state is None:
            return 0
        if self._plane.is_here() and len(tags_in(self._state.index).find(tags)) > MOST_REMOVED:
            self.drop_all()
            return 0
        return invalidate_tags(self._state, tags)

    def _now(self) -> float:
        """Return what the clock says. One that raises keeps no value from being dropped."""
        with suppress(Exception):
            return self._state.clock()  # type: ignore[union-attr]
        return -inf

    def drop(self, name: str) -> None:
        """Drop what is kept under a wire name, and detach its fill."""
        if name.startswith(self._keys.tag_prefix):
            self._drop_tags([name[len(self._keys.tag_prefix) :]])
        elif self._state is not None and name.startswith(self._keys.prefix):
            text = name[len(self._keys.prefix) :]
            key = self._key_of.get(name, text)
            self._drop_key(key)
            if key is not text:  # text of a class with another equality may stand beside plain text
                self._drop_key(text)

    def drop_beginning(self, prefix: str) -> None:
        """The same for all names that begin like this: in the plane's thread, for all, if that takes too long."""
        if self._state is not None and (prefix.startswith(self._keys.prefix) or self._keys.prefix.startswith(prefix)):
            ends = time.monotonic() + LONGEST_DROP if self._plane.is_here() else inf
            for entry in self._state.snapshot_to_remove():
                if time.monotonic() > ends:
                    return self.drop_all()
                if self._name_of(entry.key).startswith(prefix):
                    self._drop_key(entry.key)
        return None

    def drop_all(self) -> None:
        """Drop everything, and detach all fills: first all ends, and then it is removed, which takes long.

        1. nothing was heard for 1.75 s     2. 50,000 entries are removed one by one     3. at 3 s the last one is a hit
        """
        if self._state is None:
            return
        now, ended = self._now(), []
        as_of = nextafter(now, -inf)  # when it had not ended
        with suppress(Exception):  # from a key's methods
            ended = self._end_all(partial(_end, now), methodcaller("is_usable", now))
        if ended and self._plane.is_here() and self._plane.is_live():
            self._ended, self._as_of = ended, as_of  # with what was left
            self.remove_some()
        else:
            self._state.clear(as_of)

    def remove_some(self) -> None:
        """Remove some of what has ended: in the plane's thread, between two looks at what it hears."""
        some, self._ended = self._ended[:MOST_REMOVED], self._ended[MOST_REMOVED:]
        if some and self._state is not None:
            self._state.remove_all(some, self._as_of)

    def doubt(self) -> None:
        """Let nothing that is kept be fresh any more: it stays as a fallback, with `fail_safe`, or is dropped."""
        now = self._now()
        if self._state is None or self._stale is None or not self._stale.fail_safe or now == -inf:
            self.drop_all()
        else:
            self._end_all(methodcaller("make_stale", now), methodcaller("is_live", now))

    def _end_all(self, end: Callable[[Any], bool], is_left: Callable[[Any], bool]) -> list[Entry]:
        """Do `end` with every entry, and drop those with which that cannot be done: with a flight. Return all.

        Two passes: one that a refresh has replaced since the first snapshot shows what it had then. Later ones show
        what has ended already, and keep nothing as fresh, as they begin after the plane was known not to hear, or
        after the change was heard.
        """
        assert self._state is not None
        ended: list[Entry] = []
        for is_second in (False, True):
            entries = [each for each in self._state.snapshot_to_remove() if not is_second or is_left(each)]
            for n in range(0, len(entries), ENDED_AT_ONCE):
                some = entries[n : n + ENDED_AT_ONCE]
                for entry in run_locked(self._state.index.lock, _not_ended, some, end):
                    self._drop_key(entry.key)
            ended += entries
        return ended

    # ---- names

    def _note(self, name: str, key: Any) -> None:
        """Note the key of a name that does not show it: by its flight, before that reads, so that it can be dropped.

        A name stands for one key here. Keys that have one name, and are not equal (NaN; frozen dataclasses without an
        equality) are dropped as another one comes.
        """
        if name[len(self._keys.prefix) :] != key:
            noted = run_locked(self.lock, self._note_name, name, key)
            if noted is not key and noted != key:
                self._drop_key(noted)

    def _note_name(self, name: str, key: Any) -> Any:
        """Return the key that had this name before."""
        noted = self._key_of.get(name, key)
        self._key_of[name] = key
        if len(self._key_of) > self._most_names:
            self._drop_names()
        return noted

    def _name_of(self, key: Any) -> str:
        """Return the name of a key in the index; it may be one that has none, whose lookup is about to raise."""
        with suppress(Exception):
            return self._keys.name(self._wire_key(key))
        return ""

    def _drop_names(self) -> None:
        """Drop the names of keys that have no entry; in all, a constant time for each that is noted.

        Under the lock: else a name could be noted again, by a flight that is not in the snapshot, and be dropped then.
        """
        assert self._state is not None
        kept = {self._name_of(entry.key) for entry in self._state.snapshot_to_remove()}
        for name in list(self._key_of):
            if name not in kept:
                self._key_of.pop(name, None)
        self._most_names = max(LEAST_NAMES, 2 * len(self._key_of))


def _itself(key: Any) -> Any:
    return key


def _not_ended(entries: list[Entry], end: Callable[[Any], bool]) -> list[Entry]:
    """Do `end` with each, under the index's lock; return those with which that cannot be done."""
    return [entry for entry in entries if not end(entry)]


def _end(now: float, entry: Entry) -> bool:
    """End the ttl and the stale time of a ready value; not if the clock has failed."""
    if entry.flight is not None or now == -inf:
        return False
    if entry.is_usable(now):
        entry.expire_at(now)
    return True
