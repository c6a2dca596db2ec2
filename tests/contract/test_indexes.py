"""The contract of an index, over both: find, insert_if_absent, replace_if, remove_if, snapshot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache
from areole._core.entry import Empty, Entry
from areole._index.atomic import AtomicDictIndex
from areole._index.dict import DictIndex
from areole._index.protocol import Index

from ..kit import Fill, assert_valid, every_index, unhashable_list

every_kind = pytest.mark.parametrize("make", [DictIndex, AtomicDictIndex], ids=["dict", "atomic"])
Make = Callable[[], Index]


class Key:
    """A key with a hash of the test's choice, and methods that do what the test says before they answer."""

    def __init__(self, name: Any, in_eq: Callable[[], Any] = lambda: None, in_hash: Callable[[], Any] = lambda: None):
        self.name, self.in_eq, self.in_hash = name, in_eq, in_hash

    def __hash__(self) -> int:
        self.in_hash()
        return 1

    def __eq__(self, other: object) -> bool:
        self.in_eq()
        if isinstance(other, Key) and other is not self:
            other.in_eq()
        return isinstance(other, Key) and self.name == other.name


def raise_(error: Exception) -> Callable[[], Any]:
    def do() -> None:
        raise error

    return do


@every_kind
def test_what_was_inserted_is_found_by_an_equal_key(make: Make) -> None:
    index, entry = make(), Entry((1, "a"))
    assert index.find((1, "a")) is None
    assert index.insert_if_absent(entry) is entry
    assert index.find((1.0, "a")) is entry
    assert index.find((1, "b")) is None


@every_kind
def test_the_second_insert_of_a_key_gives_the_first_entry(make: Make) -> None:
    index, first, second = make(), Entry("a"), Entry("a")
    index.insert_if_absent(first)
    assert index.insert_if_absent(second) is first
    assert index.insert_if_absent(first) is first
    assert index.find("a") is first
    assert index.snapshot() == [first]


@every_kind
def test_only_the_entry_that_is_in_can_be_removed(make: Make) -> None:
    index, first, second = make(), Entry("a"), Entry("a")
    assert index.remove_if(first) is False
    index.insert_if_absent(first)
    assert index.remove_if(second) is False, "an entry is meant by identity, not by its key"
    assert index.find("a") is first
    assert index.remove_if(first) is True
    assert index.remove_if(first) is False
    assert index.find("a") is None and index.snapshot() == []


@every_kind
def test_what_is_removed_as_expired_must_have_expired_by_then(make: Make) -> None:
    """Known fault A10: the atomic index did not look."""
    index, entry = make(), Entry("a")
    index.insert_if_absent(entry)
    entry.publish("value", 5.0)
    assert index.remove_if(entry, 4.5) is False
    assert index.find("a") is entry
    assert index.remove_if(entry, 5.0) is True
    assert index.find("a") is None


@every_kind
def test_only_the_entry_that_is_in_can_be_replaced(make: Make) -> None:
    index, first, second, third = make(), Entry("a"), Entry("a"), Entry("a")
    assert index.replace_if(first, second) is False
    assert index.find("a") is None
    index.insert_if_absent(first)
    assert index.replace_if(third, second) is False
    assert index.replace_if(first, second) is True
    assert index.find("a") is second and index.snapshot() == [second]
    assert index.replace_if(first, third) is False
    assert index.remove_if(first) is False
    assert index.find("a") is second


@every_kind
def test_an_entry_may_come_again_after_it_was_removed(make: Make) -> None:
    index, first, second = make(), Entry("a"), Entry("a")
    for entry in (first, second, first, first):
        assert index.insert_if_absent(entry) is entry
        assert index.find("a") is entry and index.snapshot() == [entry]
        assert index.remove_if(entry) is True
    assert index.replace_if(first, second) is False


@every_kind
def test_a_snapshot_is_a_new_list_of_what_was_in(make: Make) -> None:
    index = make()
    entries = [Entry(n) for n in range(100)]
    for entry in entries:
        index.insert_if_absent(entry)
    for entry in entries[::2]:
        index.remove_if(entry)
    snapshot = index.snapshot()
    assert sorted(entry.key for entry in snapshot) == list(range(1, 100, 2))
    index.remove_if(entries[1])
    index.insert_if_absent(entries[0])
    assert len(snapshot) == 50
    snapshot.clear()
    assert len(index.snapshot()) == 50


@every_kind
def test_what_a_hit_reads_raises_key_error_or_shows_no_value_where_nothing_is(make: Make) -> None:
    index, entry = make(), Entry("a")
    with pytest.raises(KeyError):
        index.entries["a"]
    index.insert_if_absent(entry)
    assert index.entries["a"] is entry
    index.remove_if(entry)
    try:
        vacant = index.entries["a"]
    except KeyError:
        return
    assert vacant.value is Empty and vacant.deadline == float("-inf") and vacant.flight is None


@every_kind
def test_equal_keys_of_different_types_are_one_key(make: Make) -> None:
    index, entry = make(), Entry(1)
    index.insert_if_absent(entry)
    assert index.find(1.0) is index.find(True) is entry
    assert index.insert_if_absent(Entry(True)) is entry
    assert index.find("1") is None


@every_kind
def test_different_keys_of_one_hash_are_different_keys(make: Make) -> None:
    index = make()
    entries = [Entry(key) for key in (-1, -2, Key("a"), Key("b"), 1)]  # two hash to -2, three to 1
    for entry in entries:
        assert index.insert_if_absent(entry) is entry
    assert index.remove_if(entries[0]) is True
    assert [index.find(entry.key) for entry in entries] == [None, *entries[1:]]


@every_kind
def test_a_key_that_is_not_equal_to_itself_is_found_by_identity(make: Make) -> None:
    index, nan = make(), float("nan")
    entry = Entry(nan)
    index.insert_if_absent(entry)
    assert index.find(nan) is entry
    assert index.find(float("nan")) is None
    assert index.remove_if(entry) is True


@every_kind
@pytest.mark.parametrize("method", ["in_eq", "in_hash"])
def test_what_a_key_raises_is_raised_and_changes_nothing(make: Make, method: str) -> None:
    index, entry = make(), Entry(Key("a"))
    index.insert_if_absent(entry)
    bad = Key("b", **{method: raise_(ZeroDivisionError())})
    for use in (index.find, lambda key: index.insert_if_absent(Entry(key)), lambda key: index.remove_if(Entry(key))):
        with pytest.raises(ZeroDivisionError):
            use(bad)
    with pytest.raises(ZeroDivisionError):
        index.replace_if(Entry(bad), Entry(bad))
    assert index.snapshot() == [entry] and index.find(Key("a")) is entry


@every_kind
@pytest.mark.parametrize("error", [KeyError(), TypeError(), ZeroDivisionError()])
def test_an_insert_whose_key_raises_leaves_no_trace(make: Make, error: Exception) -> None:
    """KeyError is the hard one: it looks like the index's own "not there"."""
    index, entry = make(), Entry(Key("a"))
    index.insert_if_absent(entry)
    with pytest.raises(type(error)):
        index.insert_if_absent(Entry(Key("b", in_eq=raise_(error))))
    assert index.snapshot() == [entry]


@every_kind
def test_an_insert_whose_key_raises_later_leaves_no_trace(make: Make) -> None:
    """The key's `__eq__` answers the first time and raises at the second, wherever that is."""
    index, entry = make(), Entry(Key("a"))
    index.insert_if_absent(entry)
    answers = [lambda: None, raise_(ZeroDivisionError())]
    new = Entry(Key("b", in_eq=lambda: answers.pop(0)() if answers else None))
    try:
        index.insert_if_absent(new)
    except ZeroDivisionError:
        assert index.snapshot() == [entry]
    else:
        answers.clear()
        assert len(index.snapshot()) == 2 and index.find(new.key) is new


@every_kind
def test_an_unhashable_key_is_a_type_error(make: Make) -> None:
    index = make()
    for use in (index.find, lambda key: index.insert_if_absent(Entry(key)), lambda key: index.remove_if(Entry(key))):
        with pytest.raises(TypeError):
            use(unhashable_list())
    assert index.snapshot() == []


@every_kind
@pytest.mark.parametrize("act", ["insert", "remove", "insert another"])
@pytest.mark.parametrize("use", ["find", "insert", "remove"])
def test_a_key_whose_eq_uses_the_index_does_it_no_harm(make: Make, act: str, use: str) -> None:
    index, first = make(), Entry(Key("a"))
    index.insert_if_absent(first)
    key = Key("b")
    new = Entry(key)
    if use == "remove":
        index.insert_if_absent(new)

    def reenter() -> None:
        key.in_eq = lambda: None  # once
        if act == "remove":
            index.remove_if(first)
        else:
            index.insert_if_absent(Entry(Key("b" if act == "insert" else "c")))

    key.in_eq = reenter
    {"find": index.find, "insert": lambda key: index.insert_if_absent(new), "remove": lambda key: index.remove_if(new)}[
        use
    ](key)
    check_index(index)


@every_kind
def test_a_remove_whose_key_swaps_the_entry_removes_no_other(make: Make) -> None:
    """The step that the lock cannot make one: the key's own method calls in, on the same thread (invariant 9)."""
    index, key = make(), Key("a")
    old, new = Entry(key), Entry(Key("a"))
    index.insert_if_absent(old)
    rival = Entry(Key("z"))
    index.insert_if_absent(rival)

    def swap() -> None:
        key.in_eq = lambda: None
        if index.remove_if(old):
            index.insert_if_absent(new)

    asker = Entry(Key("a", in_eq=lambda: None))
    key.in_eq = swap
    index.remove_if(asker)
    assert index.find(Key("a")) in (old, new)
    index.remove_if(old)
    check_index(index)


def check_index(index: Index) -> None:
    """Every entry of the snapshot is in it once, and is found by its key."""
    snapshot = index.snapshot()
    assert len(set(map(id, snapshot))) == len(snapshot)
    for entry in snapshot:
        assert index.find(entry.key) is entry


@every_index
@pytest.mark.parametrize("error", [KeyError("mine"), TypeError("mine"), ZeroDivisionError("mine")])
@pytest.mark.parametrize("method", ["in_eq", "in_hash"])
def test_a_lookup_raises_what_its_key_raises(index: str, method: str, error: Exception) -> None:
    cache = AtomicCache(Fill(), index=index)
    cache[Key("a")]
    bad = Key("b", **{method: raise_(error)})
    with pytest.raises(type(error), match=r"mine|hashable"):
        cache[bad]
    assert len(cache) == 1
    assert_valid(cache)


@every_index
def test_a_key_whose_eq_fills_the_same_cache_is_filled_once(index: str) -> None:
    """lru_cache's fault of bpo-35780: what the inner call stored must not be lost or doubled."""
    fill = Fill()
    cache = AtomicCache(fill, index=index)
    cache[Key("a")]
    key = Key("b")

    def reenter() -> None:
        key.in_eq = lambda: None
        cache[Key("b")]

    key.in_eq = reenter
    assert cache[key][1] == 1
    assert len(cache) == 2 and [each.name for each in fill.keys].count("b") == 1
    assert_valid(cache)


def test_a_refresh_is_stored_whose_own_cell_was_met_by_a_clear_before_another_came_first() -> None:
    """In an AtomicDict. Proves that what a refresh has returned is what the next lookup gets.

    1. A's refresh has a cell, not yet in the dict      3. B fills: its cell is in first
    2. a `clear` empties A's cell, and marks its flight 4. A replaces B's value    -- and its own is not stored.
    """

    class Cells:
        def __init__(self, cells: Any) -> None:
            self._cells = cells

        def __getitem__(self, key: str) -> Any:
            return self._cells[key]

        def compare_and_set(self, *args: Any) -> None:
            index.cells = self._cells
            cache.clear()
            assert cache["a"] == "old"
            self._cells.compare_and_set(*args)

    values = iter(["old", "new"])
    cache = AtomicCache[str, str](lambda key: next(values), index="atomic")
    index: Any = cache._state.index
    index.cells = Cells(index.cells)
    assert cache.refresh("a") == "new"
    assert cache["a"] == "new"
    assert_valid(cache)
