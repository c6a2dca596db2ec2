"""What the tests of bounded stores use: a store without the background thread, and a check of its books."""

from __future__ import annotations

import sys
from typing import Any

from areole import AtomicCache, RemovalCause, Storage
from areole._eviction.lazy_heap import SPARE, LazyHeap
from areole._index.limits import OVERHEAD
from areole.testing import assert_valid

__all__ = [
    "Told",
    "assert_filing_sound",
    "check_books",
    "count_items",
    "deadlines_of",
    "make_store",
    "make_weighed",
    "policy_entries",
    "weight_of",
]


class Told:
    """A removal listener that keeps what it was told."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, Any, RemovalCause]] = []

    def __call__(self, key: Any, value: Any, cause: RemovalCause) -> None:
        self.all.append((key, value, cause))

    def take(self) -> list[tuple[Any, Any, str]]:
        """Return what came since the last `take`, each cause by its name in lower case."""
        taken, self.all = self.all, []
        return [(key, value, cause.value) for key, value, cause in taken]


def make_store(policy: str = "lru", **options: Any) -> Storage[Any]:
    """Make a store that the process's background thread does not sweep: what happens, the test has caused."""
    return Storage(expiration_thread_max_checks_per_iteration=0, policy=policy, **options)


def weight_of(key: Any, size: int) -> int:
    """Return what an item weighs whose value is of so many bytes."""
    return size + sys.getsizeof(key) + OVERHEAD


def make_weighed(policy: str, fill: Any, places: int, **options: Any) -> AtomicCache[Any, Any]:
    """Make a read-through cache with room for so many places of 1,000 bytes; a value says how many it takes."""
    return AtomicCache(
        fill,
        max_bytes=places * 1000,
        weigher=lambda key, value: value * 1000 - weight_of(key, 0),
        policy=policy,
        **options,
    )


def check_books(cache: Any) -> None:
    """Fail unless a bounded cache or store at rest has its books in order: dict, policy, deadlines, sums and limits.

    In order: `assert_valid` holds; what is stored is counted and weighed right, and within the limits; the policy has
    exactly what is stored; the deadlines have exactly what is stored and has one; nothing is left under way.
    """
    assert_valid(cache)
    index = cache._state.index
    stored = [entry for entry in index.snapshot() if entry.is_published or entry.flight.is_stored]
    for entry in stored:
        assert entry.is_stored, "an exception is kept, and in no book"
    for entry in [entry for entry in stored if entry.is_published]:
        assert index.entries[entry.key] is entry, "a stored entry is not in the dict under its key"
        assert entry.is_stored, "an entry with a value is in the dict, and in no book"
        assert entry.weight == index.weigh(entry.key, entry.value), "an entry has another weight than its value"
    _check_sums(index, stored)
    assert _ids(policy_entries(index.policy)) == _ids(stored), "the policy has other entries than the dict"
    assert len(index.policy) == len(stored), "the policy counts otherwise"
    _check_deadlines(index, stored)
    assert not index._dirty, "an operation is still under way"
    assert not index.lock._is_owned(), "the lock is held"


def _check_sums(index: Any, stored: list[Any]) -> None:
    weights = [entry.weight for entry in stored]
    assert index.count() == (len(stored), sum(weights)), "the books do not say what is stored"
    assert all(weight >= 0 for weight in weights), "a weight is negative"
    assert index.max_items is None or len(stored) <= index.max_items, "too many items"
    assert index.max_weight is None or sum(weights) <= index.max_weight, "too heavy"
    assert index.max_entry_weight is None or max(weights, default=0) <= index.max_entry_weight, "one is too heavy"


def _check_deadlines(index: Any, stored: list[Any]) -> None:
    expiring = [entry for entry in stored if _deadline_of(entry) is not None]
    assert sorted(map(id, expiring)) == sorted(deadlines_of(index)), "the deadlines are not those of what is stored"
    assert len(index._deadlines._heap) <= 2 * len(expiring) + SPARE, "the deadlines keep too many that are gone"


def deadlines_of(index: Any) -> list[int]:
    """Return the ids of the entries that wait for their deadlines: each once, if all is well."""
    deadlines = index._deadlines
    assert_filing_sound(deadlines)
    filed = list(deadlines)
    assert all(_deadline_of(entry) == entry.expiry[0] for entry in filed), "one is filed under another deadline"
    assert all(entry.expiry[2] is entry for entry in filed), "an entry has another's item"
    assert all(entry.expiry[0] >= deadlines.due for entry in filed), "an entry expires before anything is said to"
    return [id(entry) for entry in filed]


def count_items(heap: LazyHeap) -> int:
    """Count the items of a heap, the empty ones too."""
    return len(list(heap.queue())) + len(heap._heap)


def assert_filing_sound(filing: LazyHeap) -> None:
    """Check that each part is in order, and that the counts are right."""
    queue = list(filing.queue())
    assert queue == sorted(queue, key=lambda item: item[:2]), "the queue is out of order"
    assert all(item[3][4] is item[4][3] is item for item in queue), "an item of the queue is not linked"
    assert all(item[2] is not None for item in queue), "one that has left is in the queue"
    heap = filing._heap
    assert all(heap[(i - 1) // 2][:2] <= heap[i][:2] for i in range(1, len(heap))), "the heap is none"
    assert filing.live == len(list(filing)), "the entries are miscounted"


def _deadline_of(entry: Any) -> Any:
    return entry.deadline if entry.is_published else entry.flight.deadline


def policy_entries(policy: Any) -> list[Any]:
    """Return all entries that the policy holds."""
    if hasattr(policy, "_ghosts"):
        queues = [*policy._small, *policy._main]
        assert policy._main_weight == sum(entry.weight for entry in policy._main), "its main queue weighs otherwise"
        assert policy._small_weight == sum(entry.weight for entry in policy._small), "its small queue weighs otherwise"
        return queues
    return list(policy)


def _ids(entries: list[Any]) -> list[int]:
    return sorted(map(id, entries))
