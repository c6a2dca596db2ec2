"""A removal or a set inside another operation of a bounded index, at every moment: each value is reported once.

Found by the scenario `removals`, in stores and caches with limits:

    1. a set finds nothing under its key     2. a finalizer sets the key     3. the set overwrites that: not reported
and:
    1. an operation has stored its value, and changes the accounts     3. that change raises, as the accounts are new;
    2. a finalizer removes the value, and reports it                      the operation is done again: it is back
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from types import CodeType
from typing import Any

import pytest

from areole import AtomicCache, FillDeadlockError, RecursiveFillError, Resilience, Storage
from areole.testing import assert_valid

from ..interleave import Injected, before_each, every_step, inject, signal_steps
from ..kit import ManualClock, Told, check_books, every_policy, make_store


class Watched:
    """A full cache or store of two items, `a` and `b`; which values were in it, and which were reported."""

    def __init__(self, policy: str, is_store: bool) -> None:
        self.numbers = count(1)
        self.reported: list[int] = []
        self.stored: set[int] = set()
        listen = lambda key, value, cause: self.reported.append(value)  # noqa: E731
        if is_store:
            self.cache: Any = make_store(policy, max_items=2, on_removal=listen)
        else:
            self.cache = AtomicCache(self.fill, max_items=2, policy=policy, on_removal=listen)
        for key in "ab":
            self.put(key) if is_store else self.cache[key]
        self.look()

    def fill(self, key: str) -> int:
        return next(self.numbers)

    def put(self, key: str) -> None:
        value = next(self.numbers)
        if self.cache.set(key, value):
            self.stored.add(value)

    def look(self) -> None:
        self.stored.update(value for key in "abcd" if (value := self.cache.peek(key, None)) is not None)

    def refresh(self, key: str) -> None:
        with suppress(RecursiveFillError, FillDeadlockError):
            self.cache.refresh(key)

    def check(self) -> None:
        check_books(self.cache)
        self.look()
        for _ in range(2):  # what nested code could not report, the next operation does
            for key in "abcd":
                self.cache.invalidate(key)
            self.put("a") if isinstance(self.cache, Storage) else self.cache["a"]
        self.cache.invalidate("a")
        assert len(self.reported) == len(set(self.reported)), f"reported twice: {self.reported}"
        assert self.stored <= set(self.reported), f"stored {self.stored}, reported {self.reported}"


OPERATIONS: dict[str, Callable[[Watched], Any]] = {
    "set": lambda watched: watched.put("c"),
    "set over": lambda watched: watched.put("a"),
    "fill": lambda watched: watched.cache.get_or_fill("c", watched.fill),
    "pop": lambda watched: watched.cache.pop("a"),
    "read": lambda watched: watched.cache["c"],
    "refresh": lambda watched: watched.cache.refresh("a"),
}
ACTIONS: dict[str, Callable[[Watched], Any]] = {
    "set the same": lambda watched: (watched.put("c"), watched.put("a")),
    "set another": lambda watched: watched.put("d"),
    "invalidate another": lambda watched: watched.cache.invalidate("b"),
    "clear": lambda watched: watched.cache.clear(),
    "refresh the same": lambda watched: watched.refresh("a"),
}
OF_STORES = [(operation, action) for operation in ("set", "set over", "fill", "pop") for action in [*ACTIONS][:4]]
OF_CACHES = [(operation, action) for operation in ("read", "refresh") for action in [*ACTIONS][2:]]


@every_policy
@pytest.mark.parametrize(
    ("operation", "action", "is_store"),
    [*[(*each, True) for each in OF_STORES], *[(*each, False) for each in OF_CACHES]],
)
def test_each_value_is_reported_once_whatever_a_handler_does_meanwhile(
    operation: str, action: str, is_store: bool, policy: str
) -> None:
    make = partial(Watched, policy, is_store)
    assert before_each(signal_steps, partial(act_before_step, OPERATIONS[operation], ACTIONS[action], make)) > 20


def act_before_step(operate: Any, act: Any, make: Callable[[], Watched], at: int) -> Injected:
    subject = make()
    injected = inject(partial(operate, subject), partial(acted, act, subject), at)
    assert not isinstance(injected.result, BaseException), repr(injected)
    try:
        subject.check()
    except AssertionError as error:
        raise AssertionError(f"{injected}: {error}") from None
    return injected


def acted(act: Callable[[Watched], Any], subject: Watched) -> None:
    act(subject)
    subject.look()


class Meddling:
    """A key whose `__hash__` calls a function, once, when it has been called so many times."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._calls_left = 0

    def call_at(self, nth: int) -> None:
        self._calls_left = nth

    def __hash__(self) -> int:
        self._calls_left -= 1
        if self._calls_left == 0:
            self._call()
        return 7


def test_what_a_key_has_put_in_the_place_of_what_is_deleted_is_told_though_the_items_are_counted_first() -> None:
    def meddle() -> None:
        assert storage.delete(key)
        assert storage.set(key, "other")

    told, key = Told(), Meddling(meddle)
    storage = make_store(max_items=10, on_removal=told)
    storage.set(key, "value")
    key.call_at(3)  # found; looked at again under the lock; taken out
    assert not storage.delete(key)
    assert storage.number_of_items == 0
    storage.set("next", "value")
    assert told.take() == [(key, "value", "explicit"), (key, "other", "evicted")]
    assert_valid(storage)


def test_what_was_put_out_for_a_value_whose_key_then_raises_is_told() -> None:
    def fail() -> None:
        raise LookupError

    told, key = Told(), Meddling(fail)
    storage = make_store(max_items=1, on_removal=told)
    storage.set("old", "value")
    key.call_at(3)  # hashed; looked up; put in, after room was made
    with pytest.raises(LookupError):
        storage.set(key, "value")
    storage.set("next", "value")
    assert told.take() == [("old", "value", "evicted")] and storage.cache_info().evictions == 1
    assert_valid(storage)


class Restless:
    """A key that does something to the store whenever it is compared."""

    def __init__(self, n: int, act: Any) -> None:
        self.n = n
        self.act = act

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        self.act()
        return isinstance(other, Restless) and self.n == other.n


@every_policy
@pytest.mark.parametrize("seed", range(4))
def test_no_value_is_told_twice_however_operations_come_inside_others(policy: str, seed: int) -> None:
    import random

    chance, told, inside = random.Random(seed), Told(), [False]
    store: Storage[int] = make_store(policy, max_items=3, on_removal=told)
    values = iter(range(10**6))

    def act() -> None:
        if not inside[0] and chance.random() < 0.3:
            inside[0] = True
            try:
                key = keys[chance.randrange(6)]
                chance.choice([store.delete, lambda key: store.set(key, next(values)), lambda _: store.set(99, 0)])(key)
            finally:
                inside[0] = False

    keys = [Restless(n, act) for n in range(6)]
    for _ in range(300):
        key = keys[chance.randrange(6)]
        chance.choice([store.delete, lambda key: store.set(key, next(values)), store.get])(key)
        assert store.number_of_items <= 3
    inside[0] = True
    present = [value for value in store.get_many(list(store)).values() if value]
    left = [value for _, value, _ in told.all if value]
    assert len(set(left)) == len(left), "a value was told twice"
    assert not set(left) & set(present), "a value was told, and is there"
    check_books(store)


class Nested:
    """Keys of one hash that call what each test gives, when the n-th comparison since `arm` is made."""

    def __init__(self, acts: dict[int, Any]) -> None:
        self.acts = acts
        self.calls: int | None = None

    def key(self, n: int) -> Restless:
        return Restless(n, self.compare)

    def compare(self) -> None:
        if self.calls is None:
            return
        self.calls += 1
        if act := self.acts.pop(self.calls, None):
            calls, self.calls = self.calls, None
            act()
            self.calls = calls

    def run(self, operation: Callable[[], Any]) -> None:
        self.calls = 0
        operation()
        self.calls = None


@every_policy
@pytest.mark.parametrize("at", range(1, 5))
def test_what_is_evicted_after_nested_code_has_changed_its_deadline_is_told_once(policy: str, at: int) -> None:
    """1. nested in a set, `expire_in` notes A as changed, and a set inserts 2. the set evicts A 3. and stores again."""
    told = Told()
    store: Storage[int] = make_store(policy, max_items=3, on_removal=told)
    nested = Nested({at: lambda: ([store.expire_in(each, 7) for each in keys], store.set("other", 4))})
    keys = [nested.key(n) for n in range(3)]
    for n, key in enumerate(keys):
        store.set(key, n)
    nested.run(lambda: store.set(nested.key(3), 3))
    check_books(store)
    store.clear()
    assert sorted(value for _, value, _ in told.take()) == sorted([0, 1, 2, 3] + [4] * (not nested.acts))


def quietly(cache: Any, key: Any) -> None:
    with suppress(RecursiveFillError, FillDeadlockError):
        cache[key]


@every_policy
@pytest.mark.parametrize("first", range(1, 8))
def test_a_refresh_in_which_nested_code_inserts_twice_leaves_the_books_in_order(policy: str, first: int) -> None:
    """1. a refresh has stored its entry 2. nested code inserts: it stores again 3. nested code fills the key."""
    for second in range(first + 1, first + 6):
        told, values = Told(), count()
        cache = AtomicCache[Any, int](
            lambda key, values=values: next(values), max_items=5, policy=policy, on_removal=told
        )
        nested = Nested({})
        nested.acts[first] = partial(quietly, cache, "other")
        nested.acts[second] = partial(quietly, cache, nested.key(1))
        for n in range(3):
            cache[nested.key(n)]
        nested.run(partial(cache.refresh, nested.key(1)))
        check_books(cache)
        cache.clear()
        assert sorted(value for _, value, _ in told.take()) == list(range(next(values)))


@every_policy
@pytest.mark.parametrize("at", range(1, 9))
def test_a_refresh_inside_a_refresh_of_the_same_key_tells_each_value_once(policy: str, at: int) -> None:
    """Broken: the inner one replaced the entry, the outer one that of the inner one, and showed the old value again."""
    told, values = Told(), count()
    cache = AtomicCache[Any, int](lambda key: next(values), max_items=5, policy=policy, on_removal=told)
    nested = Nested({})

    def refresh() -> None:
        with suppress(RecursiveFillError, FillDeadlockError):
            cache.refresh(nested.key(2))

    nested.acts[at] = refresh
    for n in range(3):
        cache[nested.key(n)]
    nested.run(lambda: cache.refresh(nested.key(2)))
    check_books(cache)
    cache.clear()
    assert sorted(value for _, value, _ in told.take()) == list(range(next(values)))


def stored_of(cache: Any) -> set[int]:
    return {entry.value for entry in cache._state.index.snapshot() if entry.is_published}


@every_policy
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("is_store", [True, False])
def test_operations_inside_operations_inside_others(policy: str, depth: int, is_store: bool) -> None:
    """At rest no limit is exceeded, the books are in order, and what is gone was told once."""
    for seed in range(8):
        nest_at_random(policy, depth, is_store, seed)


def nest_at_random(policy: str, depth: int, is_store: bool, seed: int) -> None:
    import random

    chance, told, values, level, budget = random.Random(seed), Told(), count(), [0], [0]
    most = chance.choice([1, 2, 3, 5])
    cache: Any
    if is_store:
        cache = make_store(policy, max_items=most, on_removal=told)
    else:
        cache = AtomicCache(lambda key: next(values), max_items=most, policy=policy, on_removal=told)
    cache_operations = (
        [cache.refresh, cache.__getitem__]
        if not is_store
        else [
            lambda key: cache.set(key, next(values), ttl=chance.choice([None, 3, 0])),
            lambda key: cache.expire_in(key, chance.choice([None, 0, 8])),
            lambda key: cache.get_or_fill(key, lambda key: next(values)),
        ]
    )
    operations = [*cache_operations, *cache_operations, cache.invalidate, lambda key: cache.clear()]

    def operate() -> None:
        with suppress(RecursiveFillError, FillDeadlockError):
            chance.choice(operations[: -1 if chance.random() < 0.9 else None])(Restless(chance.randrange(5), act))

    def act() -> None:
        if level[0] < depth and budget[0] > 0 and chance.random() < 0.2:
            budget[0] -= 1
            level[0] += 1
            operate()
            level[0] -= 1

    ever: set[int] = set()
    for _ in range(60):
        budget[0] = 30
        operate()
        budget[0] = 0
        assert len(stored_of(cache)) <= most, (seed, "a limit is exceeded at rest")
        check_books(cache)
        values_told = [value for _, value, _ in told.all] + [value for _, value, _ in cache._state.index.unreported]
        assert len(set(values_told)) == len(values_told), (seed, "a value was told twice")
        assert not stored_of(cache) & set(values_told), (seed, "a value was told, and is there")
        ever |= stored_of(cache)
        assert ever <= stored_of(cache) | set(values_told), (seed, "a value was never told")


@every_policy
def test_no_limit_is_exceeded_after_a_key_has_stored_something_and_then_raises(policy: str) -> None:
    def store_and_fail() -> None:
        store.set_many({n: n for n in range(9)})
        raise LookupError

    told = Told()
    store: Storage[int] = make_store(policy, max_items=2, on_removal=told)
    nested = Nested({})
    store.set(nested.key(1), 1)
    nested.acts[1] = store_and_fail
    with pytest.raises(LookupError):
        nested.run(lambda: store.set(nested.key(2), 2))
    assert len(stored_of(store)) <= 2
    check_books(store)


@every_policy
@pytest.mark.parametrize("again", ["set", "invalidate"])
def test_what_nested_code_has_stored_and_other_nested_code_removes_is_reported_once(policy: str, again: str) -> None:
    """Found by the scenario `removals` on 3.13t.

    1. inside a set, nested code stores D                       3. a signal handler removes D, and reports it
    2. the set looks whether D was overwritten: it was stored   4. the set looks: D is not there, and is reported again

    and, where the handler comes before step 2: D was noted as removed, and then, by what had stored it, as stored.
    """
    before_each(signal_steps, partial(remove_what_nested_code_stores, policy, again))


def remove_what_nested_code_stores(policy: str, again: str, at: int) -> Injected:
    told, values, nested = Told(), count(), Nested({})
    store: Storage[int] = make_store(policy, max_items=3, on_removal=told)
    put = lambda key: store.set(key, next(values))  # noqa: E731
    acts = {"set": partial(put, "d"), "invalidate": partial(store.invalidate, "d")}
    put(nested.key(0))
    put(nested.key(1))
    nested.acts[1] = acts["set"]
    injected = inject(partial(nested.run, lambda: put(nested.key(0))), acts[again], at)
    nested.calls = None
    check_books(store)
    for _ in range(2):  # what nested code could not report, the next operation does
        put("e")
        store.clear()
    assert sorted(value for _, value, _ in told.take()) == list(range(next(values))), repr(injected)
    return injected


def evict_during_its_refresh(policy: str, told: Told, at: int) -> Injected:
    """`a` is invalidated before a step of what evicts it, while it shows its old value: a lookup in its own fill."""
    runs: list[Injected] = []

    def fill(key: str) -> int:
        if key == "a" and next(fills) == 1:
            runs.append(inject(lambda: cache["b"], lambda: cache.invalidate("a"), at))
        return next(values)

    values, fills = count(), count()
    cache: AtomicCache[str, int] = AtomicCache(fill, max_items=1, policy=policy, on_removal=told)
    assert cache["a"] == 0
    cache.refresh("a")
    cache.clear()
    return runs[0]


def insert_during_its_refresh(policy: str, told: Told, at: int) -> Injected:
    """A key is invalidated before a step of its refresh, which begins with an assignment in which another is filled."""
    values, nested = count(), Nested({})
    cache: AtomicCache[Any, int] = AtomicCache(lambda key: next(values), max_items=5, policy=policy, on_removal=told)
    for n in range(2):
        assert cache[nested.key(n)] == n
    nested.acts[4] = partial(quietly, cache, "other")
    injected = inject(
        partial(nested.run, partial(cache.refresh, nested.key(1))), partial(cache.invalidate, nested.key(1)), at
    )
    nested.calls = None
    cache.clear()
    return injected


@every_policy
@pytest.mark.parametrize("run", [evict_during_its_refresh, insert_during_its_refresh])
def test_what_a_refresh_shows_is_reported_once_though_a_finalizer_invalidates_it(
    policy: str, run: Callable[[str, Told, int], Injected]
) -> None:
    """Broken: 1. A looks: there is a value    2. a finalizer removes it, and reports it    3. A reports it.

    A evicts that value; or stores again what shows it, as its key's method has inserted something.
    """

    def check(at: int) -> Injected:
        told = Told()
        injected = run(policy, told, at)
        reported = [value for _, value, _ in told.take()]
        assert len(reported) == len(set(reported)), f"{injected}: {reported}"
        return injected

    for steps in (signal_steps, steps_of_what_reports) if run is evict_during_its_refresh else (steps_of_what_reports,):
        before_each(steps, check)


def steps_of_what_reports(code: CodeType) -> frozenset[int]:
    return every_step(code) if code.co_name in ("_evict_or_unpublish", "_store_successor") else frozenset()


@every_policy
def test_the_value_that_a_publication_replaces_is_reported_though_a_handler_sets_the_key_meanwhile(policy: str) -> None:
    """Broken: 1. A notes the old value, and stores the new one 2. a set reports that, and drops the note of the old."""

    def set_meanwhile(at: int) -> Injected:
        told, values, clock = Told(), count(), ManualClock()
        store: Storage[int] = make_store(policy, max_items=3, on_removal=told, clock=clock)
        look = partial(
            store.get_or_fill, "a", lambda key: next(values), ttl=1, resilience=Resilience(stale_ttl=9, fail_safe=True)
        )
        assert look() == 0
        clock.advance(2)
        injected = inject(look, lambda: store.set("a", next(values)), at)
        store.clear()
        reported = [value for _, value, _ in told.take()]
        assert reported.count(0) == 1 and len(reported) == len(set(reported)), f"{injected}: {reported}"
        return injected

    before_each(signal_steps, set_meanwhile)


@every_policy
@pytest.mark.parametrize("stored", ["another key", "the same key"])
def test_a_key_that_stores_something_whenever_it_is_compared_ends_its_set(policy: str, stored: str) -> None:
    """Broken: 1. a set stores its value, in which its key stores something: it stores again 2. so does the key, ..."""
    told, values, compared, is_inside = Told(), count(), count(), [False]
    store: Storage[int] = make_store(policy, max_items=3, on_removal=told)

    def store_something() -> None:
        if not is_inside[0]:
            assert next(compared) < 500, "there is no end"
            is_inside[0] = True
            put("other" if stored == "another key" else Restless(1, store_something))
            is_inside[0] = False

    def put(key: Any) -> None:
        store.set(key, next(values))

    for n in (0, 1, 0, 1, 2):
        put(Restless(n, store_something))
    is_inside[0] = True
    check_books(store)
    store.clear()
    assert sorted(value for _, value, _ in told.take()) == list(range(next(values)))


class PoppedFrom(Storage[int]):
    """A store whose `popitem` fails instead of looking for ever."""

    looks = 0

    def _some_entry(self) -> Any:
        self.looks += 1
        assert self.looks < 20, "popitem finds again and again what it cannot remove"
        return super()._some_entry()


@every_policy
@pytest.mark.parametrize("operation", ["set", "sweep"])
def test_popitem_in_a_handler_ends_and_gives_what_is_there(policy: str, operation: str) -> None:
    """Broken: 1. an eviction takes an entry out of the dict 2. popitem finds it in the policy, which has it, for ever.

    Or before step 2 nested code has removed an entry, of which the policy learns as the operation ends.
    """

    def pop_meanwhile(at: int) -> Injected:
        told, popped, clock = Told(), list[int](), ManualClock()
        store = PoppedFrom(
            max_items=2, policy=policy, on_removal=told, clock=clock, expiration_thread_max_checks_per_iteration=0
        )
        store.update({"a": 0, "b": 1})
        store.expire_in("a", 1)
        clock.advance(2)

        def pop() -> None:
            with suppress(KeyError):
                popped.extend(store.popitem()[1] for _ in range(3))

        injected = inject({"set": partial(store.set, "c", 2), "sweep": store.sweep}[operation], pop, at)
        assert not isinstance(injected.result, BaseException), repr(injected)
        check_books(store)
        store.clear()
        reported = [value for _, value, _ in told.take()]
        assert len(reported) == len(set(reported)) and set(popped) <= set(reported), f"{injected}: {reported}"
        assert operation == "sweep" or 2 in reported, f"{injected}: {reported}"
        return injected

    before_each(signal_steps, pop_meanwhile)


@every_policy
def test_a_value_keeps_its_own_weight_though_its_replacement_is_interrupted(policy: str) -> None:
    """Broken: 1. a publication notes the new weight 2. it is interrupted: the old value stays, and counts for that.

    Or a refresh inside another operation, which then puts the weights right, is done, and that is interrupted.
    """

    def steps(code: CodeType) -> frozenset[int]:
        return (
            signal_steps(code)
            if code.co_name in ("_publish", "publish", "_merge_nested", "_unaccount")
            else frozenset()
        )

    def interrupt_at(at: int) -> Injected:
        values, nested = count(1), Nested({})
        cache = AtomicCache[Any, int](
            lambda key: next(values), max_bytes=10_000, weigher=lambda key, value: value, policy=policy
        )
        for n in range(3):
            cache[nested.key(n)]
        nested.acts[5] = partial(cache.refresh, nested.key(1))  # as the entry of the outer refresh is put in
        injected = inject(partial(nested.run, partial(cache.refresh, nested.key(2))), interrupt, at)
        nested.calls = None
        cache.size_in_bytes  # noqa: B018  (has the accounting built again)
        check_books(cache)
        return injected

    assert before_each(steps, interrupt_at) > 10


def interrupt() -> None:
    raise KeyboardInterrupt


@every_policy
def test_a_set_over_what_a_handler_fills_again_meanwhile_reports_each_value_once(policy: str) -> None:
    """Broken: 1. a set is to replace E, which is stale 2. a handler fills E's key: that replaces E, and reports its
    value 3. the set replaces what is there by now, and reports E's value again.
    """

    def fill_meanwhile(at: int) -> Injected:
        told, values, clock = Told(), count(), ManualClock()
        store: Storage[int] = make_store(policy, max_items=3, on_removal=told, clock=clock)
        fill = partial(store.get_or_fill, "a", lambda key: next(values))
        fill(ttl=1, resilience=Resilience(stale_ttl=9, fail_safe=True))
        clock.advance(2)
        injected = inject(lambda: store.set("a", next(values)), fill, at)
        check_books(store)
        for _ in range(2):  # what the set could not report, the next operation does
            store.set("b", next(values))
            store.clear()
        assert sorted(value for _, value, _ in told.take()) == list(range(next(values))), repr(injected)
        return injected

    before_each(steps_of_what_replaces, fill_meanwhile)


def steps_of_what_replaces(code: CodeType) -> frozenset[int]:
    return signal_steps(code) if code.co_name in ("_put", "_put_over", "_unaccount", "cancel") else frozenset()
