"""`local=`: what a shared cache keeps in this process needs no request, and is dropped when a change is heard."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from datetime import date
from types import GeneratorType
from typing import Any

import pytest

import areole
from areole import AtomicCache, Cache, Filled, SharedCache, Storage, cached
from areole.backends import DjangoBackend, MemoryBackend
from areole.shared import plane as planes
from areole.shared.fills import FillOperations
from areole.testing import ManualClock, assert_valid

from .stepped import Call, Stepped
from .test_plane import CHANGES, Process, Sea, eventually, fast  # noqa: F401


class Asked(MemoryBackend):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "get_many", "ttl_of", "get_many_timed", "take"):
            self.asked.append(name)
        return super().__getattribute__(name)


def shop_in(local: Storage[Any] | None, backend: Any = None, **options: Any) -> SharedCache[Any]:
    return SharedCache(MemoryBackend() if backend is None else backend, namespace="shop", local=local, **options)


def test_what_was_read_is_found_without_a_request() -> None:
    backend = Asked()
    shop = shop_in(Storage(), backend)
    shop.set_many({"a": [1], "b": [2], (1, "x"): [3]})
    assert shop.get("none") is None and shop.get("none", 5) == 5
    first = [shop["a"], shop.get_many(["b", (1, "x"), "none"]), shop.get_or_fill("c", lambda key: [key])]
    backend.asked.clear()
    assert [shop["a"], shop.get_many(["b", (1, "x")]), shop.get_or_fill("c", str)] == first
    assert shop.get("a") is first[0] and shop.get([]) is None  # the same object; [] has a name, and no hash
    assert backend.asked == ["get_many_timed", "ttl_of", "get_many"]

    async def main() -> list[Any]:
        return [await shop.aio.get("a"), await shop.aio.get_many(["b", (1, "x")]), await shop.aio.get_or_fill("c", str)]

    assert asyncio.run(main()) == first and len(backend.asked) == 3
    with areole.sources() as seen:
        shop.get("a")
    assert seen == []
    info = shop.cache_info()
    assert (info.local_hits, info.hits, info.misses, info.fills) == (10, 3, 5, 1)


@pytest.mark.parametrize("copies", [False, True])
def test_copies_make_an_object_for_each_hit(copies: bool) -> None:
    local: Storage[Any] = Storage(100_000) if copies else Storage(max_items=10)
    shop = shop_in(local, copies=copies)
    shop.set("a", [1])
    for look in (lambda: shop["a"], lambda: shop.get_many(["a"])["a"], lambda: shop.get_or_fill("a", str)):
        look()
        look().append(2)
        assert len(look()) == (1 if copies else 2)
        shop.set("a", [1])
    filled = shop.get_or_fill("b", lambda key: [1])
    filled.append(2)
    assert shop["b"] == ([1] if copies else [1, 2])
    assert_valid(local)


def test_it_is_kept_no_longer_than_it_is_good_or_than_the_storage_says() -> None:
    clock = ManualClock()
    backend = MemoryBackend(clock=clock)
    local: Storage[Any] = Storage(default_ttl=30, clock=clock)
    shop = shop_in(local, backend)
    shop.set_many({"long": 1, "long too": 1}, ttl=100)
    shop.set_many({"short": 1, "short too": 1}, ttl=10)
    shop.set_many({"ever": 1, "ever too": 1})
    for look in (shop.get, lambda name: shop.get_many([name, "ever too", "short too", "long too"])):
        for name in ("long", "short", "ever"):
            look(name)
    shop.get_or_fill("filled", str, ttl=10)
    left = {key: local.ttl_of(key) for key in local}
    assert left == dict.fromkeys(["long", "long too", "ever", "ever too"], 30) | dict.fromkeys(
        ["short", "short too", "filled"], 10
    )
    clock.advance(10)
    assert shop.get("short") is None and shop.get_or_fill("filled", lambda key: 2) == 2 and "ever" in local


def test_what_expires_as_it_is_read_is_not_kept_for_the_time_of_what_comes_after_it() -> None:
    """What was filled where nothing was is told to nobody."""
    clock = ManualClock()
    storage: Storage[bytes] = Storage(clock=clock)
    backend, others = MemoryBackend(storage), MemoryBackend(storage)
    other = SharedCache[Any](others, namespace="shop")
    get_many = backend.get_many

    def read_late(keys: Any) -> Any:
        found = get_many(keys)
        clock.advance(10)
        for key in "ab":
            other.get_or_fill(key, lambda key: "new", ttl=300)
        return found

    for look in (lambda shop: shop.get("a"), lambda shop: shop.get_many(["a", "b"])["a"]):
        other.set_many({"a": "old", "b": "old"}, ttl=10)
        local: Storage[Any] = Storage(clock=clock)
        shop = shop_in(local, backend)
        backend.get_many = read_late  # type: ignore[method-assign]
        assert look(shop) == "old"
        backend.get_many = get_many  # type: ignore[method-assign]
        clock.advance(10)
        assert look(shop) == "new"


def test_a_fill_may_say_what_its_copy_weighs() -> None:
    local: Storage[Any] = Storage(100_000, weigher=lambda key, value: 10)
    shop = shop_in(local)
    shop.get_or_fill("a", lambda key: 1)
    before = local.size_in_bytes
    assert shop.get_or_fill("b", lambda key: Filled(2, weight=5010)) == 2 == shop.get("b")
    assert local.size_in_bytes == 2 * before + 5000


# ---- other processes


class Side:
    """One process: a shared cache that keeps something."""

    def __init__(self, sea: Sea) -> None:
        self.backend = Process(sea)
        self.storage: Storage[Any] = Storage()
        self.shared = SharedCache[Any](self.backend, namespace="shop", ttl=300, local=self.storage)
        self.local = AtomicCache(lambda key: [key, os.urandom(4).hex()], shared=self.shared, local_ttl=60)
        eventually(planes.plane_of(self.backend).is_live)


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    sea = Sea()
    one, other = Side(sea), Side(sea)
    one.shared["begun"] = 1
    eventually(lambda: other.shared.get("begun") == 1 and "begun" in other.storage)
    yield one, other
    for side in (one, other):
        planes.plane_of(side.backend).close()


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_drops_what_every_process_keeps(sides: tuple[Side, Side], change: str) -> None:
    one, other = sides
    for key in ("a", (1, 2)):
        one.shared.set(key, "old")
        eventually(lambda key=key: other.shared.get(key) == one.shared.get(key) == "old")  # type: ignore[misc]
    eventually(lambda: other.shared.get("a") == "old" and "a" in other.storage)
    CHANGES[change](one)  # type: ignore[arg-type]
    assert one.shared.get("a") != "old"  # at once in the process that has made the change
    eventually(lambda: other.shared.get("a") == one.shared.get("a"))
    if "clear" in change:
        eventually(lambda: other.shared.get((1, 2)) is None)


def test_nothing_is_kept_while_nothing_is_heard(sides: tuple[Side, Side]) -> None:
    one, other = sides
    planes.plane_of(other.backend).close()
    eventually(lambda: not len(other.storage))
    one.shared.set("a", 1)
    assert other.shared.get("a") == other.shared.get_or_fill("a", str) == 1
    assert other.shared.get_many(["a"]) == {"a": 1} and other.shared.get_or_fill("b", str) == "b"
    assert not len(other.storage)


# ---- schedules: a look in one process, a change in another one, and when it is heard


def stepping(steps: Any) -> Generator[None, None, Any]:
    """Run an operation; others may go on before each step, and before what is done with its result."""
    try:
        asked = next(steps)
        while True:
            if isinstance(asked, Call):
                yield
                result = asked.do()
                yield
            elif isinstance(asked, GeneratorType):
                result = yield from stepping(asked)
            else:
                result = asked  # of the fill
                yield
            asked = steps.send(result)
    except StopIteration as end:
        return end.value


LOOKS: dict[str, Callable[[FillOperations], Any]] = {
    "get": lambda do: do.get("k", None),
    "get_many": lambda do: do.get_many(["k", "other"]),
    "get_or_fill": lambda do: do.get_or_fill("k", lambda key: "filled", lambda key, value: 300),
    "fill with a tag": lambda do: do.get_or_fill(
        "k", lambda key: "filled", lambda key, value: 300, None, False, None, do.state.tags_for(["t"])
    ),
}
HEARD: dict[str, tuple[Callable[[SharedCache[Any]], Any], str]] = {
    "set": (lambda cache: cache.set("k", "new"), "shop:v1:k"),
    "delete": (lambda cache: cache.delete("k"), "shop:v1:k"),
    "clear": (lambda cache: cache.clear(False), "shop:#v1"),
    "tags": (lambda cache: cache.invalidate_tags("t"), "shop:v1:#tag:t"),
}


class TwoProcesses:
    """One looks, and keeps; another one changes the key, after which that is heard."""

    def __init__(self, start: str | None) -> None:
        storage: Storage[bytes] = Storage()
        one, self.backend = MemoryBackend(storage), MemoryBackend(storage)
        one._tokens = self.backend._tokens
        self.local: Storage[Any] = Storage()
        self.cache = SharedCache[Any](one, namespace="shop", local=self.local)
        self.other = SharedCache[Any](self.backend, namespace="shop")
        self.other.set("other", 0)
        if start is not None:
            self.other.set("k", start, tags=["t"])
        state, made = self.cache._state, self.cache._operations
        assert made is not None
        mode = Stepped(one, state.breaker, state.counters, state.flights)
        self.do = FillOperations(state, mode, made.envelope)
        self.do.local = made.local

    def look(self, kind: str) -> Generator[None, None, None]:
        yield from stepping(LOOKS[kind](self.do))

    def change(self, kind: str, is_heard_at_once: bool) -> Generator[None, None, None]:
        yield
        change, name = HEARD[kind]
        change(self.other)
        if not is_heard_at_once:
            yield
        planes.plane_of(self.cache._state.backend).changed(name)


def explore(make: Callable[[], list[Any]], check: Callable[[list[int]], None]) -> int:
    """Run every interleaving of the threads that `make` gives; return how many there were."""
    runs, prefix = 0, []
    while True:
        threads, choices, options = make(), [], []
        while threads:
            able = [at for at, thread in enumerate(threads) if thread is not None]
            if not able:
                break
            chosen = prefix[len(choices)] if len(choices) < len(prefix) else able[0]
            options.append(able)
            choices.append(chosen)
            if next(threads[chosen], StopIteration) is StopIteration:
                threads[chosen] = None
        check(choices)
        runs += 1
        at = next((at for at in reversed(range(len(choices))) if choices[at] != options[at][-1]), None)
        if at is None:
            return runs
        prefix = [*choices[:at], options[at][options[at].index(choices[at]) + 1]]


CASES = [(look, start, change) for look, start in (("get", "old"), ("get_many", None)) for change in HEARD]
CASES += [("get", None, "set"), ("get_or_fill", None, "delete"), ("fill with a tag", None, "tags")]


@pytest.mark.parametrize(("look", "start", "change"), CASES)
def test_what_was_read_before_a_change_was_heard_is_not_kept(look: str, start: str | None, change: str) -> None:
    world: list[TwoProcesses] = []

    def make() -> list[Any]:
        world[:] = [TwoProcesses(start)]
        return [world[0].look(look), world[0].change(change, is_heard_at_once="tag" in look)]  # which has many steps

    def check(choices: list[int]) -> None:
        cache, other = world[0].cache, world[0].other
        assert cache.get("k") == other.get("k"), choices
        assert_valid(world[0].local)
        assert cache.get("k") == other.get("k"), choices
        assert other.get("k") is None or "k" in world[0].local  # a key that was changed can be kept again

    assert explore(make, check) >= 10


def test_two_looks_at_once_and_one_is_interrupted() -> None:
    backend = MemoryBackend()
    local: Storage[Any] = Storage()
    shop = shop_in(local, backend)
    shop.set("a", 1)
    get_many, waits = backend.get_many, threading.Event()
    entered = threading.Event()

    def stopped(keys: Any) -> Any:
        backend.get_many = get_many  # type: ignore[method-assign]
        entered.set()
        assert waits.wait(30)
        raise KeyboardInterrupt

    backend.get_many = stopped  # type: ignore[method-assign]
    errors: list[BaseException] = []

    def look() -> None:
        try:
            shop.get("a")
        except KeyboardInterrupt as error:
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    assert entered.wait(30)
    assert shop.get("a") == shop.get_or_fill("a", str) == 1 and "a" not in local  # nobody waits, and nobody keeps
    waits.set()
    thread.join(30)
    assert errors and shop.get("a") == 1 and "a" in local
    assert_valid(local)


def test_a_cache_that_nobody_uses_is_freed_at_once() -> None:
    shop = shop_in(Storage())
    shop.get_or_fill("a", str)
    state = weakref.ref(shop._state)
    gc.disable()
    try:
        del shop
        assert state() is None
    finally:
        gc.enable()


# ---- where it goes, and where not


def test_functions_that_are_cached_use_it_unless_they_have_a_serializer_of_their_own() -> None:
    backend = Asked()
    shop = shop_in(Storage(), backend)

    @cached(shop, key="n:{n}")
    def plain(n: int) -> list[int]:
        return [n]

    assert plain(1) == plain(1) == shop["n:1"]
    backend.asked.clear()
    assert plain(1) == [1] and not backend.asked and plain.cache_info().local_hits == 2
    assert plain.invalidate(1) and plain(1) == [1] and plain.cache_info().fills == 2
    pytest.importorskip("pydantic")

    @cached(shop, key="d:{n}")
    def picked(n: int) -> date:
        return date(2026, 1, n)

    assert picked(1) == date(2026, 1, 1) and shop["d:1"] == shop["d:1"] == "2026-01-01"
    assert picked(1) == date(2026, 1, 1)


def test_a_cache_in_front_keeps_its_own() -> None:
    local: Storage[Any] = Storage()
    cache = AtomicCache(str, shared=shop_in(local))
    assert cache[1] == "1" and not len(local)


def test_null_keeps_nothing() -> None:
    local: Storage[Any] = Storage()
    shop = SharedCache[Any]("null://", namespace="shop", local=local)
    assert shop.get_or_fill("a", lambda key: 1) == 1 and shop.get_or_fill("a", lambda key: 2) == 2
    cache = AtomicCache(lambda key: object(), shared=SharedCache("null://", namespace="other", serializer="pickle"))
    assert cache["a"] is not cache["a"] and not len(local)


def test_what_cannot_be_local_is_refused() -> None:
    used: Storage[Any] = Storage()
    kept = shop_in(used)
    full: Storage[Any] = Storage()
    full["x"] = 1
    for local, error, match in (
        (1000, TypeError, "local must be a Storage, such as .*, not int"),
        (Cache(), TypeError, "local must be a Storage.*not Cache"),
        (Storage(expiration_disabled=True), ValueError, "local must not have expiration_disabled"),
        (Storage(100_000), ValueError, "local has size_limit_in_bytes.*copies=True"),
        (used, ValueError, "local must be a Storage of its own"),
        (full, ValueError, "local must be a Storage of its own"),
    ):
        with pytest.raises(error, match=match):  # type: ignore[arg-type]
            shop_in(local)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="copies is for a cache with local="):
        shop_in(None, copies=True)
    with pytest.raises(TypeError, match="max_items"):
        shop_in(Storage(), max_items=5)
    assert kept.get("a") is None


def test_a_store_that_cannot_notify_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("django")
    monkeypatch.setattr(DjangoBackend, "__init__", lambda self: None)
    with pytest.raises(TypeError, match="cannot tell a process what others have changed"):
        shop_in(Storage(), DjangoBackend())  # type: ignore[call-arg]


def test_redis_answers_all_at_once(redis_single: Any) -> None:
    redis_single.flush()
    with SharedCache[Any](redis_single.socket_url, namespace="shop", timeout=10, local=Storage()) as shop:
        shop.set_many({"a": 1, "b": 2}, ttl=100)
        shop.set("c", 3)
        eventually(planes.plane_of(shop._state.backend).is_live)
        ends = time.monotonic() + 30
        while shop.cache_info().local_hits < 3 and time.monotonic() < ends:  # the messages of what was set have come
            assert shop.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": 2, "c": 3}

        async def main() -> None:
            shop.clear()
            shop.set_many({"a": 1, "b": 2}, ttl=100)
            while shop.cache_info().local_hits < 5 and time.monotonic() < ends:
                assert await shop.aio.get_many(["a", "b"]) == {"a": 1, "b": 2}
            await shop.aio.aclose()

        asyncio.run(main())
        assert time.monotonic() < ends
