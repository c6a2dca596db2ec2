"""Two processes with a cache each in front of one store, in schedules drawn at random: no read is older than what its
process has heard.

Tasks of one event loop stand for both processes. Each call of the store waits at a gate before and after its effect,
and each message in a queue. A driver opens one gate, lets one message come, or loses or makes a connection, by a seeded
choice; so a seed is a schedule. A call may fail, and have its effect later.

A version of a key counts as heard where the call that invalidated it has returned, or its message has come.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from areole import AsyncAtomicCache, SharedCache, Storage
from areole.backends import MemoryBackend
from areole.backends.in_executor import InPlace
from areole.errors import BackendError, BackendTimeout
from areole.shared.plane import plane_of

KEYS = ("a", 1, ("t", 2))
SAME = {"a": ("a",), 1: (1, 1.0, True), ("t", 2): (("t", 2), ("t", 2.0))}
OPERATIONS = 40

versions: contextvars.ContextVar[dict[Any, int]] = contextvars.ContextVar("versions")
"""What the running operation invalidates."""


class World:
    def __init__(self, seed: int) -> None:
        self.choices = random.Random(seed)
        self.gates: list[asyncio.Future[None]] = []
        self.late: list[Callable[[], Any]] = []
        self.storage: Storage[bytes] = Storage()
        self.tokens: dict[str, tuple[bytes, float]] = {}
        self.source = dict.fromkeys(KEYS, 0)
        self.writing = {key: asyncio.Lock() for key in KEYS}
        self.sides = [Side(self), Side(self)]

    async def gate(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        await gate

    def step(self) -> None:
        """Let one thing happen."""
        side = self.choices.choice(self.sides)
        drawn = self.choices.random()
        if drawn < 0.25 and side.messages:
            side.hear()
        elif drawn < 0.28:
            side.lose_or_connect()
        elif drawn < 0.34 and self.late:
            self.late.pop(self.choices.randrange(len(self.late)))()
        elif self.gates:
            gate = self.gates.pop(self.choices.randrange(len(self.gates)))
            if not gate.done():
                gate.set_result(None)


class Store(MemoryBackend):
    """What one process has of the store; as in Redis, each change is published as it is made, to all."""

    is_shared = True

    def __init__(self, world: World) -> None:
        super().__init__(world.storage)
        self._tokens, self.world = world.tokens, world

    def publish(self, name: str) -> None:
        for side in self.world.sides:
            if side.is_subscribed:
                side.messages.append((name, dict(versions.get({}))))

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        is_stored = super().set(key, value, ttl, only_if_absent)
        self.publish(key)
        return is_stored

    def kill(self, key: str, /) -> bytes | None:
        head = super().kill(key)
        self.publish(key)
        return head

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        was_there = self.get(key) is not None
        is_stored = super().store_if_mine(key, value, token, ttl)
        if is_stored and value is not None and was_there:
            self.publish(key)
        return is_stored

    def listen(self) -> Any:
        raise AssertionError("the driver delivers the messages")


class Slow(InPlace):
    """The same for tasks, each of whose calls waits, and may fail."""

    timeout = None

    async def _call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        world: World = self._backend.world  # type: ignore[attr-defined]
        await world.gate()
        drawn = world.choices.random()
        if drawn < 0.03:
            if function.__name__ == "kill_many" and drawn < 0.02:
                world.late.append(partial(contextvars.copy_context().run, function, *args))
            raise BackendTimeout("too slow")
        result = function(*args, **kwargs)
        await world.gate()
        if drawn < 0.05:
            raise BackendTimeout("the answer was lost")
        return result


class Side:
    """One process."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = Store(world)
        clock = itertools.count(step=10).__next__  # of the breaker, which is closed again at once
        self.shared = SharedCache[Any](Slow(self.store), namespace="shop", clock=clock)
        self.kept = AsyncAtomicCache(self.fill, shared=self.shared)
        self.others = AsyncAtomicCache(self.fill, shared=self.shared)
        self.plane = plane_of(self.store)
        self.plane._thread = object()  # type: ignore[assignment]
        self.messages: list[tuple[str, dict[Any, int]]] = []
        self.is_subscribed = False
        self.heard = dict.fromkeys(KEYS, 0)

    async def fill(self, key: Any) -> Any:
        version = self.world.source[key]
        await self.world.gate()
        return version

    # ---- the plane, as its thread does it

    def hear(self) -> None:
        name, of = self.messages.pop(0)
        self.plane.changed(name)
        for key, version in of.items():
            if name == "shop:#v1" or name == self.shared._state.keys.name(key):
                self.heard[key] = max(self.heard[key], version)

    def lose_or_connect(self) -> None:
        self.messages.clear()
        if self.plane._is_live:
            self.is_subscribed = self.plane._is_live = False
            self.plane._drop_all()
            assert not list(self.kept) and not list(self.others)
        elif not self.is_subscribed:
            self.is_subscribed = True
        else:
            self.plane._drop_all()
            self.plane._is_live = True

    # ---- what is done

    async def read(self, key: Any) -> None:
        floor = self.heard[key]
        cache = self.world.choices.choice((self.kept, self.kept, self.others))
        same = self.world.choices.choice(SAME[key])
        with_refresh = self.world.choices.random() < 0.1
        value = await (cache.refresh(same) if with_refresh else cache[same])
        assert value >= floor, f"{key!r} gave {value}, where {floor} had been heard to be invalidated"

    async def change(self, key: Any) -> None:
        how = self.world.choices.choice(["delete", "delete", "invalidate", "set", "clear"])
        keys = KEYS if how == "clear" else (key,)
        for each in keys:
            await self.world.writing[each].acquire()
        try:
            for each in keys:
                self.world.source[each] += 1
            of = {each: self.world.source[each] for each in keys}
            versions.set(of)
            aio = self.shared.aio
            await {
                "delete": lambda: aio.delete(key),
                "invalidate": lambda: self.kept.invalidate(key),
                "set": lambda: aio.set(key, of[key]),
                "clear": lambda: self.world.choices.choice((aio.clear, self.others.clear))(),
            }[how]()
            self.heard.update({each: max(self.heard[each], version) for each, version in of.items()})
        finally:
            for each in keys:
                self.world.writing[each].release()


async def play(seed: int) -> int:
    world = World(seed)
    for side in world.sides:
        side.lose_or_connect(), side.lose_or_connect()
    reads = 0
    running: set[asyncio.Task[None]] = set()
    left = OPERATIONS
    while left or running:
        if left and len(running) < 6:
            left -= 1
            side, key = world.choices.choice(world.sides), world.choices.choice(KEYS)
            is_read = world.choices.random() < 0.7
            reads += is_read
            running.add(asyncio.ensure_future(side.read(key) if is_read else side.change(key)))
        for _ in range(4):
            await asyncio.sleep(0)
        world.step()
        for task in [each for each in running if each.done()]:
            running.discard(task)
            error = task.exception()
            if error is not None and not isinstance(error, BackendError):
                raise error
    for side in world.sides:
        while side.messages:
            side.hear()
        for key in list(side.kept):
            assert side.kept.peek(key) >= side.heard[key], f"{key!r} is kept, and too old"
    return reads


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_read_is_older_than_what_its_process_has_heard() -> None:
    assert sum(asyncio.run(play(seed)) for seed in range(150)) > 3000
