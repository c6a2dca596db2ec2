"""Tidier: expired values leave a cache without limits even if nobody asks for them again.

Each fill takes out two of the expired ones that are known; when those are used up, and as many fills have passed as
there were live values, it looks for more among all. So a fill costs the same on average however many there are, about
as many expired values are kept as live ones, and a cache that nobody fills any more keeps what it has: `sweep` is for
that.

What is taken out by others is let go of at once, so that nothing is kept alive for being known. Known are entries, by
their identity: no method of a key runs.

No lock is needed. `dict.popitem` and `dict.pop` are each one atomic step (see `_locks`), and a count that is lost, as
two threads write it at once, only puts off a look. A look makes known what it has found, and *then* looks what is still
there; whoever takes an entry out does so, and *then* lets go of it. So one of the two sees the other:

    1. a look takes down which entries there are     3. it is let go of, and was not known
    2. one of them is taken out                      4. the look makes it known, and keeps it until it is its turn
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._base import BaseCache
    from ._entry import Entry

__all__ = ["Tidier"]

LEAST_FILLS: Final = 64
"""How many fills there are between two looks at least."""

TAKEN_A_FILL: Final = 2


class Tidier:
    """One cache's; see the module."""

    __slots__ = ("_expired", "_fills_left")

    def __init__(self) -> None:
        self._expired: dict[Entry, None] = {}
        self._fills_left = LEAST_FILLS

    def after_fill(self, cache: BaseCache[Any, Any]) -> None:
        """Tidy up a little. Called outside of every lock; what a key's methods or the clock raise here is nobody's."""
        self._fills_left -= 1
        if self._fills_left > 0 and not self._expired:
            return
        with suppress(Exception):
            now = cache._clock()
            if not self._expired:
                self._look(cache, now)
            for _ in range(TAKEN_A_FILL):
                cache._drop_expired(self._expired.popitem()[0], now)

    def forget(self) -> None:
        """Let go of what is known: all of it is being taken out."""
        self._expired = {}

    def let_go(self, entry: Entry) -> None:
        """The same for one that was taken out, or replaced."""
        self._expired.pop(entry, None)

    def _look(self, cache: BaseCache[Any, Any], now: float) -> None:
        entries = cache._index.snapshot()
        found = [entry for entry in entries if entry.is_published and not entry.is_servable(now)]
        self._fills_left = max(len(entries) - len(found), LEAST_FILLS)
        self._expired = expired = dict.fromkeys(found)
        for entry in set(found).difference(cache._index.snapshot() if found else ()):
            expired.pop(entry, None)
