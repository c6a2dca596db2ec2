"""get_or_fill: filled once, stored under the store's rules, and a `set` or `delete` meanwhile wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import CACHE_MISS, RecursiveFillError, Resilience, Storage
from areole.testing import ManualClock

from ..kit import Gate, Told, check_books, every_policy, make_store, run_threads, start_threads, wait_until_waiting

pytestmark = every_policy


@pytest.mark.parametrize("value", [0, None, "", b"", False, CACHE_MISS], ids=repr)
def test_a_miss_is_filled_and_stored_and_a_hit_is_not_filled(policy: str, value: Any) -> None:
    store = make_store(policy)
    keys = []
    for _ in range(3):
        assert store.get_or_fill("a", lambda key: keys.append(key) or value) is value
    assert keys == ["a"] and store.get("a") is value and store.number_of_items == 1
    check_books(store)


def test_what_is_no_resilience_is_refused_on_a_hit_too(policy: str) -> None:
    store = make_store(policy)
    for _ in range(2):
        with pytest.raises(TypeError, match="resilience must be a Resilience or None, not int"):
            store.get_or_fill("a", str, resilience=5)  # type: ignore[arg-type]
        store.set("a", "1")
    check_books(store)


@pytest.mark.parametrize(("options", "name"), [({}, r"Storage at [\w.]+:\d+"), ({"name": "users"}, "users")])
def test_the_message_about_a_result_that_can_be_used_once_names_the_store(policy: str, options: Any, name: str) -> None:
    store = make_store(policy, **options)
    with pytest.raises(TypeError, match=f"get_or_fill: the fill for {name} returned a generator"):
        store.get_or_fill("a", lambda key: (each for each in key))
    check_books(store)


@pytest.mark.parametrize("resilience", [None, Resilience(negative_ttl=5)], ids=["plain", "resilient"])
def test_an_async_fill_is_refused_on_a_miss(policy: str, resilience: Any) -> None:
    async def fill(key: Any) -> str:
        return "never"

    store = make_store(policy)
    for _ in range(2):
        with pytest.raises(TypeError, match=r"fill must be a plain function, not the async def .*areole\.cached"):
            store.get_or_fill("a", fill, resilience=resilience)
    assert store.get("a") is CACHE_MISS and store.number_of_items == 0
    store.set("a", 1)
    assert store.get_or_fill("a", fill, resilience=resilience) == 1
    check_books(store)


@pytest.mark.parametrize("resilience", [None, Resilience(negative_ttl=5)], ids=["plain", "resilient"])
def test_a_fill_that_cannot_be_called_is_refused_on_a_miss_and_counts_as_none(policy: str, resilience: Any) -> None:
    store = make_store(policy)
    fill: Any = "value"
    with pytest.raises(TypeError, match="fill must be callable, not str"):
        store.get_or_fill("a", fill, resilience=resilience)
    assert store.cache_info().fills == store.number_of_items == 0
    check_books(store)


def test_what_was_set_is_not_filled(policy: str) -> None:
    store = make_store(policy)
    store.set("a", None)
    assert store.get_or_fill("a", pytest.fail) is None
    check_books(store)


def test_of_several_threads_one_fills_and_all_get_its_value(policy: str) -> None:
    store, gate, filled = make_store(policy, max_items=2), Gate(), []

    def fill(key: str) -> object:
        gate.enter()
        filled.append(object())
        return filled[-1]

    join = start_threads(*[lambda: store.get_or_fill("a", fill)] * 4)
    gate.wait_until_entered()
    wait_until_waiting(store, 3)
    gate.open()
    assert join() == filled * 4 and len(filled) == 1 and store.get("a") is filled[0]
    info = store.cache_info()
    assert (info.fills, info.waits, info.currsize) == (1, 3, 1)
    check_books(store)


def test_a_fill_that_raises_is_raised_and_stores_nothing(policy: str) -> None:
    store, error = make_store(policy), ValueError("no")
    for kind in (error, KeyboardInterrupt()):

        def fill(key: str, kind: BaseException = kind) -> Any:
            raise kind

        with pytest.raises(type(kind)) as caught:
            store.get_or_fill("a", fill)
        assert caught.value is kind and store.number_of_items == 0
        check_books(store)
    assert store.get_or_fill("a", str.upper) == "A" and store.cache_info().failures == 1
    check_books(store)


def test_a_fill_that_asks_for_its_own_key_is_an_error_and_no_hang(policy: str) -> None:
    store = make_store(policy)
    with pytest.raises(RecursiveFillError):
        store.get_or_fill("a", lambda key: store.get_or_fill(key, str))
    assert store.number_of_items == 0
    check_books(store)


def test_a_fill_may_use_the_store_for_other_keys_and_put_them_out(policy: str) -> None:
    store = make_store(policy, max_items=2)

    def fill(key: int) -> int:
        store.set_many({("other", i): i for i in range(5)})
        return key if key == 0 else store.get_or_fill(key - 1, fill) + key

    assert store.get_or_fill(5, fill) == 15
    assert store.number_of_items == 2 and store.get(5) == 15
    check_books(store)


def test_the_ttl_is_counted_from_the_end_of_the_fill(policy: str) -> None:
    clock = ManualClock()
    store = make_store(policy, clock=clock, default_ttl=10)
    store.get_or_fill("a", lambda key: clock.advance(100))
    store.get_or_fill("b", lambda key: clock.advance(100), ttl=50)
    assert store.ttl_of("b") == 50 and "a" not in store
    store.get_or_fill("a", lambda key: clock.advance(100))
    assert store.ttl_of("a") == 10
    check_books(store)


def test_an_expired_value_is_filled_anew_and_told_once(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, clock=clock, on_removal=told)
    store.set("a", "old", 10)
    clock.advance(10)
    assert store.get_or_fill("a", str.upper, 20) == "A"
    assert told.take() == [("a", "old", "expired")] and store.ttl_of("a") == 20
    check_books(store)


DURING: dict[str, tuple[Callable[[Storage[Any]], Any], Any, Any]] = {
    "set": (lambda store: store.set("a", "set"), True, "set"),
    "[]=": (lambda store: store.__setitem__("a", "set"), None, "set"),
    "add": (lambda store: store.add("a", "set"), True, "set"),
    "set, delete": (lambda store: (store.set("a", "set"), store.delete("a")), (True, True), CACHE_MISS),
    "delete, set": (lambda store: (store.delete("a"), store.set("a", "set")), (False, True), "set"),
    "delete": (lambda store: store.delete("a"), False, CACHE_MISS),
    "delete_many": (lambda store: store.delete_many([*"a"]), 0, CACHE_MISS),
    "pop": (lambda store: store.pop("a", 7), 7, CACHE_MISS),
    "invalidate": (lambda store: store.invalidate("a"), True, CACHE_MISS),
    "clear": (lambda store: store.clear(), None, CACHE_MISS),
    "expire_in": (lambda store: store.expire_in("a", 5), False, "filled"),
    "get": (lambda store: store.get("a"), CACHE_MISS, "filled"),
    "peek": (lambda store: store.peek("a"), CACHE_MISS, "filled"),
    "in": (lambda store: "a" in store, False, "filled"),
    "len": (lambda store: (len(store), store.number_of_items, list(store)), (0, 0, []), "filled"),
    "ttl_of": (lambda store: store.ttl_of("a"), CACHE_MISS, "filled"),
    "sweep": (lambda store: store.sweep(), 0, "filled"),
}


@pytest.mark.parametrize(("act", "answer", "left"), DURING.values(), ids=DURING)
def test_what_is_set_or_deleted_during_a_fill_wins_and_the_caller_gets_what_was_filled(
    policy: str, act: Any, answer: Any, left: Any
) -> None:
    told = Told()
    store = make_store(policy, max_items=3, on_removal=told)

    def fill(key: str) -> str:
        assert act(store) == answer
        told.take()
        return "filled"

    assert store.get_or_fill("a", fill) == "filled"
    assert store.get("a") == left and told.take() == []
    check_books(store)


@pytest.mark.parametrize("act", [lambda store: store.set("a", "set"), lambda store: store.delete("a")])
def test_a_set_or_delete_by_another_thread_wins_too_and_waiters_get_what_was_filled(policy: str, act: Any) -> None:
    store, gate = make_store(policy), Gate()
    join = start_threads(*[lambda: store.get_or_fill("a", lambda key: gate.enter() or "filled")] * 3)
    gate.wait_until_entered()
    wait_until_waiting(store, 2)
    run_threads(lambda: act(store))
    left = store.get("a")
    gate.open()
    assert join() == ["filled"] * 3
    assert store.get("a") is left and left in ("set", CACHE_MISS)
    check_books(store)


def test_a_fill_that_began_before_a_delete_is_not_joined_after_it(policy: str) -> None:
    store = make_store(policy)

    def fill(key: str) -> str:
        store.delete("a")
        assert store.get_or_fill("a", lambda key: "newer") == "newer"
        return "older"

    assert store.get_or_fill("a", fill) == "older" and store.get("a") == "newer"
    check_books(store)


def test_a_value_too_large_reaches_the_caller_and_is_not_stored(policy: str) -> None:
    told = Told()
    store = make_store(policy, size_limit_in_bytes=4096, on_removal=told)
    store.set("b", b"stays")
    large = bytes(5000)
    assert store.get_or_fill("a", lambda key: large) is large
    assert "a" not in store and store.get("b") == b"stays"
    assert told.take() == [("a", large, "oversize")] and store.cache_info().evictions == 1
    check_books(store)


def test_eviction_during_a_fill_does_not_touch_the_flight(policy: str) -> None:
    """A flight weighs nothing and is in no policy: whoever asks for its key finds it, whatever is set meanwhile."""
    store, gate, fills = make_store(policy, max_items=1), Gate(), []

    def fill(key: str) -> str:
        fills.append(key)
        gate.enter()
        return "filled"

    join = start_threads(lambda: store.get_or_fill("a", fill))
    gate.wait_until_entered()
    store.set_many({i: i for i in range(50)})
    join_second = start_threads(lambda: store.get_or_fill("a", fill))
    wait_until_waiting(store, 1)
    gate.open()
    assert join() == join_second() == ["filled"] and fills == ["a"]
    assert list(store) == ["a"]
    check_books(store)


def test_a_store_that_is_closed_during_a_fill_still_gives_the_value(policy: str) -> None:
    store = make_store(policy)

    def fill(key: str) -> str:
        store.close()
        return "filled"

    assert store.get_or_fill("a", fill) == "filled"
    check_books(store)
