"""Every race under every schedule with up to two preemptions and under random ones; and the scheduler itself.

A race's header says what it proves, which broken interleaving it hunts, and what is allowed: tests/interleave/races.
Here is also a fault as somebody might have written it, which its race must find.
"""

from __future__ import annotations

import ctypes
import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from areole._fill import protocol
from areole._fill.protocol import Fills
from areole._index import atomic
from areole._platform import locks as areole_locks
from areole._platform import refcount as _refcount

from ..kit import collect, is_free_threaded
from . import EXHAUSTIVE, BadSchedule, Deadlock, WithInvariant, explore, point, replay, sample
from .__main__ import main
from .hunt import find_fault
from .race import Race
from .races import RACES
from .saved import load, replay_file, save, scenario_called

every_race = pytest.mark.parametrize("race", RACES.values(), ids=list(RACES))


@every_race
def test_in_every_schedule(race: Race) -> None:
    """With up to two preemptions on the first kind of cache that the race is for, with one on the others.

    Of those with two, 250 at most: a race that has more is a sample of its own. AREOLE_EXHAUSTIVE=1 runs all.
    """
    preemptions = race.preemptions if race.is_first or EXHAUSTIVE else 1
    explore(race.scenario, preemptions, symmetric=race.symmetric, at_least=5, at_most=250)


@every_race
def test_in_schedules_chosen_at_random_among_all_instructions(race: Race) -> None:
    assert sample(race.scenario, runs=5, seed=1) > 0


@every_race
def test_a_race_says_what_it_proves_what_it_hunts_and_what_is_allowed(race: Race) -> None:
    assert "Proves" in race.header and "1. " in race.header and "Allowed" in race.header


# ---- a planted fault


def fail_and_leave_the_flight(self: Any, flight: Any) -> None:
    if isinstance(flight.error, Exception):
        fail(self, flight)


fail = Fills.abort


def test_a_planted_fault_is_found_and_what_is_saved_shows_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For as long as it is there. Others are in stress/faults, which `tests.interleave.hunt` looks for too."""
    race = "dead-leader-alone/dict"
    with monkeypatch.context() as patched:
        patched.setattr(Fills, "abort", fail_and_leave_the_flight)
        with pytest.raises(BadSchedule) as caught:
            explore(RACES[race].scenario, 1, stops_early=True)
        path = save(race, caught.value.bad, tmp_path)
        with pytest.raises(BadSchedule):
            replay_file(path)
    assert load(path)[0] == race


@pytest.mark.skipif(is_free_threaded(), reason="it takes a minute without a GIL, and hunts the same way")
def test_the_hunt_finds_a_planted_fault_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fills, "abort", fail_and_leave_the_flight)
    assert "dead-leader" in find_fault(seconds=300)  # so long at most: it ends as it has found one


def test_the_hunt_finds_nothing_in_the_library_as_it_is() -> None:
    assert find_fault(seconds=0) == ""


class Refuses:
    """Can be neither compared nor hashed nor asked for a truth value."""

    def __eq__(self, other: object) -> bool:
        raise TypeError

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError


def test_a_module_may_hold_what_has_no_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """`areole._platform.refcount._enable` is a ctypes function where reference counts can be deferred, on 3.14t."""
    enable = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(lambda each: 0)
    with pytest.raises(TypeError, match="unhashable"):
        hash(enable)
    monkeypatch.setattr(_refcount, "_enable", enable)
    monkeypatch.setattr(_refcount, "refuses", Refuses(), raising=False)
    assert explore(RACES["cold-key/dict"].scenario, 0, at_least=1)
    assert sample(RACES["cold-key/dict"].scenario, runs=2, seed=1)


def test_caches_that_only_a_collection_frees_do_not_turn_an_atomic_race_into_one_of_dicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where reference counts are deferred: here each cache is part of a cycle, and there may be nine more."""
    names: list[str] = []

    def scenario() -> Any:
        *threads, check = RACES["cold-key/atomic"].scenario()
        cache = check.cache
        cache._fill.__dict__["cache"] = cache
        names.append(cache._state.index.name)
        return *threads, check

    collect()
    monkeypatch.setattr(atomic, "MAX_ATOMIC_DICTS", atomic._atomic_dicts.get() + 9)
    assert explore(scenario, 1, at_least=20)
    assert set(names) == {"atomic"}
    assert gc.isenabled()


def test_the_modules_under_test_are_patched_only_while_a_schedule_runs() -> None:
    explore(RACES["cold-key/dict"].scenario, 0, at_least=1)
    assert areole_locks.threading is threading
    assert type(protocol.current_participant().waits) is dict


# ---- the scheduler


def steps(count: int, thread: int, done: list[int]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(count):
            point()
            done.append(thread)

    return run


@pytest.mark.parametrize(("preemptions", "orders"), [(0, 2), (1, 6), (2, 14), (3, 18), (4, 20)])
def test_all_orders_with_so_many_preemptions_are_run_once_each(preemptions: int, orders: int) -> None:
    """Two threads of three steps each: of the 20 orders, those with so many preemptions or fewer."""
    met: list[tuple[int, ...]] = []

    def scenario() -> Any:
        done: list[int] = []
        return steps(3, 0, done), steps(3, 1, done), lambda results: met.append(tuple(done))

    explore(scenario, preemptions, at_least=2)
    assert len(set(met)) == orders


def test_three_threads_are_run_in_all_their_orders() -> None:
    met: set[tuple[int, ...]] = set()

    def scenario() -> Any:
        done: list[int] = []
        return *[steps(1, thread, done) for thread in range(3)], lambda results: met.add(tuple(done))

    explore(scenario, 0, at_least=6)
    assert len(met) == 6


def lost_update() -> Any:
    """Two threads add one, by a load and a store."""
    count = [0]

    def add() -> None:
        read = count[0]
        point()
        count[0] = read + 1

    def check(results: list[Any]) -> None:
        assert count == [2]

    return add, add, check


def test_a_lost_update_needs_one_preemption_and_is_found_by_each_way() -> None:
    assert explore(lost_update, 0, at_least=2) == 2
    with pytest.raises(BadSchedule) as caught:
        explore(lost_update, 1)
    assert len(caught.value.bad.choices) == 1
    with pytest.raises(BadSchedule):
        replay(lost_update, caught.value.bad.choices)
    with pytest.raises(BadSchedule, match="seed 3"):
        sample(lost_update, runs=200, seed=3, depth=2)


def test_the_same_seed_gives_the_same_schedules() -> None:
    found = []
    for _ in range(2):
        with pytest.raises(BadSchedule) as caught:
            sample(lost_update, runs=200, seed=4, depth=2)
        found.append(caught.value.bad)
    assert found[0] == found[1]


def test_an_invariant_is_looked_at_before_every_step() -> None:
    def scenario() -> Any:
        balance = [0]

        def move() -> None:
            balance[0] += 1
            point()
            balance[0] -= 1

        def invariant() -> None:
            assert balance[0] < 2

        return move, move, WithInvariant(lambda results: None, invariant)

    with pytest.raises(BadSchedule, match="balance"):
        explore(scenario, 1, at_least=1)


def test_threads_that_wait_for_each_other_are_a_deadlock_and_a_wait_with_a_limit_is_none() -> None:
    """The locks are made in the scenario by the library's own means: only those are seen."""

    def scenario(timeout: float) -> Any:
        locks = [areole_locks.threading.Lock(), areole_locks.threading.Lock()]

        def take(first: int) -> bool:
            with locks[first]:
                if got := locks[1 - first].acquire(timeout=timeout):
                    locks[1 - first].release()
                return got

        def check(results: list[Any]) -> None:
            assert not any(isinstance(result, Deadlock) for result in results)

        return (lambda: take(0)), (lambda: take(1)), check

    with pytest.raises(BadSchedule, match="Deadlock"):
        explore(lambda: scenario(timeout=-1), 1, at_least=1)
    explore(lambda: scenario(timeout=60), 1, at_least=5)


def test_choices_that_cannot_be_taken_are_refused() -> None:
    with pytest.raises(ValueError, match="another library or interpreter"):
        replay(lost_update, [(1, 7)])


def test_the_command_lists_runs_and_replays(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--list", "--scenario", "cold-key/dict"]) == 0
    assert "Allowed" in capsys.readouterr().out
    ours = ["--scenario", "dead-leader-alone/dict", "--preemptions", "0", "--runs", "1", "--save", str(tmp_path)]
    assert main(ours) == 0
    with monkeypatch.context() as patched:
        patched.setattr(Fills, "abort", fail_and_leave_the_flight)
        assert main(ours) == 1
        (path,) = tmp_path.glob("*.json")
        assert main(["--replay", str(path)]) == 1
    assert main(["--replay", str(path)]) == 0
    saved = json.loads(path.read_text())
    assert saved["scenario"] == "dead-leader-alone/dict"
    assert {"choices", "threads", "steps", "seed", "areole", "python", "error"} <= set(saved)


def test_a_scenario_is_found_by_its_name_a_history_too() -> None:
    assert scenario_called("cold-key/dict") is RACES["cold-key/dict"].scenario
    assert len(scenario_called("history/dict/1-1")()) == 4
    with pytest.raises(KeyError, match="cold-key/dict"):
        scenario_called("cold-kye")
