"""Storage: set, add, delete, pop and close against each other and against a fill.

Values are unique: whatever was stored is either there at the end or was reported to the listener, once.
"""

from __future__ import annotations

from typing import Any

from areole import CACHE_MISS, CacheClosedError, RemovalCause, Storage
from areole.testing import assert_valid

from ..race import POLICIES, Started, guarded, race
from ..schedule import point


class Listener:
    """A store, and what has left it."""

    def __init__(self, policy: str) -> None:
        self.values: list[str] = []
        self.causes: list[RemovalCause] = []
        self.store: Storage[str] = Storage(
            policy=policy, on_removal=self._note, expiration_thread_max_checks_per_iteration=0
        )

    def _note(self, key: Any, value: str, cause: RemovalCause) -> None:
        self.values.append(value)
        self.causes.append(cause)

    def fill(self, key: Any) -> str:
        point()
        return "filled"

    def check(self, stored: list[str]) -> None:
        """Fail unless what was stored is there or was reported, once; a fill that was detached is neither."""
        present = [self.store[key] for key in self.store]
        assert sorted(present + self.values) == sorted(stored), f"{stored=}; {present=}; reported {self.values}"
        assert_valid(self.store)


@race(policy=POLICIES)
def add_against_add(policy: str) -> Started:
    """Two add one absent key. Proves that add looks and stores in one step.

    1. A looks: absent      2. B looks: absent      3. both store, and both say True

    Allowed: one says True, and its value is there.
    """
    listener = Listener(policy)

    def check(results: list[Any]) -> None:
        assert sorted(results) == [False, True]
        assert listener.store["key"] == ("one" if results[0] else "two")
        listener.check(["one" if results[0] else "two"])

    store = listener.store
    return (lambda: store.add("key", "one")), (lambda: store.add("key", "two")), guarded(store, check)


@race(preemptions=1, symmetric=True, policy=POLICIES)
def three_pops(policy: str) -> Started:
    """Three pop one value. Proves invariant 9: who removes the entry has its value, and nobody else.

    1. A and B find the entry      2. A takes it out      3. B takes out the key, and returns the value too

    Allowed: one gets the value.
    """
    listener = Listener(policy)
    listener.store.set("key", "one")

    def check(results: list[Any]) -> None:
        assert sorted(results, key=repr) == ["one", CACHE_MISS, CACHE_MISS]
        listener.check(["one"])

    return *[lambda: listener.store.pop("key")] * 3, guarded(listener.store, check)


@race(preemptions=1, policy=POLICIES)
def delete_set_and_fill(policy: str) -> Started:
    """Three threads: a delete, a set and a fill of one key. Proves invariants 3 and 9.

    1. the fill begins    2. the key is set    3. it is deleted    4. the fill is stored, or the delete takes the set
                                                                      value out and the fill's comes back

    Allowed: the set value is there or was deleted; the fill's value never follows a set.
    """
    listener = Listener(policy)
    store = listener.store

    def check(results: list[Any]) -> None:
        deleted, _, got = results
        assert got in ("set", "filled")
        there = store.get("key")
        assert there != "filled" or deleted is True, "a fill was stored after the set, though nobody had deleted that"
        filled = ["filled"] if "filled" in (*listener.values, there) else []
        listener.check(["set", *filled])

    return (
        (lambda: store.delete("key")),
        (lambda: store.set("key", "set")),
        (lambda: store.get_or_fill("key", listener.fill)),
        guarded(store, check),
    )


@race(policy=POLICIES)
def set_against_delete(policy: str) -> Started:
    """One deletes while another overwrites. Proves that a removal is by identity.

    1. the delete finds the old entry   2. the key is set again   3. the delete pops the key, and reports the old value

    Allowed: delete says True; what it removed is reported as EXPLICIT, and what was overwritten REPLACED.
    """
    listener = Listener(policy)
    listener.store.set("key", "old")

    def check(results: list[Any]) -> None:
        assert results == [True, True]
        assert listener.causes.count(RemovalCause.EXPLICIT) == 1
        listener.check(["old", "new"])

    return (
        (lambda: listener.store.delete("key")),
        (lambda: listener.store.set("key", "new")),
        guarded(listener.store, check),
    )


@race(preemptions=1, policy=("lru",))
def close_during_a_fill(policy: str) -> Started:
    """A store is closed while a key is filled. Proves that a close leaves nobody waiting, and no flight.

    1. A leads; B waits      2. C closes      3. A's store is refused, and B waits for ever

    Allowed: the fill's value, or CacheClosedError for who came after the close.
    """
    listener = Listener(policy)
    store = listener.store

    def check(results: list[Any]) -> None:
        for result in results[:2]:
            assert result == "filled" or isinstance(result, CacheClosedError), result
        assert store.get("key") in ("filled", CACHE_MISS)
        if "filled" in results:
            assert store.get("key") == "filled"
        assert all(entry.flight is None for entry in store._state.index.snapshot())

    ask = lambda: store.get_or_fill("key", listener.fill)  # noqa: E731
    return ask, ask, store.close, guarded(store, check)
