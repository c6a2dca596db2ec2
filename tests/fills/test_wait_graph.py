"""The graph of waits: what a wait costs, whom it finds, and what may come in the midst of a step of it.

Known faults, of 0.1.0: joining a fill walked all that this waits for, under the lock of the process; an edge of a fill
that waits for n others took O(n) to add and to remove; a finalizer that waited under that lock kept all other threads
from waiting.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError, Resilience
from areole._core import wait_graph
from areole._core.wait_graph import Participant, Wait, add_wait, begin_wait, current_participant, end_wait
from areole._fill.task_flight import TaskFlight

from ..interleave import Injected, before_each, every_step, inject
from ..kit import Gate, assert_valid, run_threads, start_threads, wait_until_waiting

MANY = 300


class FakeFlight:
    """A flight without a cache: what the graph needs of one."""

    is_abandonable = False
    runs_a_loop = False

    def __init__(self, leader: Participant) -> None:
        self.leader = leader
        self.looked_at = 0
        self.running = True

    @property
    def is_running(self) -> bool:
        self.looked_at += 1
        return self.running

    def add_waiter(self, wait: Wait) -> None:
        pass

    def remove_waiter(self, wait: Wait) -> bool:
        return False


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note what each walk costs in the end, in nodes and edges."""
    costs: list[int] = []
    first_to_end = wait_graph._first_to_end

    def count(*searches: Any) -> bool:
        costs.append(0)

        def counted(search: Any) -> Any:
            cost = 0
            while True:
                try:
                    now = next(search)
                except StopIteration as end:
                    return end.value
                yield now
                costs[-1] += now - cost  # it goes on, and spends this
                cost = now

        return first_to_end(*map(counted, searches))

    monkeypatch.setattr(wait_graph, "_first_to_end", count)
    return costs


# ---- what a wait costs


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def fan_out_of(size: int, gate: asyncio.Event) -> AsyncAtomicCache[str, int]:
    async def item(i: int) -> int:
        await gate.wait()
        return i

    items = AsyncAtomicCache(item)

    async def report(key: str) -> int:
        return len(await items.fetch_many(range(size)))

    return AsyncAtomicCache(report)


def test_tasks_that_join_a_fill_walk_nothing_of_what_it_awaits(visited: list[int]) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        reports = fan_out_of(MANY, gate)
        first = asyncio.ensure_future(reports["report"])
        await turns()
        visited.clear()
        others = [asyncio.ensure_future(reports["report"]) for _ in range(20)]
        await turns(2)
        assert reports.cache_info().waits == 20
        assert visited == []
        gate.set()
        assert await asyncio.gather(first, *others) == [MANY] * 21
        assert_valid(reports)

    asyncio.run(main())


def test_threads_that_join_a_fill_walk_nothing_of_what_it_awaits(visited: list[int]) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        reports = fan_out_of(MANY, gate)
        first = asyncio.ensure_future(reports["report"])
        await turns()
        visited.clear()
        join = start_threads(*[lambda: reports.sync["report"]] * 4)
        await asyncio.to_thread(wait_until_waiting, reports, 4)
        assert visited == []
        gate.set()
        assert await first == MANY
        assert await asyncio.to_thread(join) == [MANY] * 4
        assert_valid(reports)

    asyncio.run(main())


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_fills_that_join_a_fan_out_walk_the_few_that_wait_for_them(visited: list[int], depth: int) -> None:
    """The walk back from the one that asks, to those that it holds up, is the shorter one, and decides."""

    async def main() -> None:
        gate = asyncio.Event()
        reports = fan_out_of(MANY, gate)

        async def page(key: tuple[int, int]) -> int:
            level, number = key
            return await (reports["report"] if level == 1 else pages[level - 1, number])

        pages = AsyncAtomicCache(page)
        first = asyncio.ensure_future(reports["report"])
        await turns()
        visited.clear()
        others = [asyncio.ensure_future(pages[depth, number]) for number in range(20)]
        await turns(3 + 3 * depth)
        assert reports.cache_info().waits == 20
        assert sum(visited) <= 20 * depth * (4 * depth + 4)
        gate.set()
        assert await asyncio.gather(first, *others) == [MANY] * 21
        assert_valid(reports)

    asyncio.run(main())


def test_a_fill_asks_for_many_without_a_walk_of_its_other_waits(visited: list[int]) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        reports = fan_out_of(MANY, gate)
        first = asyncio.ensure_future(reports["report"])
        await turns()
        assert visited == []
        gate.set()
        assert await first == MANY

    asyncio.run(main())


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "backwards"])
def test_an_edge_is_added_and_removed_in_the_same_steps_however_many_there_are(order: int) -> None:
    def steps_with(others: int) -> list[int]:
        host = Participant()
        fill = Participant(host)
        waits = []
        for _ in range(others + 3):
            flight = FakeFlight(Participant(host))
            waits.append((Wait(flight, None, fill), flight))
        for wait, flight in waits[3:] if order < 0 else waits[:-3]:
            begin_wait(wait, flight)
        last = waits[:3] if order < 0 else waits[-3:]
        steps = count_lines(lambda: [begin_wait(*each) for each in last])
        steps += count_lines(lambda: [end_wait(*each) for each in last])
        return [steps]

    assert type(Participant().waits) is dict  # so that the steps in C do not depend on their number either
    assert steps_with(0) == steps_with(MANY)


def count_lines(function: Callable[[], Any]) -> int:
    lines = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != wait_graph.__file__:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


def test_nothing_of_a_wait_stays_in_the_graph() -> None:
    assert run_threads(wait_and_look) == [None]  # a thread of its own: other tests leave waits in this one


def wait_and_look() -> None:
    me = current_participant()

    async def main() -> None:
        gate = asyncio.Event()
        reports = fan_out_of(20, gate)
        tasks = [asyncio.ensure_future(reports["report"]) for _ in range(3)]
        await turns()
        assert me.loop is not None
        assert len(me.loop.awaited_by) == 20
        gate.set()
        assert await asyncio.gather(*tasks) == [20] * 3
        assert not me.loop.awaited_by

    asyncio.run(main())
    assert not me.waits
    assert not me.awaited_by


# ---- whom it finds


@pytest.mark.parametrize("seed", range(40))
def test_a_random_graph_is_judged_as_one_plain_walk_judges_it(seed: int) -> None:
    """Fills on the loops of three threads, and the threads themselves, wait for each other at random."""
    chance = random.Random(seed)
    threads = [Participant() for _ in range(3)]
    fills = [Participant(chance.choice(threads)) for _ in range(9)]
    flights = [FakeFlight(each) for each in [*threads, *fills]]
    for flight in chance.sample(flights, 2):
        flight.running = False
    waits: list[tuple[Wait, FakeFlight]] = []
    answers = []
    for _ in range(40):
        flight = chance.choice(flights)
        thread = chance.choice(threads) if chance.random() < 0.3 else None
        fill = chance.choice([*fills, None])
        if not flight.running:
            continue
        expected = not closes_cycle(flight, thread, fill, waits)
        wait = Wait(flight, thread, fill)
        answers.append(begin_wait(wait, flight))
        assert answers[-1] == expected
        if answers[-1]:
            waits.append((wait, flight))
        else:
            end_wait(wait, flight)
        if waits and chance.random() < 0.2:
            end_wait(*waits.pop(chance.randrange(len(waits))))
    assert {True, False} == set(answers)
    for each in waits:
        end_wait(*each)
    assert not any(node.waits or node.awaited_by for node in [*threads, *fills, *[each.loop for each in threads]])


def closes_cycle(
    flight: FakeFlight, thread: Participant | None, fill: Participant | None, waits: list[tuple[Wait, FakeFlight]]
) -> bool:
    """As 0.1.0 walked: from the flight to leaders, and to what blocks their loops."""
    to_visit, met = [flight], set()
    while to_visit:
        each = to_visit.pop()
        if each in met or not each.running:
            continue
        met.add(each)
        leader, host = each.leader, each.leader.host
        if leader is thread or leader is fill or (host is not None and host is thread):
            return True
        for wait, awaited in waits:
            if leader in wait.holds_up or (host is not None and host.loop in wait.holds_up):
                to_visit.append(awaited)
    return False


def test_a_fill_whose_loop_is_closed_is_part_of_no_cycle() -> None:
    """It was left in the midst of its waits, and fills no more: the next lookup fills again, and waits as it likes.

    1. a fill of "a", on a loop that is closed then, waits for "b"     2. b's fill asks for "a"
    Known fault, of 0.1.0: FillDeadlockError.
    """
    gate = Gate()
    loops: list[asyncio.AbstractEventLoop] = []

    async def fill_a(key: str) -> str:
        if not loops:
            loops.append(asyncio.get_running_loop())
            await others.aio.fetch("b")
        return "a"

    def fill_b(key: str) -> str:
        gate.enter()
        return cache.sync["a"] + "b"

    cache: AsyncAtomicCache[str, str] = AsyncAtomicCache(fill_a)
    others: AtomicCache[str, str] = AtomicCache(fill_b)
    join = start_threads(lambda: others["b"])
    gate.wait_until_entered()
    loop = asyncio.new_event_loop()
    left = loop.create_task(cache.fetch("a"))
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    assert others.cache_info().waits == 1
    left_fill = next(task for task in asyncio.all_tasks(loop) if task is not left)
    loop.close()
    gate.open()
    assert join() == ["ab"]
    assert_valid(others)
    left._log_destroy_pending = left_fill._log_destroy_pending = False  # type: ignore[attr-defined]


# ---- what may come in the midst of a step


class Scene:
    """A thread that is about to wait for Z's fill; in the midst of that, a finalizer asks for what B's fill brings.

    B's fill then waits for C's: 0.1.0 had the finalizer wait with the lock of the graph, for which B's fill waited.
    """

    def __init__(self, ask: Callable[[AtomicCache[str, str]], Any], **options: Any) -> None:
        self.gates = {name: Gate() for name in "xyz"}
        self.x: AtomicCache[str, str] = AtomicCache(self._fill, **options)
        self.others: AtomicCache[str, str] = AtomicCache(self._fill)
        self.ask = ask
        self.finalized: list[Any] = []

    def _fill(self, key: str) -> str:
        self.gates[key].enter()
        return self.others["y"] + "x" if key == "x" else key

    def finalize(self) -> None:
        try:
            self.finalized.append(self.ask(self.x))
        except Exception as error:
            self.finalized.append(error)

    def play(self, monkeypatch: pytest.MonkeyPatch) -> None:
        joins = [start_threads(lambda key=key: self.others[key]) for key in "zy"]
        joins.append(start_threads(lambda: self.x["x"]))
        for gate in self.gates.values():
            gate.wait_until_entered()
        add = wait_graph._add
        waiters: list[Any] = []

        def begin_to_walk(*args: Any) -> None:
            add(*args)
            if waiters.count(threading.current_thread()) == 1:
                waiters.append(waiters[0])  # once
                self.finalize()  # stands for a collection that begins when this has returned

        monkeypatch.setattr(wait_graph, "_add", begin_to_walk)
        join = start_threads(lambda: (waiters.append(threading.current_thread()), self.others["z"]))
        deadline = time.monotonic() + 30
        while not self.finalized and time.monotonic() < deadline:
            time.sleep(0.001)
        for key in "xyz":
            self.gates[key].open()
        assert [result for each in joins for result in each()] == ["z", "y", "yx"]
        assert join()[0][1] == "z"
        assert_valid(self.x)
        assert_valid(self.others)


def in_a_loop(cache: AtomicCache[str, str]) -> Any:
    return asyncio.run(cache.aio.fetch("x"))


WAYS: dict[str, tuple[Callable[[AtomicCache[str, str]], Any], dict[str, Any]]] = {
    "lookup": (lambda cache: cache["x"], {}),
    "refresh": (lambda cache: cache.refresh("x"), {}),
    "with timeouts": (lambda cache: cache["x"], {"resilience": Resilience(hard_timeout=30)}),
    "with a limit": (lambda cache: cache["x"], {"max_items": 3}),
    "on a loop": (in_a_loop, {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_finalizer_that_would_wait_in_the_midst_of_a_step_is_refused(way: str, monkeypatch: Any) -> None:
    """At once, or, where it runs a loop for it, after a moment; what it has interrupted goes on, and so do others."""
    monkeypatch.setattr("areole._fill.task_waiter.POLL_SECONDS", 0.01)
    ask, options = WAYS[way]
    scene = Scene(ask, **options)
    scene.play(monkeypatch)
    (error,) = scene.finalized
    assert isinstance(error, FillDeadlockError)
    assert "finalizer" in str(error)


def test_a_finalizer_may_fill_in_the_midst_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is waited for; under timeouts it leads by itself, for another thread might need the lock."""
    for options in ({}, {"resilience": Resilience(hard_timeout=30)}):
        cache: AtomicCache[str, Any] = AtomicCache(lambda key: threading.get_ident(), **options)  # type: ignore[arg-type]
        led_by: list[tuple[int, int]] = []

        def ask(_: Any, cache: Any = cache, led_by: Any = led_by) -> str:
            led_by.append((cache["own"], threading.get_ident()))
            return "filled"

        scene = Scene(ask)
        scene.play(monkeypatch)
        assert scene.finalized == ["filled"]
        assert led_by[0][0] == led_by[0][1]
        monkeypatch.undo()


def test_a_wait_that_begins_in_the_midst_of_another_is_counted_and_found() -> None:
    """A finalizer's task may wait for the same fill: before each instruction of the outer wait's beginning and end."""
    for act in (add_wait, end_wait):
        assert before_each(every_step, partial(nested, act)) > 8


def nested(act: Callable[[Wait, Any], Any], at: int) -> Injected:
    flight: Any = TaskFlight("key", AtomicCache(len)._state.index.entry_type, asyncio_loop, is_cancellable=True)
    flight.task = object()
    fill = Participant(current_participant())
    outer, inner = Wait(flight, None, fill), Wait(flight, None, fill)
    if act is end_wait:
        add_wait(outer, flight)
    injected = inject(lambda: act(outer, flight), lambda: add_wait(inner, flight), at)
    if injected.places:
        there = {inner} if act is end_wait else {inner, outer}
        assert set(flight.joiners) == set(fill.waits) == set(flight.leader.awaited_by) == there, injected
        is_last = act is end_wait and not flight.is_abandoned
        assert end_wait(inner, flight) == is_last
    end_wait(outer, flight)
    assert not (flight.joiners or fill.waits or flight.leader.awaited_by)
    assert flight.is_abandoned
    return injected


class OpenLoop:
    def is_closed(self) -> bool:
        return False


asyncio_loop: Any = OpenLoop()


def test_a_wait_ends_once_however_often_that_is_said() -> None:
    flight: Any = TaskFlight("key", AtomicCache(len)._state.index.entry_type, asyncio_loop, is_cancellable=True)
    flight.task = object()
    wait = Wait(flight, None, None)
    assert not end_wait(wait, flight)  # it has not begun
    assert not flight.is_abandoned
    add_wait(wait, flight)
    assert end_wait(wait, flight)
    assert not end_wait(wait, flight)


def test_a_ring_of_many_threads_over_caches_is_refused_once() -> None:
    """Both walks are long here, and meet at the end."""
    size = 12
    together = threading.Barrier(size)
    errors = itertools.count()
    cache: AtomicCache[int, Any]

    def fill(key: int) -> Any:
        together.wait(60)
        try:
            return cache[(key + 1) % size]
        except FillDeadlockError:
            return next(errors)

    cache = AtomicCache(fill)
    assert run_threads(*[lambda key=key: cache[key] for key in range(size)]) == [0] * size
    assert_valid(cache)
