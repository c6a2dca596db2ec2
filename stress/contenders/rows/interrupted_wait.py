"""Ctrl-C interrupts a main thread that waits for another's fill.

Asks: the main thread waits for a value that another thread computes, and is sent SIGINT until it takes it.
Survives: KeyboardInterrupt is raised while the other still computes; afterwards that value arrives, and the key works.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort, Gate, start


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    gate, callers = Gate(effort), []

    def fill(key: Any) -> str:
        callers.append(threading.current_thread())
        if callers[-1] is threading.main_thread():
            return "value"
        gate.enter()
        return "value"

    cached = contender.cached(fill)
    leader = start(effort, "the filling caller", cached.call, 1)
    gate.wait_until_entered()
    is_taken = _wait_interrupted(cached, gate, effort, callers)
    gate.open()
    leader.result()
    if not is_taken:
        raise Wrong("the signal is not taken until the other has its value")
    if start(effort, "the next call", cached.call, 1).result() != "value":
        raise Wrong("the next call gives something else")
    return ""


def _wait_interrupted(cached: Any, gate: Gate, effort: Effort, callers: list[threading.Thread]) -> bool:
    over, gave_up = threading.Event(), threading.Event()

    def ask() -> None:
        cached.call(1)

    def interrupt(number: int, frame: FrameType | None) -> None:
        """Raise within `ask` alone: another signal may come before the caller that took the first one can say so."""
        while frame is not None:
            if frame.f_code is ask.__code__:
                raise KeyboardInterrupt
            frame = frame.f_back

    def send_signals() -> None:
        tries = int(effort.patience / 0.1)
        while tries and not over.wait(0.1):
            os.kill(os.getpid(), signal.SIGINT)
            tries -= 1
        if not over.is_set():
            gave_up.set()
            gate.open()

    signal.signal(signal.SIGINT, interrupt)
    sender = threading.Thread(target=send_signals, daemon=True)
    sender.start()
    is_interrupted = False
    try:
        ask()
    except KeyboardInterrupt:
        is_interrupted = True
    over.set()
    sender.join()
    if threading.main_thread() in callers:
        raise NotOffered("waiting for another caller: each runs the function")
    return is_interrupted and not gave_up.is_set()
