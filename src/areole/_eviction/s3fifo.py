"""S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction", SOSP 2023), adaptive.

From the paper: three first-in, first-out queues. New entries go through a small one; those that were used there move on
to the main one, where an entry that was used since goes to the end again, with a `freq` lower by one; the ghost queue
remembers the hashes of evicted entries, and an entry that comes back while it is remembered belongs in main. A hit
raises the entry's `freq` up to three, and from then on writes nothing. In two source lines, for generated code:

    if entry.freq < 3:
        entry.freq += 1

Two things are not from the paper.

An entry moves to main only where main makes room. Each eviction looks at the first entry of main. If that was used it
goes to the end, and the head of small is evicted, whatever it has earned; if not, it is evicted in favor of a head of
small that belongs in main; else the head of small is. So an eviction is a few steps, always, and on a loop larger than
the cache main keeps what it holds, where the paper's rule replaces it by what was just asked for again. Only if the
head of small was used there does the eviction look at more than one of main: on a loop none is, and to look at two for
an entry that merely comes back costs all hits of a loop that is a half longer than the cache. An entry that comes back
goes through small too, as room was made before it came.

Small's share of the weight is not a tenth for good. On a loop small is lost, so the less the better, while keys that
are asked for a few times and then no more are found only in a small queue that is long enough to see them twice. The
share follows the fraction of evictions at which the head of small had been used: it moves towards `MOST_SHARE` of that,
by `STEP` of the way per set of ghosts, so twice in as many evictions as there are entries. While all leave unused it
goes to `LEAST_SHARE`, where small may be too short to see a use at all; so it starts again with `FIRST_SHARE` after
`FORGET_AFTER` sets of ghosts. What small has too much moves to main, used or not, one with each eviction. In a tiny
cache, where a recursion that asks for its last two results would never find them, small has half of the weight.
Figures, and a comparison with lru and others: benchmarks/results/hit_ratio.md.

The ghost queue is two sets of hashes: a new hash goes into the newer one; once that has had half as many as there are
entries, it becomes the older one, whose hashes are forgotten. (An OrderedDict, which forgets one by one, took a fifth
of the time of a `set`.) No key is touched: an entry's `hash` is set before it is added.

A hit may be lost, as two threads raise `freq` at once, or one of them while it is lowered here: worth no lock.
"""

from __future__ import annotations

from builtins import len  # a memoized one may stand in `builtins`, and would be called in the midst of a step
from collections.abc import Iterator
from math import inf
from typing import Any, Final

from .._core.entry import UNPUBLISHED, Empty, StoredEntry
from .intrusive_list import IntrusiveList

__all__ = ["S3FifoPolicy"]

LEAST_SHARE: Final = 0.01
MOST_SHARE: Final = 0.8
FIRST_SHARE: Final = 1 / 9  # an eighth of what main has, exactly: so weights of any scale are compared alike
"""Small's share of the weight: where it goes if the head of small never was used, if it always was, and where it
begins. On the recorded requests a MOST_SHARE from 0.5 to 0.9 does as well, within 0.1 points."""

STEP: Final = 0.3
"""How much of the way the share moves with each set of ghosts."""

FORGET_AFTER: Final = 120
"""After how many sets of ghosts the share starts again: each time costs a loop some of its hits."""

MORE_LOOKS: Final = 2
"""How many more entries of main an eviction looks at where its head was used, and the head of small was too."""

TINY: Final = 8
"""While main has no more entries than this, small is to have half of the weight."""


class S3FifoEntry(StoredEntry):
    __slots__ = ("after", "before", "freq", "queue", "was_ghost")
    was_ghost: bool  # whether the ghost queue remembered it; known from `add` on
    after: Any  # its neighbours in `queue`
    before: Any

    def __init__(
        self,
        key: Any,
        flight: Any = None,
        value: Any = Empty,
        deadline: float | None = UNPUBLISHED,
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
        self.expiry = self.times = None
        self.freq = 0
        self.needs_access = True
        self.queue: IntrusiveList | None = None  # that it stands in


class S3FifoPolicy:
    """See the module."""

    entry_type = S3FifoEntry
    noted_in = "freq"
    record_source = "if {entry}.freq < 3: {entry}.freq += 1"
    record_with = None
    needs_hash = True

    def __init__(self) -> None:
        self.always_records = False
        self.clear()

    def clear(self) -> None:
        """Forget all entries, and those that were evicted."""
        self._small = IntrusiveList()
        self._main = IntrusiveList()
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

    def record_access(self, entry: S3FifoEntry) -> None:
        if entry.freq < 3:
            entry.freq += 1
        else:
            entry.needs_access = False if self.always_records else None
            # An eviction lowers `freq` first, and sets `needs_access` after that: one of the two sees the other. Else
            #
            #     1. a hit sees a `freq` of 3     2. an eviction lowers it, and sets `needs_access`
            #     3. the hit clears `needs_access`     -- and its hits would count no more, until it is evicted.
            if entry.freq < 3:
                entry.needs_access = True

    def add(self, entry: S3FifoEntry) -> None:
        small, key_hash = self._small, entry.hash
        entry.was_ghost = key_hash in self._ghosts or key_hash in self._older_ghosts
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
            self._unlink(entry)
            if queue is self._main or entry.freq:
                self._remember(entry)  # it may well be replaced by another of the same key
            if not len(self):
                self._ghosts, self._older_ghosts = set(), set()  # an emptied store keeps no tables

    def evict(self) -> S3FifoEntry:
        self._is_filling = False
        small, main = self._small, self._main
        small_head, main_head = small.after, main.after
        is_wanted = small_head is not small and small_head.freq > 0
        if is_wanted:
            self._used += 1
        limit = inf
        if main_head is not main:
            freq = main_head.freq  # read once: others may write it
            if freq:
                main_head.freq = freq - 1
                main_head.needs_access = True
                main.rotate()
                if is_wanted and not self._look_on():
                    main_head, freq = main.after, 0
            limit = self._main_weight * (self._balance if main.length > TINY else 1)
            if small_head is small or self._small_weight < limit:
                return self._evict_one(main.after)
            if not freq and (is_wanted or small_head.was_ghost):
                self._move_to_main(small_head)
                return self._evict_one(main_head)
        small_head.queue = None  # `_evict_one`, written out
        small.after = after = small_head.after
        after.before = small
        small_head.before = small_head.after = None
        small.length -= 1
        weight = small_head.weight
        self._small_weight -= weight
        self._ghosts.add(small_head.hash)
        self._gone = gone = self._gone + 1
        if gone * 2 > main.length:
            self._forget()
        if self._small_weight > limit + weight and small.length > 1:
            self._move_to_main(small.after)
        return small_head  # type: ignore[no-any-return]

    def _look_on(self) -> bool:
        """Look at the next entries of main; say whether all of them had been used, and went to the end."""
        main = self._main
        for _ in range(MORE_LOOKS):
            main_head = main.after
            freq = main_head.freq
            if not freq:
                return False
            main_head.freq = freq - 1
            main_head.needs_access = True
            main.rotate()
        return True

    def _evict_one(self, entry: S3FifoEntry) -> S3FifoEntry:
        self._unlink(entry)
        self._remember(entry)
        return entry

    def _fill_main(self) -> None:
        """Let small have its share and no more, while there is room for all; two at a time make up for what it grew."""
        for _ in range(2):
            limit = self._main_weight * (self._balance if self._main.length > TINY else 1)
            if self._small.length > 1 and self._small_weight >= limit:
                self._move_to_main(self._small.after)

    def _move_to_main(self, entry: S3FifoEntry) -> None:
        self._unlink(entry)
        entry.freq = 0
        entry.needs_access = True
        entry.queue = self._main
        self._main.append(entry)
        self._main_weight += entry.weight

    def _unlink(self, entry: S3FifoEntry) -> None:
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
        """Start a new set of ghosts once the last is large enough, and adapt small's share."""
        gone = self._gone
        if gone * 2 > len(self):
            self._older_ghosts, self._ghosts = self._ghosts, set()
            self._adapt(self._used / gone)
            self._used = self._gone = 0

    def _adapt(self, used: float) -> None:
        """Move small's share towards where it is to be if its head was used at that fraction of the evictions."""
        self._periods += 1
        if self._periods % FORGET_AFTER:
            self._set_share(self._share + STEP * (MOST_SHARE * used + LEAST_SHARE * (1 - used) - self._share))
        else:
            self._set_share(FIRST_SHARE)

    def _set_share(self, share: float) -> None:
        self._share = share
        self._balance = share / (1 - share)
