"""Interleavings: a scheduler that owns every switch of two or three threads. `python -m tests.interleave`.

Where to read, from the bottom up:

    steps       which instructions of areole's code are steps
    tracing     sees them as they are run; `inject` acts in the midst of a function, as a signal or a finalizer does
    locks       locks that tell the scheduler when they would block
    schedule    one run of some threads, and the strategies by which it goes
    explore     all schedules with up to two preemptions, random ones, replays
    races/      small scenarios, by the step of the protocol that they are about
    histories/  what threads asked and got, checked for linearizability: `python -m tests.interleave.histories`
    saved       failed schedules as files: `python -m tests.interleave --replay FILE`
    hunt        both, until a fault shows, for planted ones: `python -m tests.interleave.hunt`

Why not interleave-test or frontrun, which exist for this (looked at in 2026, with CPython 3.11, 3.13 and 3.13t):
interleave-test 0.1.0 needs Python 3.12, gives the code an RLock without the `_is_owned` that areole asks, and stops at
every bytecode or line, so that two preemptions in one cold lookup of two threads (900 decisions, counted) would be
some 400,000 schedules, where the steps that share something make a few hundred. frontrun 0.7.0 comes as wheels, and
there is none for 3.13t, where it matters most (pip finds 0.0.2 there).
"""

from .explore import BadSchedule, Scenario, WithInvariant, explore, replay, sample
from .schedule import Deadlock, point
from .steps import EXHAUSTIVE, every_step, shared_steps, signal_steps
from .tracing import Injected, afresh, before_each, inject, watched

__all__ = [
    "EXHAUSTIVE",
    "BadSchedule",
    "Deadlock",
    "Injected",
    "Scenario",
    "WithInvariant",
    "afresh",
    "before_each",
    "every_step",
    "explore",
    "inject",
    "point",
    "replay",
    "sample",
    "shared_steps",
    "signal_steps",
    "watched",
]
