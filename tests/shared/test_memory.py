"""MemoryBackend: what is its own; what all backends promise is in `test_backends`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from areole import Storage
from areole.backends import MemoryBackend
from areole.errors import CacheClosedError
from areole.testing import ManualClock, assert_valid

from ..kit import run_python, run_threads


class NestedClock(ManualClock):
    """Runs `inside`, once, when it is read for the n-th time: code that comes in the middle of a step."""

    def __init__(self) -> None:
        super().__init__(1000.0)
        self.reads_left = 0
        self.inside: Callable[[], object] | None = None

    def __call__(self) -> float:
        if self.inside is not None:
            self.reads_left -= 1
            if self.reads_left <= 0:
                inside, self.inside = self.inside, None
                inside()
        return super().__call__()


def test_values_lie_in_the_storage_that_is_given() -> None:
    storage: Storage[bytes] = Storage(max_items=2, clock=ManualClock())
    backend = MemoryBackend(storage)
    for key in "abc":
        backend.set(key, key.encode())
    assert sorted(storage) == ["b", "c"]
    storage.set("d", b"d")
    assert backend.get("d") == b"d"
    assert backend.get("b") is None
    assert_valid(storage)


def test_a_lease_goes_by_the_clock_of_the_storage() -> None:
    clock = ManualClock()
    backend = MemoryBackend(Storage(clock=clock))
    backend.take("k", b"one", 10)
    clock.advance(10)
    assert backend.store_if_mine("k", b"v", b"one") is False
    backend.take("k", b"two", 10)
    clock.advance(9.9)
    assert backend.store_if_mine("k", b"v", b"two") is True


def test_what_is_read_is_evicted_last() -> None:
    backend = MemoryBackend(max_items=2)
    backend.set_many({"a": b"1", "b": b"2"})
    backend.get_many(["a"])
    backend.set("c", b"3")
    assert backend.get_many(["a", "b", "c"]) == [b"1", None, b"3"]


def test_what_is_too_large_is_not_stored_and_replaces_what_was_there() -> None:
    backend = MemoryBackend(max_bytes=4096)
    backend.set("k", b"small")
    assert backend.set("k", b"x" * 4000) is False
    assert backend.get("k") is None
    backend.take("k", b"one", 10)
    assert backend.store_if_mine("k", b"x" * 4000, b"one") is True, "its token stood"
    assert backend.get("k") is None
    assert backend.set("k", b"x" * 4000, only_if_absent=True) is False


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"storage": {}}, TypeError, "storage must be a Storage or None, not dict"),
        ({"storage": Storage(), "max_items": 3}, TypeError, "give them to it"),
        ({"storage": Storage(), "max_bytes": 5000}, TypeError, "give them to it"),
        ({"storage": Storage(), "clock": ManualClock()}, TypeError, "give them to it"),
        ({"max_bytes": 100}, ValueError, "max_bytes must be an int of at least 4096, not 100"),
        ({"max_items": 0}, ValueError, "max_items must be an int of at least 1, not 0"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        MemoryBackend(**options)


def test_close_drops_the_values_but_not_those_of_a_storage_that_was_given() -> None:
    with MemoryBackend() as backend:
        backend.set("k", b"v")
        own = backend._storage
    assert own.number_of_items == 0
    storage: Storage[bytes] = Storage()
    with MemoryBackend(storage) as backend:
        backend.set("k", b"v")
    assert storage["k"] == b"v"
    with pytest.raises(CacheClosedError, match="MemoryBackend is closed"):
        backend.get("k")


def test_clear_leaves_keys_of_others_in_the_storage() -> None:
    storage: Storage[Any] = Storage()
    backend = MemoryBackend(storage)
    storage.set(7, "of another user")
    backend.set("k", b"v")
    backend.clear("")
    assert list(storage) == [7]


def test_tokens_of_fills_that_never_end_are_dropped() -> None:
    clock = ManualClock()
    backend = MemoryBackend(clock=clock)
    for number in range(5000):
        backend.take(f"k{number}", b"one", 1.0)
        clock.advance(0.01)
    assert len(backend._tokens) <= 200
    assert backend.renew("k4999", b"one", 1.0) is True


@pytest.mark.parametrize("change", ["kill", "delete", "set"])
@pytest.mark.parametrize("read", range(1, 5))
def test_a_change_inside_a_store_wins(change: str, read: int) -> None:
    """A finalizer, or a signal handler, changes the key while this thread is inside `store_if_mine`."""
    clock = NestedClock()
    backend = MemoryBackend(clock=clock)
    backend.take("k", b"one", 10)
    clock.reads_left = read
    clock.inside = lambda: backend.set("k", b"new") if change == "set" else getattr(backend, change)("k")
    stored = backend.store_if_mine("k", b"old", b"one", 5)
    if clock.inside is None:
        assert stored is False
        assert backend.get("k") in (None, b"new")
    clock.inside = None
    assert (backend.get("k") == b"old") is stored


def test_a_change_inside_a_store_comes_at_each_place() -> None:
    clock = NestedClock()
    backend = MemoryBackend(clock=clock)
    places = []
    for read in range(1, 20):
        backend.take("k", b"one", 10)
        clock.reads_left, clock.inside = read, lambda: backend.kill("k")
        places.append(backend.store_if_mine("k", b"old", b"one", 5))
        clock.inside = None
        backend.kill("k")
    assert False in places
    assert places[-1] is True


def test_a_listener_of_the_storage_may_call_the_backend() -> None:
    calls: list[object] = []
    storage: Storage[bytes] = Storage(max_items=1, on_removal=lambda *removal: calls.append(backend.get("b")))
    backend = MemoryBackend(storage)
    backend.set("a", b"1")
    backend.set("b", b"2")
    assert calls == [b"2"]


def test_of_many_threads_one_stores() -> None:
    backend = MemoryBackend()
    rounds = 200

    def fill(number: int) -> int:
        stored = 0
        for each in range(rounds):
            _, token = backend.take(f"k{each}", b"%d" % number, 60)
            stored += token is not None and backend.store_if_mine(f"k{each}", b"v", token)
        return stored

    assert sum(run_threads(*(partial(fill, number) for number in range(4)))) == rounds
    assert not backend._tokens


def test_only_if_absent_lets_one_of_many_threads_in() -> None:
    backend = MemoryBackend()
    rounds = 200

    def add(number: int) -> int:
        return sum(backend.set(f"k{each}", b"%d" % number, None, True) for each in range(rounds))

    assert sum(run_threads(*(partial(add, number) for number in range(4)))) == rounds


def test_a_fork_in_the_middle_of_a_step_leaves_the_lock_free() -> None:
    run_python(
        """
        import os, threading
        from areole.backends import MemoryBackend

        backend = MemoryBackend()
        held, done = threading.Event(), threading.Event()

        def hold():
            with backend._guarded.lock:
                held.set()
                done.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(60)
        pid = os.fork()
        if pid == 0:
            backend.set("k", b"v")
            os._exit(0 if backend.get("k") == b"v" else 1)
        done.set()
        thread.join()
        assert os.waitpid(pid, 0)[1] == 0
        """
    )
