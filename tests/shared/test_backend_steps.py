"""Each engine answers every call as MemoryBackend does, whatever the order of the calls of several processes.

`test_schedules` tries all interleavings of a SharedCache's operations over MemoryBackend. That holds for an engine
whose steps are the same: here two fills, and a writer that changes the key twice, make their calls in all orders.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import permutations, product
from typing import Any

import pytest

from areole import CACHE_MISS
from areole.backends import MemoryBackend
from areole.backends.protocol import SEEN_BYTES
from areole.testing import ManualClock

from .kit import ENGINES, Engine, Subject, opened

LEASE = 60.0
LONG = 1000.0

Steps = Iterator[Any]
"""The calls of one process: each `next` makes one, and gives what it returned."""


@pytest.fixture(
    params=[engine for engine in ENGINES if not engine.weaker and engine.name != "memory"],
    ids=lambda engine: engine.name,
)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    engine: Engine = request.param
    with opened(engine, request) as subject:
        yield subject


def fill(backend: Any, key: str, own: bytes, seen: bytes | None) -> Steps:
    value, token = backend.take(key, own, LEASE, seen)
    yield value, token
    yield backend.store_if_mine(key, b"of " + own, token or own, LONG)


CHANGES: dict[str, Callable[[Any, str, bytes], Any]] = {
    "set": lambda backend, key, value: backend.set(key, value),
    "add": lambda backend, key, value: backend.set(key, value, LONG, True),
    "set_many": lambda backend, key, value: backend.set_many({key + "x": value, key: value}, LONG),
    "kill": lambda backend, key, value: backend.kill(key),
    "kill_many": lambda backend, key, value: backend.kill_many([key, key + "x"]),
    "expire": lambda backend, key, value: backend.expire(key, 0),
    "clear": lambda backend, key, value: backend.clear(key),
}


def value_of(number: int, name: str) -> bytes:
    """Return a value as long as what `take` compares."""
    return f"{number}, {name}".encode().ljust(SEEN_BYTES, b".")


def change(backend: Any, key: str, *names: str) -> Steps:
    for number, name in enumerate(names):
        yield CHANGES[name](backend, key, value_of(number, name))


def look(backend: Any, key: str) -> list[Any]:
    ttl = backend.ttl_of(key)
    return [backend.get(key), backend.get_many([key, key + "x"]), ttl if ttl is CACHE_MISS else ttl is None]


def orders_of(*lengths: int) -> Iterator[tuple[int, ...]]:
    """Yield each order in which so many callers can make so many calls each."""
    turns = [caller for caller, number in enumerate(lengths) for _ in range(number)]
    yield from sorted(set(permutations(turns)))


def run(order: tuple[int, ...], callers: list[Steps], backend: Any, key: str) -> list[Any]:
    return [*(next(callers[turn]) for turn in order), look(backend, key)]


ORDERS = list(orders_of(2, 2, 2))


@pytest.mark.parametrize("seen", [None, value_of(0, "set")], ids=["lookup", "refresh"])
@pytest.mark.parametrize("names", list(product(CHANGES, ["set", "kill"])), ids=" and ".join)
def test_two_fills_and_a_writer_in_all_orders(subject: Subject, names: tuple[str, str], seen: bytes | None) -> None:
    memory, backend, other = MemoryBackend(), subject.backend, subject.connect()
    for number, order in enumerate(ORDERS):
        key = f"{number}:"
        expected, found = (
            run(
                order,
                [fill(one, key, b"a", seen), fill(two, key, b"b", None), change(one, key, *names)],
                two,
                key,
            )
            for one, two in ((memory, memory), (backend, other))
        )
        assert found == expected, order


def test_any_calls(subject: Subject) -> None:
    """Leases and ttls end too, where the engine's clock can be moved."""
    clock = ManualClock(1e9)
    memory, backends = MemoryBackend(clock=clock), [subject.backend, subject.connect()]
    has_manual_clock = "sqlite" in subject.engine.name
    choices = random.Random(7)
    calls: list[Callable[[Any, Any], Any]] = [
        lambda backend, key: backend.take(key, b"%d" % choices.randrange(3), choices.choice([5.0, LEASE])),
        lambda backend, key: backend.take(key, b"0", LEASE, b"%d" % choices.randrange(3)),
        lambda backend, key: backend.store_if_mine(
            key, b"%d" % choices.randrange(3), b"%d" % choices.randrange(3), LEASE
        ),
        lambda backend, key: backend.store_if_mine(key, None, b"%d" % choices.randrange(3)),
        lambda backend, key: backend.renew(key, b"%d" % choices.randrange(3), LEASE),
        lambda backend, key: backend.expire(key, choices.choice([0, None, 5.0])),
        lambda backend, key: backend.delete_many([key, "other"]),
        lambda backend, key: backend.set(key, b"%d" % choices.randrange(3), choices.choice([None, 5.0, LEASE])),
        *(lambda backend, key, name=name: CHANGES[name](backend, key, b"new") for name in CHANGES),
    ]
    for turn in range(2000):
        if has_manual_clock and choices.random() < 0.1:
            seconds = choices.choice([1, 5, 59])
            clock.advance(seconds)
            subject.pass_time(seconds)
        call, key, state = choices.choice(calls), choices.choice("ab"), choices.getstate()
        expected = [call(memory, key), look(memory, key)]
        choices.setstate(state)
        found = [call(backends[turn % 2], key), look(backends[0], key)]
        assert found == expected, turn
