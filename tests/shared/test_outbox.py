"""What could not be invalidated in the store is not read again by this process, and is removed once that is back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, BackendError, SharedCache
from areole.backends import MemoryBackend
from areole.backends.in_executor import InPlace
from areole.errors import BackendTimeout, CacheClosedError
from areole.shared import outbox as outboxes
from areole.shared import plane as planes
from areole.shared.renewer import _Renewer

from ..kit import PATIENCE, Gate, collect, run, start_threads
from .model import LOST, START
from .schedules import Fault, explore
from .servers import redis_server, require_redis_py, wait_until
from .stepped import World

WRITES = ("set", "set_many", "kill", "kill_many", "clear")


class Down(MemoryBackend):
    """A store whose changes fail while `is_down`, before they are made or after."""

    is_down = False
    is_late = False
    before_kill: Callable[[], object] = staticmethod(lambda: None)

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        return partial(self.change, name, method) if name in WRITES else method

    def change(self, name: str, method: Any, *args: Any) -> Any:
        if name == "kill_many":
            self.before_kill()
        result = method(*args) if self.is_late or not self.is_down else None
        if self.is_down:
            raise BackendTimeout("the store is down")
        return result


CALLS: dict[str, Callable[[Any], Any]] = {
    "delete": lambda cache: cache.delete("a"),
    "delete_many": lambda cache: cache.delete_many(["b", "a"]),
    "expire_in": lambda cache: cache.expire_in("a", 0),
    "set": lambda cache: cache.set("a", "new"),
    "set_many": lambda cache: cache.set_many({"b": 1, "a": "new"}),
    "clear": lambda cache: cache.clear(),
}
RAW = "shop:v1:a"


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent but by the operations themselves."""
    monkeypatch.setattr(outboxes, "renewer", _Renewer())
    monkeypatch.setattr(_Renewer, "start", lambda renewer, renewal: None)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(outboxes, "RETRY", 0.02)
    yield


def fail(cache: SharedCache[Any], store: Any, call: Callable[[Any], Any], is_async: bool = False) -> None:
    """Make a call while the store is down."""
    store.is_down = True
    try:
        run(lambda: call(cache.aio)) if is_async else call(cache)
    except BackendError:
        assert cache._state.raises
    else:
        assert not cache._state.raises
    store.is_down = False


@pytest.mark.parametrize("is_async", [False, True], ids=["threads", "loop"])
@pytest.mark.parametrize("on_error", ["raise", "miss"])
@pytest.mark.parametrize("name", CALLS)
def test_what_could_not_be_sent_is_not_read_again(no_thread: None, name: str, on_error: Any, is_async: bool) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop", on_error=on_error)
    kept = AtomicCache[str, Any](lambda key: "filled", shared=cache)
    cache["a"] = "old"
    assert kept["a"] == "old"
    fail(cache, store, CALLS[name], is_async)
    assert kept["a"] == "filled" == cache["a"]
    cache["a"] = "newer"
    cache._state.outbox.send()
    assert cache["a"] == "newer" == kept["a"]


def test_the_read_fails_as_long_as_the_delete_cannot_be_sent(no_thread: None) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop", on_error="miss")
    cache["a"] = "old"
    fail(cache, store, CALLS["delete"])
    store.is_down = True  # for changes alone: what is read would be the old value
    assert cache.get("a") is None and cache.get_many(["a"]) == {} and "a" not in cache
    assert cache.get_or_fill("a", lambda key: "filled") == "filled"
    assert cache.get("b", "none") == "none"  # nothing is queued of it


@pytest.mark.parametrize("is_async_alone", [False, True])
def test_a_thread_sends_it_when_the_store_is_back(fast: None, is_async_alone: bool) -> None:
    store = Down()
    cache = SharedCache[Any](InPlace(store) if is_async_alone else store, namespace="shop")
    run(lambda: cache.aio.set("a", "old"))
    store.is_late = True
    fail(cache, store, CALLS["set"], is_async=True)  # stored, but nobody knows
    wait_until(lambda: store.get(RAW) is None, "the delete", PATIENCE)
    wait_until(lambda: not cache._state.outbox.queued, "the queue", PATIENCE)


def test_close_sends_the_rest(no_thread: None) -> None:
    store = Down()
    for close in (lambda cache: cache.close(), lambda cache: run(cache.aio.aclose)):
        cache = SharedCache[Any](store, namespace="shop")
        cache["a"] = "old"
        fail(cache, store, CALLS["delete"])
        close(cache)
        assert store.get(RAW) is None
    fail(cache, store, CALLS["delete"])
    store.is_down = True
    cache.close()  # it does not raise


def test_a_delete_that_is_being_sent_removes_nothing_newer(no_thread: None) -> None:
    """By the steps of Q2."""
    store, gate = Down(), Gate()
    cache = SharedCache[Any](store, namespace="shop")
    fail(cache, store, CALLS["delete"])
    store.before_kill = gate.enter
    sender = start_threads(cache._state.outbox.send)
    gate.wait_until_entered()
    store.before_kill = lambda: None
    waits, opener = [], gate.open

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        opener()
        sender()

    cache._threads.sleep = sleep  # type: ignore[method-assign, union-attr]
    assert cache.set("a", "new") and waits
    assert cache["a"] == "new"


def test_a_key_is_queued_before_it_is_dropped_here(no_thread: None) -> None:
    """By the steps of Q3: a lookup between the two must not keep the old value."""
    store = Down()
    cache = SharedCache[Any](store, namespace="shop")
    cache["a"] = "old"
    state, queued = cache._state, []
    state.drop_kept = lambda name: queued.append(RAW in state.outbox.queued)  # type: ignore[method-assign]
    for name in ("delete", "set", "set_many"):
        fail(cache, store, CALLS[name])
        state.outbox.forget()
    assert queued and all(queued)


@pytest.mark.parametrize("kind", ["delete", "set", "expire_now", "clear"])
def test_in_every_interleaving_a_process_reads_nothing_older_than_its_change_that_has_failed(kind: str) -> None:
    """By the steps of Q1, beside a fill, a set and a delete of another process."""
    world = World(serializer="json")
    looks = 0
    for other in ("ask", "set", "delete"):
        for at, is_after in product(range(4), (False, True)):
            fault = Fault(0, at, BackendError, is_after)
            for each in explore(world, "live", [[(kind, 0), ("get", 0)], [(other, 1)]], fault, preemptions=2):
                change, look = [operation for operation in each.history if operation.thread == 0]
                if change.result == LOST and look.result != LOST:
                    looks += 1
                    assert look.result != START, each.log
                world.end(may_leave_token=True)
    assert looks > 20


def test_what_is_queued_again_while_it_is_sent_stays(no_thread: None) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop")
    fail(cache, store, CALLS["delete"])
    outbox = cache._state.outbox
    store.before_kill = lambda: outbox.put([RAW], cache._state)
    outbox.send()
    assert RAW in outbox.queued


def test_a_task_that_is_cancelled_leaves_its_delete(no_thread: None) -> None:
    store = Down()
    arrived, twin = asyncio.Event(), InPlace(store)

    async def stop(keys: Any) -> Any:
        arrived.set()
        await asyncio.Event().wait()

    cache = SharedCache[Any](store, namespace="shop")
    cache["a"] = "old"
    cache._aio._operations.backend = twin
    twin.kill_many = stop  # type: ignore[method-assign]

    async def main() -> None:
        task = asyncio.ensure_future(cache.aio.delete("a"))
        await arrived.wait()
        task.cancel()
        await asyncio.wait([task])

    run(main)
    assert cache.get("a") is None


class Loop:
    """A function for event loops, memoized over a store."""

    def __init__(self) -> None:
        self.store = Down()
        self.shared = SharedCache[Any](self.store, namespace="shop")
        self.calls = 0

        @AsyncAtomicCache.memoize(shared=self.shared, name="f")
        async def f(number: int) -> int:
            self.calls += 1
            return self.calls

        self.f = f

    def stored(self) -> list[str]:
        return [name for name in self.store._storage if "f:" in name]


def test_invalidate_of_an_async_def_drops_here_in_the_call_and_goes_out_either_way(no_thread: None) -> None:
    for change in (lambda f: f.invalidate(1), lambda f: f.cache_clear()):
        loop = Loop()

        async def main(loop: Loop = loop, change: Any = change) -> None:
            assert await loop.f(1) == 1
            rest = change(loop.f)
            assert loop.f.peek(1, default=None) is None
            if rest is not None:  # what cache_clear starts cannot be awaited
                await rest
                assert await loop.f(1) == 2
                change(loop.f)
                assert loop.f.peek(1, default=None) is None
            async with asyncio.timeout(PATIENCE):
                while loop.stored():
                    await asyncio.sleep(0)
            assert await loop.f(1) == loop.calls

        run(main)


def test_if_it_fails_that_is_logged_and_it_is_queued(no_thread: None, caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()

    async def main() -> None:
        assert await loop.f(1) == 1
        loop.store.is_down = True
        rest = loop.f.invalidate(1)
        await asyncio.wait([rest])
        with pytest.raises(BackendError):
            await rest
        loop.store.is_down = False
        assert await loop.f(1) == 2

    run(main)
    assert "has failed in the store: the store is down" in caplog.text


def test_if_it_is_cancelled_before_its_first_step_it_is_queued(no_thread: None) -> None:
    loop = Loop()

    async def main() -> None:
        assert await loop.f(1) == 1
        task = loop.f.invalidate(1)
        task.cancel()
        assert await loop.f(1) == 1  # which is kept again
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert loop.f.peek(1, default=None) is None

    run(main)
    assert loop.stored()
    loop.shared._state.outbox.send()
    assert not loop.stored()


def test_tags_that_could_not_be_invalidated_are_old_for_this_process_and_their_count_is_sent_first(
    no_thread: None,
) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop")
    cache.set("a", "old", tags=["t"])
    fail(cache, store, lambda cache: cache.invalidate_tags("t"))
    sent: list[str] = []
    kill_many = MemoryBackend.kill_many
    store.kill_many = lambda names: (sent.extend(names), kill_many(store, names))[1]  # type: ignore[method-assign, func-returns-value]
    assert cache.get("a") is None
    assert sent[:2] == ["shop:v1:#tag:", "shop:v1:#tag:t"] and not cache._state.outbox.queued


@pytest.mark.parametrize("envelope", [True, False])
def test_if_too_many_are_queued_the_namespace_is_cleared(
    no_thread: None, monkeypatch: pytest.MonkeyPatch, envelope: bool
) -> None:
    monkeypatch.setattr(outboxes, "MOST", 10)
    store = Down()
    cache = SharedCache[Any](store, namespace="shop", envelope=envelope)
    keys = [f"k{n}" for n in range(12)]
    cache.set_many(dict.fromkeys(keys, 1))
    fail(cache, store, lambda cache: cache.delete_many(keys))
    assert len(cache._state.outbox.queued) == 1
    assert cache.get_many(keys) == {} and not cache._state.outbox.queued


def test_a_store_that_cannot_be_cleared_is_read_again(no_thread: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MOST", 1)

    class NoClear(Down):
        def clear(self, prefix: str, /) -> None:
            raise NotImplementedError

    store = NoClear()
    cache = SharedCache[Any](store, namespace="shop", envelope=False)
    cache["c"] = 1
    fail(cache, store, lambda cache: cache.delete_many(["a", "b"]))
    assert cache["c"] == 1 and not cache._state.outbox.queued


def test_what_begins_with_a_prefix_is_cleared_later(no_thread: None) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop")

    @AtomicCache.memoize(shared=cache, name="rates")
    def rates(day: str) -> str:
        return "filled"

    assert rates("today") == "filled"
    stored = list(store._storage)
    with pytest.raises(BackendError):
        store.is_down = True
        rates.cache_clear()
    store.is_down = False
    assert any("rates" in name for name in stored)
    cache["other"] = 1
    assert rates("today") == "filled" and rates.cache_info().fills == 2
    assert cache["other"] == 1


@pytest.mark.parametrize("name", ["add", "get", "get_or_fill"])
def test_nothing_is_queued_of_what_invalidates_nothing(no_thread: None, name: str) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop", on_error="miss")
    store.get_many = lambda keys: store.change("set", list, keys)  # type: ignore[method-assign]
    calls: dict[str, Callable[[Any], Any]] = {
        "add": lambda cache: cache.add("a", 1),
        "get": lambda cache: cache.get("a"),
        "get_or_fill": lambda cache: cache.get_or_fill("a", lambda key: 1),
    }
    fail(cache, store, calls[name])
    assert not cache._state.outbox.queued


def test_a_refresh_that_could_not_be_stored_removes_the_old_value(no_thread: None) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop", on_error="miss")
    cache["a"] = "old"
    store.store_if_mine = lambda *args: store.change("set", bool)  # type: ignore[method-assign]
    fail(cache, store, lambda cache: cache.refresh("a", lambda key: "new"))
    assert cache.get("a") is None


def test_two_caches_of_one_namespace_have_one_queue_and_another_format_is_refused(no_thread: None) -> None:
    store = Down()
    first, second = (SharedCache[Any](store, namespace="shop") for _ in range(2))
    first["a"] = "old"
    fail(first, store, CALLS["delete"])
    assert second.get("a") is None
    with pytest.raises(ValueError, match="serializer json and envelope=True"):
        SharedCache(store, namespace="shop", serializer="raw")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_a_fork_has_nothing_queued(no_thread: None) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop")
    fail(cache, store, CALLS["delete"])
    child = os.fork()
    if child == 0:
        os._exit(bool(cache._state.outbox.queued))
    assert os.waitpid(child, 0)[1] == 0
    assert cache._state.outbox.queued


def test_a_server_that_is_back_takes_what_was_queued(fast: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, with values in front of the store: nothing older than the invalidation once it was sent."""
    require_redis_py()
    monkeypatch.setattr(planes, "RETRY", 0.02)
    with redis_server(appendonly="yes", appendfsync="always") as server:
        options: Any = {"namespace": "shop", "on_error": "miss", "timeout": 0.3}
        with SharedCache[Any](server.url, **options) as mine, SharedCache[Any](server.socket_url, **options) as other:
            source = {"a": "old"}
            here, there = (AtomicCache[str, Any](source.get, shared=cache) for cache in (mine, other))
            assert here["a"] == "old" == there["a"]
            server.stop()
            source["a"] = "new"
            here.invalidate("a")
            assert here["a"] == "new"
            server.start()
            wait_until(lambda: not mine._state.outbox.queued, "the queue", PATIENCE)
            assert other.get("a", "new") == "new"
            wait_until(lambda: there["a"] == "new", "the message", PATIENCE)
            assert here["a"] == "new"


def test_what_was_queued_is_sent_though_the_cache_that_failed_is_gone_or_closed(fast: None) -> None:
    for ends in ("freed", "closed"):
        store, other = Down(), Down()
        other._storage, other._tokens = store._storage, store._tokens
        with SharedCache[Any](store, namespace="shop") as shop:
            second = SharedCache[Any](other, namespace="shop")
            second._state.outbox = shop._state.outbox  # as of one URL
            shop["a"] = "old"
            kept = AtomicCache[str, Any](lambda key: "filled", shared=shop if ends == "freed" else second)
            store.is_down = other.is_down = True
            for cache in (shop, kept):
                with pytest.raises(BackendError):
                    cache.invalidate("a")
            if ends == "closed":
                other.kill_many = lambda names: raise_closed()  # type: ignore[method-assign, misc]
            del kept, cache
            collect()
            store.is_down = other.is_down = False
            wait_until(lambda store=store: store.get(RAW) is None, "the delete", PATIENCE)  # type: ignore[misc]


def raise_closed() -> Any:
    raise CacheClosedError("closed")


def test_while_a_full_queue_becomes_a_clear_each_key_is_still_in_it(
    no_thread: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "MOST", 1)
    cache = SharedCache[Any](Down(), namespace="shop", envelope=False)
    outbox, found = cache._state.outbox, []
    outbox.put(["shop:a"], cache._state)

    class Looks(outboxes.Outbox):
        """Looks for a key after each step of `put`, as another thread may."""

        __slots__ = ()

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            found.append(bool(self._queued_of(["shop:a"])))

    outbox.__class__ = Looks
    outbox.put(["shop:b"], cache._state)
    assert list(outbox.queued) == [outbox.everything] and found and all(found)


def test_a_refresh_that_is_stopped_while_it_stores_is_queued(no_thread: None) -> None:
    store = Down()
    cache = SharedCache[Any](store, namespace="shop")
    cache["a"] = "old"

    def stopped(*args: Any) -> Any:
        raise KeyboardInterrupt

    store.store_if_mine = stopped  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cache.refresh("a", lambda key: "new")
    assert cache.get("a") is None


def test_aclose_after_close_closes_the_connections_of_the_loop(no_thread: None) -> None:
    store, closed = Down(), []
    cache = SharedCache[Any](store, namespace="shop")
    fail(cache, store, CALLS["delete"])
    backend = cache.aio._operations.backend = InPlace(store)

    async def aclose() -> None:
        closed.append(True)

    backend.aclose = aclose  # type: ignore[method-assign]
    store.kill_many = lambda names: raise_closed()  # type: ignore[method-assign, misc]
    run(cache.aio.aclose)
    assert closed
