"""Forks while fills are in flight and locks are held: the child's caches work, and its parent's never notice.

Proves: a flight whose thread does not exist in the child is dropped there, and the key is filled; a lock held at the
fork is not held in the child (invariant 10); the parent's waiters get what they waited for.

Hunts:
    1. A leads a fill of the key                   3. in the child, there is no A: a thread that asks for the key
    2. B forks                                        waits for ever
and the same with the index's lock, which A holds for a moment (gh-50970).

Without a GIL, the threads that churn stand still during the fork: a builtin dict has a lock of CPython's own there,
which a fork may leave held for ever (seen on 3.13t, one fork in a hundred: the child hangs in `dict.setdefault`). That
one is not ours to free, and a known limit of invariant 10; the fills in flight are forked over all the same.

Allowed: in the child, for every key, its own value; at most one fill of each key there. What was stored before the fork
may be there, or not.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import nullcontext
from typing import Any

from areole import AtomicCache
from areole.testing import assert_valid

from ..child import ChildScenario
from ..subject import INDEXES, POLICIES

__all__ = ["Fork"]

KEYS = 6
SLOW = 99
CHILD_LIVES = 20  # seconds, on a machine that is very busy


class Fork(ChildScenario):
    only_ours = "its child checks areole's own structures; python -m stress.contenders has a row for it: fork"
    variants = (*INDEXES, *POLICIES)

    @classmethod
    def why_skipped(cls) -> str:
        return "" if hasattr(os, "fork") else "this system has no os.fork"

    def play(self) -> None:
        options: dict[str, Any] = {"policy": self.variant, "max_items": KEYS + 1}
        if self.variant in INDEXES:
            options = {"index": self.variant}
        self.cache: AtomicCache[int, int] = AtomicCache(self.fill, **options)
        self.here = os.getpid()
        self.is_free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)()
        self.standstill = threading.Lock()
        self.gate, self.entered, stop = threading.Event(), threading.Event(), threading.Event()
        churners = [threading.Thread(target=self.churn, args=(stop, n)) for n in range(max(1, self.threads - 2))]
        for thread in churners:
            thread.start()
        try:
            while self.has_time or not self.counts["operations"]:
                self.fork_once()
        finally:
            stop.set()
            for thread in churners:
                thread.join()
        assert_valid(self.cache)

    def fill(self, key: int) -> int:
        if os.getpid() != self.here:
            self.filled_in_child.append(key)
        elif key == SLOW:
            self.counts["fills"] += 1
            self.entered.set()
            self.gate.wait()
        return -key

    def churn(self, stop: threading.Event, n: int) -> None:
        """Keep the index's lock busy, and flights coming and going."""
        while not stop.is_set():
            n += 1
            with self.standstill if self.is_free_threaded else nullcontext():
                self.expect(self.cache[n % KEYS] == -(n % KEYS), "the parent got another key's value")
                self.cache.invalidate(n % KEYS)

    def fork_once(self) -> None:
        self.gate.clear()
        self.entered.clear()
        self.cache.invalidate(SLOW)
        got: list[int] = []
        waits = self.cache.cache_info().waits
        waiters = [threading.Thread(target=lambda: got.append(self.cache[SLOW])) for _ in range(2)]
        for thread in waiters:
            thread.start()
        self.entered.wait()
        self.filled_in_child: list[int] = []
        if self.is_free_threaded:
            with self.standstill:
                while self.cache.cache_info().waits == waits:  # until the second one is past the dict, and waits
                    time.sleep(1e-4)
                child = self.fork_now()
        else:
            child = self.fork_now()
        status = os.waitpid(child, 0)[1]
        self.counts["operations"] += 1
        self.gate.set()
        for thread in waiters:
            thread.join()
        self.expect(got == [-SLOW, -SLOW], f"the parent's waiters got {got}")
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
            self.findings.append(("blocked", f"a child of fork did not end in {CHILD_LIVES} s"))
            self.ends = time.monotonic()
        else:
            self.expect(status == 0, f"a child of fork ended with status {status}")

    def fork_now(self) -> int:
        child = os.fork()
        if not child:
            self.live_in_child()
        return child

    def live_in_child(self) -> None:
        """Use the cache, and leave without any of the parent's ways out."""
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            # Not by dump_traceback_later, whose watchdog thread holds a lock that it has left held in this process.
            faulthandler.register(signal.SIGALRM, chain=True)  # says where it hangs, and then ends
            signal.alarm(CHILD_LIVES)
            keys = [*range(KEYS), SLOW]
            values = [self.cache[key] for key in keys] + [self.cache[key] for key in keys]
            is_filled_once = len(set(self.filled_in_child)) == len(self.filled_in_child)
            self.cache.clear()  # what a thread of the parent had just published may still have its flight
            values += [self.cache[key] for key in keys]
            assert_valid(self.cache)
            assert is_filled_once, f"filled in the child: {self.filled_in_child}"
            assert values == [-key for key in keys] * 3, f"the child got {values}"
            status = 0
        except BaseException:
            traceback.print_exc(limit=-4)
            sys.stderr.flush()
        finally:
            os._exit(status)
