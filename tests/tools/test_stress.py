"""The stress program: every scenario is clean on the library; the frame finds who is blocked; the oracle's rules.

That the scenarios find what they are for is in test_stress_faults.
"""

from __future__ import annotations

import os
import sys
import threading

import pytest

from stress.case import Result
from stress.frame import run
from stress.oracle import KINDS, Call, Fill, Findings, Oracle, Removal, find_doubled
from stress.scenario import Scenario
from stress.scenarios import SCENARIOS
from stress.scenarios.cold_storm import KEYS_IN_A_BURST
from stress.scenarios.primes import nth_prime
from stress.worker import Worker

SHARED = ("shared", "tiers")
"""Those of several processes, which are in tests/shared/test_stress_shared."""
EVERY_RUN = [(name, variant) for name in SCENARIOS if name not in SHARED for variant in SCENARIOS[name].variants]


SECONDS = float(os.environ.get("AREOLE_STRESS_SECONDS", "0.3"))
"""For each run; CI gives them more, in the place of a run of the command."""


@pytest.mark.parametrize(("name", "variant"), EVERY_RUN)
def test_finds_nothing_in_the_library(name: str, variant: str) -> None:
    result = run(SCENARIOS[name], variant=variant, seconds=SECONDS, seed=1)
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.is_clean, "\n".join([*result.messages, result.stacks])
    assert result.operations > 0


@pytest.mark.parametrize(("policy", "seed", "rounds"), [("lru", 2, 720), ("s3fifo", 0, 740), ("s3fifo", 2, 970)])
def test_keys_that_change_a_bounded_store_again_and_again_while_it_changes(policy: str, seed: int, rounds: int) -> None:
    """Found by stress: out of `cache[key]` came a KeyError, or an IndexError, or a listener was told of no value.

    1. a fill publishes: what is evicted is chosen     3. the eviction fails on that; the books are made anew,
    2. a key's `__hash__` takes it out                    and the publishing is done once more
                                                       4. the same again, in that one: and it was not done again

    One thread, so that the seed decides all: each of these met it within so many rounds.
    """
    result = run(SCENARIOS["reentrant"], variant=policy, threads=1, rounds=rounds, seed=seed, until_found=KINDS)
    assert result.is_clean, "\n".join(result.messages)


# ---- the frame


class Waits(Scenario):
    """One worker of two waits for `gate` in the third round."""

    gate = threading.Event()

    def start_round(self, number: int) -> None:
        self.round = number

    def check_round(self, workers: list[Worker]) -> None:
        pass

    def play(self, worker: Worker) -> None:
        worker.operations += 1
        if self.round == 3 and worker.number == 1:
            self.gate.wait()  # for as long as the test likes


class Raises(Waits):
    def play(self, worker: Worker) -> None:
        raise ZeroDivisionError


class IsInvalidAtRest(Waits):
    def check_round(self, workers: list[Worker]) -> None:
        raise AssertionError("two entries of one key")


def test_names_the_one_thread_that_is_blocked_and_shows_its_stack() -> None:
    patience = 0.2
    result = run_blocked(patience)
    while (result.blocked, result.rounds) != (1, 3) and patience < 30:  # a machine that was slower than that elsewhere
        patience *= 2
        result = run_blocked(patience)
    assert (result.blocked, result.rounds) == (1, 3)
    assert "worker-1" in result.messages[0]
    assert "in play" in result.stacks


def run_blocked(patience: float) -> Result:
    Waits.gate = threading.Event()
    try:
        return run(Waits, threads=2, rounds=5, patience=patience)
    finally:
        Waits.gate.set()


@pytest.mark.parametrize(("scenario", "text"), [(Raises, "ZeroDivisionError"), (IsInvalidAtRest, "two entries")])
def test_an_exception_that_nothing_allows_is_wrong(scenario: type[Scenario], text: str) -> None:
    result = run(scenario, threads=2, rounds=1)
    assert result.wrong > 0
    assert text in result.messages[0]


def test_a_run_of_so_many_rounds_has_so_many_and_the_switch_interval_of_before() -> None:
    before, told = sys.getswitchinterval(), []
    result = run(SCENARIOS["cold_storm"], told.append, threads=2, rounds=3)
    assert result.rounds == 3
    assert result.fills == 3 * KEYS_IN_A_BURST
    assert told
    assert sys.getswitchinterval() == before


# ---- the oracle


def fill_of(oracle: Oracle, called: int, began: int, ended: int, failed: bool = False) -> Fill:
    call = Call("k", oracle.lines["k"], refreshes=False, clock=0.0)
    call.began = called
    fill = Fill(oracle, "k", 0, call)
    fill.began, fill.ended, fill.failed = began, ended, failed
    return fill


@pytest.fixture
def oracle() -> Oracle:
    oracle = Oracle(Findings())
    oracle.start_round(["k"])
    return oracle


@pytest.mark.parametrize(
    ("removals", "weight", "doubled"),
    [
        ([], 1, True),
        ([(1, 2)], 1, True),  # was over before the first of the two was called
        ([(31, 32)], 1, True),  # began when both had begun
        ([(1, 10)], 1, False),  # may have taken out the first one, claimed as late as 12
        ([(30, 40)], 1, False),  # may have done so as the second one was claimed
    ],
)
def test_two_fills_of_a_key_take_an_invalidation_that_overlaps(
    oracle: Oracle, removals: list[tuple[int, int]], weight: int, doubled: bool
) -> None:
    fills = [fill_of(oracle, 10, 12, 14), fill_of(oracle, 20, 30, 34)]
    of_key = [Removal(("k",), began, ended, weight) for began, ended in removals]
    assert bool(list(find_doubled(fills, of_key, lambda first, second: False))) is doubled


def test_each_fill_more_takes_an_invalidation_more_and_a_clear_counts_as_many(oracle: Oracle) -> None:
    fills = [fill_of(oracle, 10 + i, 20 + i, 30) for i in range(3)]

    def is_doubled(*weights: int) -> bool:
        removals = [Removal(("k",), 12, 13, weight) for weight in weights]
        return bool(list(find_doubled(fills, removals, lambda first, second: False)))

    assert is_doubled(1)
    assert not is_doubled(1, 1)
    assert not is_doubled(8)


def test_a_fill_may_follow_one_that_failed_but_not_overlap_it(oracle: Oracle) -> None:
    def is_doubled(second: Fill) -> bool:
        return bool(list(find_doubled([first, second], [], lambda first, second: first.failed)))

    first = fill_of(oracle, 1, 2, 5, failed=True)
    assert not is_doubled(fill_of(oracle, 3, 6, 8))
    assert is_doubled(fill_of(oracle, 3, 4, 8))


def test_fills_that_may_overlap_are_not_doubled_and_a_third_is(oracle: Oracle) -> None:
    first, second = fill_of(oracle, 1, 2, 9), fill_of(oracle, 3, 4, 8)
    third = fill_of(oracle, 5, 6, 7)

    def find(*fills: Fill) -> list[list[Fill]]:
        return list(find_doubled(list(fills), [], lambda a, b: False, lambda a, b: first in (a, b)))

    assert find(first, second) == []
    assert find(second, third) == [[second, third]]


def test_a_lookup_that_fills_may_not_give_nothing(oracle: Oracle) -> None:
    oracle.ask(Worker(0, "seed"), lambda key: None, "k", may_miss=True)
    assert not oracle.findings
    oracle.ask(Worker(0, "seed"), lambda key: None, "k")
    assert oracle.findings.so_far()[0] == {"wrong": 1}


def test_a_put_is_the_floor_for_all_that_came_before_it(oracle: Oracle) -> None:
    worker, stored = Worker(0, "seed"), []
    oracle.put(worker, lambda key, value: stored.append(value), "k")
    oracle.put(worker, lambda key, value: stored.append(value), "k")
    oracle.ask(worker, lambda key: stored[1], "k")
    assert not oracle.findings
    oracle.ask(worker, lambda key: stored[0], "k")
    assert oracle.findings.so_far()[0] == {"stale": 1}


def test_every_thread_has_a_prime_of_its_own() -> None:
    assert [nth_prime(n) for n in range(6)] == [2, 3, 5, 7, 11, 13]


def test_a_value_under_the_floor_is_stale_and_one_at_the_floor_is_not(oracle: Oracle) -> None:
    worker = Worker(0, "seed")
    worker.enter_thread()

    def fill() -> Fill:
        with oracle.start_fill(worker, "k") as fill:
            return fill

    old = oracle.ask(worker, lambda key: fill(), "k").value
    oracle.invalidate(worker, lambda key: None, "k")  # does nothing: the old value stays
    new = oracle.ask(worker, lambda key: fill(), "k").value
    oracle.ask(worker, lambda key: new, "k")
    assert not oracle.findings
    oracle.ask(worker, lambda key: old, "k")
    assert oracle.findings.so_far()[0] == {"stale": 1}


def test_a_value_that_was_seen_may_not_vanish_nor_an_older_one_come_back_where_nothing_leaves(oracle: Oracle) -> None:
    oracle.start_round(["k"], nothing_leaves=True)
    worker = Worker(0, "seed")
    old, new = fill_of(oracle, 10, 11, 12), fill_of(oracle, 20, 21, 22)
    oracle.ask(worker, lambda key: old, "k")
    oracle.ask(worker, lambda key: new, "k")
    assert not oracle.findings
    oracle.ask(worker, lambda key: old, "k")
    oracle.ask(worker, lambda key: None, "k", may_miss=True)
    assert oracle.findings.so_far()[0] == {"stale": 1, "wrong": 1}
