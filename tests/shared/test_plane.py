"""The plane: what a process keeps in front of a store is dropped when another process changes it, or may have.

`Sea` stands for the store of several processes: each `MemoryBackend` of it is one process, with a listener of its own,
whose messages a test holds back, loses, or lets come.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Filled, Resilience, SharedCache, cached
from areole._core.flight import Flight
from areole._platform.locks import run_locked
from areole.backends import MemoryBackend, RedisBackend, SQLiteBackend, redis_listener
from areole.backends.redis_listener import MOST_MESSAGES, RedisListener
from areole.errors import BackendError, BackendTimeout
from areole.shared import kept
from areole.shared import plane as planes
from areole.testing import ManualClock

from ..kit import PATIENCE, Gate, collect, start_threads, wait_until_waiting
from .servers import RedisServer, redis_server


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "HEARTBEAT", 0.02)
    monkeypatch.setattr(planes, "RETRY", 0.01)
    monkeypatch.setattr(planes, "LAG", 1000.0)  # however long its thread is held up, nothing is dropped for that


@pytest.fixture
def lag_of_5(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "LAG", 5.0)


@pytest.fixture
def short_lag(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
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
        self.obeyed: list[str] = []  # the names that the second side has heard of, and dropped
        eventually(planes.plane_of(self.backend).is_live)

    def keeps(self, key: Any) -> bool:
        return key in self.local

    def end(self) -> None:
        plane = planes.plane_of(self.backend)
        plane.close()
        assert plane._thread is not None
        plane._thread.join(PATIENCE)


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Any:
    sea = Sea()
    one, other = Side(sea), Side(sea)
    changed = planes.Plane.changed

    def obey(plane: planes.Plane, name: str) -> None:
        changed(plane, name)
        if plane is planes.plane_of(other.backend):
            other.obeyed.append(name)

    monkeypatch.setattr(planes.Plane, "changed", obey)
    one.shared["begun"] = 1  # the namespace has a version, and the other has heard of that
    eventually(lambda: "shop:v1:begun" in other.obeyed)
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
    "shared refresh": lambda side: side.shared.refresh("a", lambda key: "new"),
    "expire_in": lambda side: side.shared.expire_in("a", 0),
    "set by another cache over the backend": lambda side: SharedCache[Any](side.backend, namespace="shop").set("a", 1),
    "set by tasks alone": lambda side: asyncio.run(
        SharedCache[Any](side.backend.aio, namespace="shop").aio.set("a", 1)  # type: ignore[arg-type]
    ),
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
    eventually(lambda: "shop:v1:a" in other.obeyed)
    may_go_on.set()
    reader.join(PATIENCE)
    assert results == [["'a'", 1]]  # it had asked before
    assert other.local["a"] == "new"


@pytest.mark.usefixtures("short_lag")
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


@pytest.mark.usefixtures("short_lag")
@pytest.mark.parametrize("fail_safe", [True, False])
def test_what_is_not_heard_is_stale_and_fail_safe_alone_falls_back_on_it(fail_safe: bool) -> None:
    side = Side(Sea())
    rules = Resilience(stale_ttl=60, fail_safe=fail_safe)
    local = AtomicCache(side.fill, shared=side.shared, local_ttl=60, resilience=rules)
    assert local["a"] == ["'a'", 1] and "a" in local
    side.backend.can_connect = False
    for listener in side.backend.listeners:
        listener.is_held = True
    eventually(lambda: "a" not in local)
    assert local["a"] == ["'a'", 1] and side.fill.calls == 1  # the store has it
    assert "a" not in local

    def fail(*args: Any) -> Any:
        raise BackendTimeout("the store is down too")

    side.backend.get_many = fail  # type: ignore[method-assign]
    if fail_safe:
        assert local["a"] == ["'a'", 1] and local.cache_info().stale_hits == 1
    else:
        with pytest.raises(BackendTimeout):
            local["a"]
    side.backend.can_connect = True
    eventually(planes.plane_of(side.backend).is_live)
    side.shared._state.breaker.succeeded()
    with pytest.raises(BackendTimeout):
        local["a"]
    side.end()


def test_a_refresh_that_begins_as_nothing_is_heard_any_more_shows_nothing_as_fresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side = Side(Sea())
    rules = Resilience(stale_ttl=60, fail_safe=True, refresh_ahead=0.999999)
    local = AtomicCache(side.fill, 3600, shared=side.shared, resilience=rules)
    assert local["a"] == ["'a'", 1]
    tier = local._fills.rules.tier
    index, entry = local._state.index, local._state.find("a")
    take_snapshot = local._state.snapshot_to_remove

    def and_then_replace() -> Any:
        """By the steps of `Tier.doubt`: a refresh takes the place of the copy after the first snapshot."""
        entries = take_snapshot()
        if entries == [entry]:
            assert local._state.replace_entry(entry, Flight("a", type(entry)).entry)  # type: ignore[type-var, arg-type]
        return entries

    monkeypatch.setattr(type(local._state), "snapshot_to_remove", lambda state: and_then_replace())
    tier.doubt()
    assert index.find("a") is None or not index.find("a").is_live(local._state.clock())
    side.end()


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
    with pytest.raises(TypeError, match=r"shared must be a SharedCache, such as .*, not dict"):
        AtomicCache(str, shared={})
    with pytest.raises(TypeError, match="local_ttl is for a cache with shared="):
        AtomicCache(str, local_ttl=1)
    with pytest.raises(ValueError, match="local_ttl must be positive"):
        AtomicCache(str, shared=SharedCache("memory://", namespace="shop"), local_ttl=-1)

    class Deaf(MemoryBackend):
        is_shared = True

    with pytest.raises(TypeError, match="Deaf cannot tell a process what others have changed"):
        AtomicCache(str, shared=SharedCache(Deaf(), namespace="shop"))


@dataclass(frozen=True, eq=False)
class Same:
    """All of them have one name, and none equals another."""


def test_keys_that_have_one_name_and_are_not_equal_are_dropped_together(sides: tuple[Side, Side]) -> None:
    one, other = sides
    first, second = Same(), Same()
    assert other.local[first] == other.local[second]
    one.shared.set(first, "new")
    eventually(lambda: other.local[first] == other.local[second] == "new")


def test_a_key_that_has_no_name_harms_no_other(sides: tuple[Side, Side]) -> None:
    _, other = sides
    tier: Any = other.local._fills.rules.tier
    nameless = object()
    other.local[1]
    tier._state.insert_if_absent(Flight(nameless, tier._state.entry_type).entry)  # its lookup is about to raise
    run_locked(tier.lock, tier._drop_names)
    tier.drop_beginning("shop:v1:")
    assert not other.keeps(1)


@pytest.mark.usefixtures("lag_of_5")
def test_exceptions_are_kept_for_their_ttl_and_no_longer_than_a_change_may_go_unheard(sides: tuple[Side, Side]) -> None:
    def fail(key: str) -> Any:
        raise BackendError("down") if key == "store" else KeyError(key)

    def kept(cache: AtomicCache[str, Any], key: str) -> float | None:
        began = time.monotonic()
        with pytest.raises((KeyError, BackendError)):
            cache[key]
        entry = cache._state.find(key)
        return None if entry is None or entry.flight is None else entry.flight.deadline - began

    alone = AtomicCache(fail, 10, cache_exceptions=True, shared=SharedCache("memory://", namespace="shop"))
    assert 9 < (kept(alone, "a") or 0) < 11
    assert kept(alone, "store") is None  # the store, or the one behind it, is back in a moment
    one, _ = sides
    shared = AtomicCache(fail, 10, cache_exceptions=True, shared=one.shared)
    assert 4 < (kept(shared, "a") or 0) < 6
    negative = Resilience(negative_ttl=60)
    assert 4 < (kept(AtomicCache(fail, cache_exceptions=True, resilience=negative, shared=one.shared), "a") or 0) < 6
    planes.plane_of(one.backend).close()
    assert kept(shared, "b") is None


def test_a_ttl_of_a_memoized_function_gets_the_key_of_the_call() -> None:
    keys = []
    shared = SharedCache[Any]("memory://", namespace="shop")
    memoize: Any = AtomicCache.memoize(ttl=lambda key, value: keys.append(key) or 5, shared=shared, name="twice")
    assert memoize(lambda x: 2 * x)(4) == 8 and keys == [4]


def test_the_view_for_threads_of_a_cache_for_tasks_refreshes() -> None:
    cache = AsyncAtomicCache(Counted(), shared=SharedCache("memory://", namespace="shop"))
    view = cache.sync
    assert view["a"] == ["'a'", 1] and view.refresh("a") == ["'a'", 2] == view["a"]
    assert view.invalidate("a") and view["a"] == ["'a'", 3]


def test_what_one_tier_raises_holds_up_no_other(sides: tuple[Side, Side], caplog: pytest.LogCaptureFixture) -> None:
    one, other = sides

    class Broken:
        version_key = "shop:#v1"

        def drop(self, name: str) -> None:
            raise ValueError(name)

        drop_beginning = drop

        def drop_all(self) -> None:
            raise ValueError

        doubt = remove_some = drop_all

    broken = Broken()
    plane = planes.plane_of(other.backend)
    plane._tiers.records = {0: (lambda: broken, None), **plane._tiers.records}  # type: ignore[dict-item]
    assert other.local["a"]
    one.shared.set("a", "new")
    eventually(lambda: other.local["a"] == "new")
    one.shared.clear()
    eventually(lambda: not other.keeps("a"))
    assert "could not be dropped" in caplog.text


def test_a_listener_of_removals_that_waits_or_exits_holds_up_no_message(sides: tuple[Side, Side]) -> None:
    one, other = sides
    may_go_on, reported = threading.Event(), []

    def on_removal(key: Any, value: Any, cause: Any) -> None:
        reported.append(key)
        if key == "a":
            assert may_go_on.wait(PATIENCE)
        raise SystemExit

    local = AtomicCache(other.fill, shared=other.shared, on_removal=on_removal)
    for key in ("a", "b", "c"):
        assert local[key]
    for key in ("a", "b", "c"):
        one.shared.set(key, "new")
        eventually(lambda key=key: local[key] == "new")  # type: ignore[misc]
    may_go_on.set()
    eventually(lambda: sorted(reported) == ["a", "b", "c"])
    with pytest.raises(SystemExit):
        local.invalidate("b")  # in the thread that removes it


@pytest.mark.parametrize("broken", ["clock", "key"])
def test_what_cannot_be_dropped_by_its_name_is_dropped_with_all_else(sides: tuple[Side, Side], broken: str) -> None:
    one, other = sides
    fails = [False]

    def clock() -> float:
        assert not fails[0]
        return time.monotonic()

    class Key(str):
        __hash__ = str.__hash__

        def __eq__(self, key: object) -> bool:
            assert not fails[0]
            return self is key

    key: Any = Key("a") if broken == "key" else "a"
    local = AtomicCache(other.fill, shared=other.shared, clock=clock if broken == "clock" else time.monotonic)
    eventually(lambda: bool(local[key]) and key in local)
    fails[0] = True
    one.shared.set("a", "new")
    eventually(lambda: "shop:v1:a" in other.obeyed)
    fails[0] = False
    assert local[key] == "new"


@pytest.mark.parametrize("late", [False, True])
def test_who_asks_after_a_tag_was_invalidated_waits_for_no_older_fill_though_the_store_fails(late: bool) -> None:
    sea, gate, versions = Sea(), Gate(), [1]
    backend, other = Process(sea), Process(sea)

    def fill(key: str) -> Any:
        version = versions[0]
        if version == 1:
            gate.enter()
        return Filled(version, tags=["t"]) if late else version

    def fail(*of: Any) -> Any:
        raise BackendError("the store is away")

    shared = SharedCache[Any](backend, namespace="shop", on_error="miss")
    local = AtomicCache(fill, shared=shared, tags=() if late else ["t"])
    eventually(planes.plane_of(backend).is_live)
    backend.get_many = backend.take = fail  # type: ignore[method-assign]
    before = start_threads(lambda: local["a"])
    gate.wait_until_entered()
    versions[0] = 2
    heard, entry = local._state.index.tags.epoch, local._state.find("a")
    assert entry is not None
    SharedCache[Any](other, namespace="shop").invalidate_tags("t")
    eventually(lambda: local._state.index.tags.epoch is not heard)  # what it changes first
    eventually(lambda: late or local._state.find("a") is not entry)
    after = start_threads(lambda: local["a"])
    if late:
        wait_until_waiting(local, 1)
    gate.open()
    assert before() == [1] and after() == [2]
    planes.plane_of(backend).close()


def test_names_that_take_too_long_to_drop_are_dropped_with_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """1. heard at 0    2. a change    3. a thousand messages, and the answer to a PING    4. each takes its time"""
    monkeypatch.setattr(planes, "LAG", 2.0)
    monkeypatch.setattr(planes, "HEARTBEAT", 0.5)
    clock = ManualClock(1.0)
    monkeypatch.setattr(planes, "time", SimpleNamespace(monotonic=clock, sleep=time.sleep))
    backend = Process(Sea())
    plane = planes.plane_of(backend)

    class Slow:
        version_key = ""
        drops = 0

        def drop(self, name: str) -> None:
            clock.advance(0.1)
            Slow.drops += 1

        def drop_all(self) -> None:
            pass

        doubt = remove_some = drop_all

    class Flooded(FakeListener):
        def __init__(self) -> None:
            self.heard = clock()

        def receive(self, timeout: float) -> list[str]:
            self.heard = clock()
            return ["shop:v1:a"] * 1000

        def ping(self) -> None:
            pass

    slow: Any = Slow()
    plane.add(slow)
    plane._hear(Flooded())
    assert Slow.drops > 10 and clock() <= 1.0 + planes.LAG


def test_a_slow_network_holds_up_no_name_that_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock(1.0)
    monkeypatch.setattr(redis_listener, "time", SimpleNamespace(monotonic=clock))

    class Slow:
        """Each message begins to come as the one before has come, and takes its time."""

        def can_read(self, timeout: float) -> bool:
            return True

        def read_response(self, disable_decoding: bool) -> list[bytes]:
            clock.advance(0.2)
            return [b"message", b"", b"a"]

    listener = object.__new__(RedisListener)
    listener._connections, listener._trackers = [Slow()], []
    assert listener.receive(0.25) == ["a", "a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_listener_that_waits_holds_up_no_child_of_a_fork(sides: tuple[Side, Side]) -> None:
    reported, held = os.pipe(), threading.Lock()

    def on_removal(key: Any, value: Any, cause: Any) -> None:
        os.write(reported[1], b"r")
        with held:  # by a thread that is not there
            pass

    local = AtomicCache(sides[1].fill, shared=sides[1].shared, on_removal=on_removal)
    assert local["a"] and "a" in local
    with held:
        child = os.fork()
        if not child:
            os.read(reported[0], 1)
            os._exit("a" in local)
        assert os.waitpid(child, 0)[1] == 0
    for end in reported:
        os.close(end)


def test_a_plane_ends_with_its_backend() -> None:
    side = Side(Sea())
    plane, backend = planes.plane_of(side.backend), weakref.ref(side.backend)
    thread = plane._thread
    assert thread is not None and thread.is_alive()
    del side
    collect()
    assert backend() is None
    thread.join(PATIENCE)
    assert not thread.is_alive() and not plane.is_live()


def test_functions_cannot_be_cached_in_a_cache_in_front_of_a_shared_one() -> None:
    with pytest.raises(TypeError, match="is in front of a SharedCache"):
        cached(AtomicCache(str, shared=SharedCache("memory://", namespace="shop")))(len)


# ---- with a server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def kept_of(backend: Any) -> tuple[SharedCache[Any], AtomicCache[str, Any]]:
    shared = SharedCache[Any](backend, namespace="shop")
    cache = AtomicCache(str, shared=shared)
    eventually(planes.plane_of(backend).is_live)
    return shared, cache


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_parent_hears_its_child_and_the_child_keeps_nothing_of_the_parents(server: RedisServer) -> None:
    with RedisBackend(server.url, timeout=5) as backend:
        shared, cache = kept_of(backend)
        shared.set("a", "old")
        eventually(lambda: cache["a"] == "old" and "a" in cache)
        child = os.fork()
        if not child:
            kept = "a" in cache
            shared.set("a", "new")
            os._exit(int(kept))
        assert os.waitpid(child, 0)[1] == 0
        eventually(lambda: cache["a"] == "new")


def test_a_change_that_the_server_makes_after_its_call_has_failed_is_heard(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisBackend(server.url, timeout=5) as backend:
        shared, cache = kept_of(backend)
        shared.set("a", "old")
        eventually(lambda: cache["a"] == "old" and "a" in cache)

        def in_time(names: Any) -> Any:
            raise BackendTimeout("the server is too slow")

        with monkeypatch.context() as patch, pytest.raises(BackendTimeout):
            patch.setattr(backend, "kill_many", in_time)
            shared.delete("a")
        shared._state.outbox.forget()  # else the next lookup sends it
        eventually(lambda: cache["a"] == "old" and "a" in cache)
        backend.kill("shop:v1:a")  # now it does what was asked for
        eventually(lambda: cache["a"] == "a")


def test_a_listener_that_has_more_to_hear_than_it_can_read_obeys_what_it_has(server: RedisServer) -> None:
    with RedisBackend(server.url, timeout=5) as backend:
        listener = backend.listen()
        try:
            for _ in range(3):
                backend.kill_many([f"k{i}" for i in range(400)])
            for i in range(MOST_MESSAGES + 10):
                backend.kill(str(i))
            assert len(listener.receive(1.0)) == 3 * 400 + MOST_MESSAGES - 3
            assert len(listener.receive(1.0)) == 13
        finally:
            listener.close()


def test_closing_a_backend_ends_its_plane(server: RedisServer) -> None:
    backend = RedisBackend(server.url, timeout=5)
    kept_of(backend)
    thread = planes.plane_of(backend)._thread
    assert thread is not None
    backend.close()
    thread.join(PATIENCE)
    assert not thread.is_alive() and not planes.plane_of(backend).is_live()


@pytest.mark.parametrize("change", ["delete", "set"])
def test_a_value_that_was_too_large_for_the_file_is_dropped_as_all_others(tmp_path: Path, change: str) -> None:
    path = tmp_path / "cache.db"
    with SQLiteBackend(path, max_bytes=65_536) as backend, SQLiteBackend(path) as other:
        shared, _ = kept_of(backend)
        large = AtomicCache(lambda key: "x" * 60_000, shared=shared)
        assert len(large["a"]) == 60_000 and "a" in large and shared.get("a") is None
        changing = SharedCache[Any](other, namespace="shop")
        changing.delete("a") if change == "delete" else changing.set("a", "new")
        eventually(lambda: "a" not in large)


def test_clearing_a_memoized_function_leaves_the_rest_of_the_namespace() -> None:
    shared = SharedCache[Any]("memory://", namespace="shop")
    shared["other"] = 1
    fills = [Counted(), Counted()]
    by_name = AtomicCache.memoize(shared=shared, name="one")(lambda key: fills[0](key))
    by_key = AtomicCache.memoize(shared=shared, name="two", key=lambda key: f"two:{key}")(lambda key: fills[1](key))
    assert by_name("a") == by_key("a") == shared["two:a"] == ["'a'", 1]
    by_name.cache_clear()
    assert by_name("a") == ["'a'", 2] and by_key("a") == ["'a'", 1]
    with pytest.raises(TypeError, match="cannot know the keys"):
        by_key.cache_clear()
    assert by_key("a") == ["'a'", 1] and shared["other"] == 1
    assert by_key.invalidate("a") and by_key("a") == ["'a'", 2]


def test_a_change_is_obeyed_in_its_call_by_copies_in_front_of_another_cache_of_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each SharedCache that is made of a URL has a backend of its own; here no plane hears of anything."""
    monkeypatch.setattr(planes.Plane, "_start", lambda plane: setattr(plane, "_is_live", True))
    url = f"sqlite:///{tmp_path}/cache.db"
    with SharedCache(url, namespace="shop") as one, SharedCache(url, namespace="shop") as other:
        numbers = iter(range(9))
        cache: AtomicCache[str, int] = AtomicCache(lambda key: next(numbers), shared=one)
        cache["warm"]  # starts the plane
        assert cache["k"] == cache["k"] == 1
        other.set("k", 100)
        assert cache["k"] == 100
        other.delete("k")
        assert cache["k"] == 2
        other.clear()
        assert cache["k"] == 3


def test_names_that_take_too_long_to_look_at_are_all_dropped_by_the_thread_that_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else nothing else is heard meanwhile, for longer than `lag`: 25 us for a key of a memoized function."""
    monkeypatch.setattr(kept, "LONGEST_DROP", -1.0)
    shared = SharedCache[Any](MemoryBackend(), namespace="shop")

    def same(number: int) -> int:
        return number

    cleared, other = (AtomicCache.memoize(shared=shared, name=name)(same) for name in "fg")
    plane = planes.plane_of(shared._state.backend)
    for thread, stays in ((None, True), (threading.current_thread(), False)):
        cleared(1), other(1)
        plane._thread = thread
        plane.changed("shop:v1:f:\t")
        assert cleared.peek(1, default=None) is None and (other.peek(1, default=None) == 1) is stays
