"""The processes of one run, as its scenario holds them: started, stopped, killed, replaced, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .ledger import Ledger
from .settings import READS_AT_ONCE, Settings

__all__ = ["Crew", "NothingMoves"]

PATIENCE = 30.0
"""Seconds that a process may take to go on or to end, on a machine that is very busy."""
START_PATIENCE = 90.0
"""The same to start: over SQLite on 3.13t that was seen to take from 3 to more than 30 seconds."""


class NothingMoves(AssertionError):
    """A process did not start, end or go on in time."""


class Crew:
    """`settings` are those of the readers, at places 0, 1 and so on, and of the writer, at the last one."""

    def __init__(self, settings: list[Settings], ledger: Ledger, start: list[str]) -> None:
        self.settings, self.ledger, self.prefix = settings, ledger, start
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.lost = [0] * len(settings)  # fills that have ended with their processes

    def start(self, place: int) -> None:
        """Start one process; call `wait_until_ready` then."""
        settings = self.settings[place]
        command = [*self.prefix, sys.executable, "-m", f"stress.shared.{settings.program}", settings.save()]
        self.ledger.ready[place] = 0
        # A group of its own, with its forked children: one that hangs would keep our output open for ever.
        self.processes[place] = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)

    def start_all(self) -> None:
        for place in range(len(self.settings)):
            self.start(place)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        self.wait_until(
            lambda: all(self.ledger.ready[place] for place in self.processes), "the processes start", START_PATIENCE
        )

    def wait_until(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
        ends = time.monotonic() + patience
        while not condition():
            if time.monotonic() > ends:
                raise NothingMoves(f"{what}: not within {patience:g} s")
            for place, process in self.processes.items():
                if process.poll() is not None and not self.ledger.is_over:
                    raise NothingMoves(f"the process at place {place} ended with status {process.returncode}")
            time.sleep(0.005)

    def wait_until_reads_go_on(self, *places: int) -> None:
        """Wait for reads that begin and end after now."""
        before = [self.ledger.totals(place)["reads"] for place in places]
        at_once = READS_AT_ONCE if self.settings[0].program == "tier_reader" else 1
        many = (
            2 * at_once * sum(each.threads + each.tasks for each in self.settings)
        )  # more than could have begun before
        self.wait_until(
            lambda: all(
                self.ledger.totals(place)["reads"] > count + many for place, count in zip(places, before, strict=True)
            ),
            f"reads by the processes at {places} go on",
        )

    def hold_in_fill(self, place: int) -> None:
        """Wait until a fill of this process has read the source, and is held up there."""
        self.ledger.hold[place] = 1
        time.sleep(0.03)  # those that have not seen `hold` end meanwhile
        self.wait_until(lambda: self.running_fills(place) > self.lost[place], f"a fill begins at place {place}")

    def running_fills(self, place: int) -> int:
        """Return how many have begun and not ended, with those that have ended with their process."""
        totals = self.ledger.totals(place)
        return totals["fills"] - totals["filled"]

    def signal(self, place: int, number: signal.Signals) -> None:
        os.kill(self.processes[place].pid, number)

    def kill(self, place: int) -> None:
        _kill(self.processes.pop(place))
        self.lost[place] = self.running_fills(place)
        self.ledger.hold[place] = 0

    def end(self) -> list[str]:
        """End all; return what they have found, and who did not end well."""
        self.ledger.end()
        for place in range(len(self.settings)):
            self.ledger.hold[place] = 0
        ends, found = time.monotonic() + PATIENCE, []
        for place, process in self.processes.items():
            try:
                status = process.wait(max(0.1, ends - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill(process)
                found.append(f"blocked: the process at place {place} did not end in {PATIENCE:g} s")
            else:
                if status:
                    found.append(f"wrong: the process at place {place} ended with status {status}")
        for path in sorted(Path(self.settings[0].folder).glob("found-*")):
            found += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return found


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it with its children."""
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
