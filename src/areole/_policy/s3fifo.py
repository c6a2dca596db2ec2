"""S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023), with one look.

From the paper: three first-in-first-out queues. New entries go through a small one; those that were used there move on
to the main one, where an entry that was used since goes round again, with one use less; of those that went, the ghost
queue remembers the hashes, and who comes back while it is remembered belongs in main. A hit raises the entry's `uses`
up to three, and from then on writes nothing. In two source lines, for those who write it out:

    if entry.uses < 3:
        entry.uses += 1

Not from the paper: nobody moves to main unless somebody there makes room. Each eviction looks at one entry of main, the
first. If it was used, it goes round, and the first in small is evicted, whatever it has earned. If not, it is evicted
for a first in small that belongs in main; else that one is. So an eviction is a few steps, always, and on a loop larger
than the cache main keeps what it holds, where the paper's rule puts what was just wanted again in its place. For the
same reason small is a hundredth here, not a tenth: on a loop it is lost. But in a tiny cache a hundredth is nothing,
so that what came last would go first, and a recursion that asks for its last two results would never find them: small
has half of that. And who comes back goes through small too, as room was made before it came. Figures:
benchmarks/results/hit_ratio.md.

Kept here:

  - An entry is in `_small`, in `_main`, or in neither, as its `queue` says.
  - What stays of an entry that is gone is its hash. The ghost queue is two sets: whoever goes is put into the newer
    one, and once that has half as many as there are entries, it becomes the older one, and what that held is forgotten.
    So the last to go are remembered, between half as many and as many as there are entries. (A queue that forgets one
    by one, an OrderedDict, took a fifth of the time of a `set`.)
  - No key is touched: whoever adds an entry has set its `hash`. Entries are hashed and compared by identity.

A hit that is lost, as two threads raise `uses` at once, or one of them while it is lowered here, is worth no lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from .._entry import NOT_YET, Empty, StoredEntry
from ._ring import Ring

__all__ = ["S3FifoPolicy"]

SMALL: Final = 100
"""The small queue is to have one part in so many of the weight."""

TINY: Final = 8
"""While main has no more entries than this, small is to have half of the weight."""


class S3FifoEntry(StoredEntry):
    __slots__ = ("after", "before", "came_back", "queue", "uses")
    came_back: bool  # from the ghost queue; known from `add` on
    after: Any  # the next in its queue, and the one before it; known while it stands there
    before: Any

    def __init__(
        self,
        key: Any,
        flight: Any = None,
        value: Any = Empty,
        deadline: float | None = NOT_YET,
        weight: int = 0,
        key_hash: int | None = None,
    ) -> None:
        self.key = key
        self.value = value
        self.deadline = deadline
        self.flight = flight
        self.hash = key_hash
        self.weight = weight
        self.is_stored = False
        self.filing = None
        self.uses = 0
        self.asks = True
        self.queue: Ring | None = None  # that it stands in


class S3FifoPolicy:
    """See the module."""

    entry_type = S3FifoEntry
    touch_source = "if {entry}.uses < 3: {entry}.uses += 1"
    touch_with = None
    needs_hash = True

    def __init__(self) -> None:
        self.keeps_asking = False
        self.clear()

    def clear(self) -> None:
        """Let go of all entries, and forget those that went."""
        self._small = Ring()
        self._main = Ring()
        self._small_weight = 0
        self._main_weight = 0
        self._ghosts: set[int] = set()  # hashes
        self._older_ghosts: set[int] = set()
        self._is_filling = True  # nothing was evicted since the last entry came

    def __len__(self) -> int:
        return self._small.length + self._main.length

    def __iter__(self) -> Iterator[S3FifoEntry]:
        """Go through the entries, in no order; nothing may change meanwhile."""
        yield from self._small
        yield from self._main

    def touch(self, entry: S3FifoEntry) -> None:
        if entry.uses < 3:
            entry.uses += 1
        else:
            entry.asks = False if self.keeps_asking else None
            # Whoever lowers the uses does that first, and has it ask again after: one of the two sees the other.
            #
            #     1. a hit sees three uses     2. an eviction lowers them, and lets the entry ask again
            #     3. the hit lets it ask no more     -- and its hits would count no more, until it goes.
            if entry.uses < 3:
                entry.asks = True

    def add(self, entry: S3FifoEntry) -> None:
        small, key_hash = self._small, entry.hash
        entry.came_back = key_hash in self._ghosts or key_hash in self._older_ghosts
        entry.queue = small
        entry.before = last = small.before  # `small.append`, written out, as every `set` comes by here
        entry.after = small
        last.after = small.before = entry
        small.length += 1
        self._small_weight += entry.weight
        if self._is_filling:
            self._fill_main()
        else:
            self._is_filling = True

    def remove(self, entry: S3FifoEntry) -> None:
        queue = entry.queue
        if queue is not None:
            self._take_out(entry)
            if queue is self._main or entry.uses:
                self._remember(entry)  # it may well be replaced by another of the same key

    def evict(self) -> S3FifoEntry:
        self._is_filling = False
        small, main = self._small, self._main
        loser, holder = small.after, main.after
        if holder is not main:
            uses = holder.uses  # read once: others may write it
            if uses:
                holder.uses = uses - 1
                holder.asks = True
                main.remove(holder)
                main.append(holder)
            rest = SMALL - 1 if main.length > TINY else 1  # `_has_small_its_share`, written out
            if loser is small or self._small_weight * rest < self._main_weight:
                return self._evict_one(main.after)
            if not uses and (loser.uses or loser.came_back):
                self._move_to_main(loser)
                return self._evict_one(holder)
        loser.queue = None  # `_evict_one(loser)`, written out
        small.after = after = loser.after
        after.before = small
        loser.before = loser.after = None
        small.length -= 1
        self._small_weight -= loser.weight
        ghosts = self._ghosts
        ghosts.add(loser.hash)
        if len(ghosts) * 2 > main.length:
            self._forget()
        return loser  # type: ignore[no-any-return]

    def _evict_one(self, entry: S3FifoEntry) -> S3FifoEntry:
        self._take_out(entry)
        self._remember(entry)
        return entry

    def _has_small_its_share(self) -> bool:
        rest = SMALL - 1 if self._main.length > TINY else 1
        return self._small_weight * rest >= self._main_weight

    def _fill_main(self) -> None:
        """Let small have its share and no more, while there is room for all; two at a time make up for what it grew."""
        for _ in range(2):
            if self._small.length > 1 and self._has_small_its_share():
                self._move_to_main(self._small.after)

    def _move_to_main(self, entry: S3FifoEntry) -> None:
        self._take_out(entry)
        entry.uses = 0
        entry.asks = True
        entry.queue = self._main
        self._main.append(entry)
        self._main_weight += entry.weight

    def _take_out(self, entry: S3FifoEntry) -> None:
        queue, entry.queue = entry.queue, None
        queue.remove(entry)  # type: ignore[union-attr]
        if queue is self._small:
            self._small_weight -= entry.weight
        else:
            self._main_weight -= entry.weight

    def _remember(self, entry: S3FifoEntry) -> None:
        self._ghosts.add(entry.hash)
        self._forget()

    def _forget(self) -> None:
        """Begin a new set of those that went once the last is large enough."""
        if len(self._ghosts) * 2 > len(self):
            self._older_ghosts, self._ghosts = self._ghosts, set()
