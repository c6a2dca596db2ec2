"""The frame: runs a scenario on threads, round after round, and finds the threads that are blocked.

All workers meet at a barrier. The last to arrive checks the round that ended and starts the next one, while all others
are idle there: that is the barrier's action. So a round is a fixed number of operations, and a run is bounded by
rounds, by seconds, or by both.

Blocked: nobody has finished an operation, or a round, for `patience` seconds, however busy the machine is: a worker
that is blocked stops all others sooner or later, at the barrier. Blocked are those that do not come back although they
are given that time once more.
"""

from __future__ import annotations

import faulthandler
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection
from typing import Any, Final

from .case import Case, Result
from .child import ChildScenario, run_children
from .oracle import KINDS, Findings
from .scenario import Scenario
from .stranger import is_stranger, load
from .vitals import memory
from .worker import Worker

__all__ = ["PATIENCE", "run"]

PATIENCE: Final = 30.0
_SWITCH_INTERVAL: Final = 20e-6  # with a GIL, threads take turns so often; the default is 5 ms
_LOOKS_EVERY: Final = 0.1


class _Run:
    def __init__(
        self,
        scenario: type[Scenario],
        *,
        variant: str,
        threads: int,
        seconds: float | None,
        rounds: int | None,
        seed: int,
        patience: float,
        until_found: Collection[str],
    ) -> None:
        name = scenario.name()
        self.findings = Findings(load(variant).not_promised if is_stranger(variant) else ())
        self.scenario = scenario(variant, self.findings)
        self.scenario.threads = threads
        self.result = Result(name, variant, seed, threads)
        self.seconds, self.rounds, self.patience, self.until_found = seconds, rounds, patience, until_found
        self.workers = [Worker(number, f"{seed}/{name}/{variant}") for number in range(threads)]
        self.threads = [
            threading.Thread(target=self._work, args=(worker,), name=f"{name}-{worker.name}", daemon=True)
            for worker in self.workers
        ]
        self.barrier = threading.Barrier(threads, action=self._between_rounds)
        self.is_over = False
        self.last_move: tuple[object, float] = (None, 0.0)
        self.began = time.monotonic()

    # ---- in the workers

    def _work(self, worker: Worker) -> None:
        worker.enter_thread()
        while self._arrive(worker):
            try:
                self.scenario.play(worker)
            except BaseException:
                self.findings.add("wrong", f"a thread's round ended by\n{traceback.format_exc(limit=-3)}")

    def _arrive(self, worker: Worker) -> bool:
        """Wait for all others; return whether there is another round to play."""
        worker.resting = True
        try:
            self.barrier.wait()
        except threading.BrokenBarrierError:  # somebody is blocked, and the main thread has given up
            return False
        finally:
            worker.resting = False
        return not self.is_over

    def _between_rounds(self) -> None:
        try:
            if self.result.rounds:
                self.scenario.check_round(self.workers)
            self.is_over = self.is_over or self._has_reached_its_end()
            if not self.is_over:
                self._start_round()
        except BaseException:
            self.findings.add("wrong", f"idle, after round {self.result.rounds}:\n{traceback.format_exc(limit=-3)}")
            self.is_over = True

    def _start_round(self) -> None:
        self.result.rounds += 1
        for worker in self.workers:
            worker.start_round(self.result.rounds)
        self.scenario.start_round(self.result.rounds)

    def _has_reached_its_end(self) -> bool:
        if not self.result.rounds:  # there is one at least, however long it took the threads to start
            return False
        if any(kind in self.until_found for kind in self.findings.so_far()[0]):
            return True
        if self.rounds is not None and self.result.rounds >= self.rounds:
            return True
        return self.seconds is not None and time.monotonic() >= self.began + self.seconds

    # ---- in the main thread

    def run(self, on_progress: Callable[[Result], None]) -> Result:
        for thread in self.threads:
            thread.start()
        try:
            self._watch(on_progress)
        finally:  # after a KeyboardInterrupt too
            self.is_over = True
            self._end()
        return self._report()

    def _watch(self, on_progress: Callable[[Result], None]) -> None:
        """Return when all workers are done, or one seems to be blocked."""
        while alive := [thread for thread in self.threads if thread.is_alive()]:
            alive[0].join(_LOOKS_EVERY)
            on_progress(self._report())
            if self._stands_still():
                return

    def _stands_still(self) -> bool:
        """Say whether nobody has finished anything for `patience` seconds."""
        now = time.monotonic()
        state = (self.result.operations, self.result.rounds, sum(worker.resting for worker in self.workers))
        last, since = self.last_move
        if state != last:
            self.last_move = state, now
            return False
        return now - since > self.patience

    def _end(self) -> None:
        """Wait for the workers to end their round; those that do not are blocked."""
        has_to_abort = any(thread.is_alive() for thread in self.threads)
        if has_to_abort:
            self.barrier.abort()
        deadline = time.monotonic() + self.patience
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        blocked = [thread for thread in self.threads if thread.is_alive()]
        for thread in blocked:
            self.findings.add("blocked", f"{thread.name}, thread 0x{thread.ident:x}, in round {self.result.rounds}")
        if blocked:
            self.result.stacks = _all_stacks()
        elif has_to_abort:
            self.findings.note(f"ended early: nobody made progress for {self.patience} s, and then all went on")

    def _report(self) -> Result:
        result = self.result
        result.seconds = time.monotonic() - self.began
        result.operations = sum(worker.operations for worker in self.workers)
        result.hits = sum(worker.hits for worker in self.workers)
        result.fills = sum(worker.fills_run for worker in self.workers)
        counts, result.messages = self.findings.so_far()
        for kind in KINDS:
            setattr(result, kind, counts.pop(kind, 0))
        result.also = dict(counts)
        result.memory = memory()
        return result


def _all_stacks() -> str:
    """Return the stacks of all threads: those that are not blocked have ended, or are the main thread."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


def run(
    scenario: type[Case],
    on_progress: Callable[[Result], None] = lambda result: None,
    *,
    variant: str = "dict",
    threads: int = 4,
    seconds: float | None = None,
    rounds: int | None = None,
    seed: int = 0,
    patience: float = PATIENCE,
    until_found: Collection[str] = (),
) -> Result:
    """Run a scenario and return what it showed.

    Args:
        scenario: what to run.
        on_progress: called some ten times a second, with what there is so far.
        variant: one of the scenario's: an index, or a policy.
        threads: how many.
        seconds, rounds: when to end; whichever comes first.
        seed: repeats what each thread asks for, round by round. Not how the threads interleave.
        patience: seconds after which, if nobody has finished anything in them, somebody is blocked.
        until_found: kinds of findings: end after the first round in which one of them was found.
    """
    assert seconds is not None or rounds is not None, "a run needs an end"
    options: dict[str, Any] = {"seconds": seconds, "rounds": rounds, "patience": patience}
    options |= {"variant": variant, "threads": threads, "seed": seed}
    if why := scenario.why_variant_skipped(variant):
        return Result(scenario.name(), variant, seed, threads, skipped=why)
    if issubclass(scenario, ChildScenario):
        return run_children(
            scenario, on_progress, **options, is_over=lambda result: any(getattr(result, kind) for kind in until_found)
        )
    assert issubclass(scenario, Scenario)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        return _Run(scenario, **options, until_found=until_found).run(on_progress)
    finally:
        sys.setswitchinterval(interval)
