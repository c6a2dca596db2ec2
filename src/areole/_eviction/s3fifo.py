"""S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023), adapting.

From the paper: three first-in-first-out queues. New entries go through a small one; those that were used there move on
to the main one, where an entry that was used since goes round again, with one use less; of those that went, the ghost
queue remembers the hashes, and who comes back while it is remembered belongs in main. A hit raises the entry's `uses`
up to three, and from then on writes nothing. In two source lines, for those who write it out:

    if entry.uses < 3:
        entry.uses += 1

Not from the paper, two things.

An entry moves to main only where main makes room. Each eviction looks at the first entry of main. If that was used it
goes round, and the first in small is evicted, whatever it has earned; if not, it is evicted for a first in small that
belongs in main; else that one is. So an eviction is a few steps, always, and on a loop larger than the cache main keeps
what it holds, where the paper's rule puts what was just wanted again in its place. Only if the first in small was used
there does the eviction look at more than one of main, for one that was not: on a loop none is, and to look at two of
them for what merely comes back costs all hits of a loop that is a half longer than the cache. An entry that comes back
goes through small too, as room was made before it came.

Small's share of the weight is not a tenth for good. Requests differ: on a loop small is lost, so the less the better,
while keys that are asked for a few times and then no more are found only in a small queue that is long enough to see
them twice. What tells is at which part of the evictions the first in small had been used. The share moves towards
`MOST_SHARE` of that part, by `STEP` of the way for each set of ghosts, so twice in as many evictions as there are
entries. While all leave unused it goes to `LEAST_SHARE`, where small may be too short to see a use at all; so it begins
with `FIRST_SHARE` again after `FORGET_AFTER` sets of ghosts. What small has too much moves to main, used or not, one
with each eviction. In a tiny cache a share is nothing, so that what came last would go first, and a
recursion that asks for its last two results would never find them: there small has half of the weight. Figures, and how
they compare with lru and others on recorded and on made-up requests: benchmarks/results/hit_ratio.md.

Kept here:

  - An entry is in `_small`, in `_main`, or in neither, as its `queue` says.
  - What stays of an entry that is gone is its hash. The ghost queue is two sets: each that goes is put into the newer
    one, and once half as many as there are entries have gone, it becomes the older one, and what that held is
    forgotten. So the last to go are remembered, between half as many and as many as there are entries. (A queue that
    forgets one by one, an OrderedDict, took a fifth of the time of a `set`.)
  - No key is touched: whoever adds an entry has set its `hash`. Entries are hashed and compared by identity.

A hit that is lost, as two threads raise `uses` at once, or one of them while it is lowered here, is worth no lock.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any, Final

from .._core.entry import NOT_YET, Empty, StoredEntry
from .intrusive_list import Ring

__all__ = ["S3FifoPolicy"]

LEAST_SHARE: Final = 0.01
MOST_SHARE: Final = 0.8
FIRST_SHARE: Final = 1 / 9  # an eighth of what main has, exactly: so weights of any scale are compared alike
"""Small's share of the weight: where it goes if the first in small never was used, if it always was, and where it
begins. On the recorded requests all from 0.5 to 0.9 as the most do as well, within 0.1 points."""

STEP: Final = 0.3
"""By how much of the way the share moves with each set of ghosts."""

FORGET_AFTER: Final = 120
"""After how many sets of ghosts the share begins again: each time costs a loop some of its hits."""

MORE_LOOKS: Final = 2
"""How many more entries of main an eviction looks at where the first was used, and the first in small was too."""

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
        self.filing = self.times = None
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
        self._set_share(FIRST_SHARE)
        self._periods = 0
        self._gone = 0  # how many entries since the newer set of ghosts was begun
        self._used = 0  # at how many evictions meanwhile the first in small had been used

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
            if not len(self):
                self._ghosts, self._older_ghosts = set(), set()  # an emptied store keeps no tables

    def evict(self) -> S3FifoEntry:
        self._is_filling = False
        small, main = self._small, self._main
        loser, holder = small.after, main.after
        is_wanted = loser is not small and loser.uses > 0
        if is_wanted:
            self._used += 1
        limit = inf
        if holder is not main:
            uses = holder.uses  # read once: others may write it
            if uses:
                holder.uses = uses - 1
                holder.asks = True
                main.rotate()
                if is_wanted and not self._look_on():
                    holder, uses = main.after, 0
            limit = self._main_weight * (self._balance if main.length > TINY else 1)
            if loser is small or self._small_weight < limit:
                return self._evict_one(main.after)
            if not uses and (is_wanted or loser.came_back):
                self._move_to_main(loser)
                return self._evict_one(holder)
        loser.queue = None  # `_evict_one(loser)`, written out
        small.after = after = loser.after
        after.before = small
        loser.before = loser.after = None
        small.length -= 1
        weight = loser.weight
        self._small_weight -= weight
        self._ghosts.add(loser.hash)
        self._gone = gone = self._gone + 1
        if gone * 2 > main.length:
            self._forget()
        if self._small_weight > limit + weight and small.length > 1:
            self._move_to_main(small.after)
        return loser  # type: ignore[no-any-return]

    def _look_on(self) -> bool:
        """Look at the first entries of main; say whether all that were looked at had been used, and went round."""
        main = self._main
        for _ in range(MORE_LOOKS):
            holder = main.after
            uses = holder.uses
            if not uses:
                return False
            holder.uses = uses - 1
            holder.asks = True
            main.rotate()
        return True

    def _evict_one(self, entry: S3FifoEntry) -> S3FifoEntry:
        self._take_out(entry)
        self._remember(entry)
        return entry

    def _has_small_its_share(self) -> bool:
        return self._small_weight >= self._main_weight * (self._balance if self._main.length > TINY else 1)

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
        self._gone += 1
        self._forget()

    def _forget(self) -> None:
        """Begin a new set of those that went once the last is large enough, and adapt small's share."""
        gone = self._gone
        if gone * 2 > len(self):
            self._older_ghosts, self._ghosts = self._ghosts, set()
            self._adapt(self._used / gone)
            self._used = self._gone = 0

    def _adapt(self, used: float) -> None:
        """Move small's share towards where it is to be if its first was used at that part of the evictions."""
        self._periods += 1
        if self._periods % FORGET_AFTER:
            self._set_share(self._share + STEP * (MOST_SHARE * used + LEAST_SHARE * (1 - used) - self._share))
        else:
            self._set_share(FIRST_SHARE)

    def _set_share(self, share: float) -> None:
        self._share = share
        self._balance = share / (1 - share)
