"""Count the functions of areole that a lookup visits: what a reader has to read to follow it.

    python -m tests.walks           each walk, with the functions in the order in which they were first visited
    python -m tests.walks --json    the same for tests/test_walks.py

Distinct functions are counted, of all threads together, by `sys.setprofile`. PYTHONPATH=OTHER/src counts another tree.
A process of its own, so that the threads of areole's pool start here, and are watched from their first step.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import areole
from areole import AsyncAtomicCache, AtomicCache, Resilience, Storage

PACKAGE = str(Path(areole.__file__).parent)
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>"}  # functions up to Python 3.11 only


class Walk:
    """The functions of areole that were visited, in order, by the threads that called `watch`."""

    def __init__(self) -> None:
        self.visited: dict[str, None] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What the calling thread does here is the test's own."""
        sys.setprofile(None)
        try:
            yield
        finally:
            sys.setprofile(self._note)

    @contextmanager
    def watch_new_threads(self) -> Iterator[None]:
        threading.setprofile(self._note)
        try:
            with self.watch():
                yield
        finally:
            threading.setprofile(None)  # type: ignore[arg-type]

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        is_ours = code.co_filename.startswith((PACKAGE, "<areole"))
        if event == "call" and is_ours and code.co_name not in COMPREHENSIONS:
            self.visited[f"{code.co_filename.removeprefix(PACKAGE)[1:]} {code.co_qualname}"] = None


def hit() -> Walk:
    cache, walk = AtomicCache(abs), Walk()
    cache[1]
    with walk.watch():
        cache[1]
    return walk


def bounded_hit_with_ttl() -> Walk:
    cache, walk = AtomicCache(abs, ttl=60, max_items=10), Walk()
    cache[1]
    with walk.watch():
        cache[1]
    return walk


def miss_with_a_waiter() -> Walk:
    """The leader and the waiter together. A waiter that is held up does more after a moment: so the least of five."""
    return min((_miss_with_a_waiter() for _ in range(5)), key=lambda walk: len(walk.visited))


def _miss_with_a_waiter() -> Walk:
    walk, is_running = Walk(), threading.Event()

    def fill(key: int) -> int:
        if key == 0:
            return key
        is_running.set()
        with walk.pause():
            _wait_until(lambda: cache.cache_info().waits == 1)
            _wait_until_blocked(lambda: waiter.ident, looks=3, pause=0.001)
        return key

    def look_up() -> None:
        cache.refresh(0)  # so that what a thread does once in its life has been done
        with walk.watch():
            cache[1]

    cache = AtomicCache(fill, ttl=60)
    leader, waiter = threading.Thread(target=look_up), threading.Thread(target=look_up)
    leader.start()
    assert is_running.wait(60)
    waiter.start()
    for thread in (leader, waiter):
        thread.join(60)
    return walk


def set_that_evicts(policy: str) -> Walk:
    """A store with both limits and a ttl, of which each value has been used."""
    store: Storage[int, bytes] = Storage(1 << 20, 10, policy=policy, default_ttl=60)  # type: ignore[arg-type]
    walk = Walk()
    for i in range(20):
        store.set(i, b"value")
    for i in range(20):
        store.get(i)
    with walk.watch():
        store.set(20, b"value")
    assert store.number_of_items == 10
    return walk


def stale_serve_with_refresh() -> Walk:
    now, walk = [0.0], Walk()
    workers: list[int] = []

    def fill(key: int) -> float:
        workers.append(threading.get_ident())
        return now[0]

    cache = AtomicCache(fill, ttl=1, clock=lambda: now[0], resilience=Resilience(stale_ttl=60))
    cache[1]
    now[0] = 2.0
    with walk.watch_new_threads():
        assert cache[1] == 0.0  # a worker is started
        with walk.pause():
            _wait_until(lambda: len(workers) == 2 and cache.peek(1) == 2.0)
            _wait_until_blocked(lambda: workers[1], looks=10, pause=0.01)  # it waits for more to do
        walk.visited.clear()
        now[0] = 4.0
        assert cache[1] == 2.0
    _wait_until(lambda: len(workers) == 3 and cache.peek(1) == 4.0)
    _wait_until_blocked(lambda: workers[2], looks=10, pause=0.01)
    return walk


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def _wait_until_blocked(thread: Callable[[], int | None], looks: int, pause: float) -> None:
    """Return once a thread has been seen so many times, a pause apart, at one and the same instruction."""
    last = seen = None
    count = 0
    while count < looks:
        frame = sys._current_frames()[thread() or 0]
        last, seen = seen, (frame.f_code, frame.f_lasti)
        count = count + 1 if last == seen else 0
        del frame
        time.sleep(pause)


def awaited_miss() -> Walk:
    walk = Walk()

    async def fill(key: int) -> int:
        return key

    async def main() -> None:
        cache = AsyncAtomicCache(fill)
        await cache[0]  # so that what a loop does once has been done
        with walk.watch():
            await cache[1]

    asyncio.run(main())
    return walk


WALKS: dict[str, Callable[[], Walk]] = {
    "hit": hit,
    "hit, bounded, ttl": bounded_hit_with_ttl,
    "miss with a waiter, ttl": miss_with_a_waiter,
    "set that evicts, lru": lambda: set_that_evicts("lru"),
    "set that evicts, s3fifo": lambda: set_that_evicts("s3fifo"),
    "stale serve with its refresh": stale_serve_with_refresh,
    "awaited miss": awaited_miss,
}


def main(arguments: list[str]) -> None:
    walks = {name: list(walk().visited) for name, walk in WALKS.items()}
    if "--json" in arguments:
        print(json.dumps(walks))
        return
    for name, visited in walks.items():
        print(f"{name}: {len(visited)}", *visited, sep="\n    ")


if __name__ == "__main__":
    main(sys.argv[1:])
