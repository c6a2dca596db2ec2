"""The plane: what a process keeps in front of a store is dropped when another process changes it, or may have.

`Sea` stands for the store of several processes: each `MemoryBackend` of it is one process, with a listener of its own,
whose messages a test holds back, loses, or lets come.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, SharedCache
from areole.backends import MemoryBackend
from areole.errors import BackendError
from areole.shared import plane as planes

from ..kit import PATIENCE


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "HEARTBEAT", 0.02)
    monkeypatch.setattr(planes, "RETRY", 0.01)
    monkeypatch.setattr(planes, "LAG", 0.3)


class Process(MemoryBackend):
    """The backend of one process."""

    is_shared = True

    def __init__(self, sea: Sea) -> None:
        super().__init__(sea.storage)
        self._tokens = sea.tokens
        self.sea = sea
        self.listeners: list[FakeListener] = []
        self.can_connect = True
        sea.processes.append(self)

    def tell(self, key: str) -> None:
        for process in self.sea.processes:
            if process is not self:
                for listener in process.listeners:
                    listener.come(key)

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        is_stored = super().set(key, value, ttl, only_if_absent)
        self.tell(key)
        return is_stored

    def kill(self, key: str, /) -> bytes | None:
        head = super().kill(key)
        self.tell(key)
        return head

    def expire(self, key: str, ttl: float | None, /) -> bool:
        is_there = super().expire(key, ttl)
        self.tell(key)
        return is_there

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        was_there = self.get(key) is not None
        is_stored = super().store_if_mine(key, value, token, ttl)
        if is_stored and value is not None and was_there:
            self.tell(key)
        return is_stored

    def listen(self) -> FakeListener:
        if not self.can_connect:
            raise BackendError("nobody is there")
        listener = FakeListener()
        self.listeners.append(listener)
        return listener


class Sea:
    def __init__(self) -> None:
        from areole import Storage

        self.storage: Storage[bytes] = Storage()
        self.tokens: dict[str, tuple[bytes, float]] = {}
        self.processes: list[Process] = []


class FakeListener:
    def __init__(self) -> None:
        self.heard = time.monotonic()
        self.messages: list[str] = []
        self.has_come = threading.Condition()
        self.is_held = False  # nothing comes, and no answer either: a network that has stopped without a word
        self.is_cut = False

    def come(self, key: str) -> None:
        with self.has_come:
            self.messages.append(key)
            self.has_come.notify()

    def receive(self, timeout: float) -> list[str]:
        with self.has_come:
            if not self.messages or self.is_held:
                self.has_come.wait(timeout)
            if self.is_cut:
                raise ConnectionError("cut")
            if self.is_held:
                return []
            messages, self.messages = self.messages, []
            return messages

    def ping(self) -> None:
        if not self.is_held:
            self.heard = time.monotonic()

    def close(self) -> None:
        pass


class Counted:
    """A fill that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, key: Any) -> Any:
        self.calls += 1
        return [repr(key), self.calls]


def eventually(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.002)


class Side:
    """One process: a shared cache, and one in front of it."""

    def __init__(self, sea: Sea) -> None:
        self.backend = Process(sea)
        self.fill = Counted()
        self.shared = SharedCache[Any](self.backend, namespace="shop", ttl=300)
        self.local = AtomicCache(self.fill, shared=self.shared, local_ttl=60)
        eventually(planes.plane_of(self.backend).is_live)

    def keeps(self, key: Any) -> bool:
        return key in self.local


@pytest.fixture
def sides() -> Any:
    sea = Sea()
    one, other = Side(sea), Side(sea)
    yield one, other
    for side in (one, other):
        planes.plane_of(side.backend).close()


def test_a_hit_is_one_of_this_process_and_a_miss_asks_the_store(sides: tuple[Side, Side]) -> None:
    one, other = sides
    assert one.local["a"] == other.local["a"] == ["'a'", 1]
    assert one.fill.calls + other.fill.calls == 1
    lookups = one.shared.cache_info().hits + one.shared.cache_info().misses
    assert one.local["a"] == ["'a'", 1]
    assert one.shared.cache_info().hits + one.shared.cache_info().misses == lookups


CHANGES: dict[str, Callable[[Side], Any]] = {
    "invalidate": lambda side: side.local.invalidate("a"),
    "refresh": lambda side: side.local.refresh("a"),
    "clear": lambda side: side.local.clear(),
    "set": lambda side: side.shared.set("a", "new"),
    "set_many": lambda side: side.shared.set_many({"a": "new"}),
    "delete": lambda side: side.shared.delete("a"),
    "shared clear": lambda side: side.shared.clear(reclaim=False),
    "expire_in": lambda side: side.shared.expire_in("a", 0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_drops_what_every_process_keeps(sides: tuple[Side, Side], change: str) -> None:
    one, other = sides
    before = one.local["a"], other.local["a"]
    assert one.keeps("a") and other.keeps("a") and before[0] == before[1]
    CHANGES[change](one)
    assert one.local["a"] != before[0]  # at once in the process that has made the change
    eventually(lambda: other.local["a"] == one.local["a"])


def test_keys_that_do_not_stand_in_the_store_are_dropped_too(sides: tuple[Side, Side]) -> None:
    one, other = sides
    for key in (("x", 1), 7, "x" * 300, b"a"):
        assert one.local[key] == other.local[key] and other.keeps(key)
        one.shared.delete(key)
        eventually(lambda key=key: not other.keeps(key))  # type: ignore[misc]


def test_a_value_that_is_read_as_it_is_changed_is_not_kept(sides: tuple[Side, Side]) -> None:
    one, other = sides
    one.local["a"]
    was_read, may_go_on = threading.Event(), threading.Event()
    get_many = other.backend.get_many

    def stopped(keys: Any) -> Any:
        found = get_many(keys)
        was_read.set()
        assert may_go_on.wait(PATIENCE)
        return found

    other.backend.get_many = stopped  # type: ignore[method-assign]
    results: list[Any] = []
    reader = threading.Thread(target=lambda: results.append(other.local["a"]))
    reader.start()
    assert was_read.wait(PATIENCE)
    one.shared.set("a", "new")
    eventually(lambda: not any(listener.messages for listener in other.backend.listeners))
    time.sleep(0.05)  # what was taken from the listener has been obeyed
    may_go_on.set()
    reader.join(PATIENCE)
    assert results == [["'a'", 1]]  # it had asked before
    assert other.local["a"] == "new"


def test_what_is_not_heard_for_too_long_is_not_kept(sides: tuple[Side, Side]) -> None:
    one, other = sides
    one.local["a"], other.local["a"]
    for listener in other.backend.listeners:
        listener.is_held = True
    other.backend.can_connect = False
    one.shared.set("a", "new")
    eventually(lambda: not other.keeps("a"))
    assert other.local["a"] == "new" and not other.keeps("a")  # nothing is kept while nothing is heard
    other.backend.can_connect = True
    eventually(lambda: other.local["a"] == "new" and other.keeps("a"))


def test_a_connection_that_was_lost_drops_everything(sides: tuple[Side, Side]) -> None:
    one, other = sides
    one.local["a"], other.local["a"]
    listener = other.backend.listeners[-1]
    listener.messages = []
    listener.is_held = True
    one.shared.set("a", "new")
    listener.messages = []  # the message is lost
    listener.is_cut = True
    eventually(lambda: other.local["a"] == "new")


def test_a_value_is_kept_no_longer_than_it_is_good_or_than_local_ttl() -> None:
    shared = SharedCache[Any]("memory://", namespace="shop")
    cache = AtomicCache(Counted(), ttl=10, shared=shared, local_ttl=60)
    short = AtomicCache(Counted(), ttl=100, shared=shared, local_ttl=5)
    cache["a"], short["b"]
    now = time.monotonic()
    assert now + 9 < cache._state.find("a").deadline <= now + 10  # type: ignore[union-attr,operator]
    assert now + 4 < short._state.find("b").deadline <= now + 5  # type: ignore[union-attr,operator]
    shared.set("c", 1, 20)
    assert cache["c"] == 1
    assert now + 19 < cache._state.find("c").deadline <= time.monotonic() + 20  # type: ignore[union-attr,operator]
    shared.set("d", 1, None)
    assert short["d"] == 1 and short._state.find("d").deadline <= time.monotonic() + 5  # type: ignore[union-attr,operator]


def test_tasks_do_the_same(sides: tuple[Side, Side]) -> None:
    one, other = sides
    calls: list[Any] = []

    async def fill(key: Any) -> Any:
        calls.append(key)
        return [key, len(calls)]

    cache = AsyncAtomicCache(fill, shared=one.shared, local_ttl=60)

    async def main() -> None:
        assert await cache["b"] == ["b", 1] == await cache["b"] == other.local["b"]
        assert await cache.invalidate("b")
        assert "b" not in cache
        assert await cache["b"] == ["b", 2]
        cache.invalidate("b")  # not awaited: it is done all the same
        assert "b" not in cache
        assert await cache.refresh("b") == ["b", len(calls)]
        await cache.clear()
        assert "b" not in cache and one.shared.get("b") is None

    asyncio.run(main())
    assert cache.invalidate("b") is not None  # without a loop it is done at once


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="shared must be a SharedCache, not dict"):
        AtomicCache(str, shared={})
    with pytest.raises(TypeError, match="local_ttl is for a cache with shared="):
        AtomicCache(str, local_ttl=1)
    with pytest.raises(ValueError, match="local_ttl must be positive"):
        AtomicCache(str, shared=SharedCache("memory://", namespace="shop"), local_ttl=-1)

    class Deaf(MemoryBackend):
        is_shared = True

    with pytest.raises(TypeError, match="Deaf cannot tell a process what others have changed"):
        AtomicCache(str, shared=SharedCache(Deaf(), namespace="shop"))
