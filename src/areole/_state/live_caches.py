"""The caches of this process that are alive, by weak references: for metrics, and for `areole.testing`.

The atomic steps relied on are those of `WeakTable`. Under `lock` labels are given, so that no two caches get the same.
"""

from __future__ import annotations

import sys
from typing import Any, Final
from weakref import ref

from .._platform.locks import Guarded, run_locked
from .._platform.weak import WeakTable

__all__ = ["LiveCache", "live_caches", "name_by_place"]

_BETWEEN: Final = (__name__.partition(".")[0] + ".", "typing")
"""Modules between who asks for a cache and the cache: `typing`, where the class was given its types in brackets."""


class LiveCache:
    """What is known of one: its state is held weakly, by the table alone."""

    __slots__ = ("label", "of_instances", "reads_through")

    def __init__(self, reads_through: bool) -> None:
        self.reads_through = reads_through
        """Whether all that it has was filled."""
        self.of_instances: ref[Any] | None = None
        """The cache of all instances of a memoized method, of which this one is that of calls without an instance."""
        self.label: str | None = None
        """By what metrics know it: its name, with a number if another one of that name has it; from its first reading
        on."""

    def states_of(self, state: Any) -> list[Any]:
        """Return this state, or, of a method, those of all instances."""
        whole = None if self.of_instances is None else self.of_instances()
        return [state] if whole is None else [each._state for each in whole.caches()]

    def info_of(self, state: Any) -> Any:
        whole = None if self.of_instances is None else self.of_instances()
        return state.info() if whole is None else whole.cache_info()


class LiveCaches(Guarded):
    """A table from states to what is known of each."""

    def __init__(self) -> None:
        super().__init__()
        self._caches: WeakTable[LiveCache] = WeakTable()

    def add(self, state: Any, reads_through: bool = False) -> None:
        self._caches.add_if_absent(state, LiveCache(reads_through))

    def discard(self, state: Any) -> None:
        self._caches.discard(state)

    def find(self, state: Any) -> LiveCache | None:
        return self._caches.find(state)

    def all(self) -> list[tuple[Any, LiveCache]]:
        """Return those that are alive, in the order in which they were made."""
        return [(state, live) for state in self._caches.objects() if (live := self._caches.find(state)) is not None]

    def labelled(self) -> list[tuple[Any, LiveCache]]:
        """Return them, each with a label that no other living one has."""
        caches = self.all()
        run_locked(self.lock, self._label, caches)
        return caches

    def _label(self, caches: list[tuple[Any, LiveCache]]) -> None:
        taken = {live.label for _, live in self.all()}
        numbers: dict[str, int] = {}  # the last one tried of each name: thousands may have the same
        for state, live in caches:
            name = state.name
            while live.label is None:
                number = numbers[name] = numbers.get(name, 0) + 1
                label = name if number == 1 else f"{name} #{number}"
                if label not in taken:
                    live.label = label
                    taken.add(label)


def name_by_place(kind: str) -> str:
    """Return a name for what is being made: its kind, and the module and line that asked for it."""
    frame: Any = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__") or "").startswith(_BETWEEN):
        frame = frame.f_back
    return kind if frame is None else f"{kind} at {frame.f_globals.get('__name__')}:{frame.f_lineno}"


live_caches: Final = LiveCaches()
