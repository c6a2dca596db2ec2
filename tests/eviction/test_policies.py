"""Eviction policies by themselves: no store, no lock, one thread unless a test says otherwise."""

from __future__ import annotations

import random
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from areole._eviction.lazy_heap import SPARE
from areole._eviction.lru import FILED_A_TIME, LruEntry, LruPolicy, make_tick
from areole._eviction.policy import POLICIES, make_policy
from areole._eviction.s3fifo import (
    FIRST_SHARE,
    FORGET_AFTER,
    LEAST_SHARE,
    MORE_LOOKS,
    MOST_SHARE,
    STEP,
    TINY,
    S3FifoEntry,
    S3FifoPolicy,
)
from benchmarks.hit_ratio import hits_of_policy, hits_of_the_optimum
from benchmarks.traces import TRACES

from ..kit import assert_filing_sound, count_items, run_threads

every_policy = pytest.mark.parametrize("name", sorted(POLICIES))


class Store:
    """What a store does with a policy: evicts first, until the new entry fits, by items and by weight."""

    def __init__(self, policy: Any, items: int, weight: int | None = None) -> None:
        self.policy, self.items, self.limit = policy, items, weight
        self.entries: dict[Any, Any] = {}
        self.weight = 0
        self.evicted: list[Any] = []

    def get(self, key: Any) -> bool:
        entry = self.entries.get(key)
        if entry is not None:
            self.policy.record_access(entry)
        return entry is not None

    def set(self, key: Any, weight: int = 1) -> None:
        self.delete(key)
        while self.entries and (len(self.entries) >= self.items or self._is_too_heavy(weight)):
            entry = self.policy.evict()
            assert self.entries.pop(entry.key) is entry
            self.weight -= entry.weight
            self.evicted.append(entry.key)
        self.entries[key] = entry = make_entry(self.policy, key, weight)
        self.weight += weight
        self.policy.add(entry)

    def _is_too_heavy(self, more: int) -> bool:
        return self.limit is not None and self.weight + more > self.limit

    def delete(self, key: Any) -> bool:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.weight -= entry.weight
            self.policy.remove(entry)
        return entry is not None

    def ask(self, key: Any) -> bool:
        """Get, and on a miss set; say whether it was a hit."""
        hit = self.get(key)
        if not hit:
            self.set(key)
        return hit

    def hit_ratio(self, keys: list[Any]) -> float:
        return sum(map(self.ask, keys)) / len(keys)


def make_entry(policy: Any, key: Any, weight: int = 1) -> Any:
    return dress(policy.entry_type(key), hash(key), weight)


def dress(entry: Any, key_hash: int, weight: int = 1) -> Any:
    entry.weight = weight
    if isinstance(entry, S3FifoEntry):
        entry.hash = key_hash
    return entry


def assert_sound(policy: Any, entries: list[Any], peak: int) -> None:
    """Check each structure of a policy against the entries in it, and the most that there ever were at once."""
    assert len(policy) == len(entries)
    check = assert_lru_sound if isinstance(policy, LruPolicy) else assert_s3fifo_sound
    check(policy, entries, peak)


def assert_lru_sound(policy: LruPolicy, entries: list[LruEntry], peak: int) -> None:
    held = set(policy)
    assert held == set(entries)
    again = policy._again
    assert len(again._heap) <= 2 * again.live + SPARE
    assert_filing_sound(again)
    assert all(e.position[2] is e and e.position[0] == e.filed_at for e in again)
    assert all(e.position is True for e in policy._list)


def assert_s3fifo_sound(policy: S3FifoPolicy, entries: list[S3FifoEntry], peak: int) -> None:
    assert {*policy._small, *policy._main} == set(entries)
    assert policy._small_weight == sum(entry.weight for entry in policy._small)
    assert policy._main_weight == sum(entry.weight for entry in policy._main)
    for queue in (policy._small, policy._main):
        assert all(entry.queue is queue for entry in queue)
    assert all(0 <= entry.freq <= 3 for entry in entries)
    assert len(policy._ghosts | policy._older_ghosts) <= peak


def random_step(store: Store, chance: random.Random, keys: int, weight: int = 1) -> None:
    """Do one of what is done to a store, hits twice as often as each other thing."""
    key = int(keys * chance.random() ** 2)
    kind = chance.randrange(5)
    if kind < 2:
        store.get(key)
    elif kind < 4:
        store.set(key, weight)
    else:
        store.delete(key)


# ---- every policy


@every_policy
def test_each_entry_is_evicted_once_and_then_there_are_none(name: str) -> None:
    policy = make_policy(name)
    entries = [make_entry(policy, key) for key in range(300)]
    for entry in entries:
        policy.add(entry)
    for entry in entries[::3]:
        policy.record_access(entry)
    evicted = [policy.evict() for _ in entries]
    assert sorted(entry.key for entry in evicted) == list(range(300))
    assert_sound(policy, [], 300)


@every_policy
def test_a_removed_entry_is_never_evicted(name: str) -> None:
    policy = make_policy(name)
    entries = [make_entry(policy, key) for key in range(20)]
    for entry in entries:
        policy.add(entry)
        policy.record_access(entry)
    first = policy.evict()  # files others again, or moves them
    kept = [entry for entry in entries if entry is not first]
    for entry in kept[::2]:
        policy.remove(entry)
    assert {policy.evict() for _ in kept[1::2]} == set(kept[1::2])
    assert_sound(policy, [], 20)


@every_policy
def test_removing_what_is_not_there_and_touching_what_is_gone_change_nothing(name: str) -> None:
    policy = make_policy(name)
    entries = [make_entry(policy, key) for key in range(4)]
    for entry in entries[:3]:
        policy.add(entry)
    policy.remove(entries[3])
    policy.remove(entries[0])
    policy.remove(entries[0])
    policy.record_access(entries[0])
    gone = policy.evict()
    policy.record_access(gone)
    policy.remove(gone)
    left = [entry for entry in entries[1:3] if entry is not gone]
    assert_sound(policy, left, 3)
    assert policy.evict() is left[0]


@every_policy
def test_an_entry_can_come_back_after_it_went(name: str) -> None:
    policy = make_policy(name)
    entry = make_entry(policy, "key")
    for let_go in (policy.remove, lambda _: policy.evict()) * 2:
        policy.add(entry)
        let_go(entry)
    policy.add(entry)
    assert_sound(policy, [entry], 1)
    assert policy.evict() is entry


@every_policy
@pytest.mark.parametrize("items", [1, 2, 3, 10, 300])
def test_random_steps_leave_every_structure_sound(name: str, items: int) -> None:
    chance = random.Random(f"{name} {items}")
    store = Store(make_policy(name), items)
    for step in range(6000):
        random_step(store, chance, keys=3 * items)
        if step % 97 == 0:
            assert_sound(store.policy, list(store.entries.values()), items)


@every_policy
@pytest.mark.parametrize("weights", [(0,), (1,), (0, 1), (1, 2, 3, 50), (1, 500)])
def test_weights_are_added_up_and_evictions_end_whatever_they_are(name: str, weights: tuple[int, ...]) -> None:
    chance = random.Random(f"{name} {weights}")
    store = Store(make_policy(name), 200, 1000)
    for step in range(6000):
        random_step(store, chance, keys=600, weight=chance.choice(weights))
        if step % 97 == 0:
            assert_sound(store.policy, list(store.entries.values()), 200)
            assert store.weight <= 1000


@every_policy
def test_400_000_operations_leave_every_structure_at_its_bound(name: str) -> None:
    chance = random.Random(name)
    store = Store(make_policy(name), 500)
    for step in range(400_000):
        random_step(store, chance, keys=1500)
        if step % 40_000 == 0:
            assert_sound(store.policy, list(store.entries.values()), 500)
    assert_sound(store.policy, list(store.entries.values()), 500)


@every_policy
def test_one_key_that_comes_and_goes_leaves_nothing_behind(name: str) -> None:
    store = Store(make_policy(name), 10)
    for key in range(10):
        store.set(key)
    for _ in range(3000):
        store.get(9)
        store.delete(9)
        store.set(9)
        assert len(store.policy) == 10
    assert_sound(store.policy, list(store.entries.values()), 10)
    assert store.evicted == []


@every_policy
def test_a_removed_or_evicted_entry_is_let_go_of_at_once(name: str) -> None:
    policy = make_policy(name)
    entries = {key: make_entry(policy, key) for key in range(50)}
    for entry in entries.values():
        policy.add(entry)
        policy.record_access(entry)
    values = {key: Value() for key in entries}
    alive = {key: weakref.ref(value) for key, value in values.items()}
    for key, entry in entries.items():
        entry.value = values[key]
    del entry, values
    for _ in range(25):
        del entries[policy.evict().key]
    for key in list(entries)[::2]:
        policy.remove(entries.pop(key))
    assert {key for key, ref in alive.items() if ref() is not None} == set(entries)


class Value:
    """Something that a weak reference can be made to."""


@every_policy
def test_no_method_of_a_key_is_called(name: str) -> None:
    policy = make_policy(name)
    for number in range(60):
        entry = dress(policy.entry_type(Untouchable()), key_hash=number % 20)
        policy.add(entry)
        policy.record_access(entry)
        if number >= 10:
            policy.evict()
        if number % 3 == 0:
            policy.remove(entry)


class Untouchable:
    def __hash__(self) -> int:
        raise AssertionError("hashed")

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")


class RestlessLruEntry(LruEntry):
    """Was used again whenever one looks."""

    __slots__ = ()
    last_used = property(lambda self: next(self.looks), lambda self, value: None)  # type: ignore[assignment]
    looks: Iterator[int] = count(1)


class RestlessS3FifoEntry(S3FifoEntry):
    __slots__ = ()
    freq = property(lambda self: 3 + 0 * next(self.looks), lambda self, value: None)  # type: ignore[assignment]
    looks: Iterator[int] = count(1)


@pytest.mark.parametrize(
    ("name", "restless", "looks"), [("lru", RestlessLruEntry, 200), ("s3fifo", RestlessS3FifoEntry, 4)]
)
def test_an_eviction_ends_though_all_entries_are_used_again_and_again(name: str, restless: Any, looks: int) -> None:
    policy = make_policy(name)
    for key in range(100):
        policy.add(dress(restless(key), key))
    for left in range(100, 0, -1):
        restless.looks = count(1)
        policy.evict()
        assert next(restless.looks) <= looks + 3  # one more where the shortest way is looked at first
        assert len(policy) == left - 1


@every_policy
def test_hits_from_other_threads_break_nothing(name: str) -> None:
    store = Store(make_policy(name), 50)
    is_over: list[bool] = []

    def hit() -> None:
        while not is_over:
            for entry in list(store.entries.values()):
                store.policy.record_access(entry)

    def churn() -> None:
        chance = random.Random(name)
        try:
            for _ in range(5000):
                random_step(store, chance, keys=150)
        finally:
            is_over.append(True)

    assert run_threads(hit, hit, churn) == [None, None, None]
    assert_sound(store.policy, list(store.entries.values()), 50)


@pytest.mark.parametrize("name", ["", "LRU", None, [], 3])
def test_a_policy_that_there_is_not_is_refused_by_name(name: object) -> None:
    with pytest.raises(ValueError, match="policy must be one of 'lru', 's3fifo', not "):
        make_policy(name)


# ---- lru


class LruModel:
    """The order itself: what was used last stands last."""

    def __init__(self) -> None:
        self.order: OrderedDict[Any, None] = OrderedDict()

    def use(self, key: Any) -> None:
        self.order[key] = None
        self.order.move_to_end(key)


def exact_lru() -> LruPolicy:
    """Make an LRU policy with a counter for its clock, whatever the build: no two uses tie."""
    policy = LruPolicy()
    policy.tick = count(1).__next__
    return policy


@pytest.mark.parametrize("seed", range(8))
def test_lru_evicts_in_the_order_of_use_exactly(seed: int) -> None:
    chance = random.Random(seed)
    policy, model = exact_lru(), LruModel()
    entries: dict[int, Any] = {}
    mix = chance.choices(range(1, 10), k=4)  # how often to touch, add, remove, evict
    for step in range(20_000):
        kind = chance.choices(("touch", "add", "remove", "evict"), mix)[0]
        if kind == "add" or not entries:
            entries[step] = make_entry(policy, step)
            policy.add(entries[step])
            model.use(step)
        elif kind == "evict":
            expected = model.order.popitem(last=False)[0]
            assert policy.evict() is entries.pop(expected)
        else:
            key = chance.choice(list(model.order)[-50:] if step % 2 else list(model.order)[:50])
            if kind == "touch":
                policy.record_access(entries[key])
                model.use(key)
            else:
                policy.remove(entries.pop(key))
                del model.order[key]
    assert_sound(policy, list(entries.values()), 20_000)
    assert [policy.evict().key for _ in range(len(policy))] == list(model.order)


def test_lru_with_its_own_clock_keeps_the_order_of_use() -> None:
    store = Store(LruPolicy(), 5)
    for key in "abcde":
        store.set(key)
    for key in "cadb":
        store.get(key)
    for key in "vwxyz":
        store.set(key)
    assert store.evicted == ["e", "c", "a", "d", "b"]


def test_lru_copes_with_a_clock_that_stands_still() -> None:
    policy = LruPolicy()
    policy.tick = lambda: 7
    entries = [make_entry(policy, key) for key in range(10)]
    for entry in entries:
        policy.add(entry)
        policy.record_access(entry)
    policy.remove(entries[3])
    assert [policy.evict().key for _ in range(9)] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert_sound(policy, [], 10)


def test_the_tick_of_lru_does_not_go_down() -> None:
    tick = make_tick()
    ticks = [tick() for _ in range(1000)]
    assert ticks == sorted(ticks)


def test_lru_does_not_keep_filings_of_what_was_removed() -> None:
    policy = exact_lru()
    entries = [make_entry(policy, key) for key in range(1000)]
    for entry in entries:
        policy.add(entry)
    for entry in entries:
        policy.record_access(entry)
    gone = {policy.evict() for _ in range(10)}  # files all the others again
    assert count_items(policy._again) >= 990
    for entry in entries:
        if entry not in gone:
            policy.remove(entry)
    assert count_items(policy._again) <= SPARE


class CountedLru(LruPolicy):
    """Counts how many entries it files again."""

    def __init__(self) -> None:
        super().__init__()
        self.tick = count(1).__next__
        self.filings = 0

    def _file_again(self, entry: LruEntry, used: int) -> None:
        self.filings += 1
        super()._file_again(entry, used)


def used_lru(size: int, order: list[int]) -> tuple[CountedLru, dict[int, Any]]:
    """Make a policy with so many entries, which were then used in that order."""
    policy = CountedLru()
    entries = {key: make_entry(policy, key) for key in range(size)}
    for entry in entries.values():
        policy.add(entry)
    for key in order:
        policy.record_access(entries[key])
    return policy, entries


@pytest.mark.parametrize("used", [1, FILED_A_TIME // 2, FILED_A_TIME - 1])
@pytest.mark.parametrize("in_order", [True, False])
def test_lru_is_exact_while_less_was_used_than_an_eviction_files_again(used: int, in_order: bool) -> None:
    order = list(range(used))
    if not in_order:
        random.Random(used).shuffle(order)
    policy, entries = used_lru(used + 1, order)
    assert policy.evict() is entries[used], "the only one that was not used"
    assert policy.filings == used
    assert [policy.evict().key for _ in order] == order
    assert policy.filings == used, "none is filed twice for one use"


@pytest.mark.parametrize("in_order", [True, False])
def test_an_eviction_files_a_bounded_number_again_and_they_come_to_be_exact(in_order: bool) -> None:
    size = 20 * FILED_A_TIME
    order = list(range(size))
    if not in_order:
        random.Random(size).shuffle(order)
    policy, _ = used_lru(size, order)
    place = {key: i for i, key in enumerate(order)}
    evicted = []
    for n in range(20):
        evicted.append(policy.evict().key)
        assert policy.filings == min(n + 1, 20) * FILED_A_TIME
        assert place[evicted[-1]] < size // 20, "it was among the last that were used"
    left = [key for key in order if key not in evicted]
    assert [policy.evict().key for _ in left] == left, "all have been looked at by now"
    assert policy.filings == size
    assert_sound(policy, [], size)


def test_lru_evicts_the_least_recently_used_of_all_that_it_has_looked_at() -> None:
    size = 10 * FILED_A_TIME
    order = random.Random(1).sample(range(size), size)
    policy, _ = used_lru(size, order)
    left = order
    for n in range(1, 10):
        looked_at = [key for key in left if key < n * FILED_A_TIME]  # they were added, so filed, in this order
        assert policy.evict().key == looked_at[0]
        left = [key for key in left if key != looked_at[0]]


def test_an_eviction_after_which_all_are_used_again_files_twice_the_bound_at_most() -> None:
    size = 10 * FILED_A_TIME
    policy, entries = used_lru(size, list(range(size)))
    for _ in range(30):
        for entry in entries.values():
            policy.record_access(entry)
        filings = policy.filings
        del entries[policy.evict().key]
        assert policy.filings - filings <= 2 * FILED_A_TIME
        assert len(policy) == len(entries)
    assert_sound(policy, list(entries.values()), size)


@pytest.mark.parametrize("how", ["removed", "used"])
def test_what_is_done_to_one_that_was_filed_again_costs_the_next_eviction_one_look(how: str) -> None:
    policy, entries = used_lru(100, list(range(100)))
    policy.evict()
    (policy.remove if how == "removed" else policy.record_access)(entries[1])
    filings = policy.filings
    assert policy.evict() is entries[2]
    assert policy.filings - filings == (how == "used")


# ---- s3fifo


class S3FifoModel:
    """The rule, in plain lists, for entries of weight 1."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.small: list[int] = []
        self.main: list[int] = []
        self.ghosts: set[int] = set()
        self.older_ghosts: set[int] = set()
        self.uses: dict[int, int] = {}
        self.came_back: dict[int, bool] = {}
        self.share, self.periods, self.used, self.gone = FIRST_SHARE, 0, 0, 0

    def ask(self, key: int) -> bool:
        if key in self.small or key in self.main:
            self.uses[key] = min(3, self.uses[key] + 1)
            return True
        is_full = len(self.small) + len(self.main) >= self.size
        if is_full:
            self.evict()
        self.came_back[key] = key in self.ghosts | self.older_ghosts
        self.uses[key] = 0
        self.small.append(key)
        while not is_full and len(self.small) > 1 and self.over() >= 0:
            self.promote()
        return False

    def evict(self) -> None:
        was_used = False
        is_wanted = bool(self.small) and self.uses[self.small[0]] > 0
        for _ in range(1 + MORE_LOOKS * is_wanted if self.main else 0):
            was_used = self.uses[self.main[0]] > 0
            if not was_used:
                break
            self.uses[self.main[0]] -= 1
            self.main.append(self.main.pop(0))
        self.used += is_wanted
        if self.main and self.over() < 0:
            return self.lose(self.main)
        earned = self.uses[self.small[0]] > 0 or self.came_back[self.small[0]]
        if earned and self.main and not was_used:
            self.lose(self.main, is_promoted=True)
            return None
        is_over = bool(self.main) and len(self.small) - 1 > self.limit() + 1
        self.lose(self.small)
        if is_over and len(self.small) > 1:
            self.promote()
        return None

    def lose(self, queue: list[int], is_promoted: bool = False) -> None:
        if is_promoted:
            self.promote()
        self.ghosts.add(queue.pop(0))
        self.gone += 1
        if self.gone > (len(self.small) + len(self.main)) / 2:
            self.adapt()
            self.ghosts, self.older_ghosts = set(), self.ghosts

    def adapt(self) -> None:
        used, self.used, self.gone = self.used / self.gone, 0, 0
        self.periods += 1
        goal = MOST_SHARE * used + LEAST_SHARE * (1 - used)
        self.share = FIRST_SHARE if self.periods % FORGET_AFTER == 0 else self.share + STEP * (goal - self.share)

    def promote(self) -> None:
        self.uses[self.small[0]] = 0
        self.main.append(self.small.pop(0))

    def over(self) -> float:
        return len(self.small) - self.limit() if self.small else -1.0

    def limit(self) -> float:
        return len(self.main) * (self.share / (1 - self.share) if len(self.main) > TINY else 1)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 450])
@pytest.mark.parametrize("skew", [1, 2, 4])
def test_s3fifo_holds_what_the_rule_in_plain_lists_holds(size: int, skew: int) -> None:
    chance = random.Random(f"{size} {skew}")
    store, model = Store(S3FifoPolicy(), size), S3FifoModel(size)
    for step in range(12_000):
        key = int(4 * size * chance.random() ** skew)
        assert store.ask(key) == model.ask(key), step
    assert [entry.key for entry in store.policy._small] == model.small
    assert [entry.key for entry in store.policy._main] == model.main
    assert store.policy._ghosts == {hash(key) for key in model.ghosts}
    assert store.policy._older_ghosts == {hash(key) for key in model.older_ghosts}


def test_s3fifo_forgets_hashes_as_the_entries_become_fewer() -> None:
    policy = S3FifoPolicy()
    for key in range(300):
        policy.add(make_entry(policy, key))
    for left in range(299, -1, -1):
        policy.evict()
        assert len(policy._ghosts) <= left / 2
    assert len(policy._older_ghosts) == 1


def test_s3fifo_evicts_from_main_where_small_is_empty_and_nothing_weighs_anything() -> None:
    policy = S3FifoPolicy()
    entries = [make_entry(policy, key, 0) for key in range(5)]
    for entry in entries:
        policy.add(entry)
    for entry in list(policy._small):
        policy.remove(entry)
    assert policy.evict() is entries[0]


def test_s3fifo_writes_nothing_from_the_third_hit_on() -> None:
    policy = S3FifoPolicy()
    entry = Watched("key")
    entry.writes = 0
    for _ in range(10):
        policy.record_access(entry)
    assert (entry.freq, entry.writes) == (3, 3)


class Watched(S3FifoEntry):
    __slots__ = ("writes",)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "freq":
            object.__setattr__(self, "writes", getattr(self, "writes", 0) + 1)
        object.__setattr__(self, name, value)


@pytest.mark.parametrize("hits", [1, 0])
def test_what_replaces_a_value_that_was_used_belongs_in_main(hits: int) -> None:
    store = Store(S3FifoPolicy(), 10)
    for key in range(10):
        store.set(key)
    newest = 9  # in small
    for _ in range(hits):
        store.get(newest)
    store.set(newest)
    for key in range(100, 120):
        store.set(key)
    assert store.get(newest) == bool(hits)


def test_a_scan_does_not_drive_out_what_was_used_twice() -> None:
    store = Store(S3FifoPolicy(), 200)
    hot = list(range(150))
    store.hit_ratio(hot * 4)
    store.hit_ratio(list(range(1000, 6000)))
    assert store.hit_ratio(hot) > 0.9


@pytest.mark.parametrize("length", [210, 220, 260, 300, 400, 600])
def test_a_loop_larger_than_the_store_keeps_what_it_holds(length: int) -> None:
    store = Store(S3FifoPolicy(), 200)
    loop = list(range(length))
    store.hit_ratio(loop * 5)
    assert store.hit_ratio(loop * 5) > 0.92 * 200 / length
    assert store.hit_ratio(loop * 60) > 0.95 * 200 / length, "it lost them, as its share began again"


def test_a_new_working_set_takes_over_from_one_that_was_used_much() -> None:
    store = Store(S3FifoPolicy(), 200)
    store.hit_ratio(list(range(180)) * 50)
    store.hit_ratio(list(range(1000, 1180)) * 15)
    assert store.hit_ratio(list(range(1000, 1180))) > 0.9


def test_a_store_that_was_emptied_fills_again() -> None:
    store = Store(S3FifoPolicy(), 200)
    store.hit_ratio(list(range(400)) * 5)
    for key in list(store.entries):
        store.delete(key)
    for key in range(5000, 5200):
        store.set(key)
    assert all(map(store.get, range(5000, 5200)))
    assert_sound(store.policy, list(store.entries.values()), 200)


def small_part(store: Store) -> float:
    policy = store.policy
    return float(policy._small_weight / (policy._small_weight + policy._main_weight))


@pytest.mark.parametrize(("used", "share"), [(0.0, 0.01), (0.25, 0.2), (1.0, 0.8)])
def test_smalls_share_of_the_weight_follows_the_part_that_was_used_there(used: float, share: float) -> None:
    chance = random.Random(5)
    store = Store(S3FifoPolicy(), 10**6, 100_000)  # some 1,000 entries
    for n in range(12_000):  # before the share begins again
        store.set(n, chance.randint(1, 200))
        if chance.random() < used:
            store.get(n)
    assert abs(store.policy._share - share) < 0.03
    assert abs(small_part(store) - share) < 0.05
    assert_sound(store.policy, list(store.entries.values()), 12_000)


def test_a_share_that_became_too_small_to_show_uses_begins_again() -> None:
    """Each key is asked for twice, at a distance at which only a small queue of its first share still has it."""
    size, distance = 500, 20
    store = Store(S3FifoPolicy(), size)
    store.hit_ratio(list(range(-8 * size, 0)))
    assert small_part(store) < 0.03
    twice = [key for n in range(40 * size) for key in (n, n - distance)]
    assert store.hit_ratio(twice[: 4 * size]) < 0.01
    store.hit_ratio(twice[4 * size : -2 * size])
    assert store.hit_ratio(twice[-2 * size :]) > 0.49
    assert small_part(store) > 0.2


def test_keys_that_are_asked_for_a_few_times_and_then_no_more_are_found() -> None:
    """Broken: with a hundredth for small, next to none was; lru finds all but the first request of each."""
    chance, upcoming, keys = random.Random(1), list[tuple[int, int]](), list[int]()
    for n in range(20_000):
        upcoming += [(n + chance.randrange(1, 200), n) for _ in range(3)]
    for _, key in sorted([*upcoming, *((n, n) for n in range(20_000))]):
        keys.append(key)
    ratio = {name: hits_of_policy(name)(keys, 1000) / len(keys) for name in POLICIES}
    assert ratio["lru"] > 0.7
    assert ratio["s3fifo"] > ratio["lru"] - 0.01


# ---- what the benchmark of hit ratios rests on


def most_hits(trace: list[int], size: int, inside: frozenset[int] = frozenset()) -> int:
    """Try every choice of what to keep."""
    if not trace:
        return 0
    held = inside | {trace[0]}
    choices = [held] if len(held) <= size else [held - {gone} for gone in held]
    return (trace[0] in inside) + max(most_hits(trace[1:], size, choice) for choice in choices)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_optimum_is_what_trying_everything_finds(size: int) -> None:
    chance = random.Random(size)
    for _ in range(20):
        trace = [chance.randrange(5) for _ in range(9)]
        assert hits_of_the_optimum(trace, size) == most_hits(trace, size)


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)
def test_a_trace_is_made_from_its_seed_and_no_policy_beats_the_optimum(trace: Any) -> None:
    made = trace.make(3000, 1000, 50, 7)
    assert made == trace.make(3000, 1000, 50, 7)
    assert len(made) == 3000
    best = hits_of_the_optimum(made, 50)
    assert all(hits_of_policy(name)(made, 50) <= best for name in POLICIES)


def test_a_hit_that_comes_between_does_not_keep_an_entry_from_asking() -> None:
    """`S3FifoPolicy.record_access`: an eviction lowers `freq` and sets `needs_access`, after a hit has read three."""

    class Lowered:
        needs_access: bool | None = True
        readings = iter([3, 1])

        @property
        def freq(self) -> int:
            return next(self.readings)

    entry: Any = Lowered()
    S3FifoPolicy().record_access(entry)
    assert entry.needs_access
