"""A function interrupted by KeyboardInterrupt or SystemExit does not poison its key.

Asks: the function raises a BaseException while another thread waits; then the key is called again.
Survives: the first caller gets that; a waiter does not hang; the next call gives a value. What the waiters got is
reported.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, Gate, pause, start


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    return ", ".join(dict.fromkeys(_die_of(error, contender, effort) for error in (KeyboardInterrupt, SystemExit)))


def _die_of(error: type[BaseException], contender: Contender, effort: Effort) -> str:
    gate, calls = Gate(effort), []

    def fill(key: Any) -> str:
        calls.append(key)
        if len(calls) == 1:
            gate.enter()
            raise error
        return "value"

    cached = contender.cached(fill)
    leader = start(effort, f"the caller whose function raised {error.__name__}", cached.call, 1)
    gate.wait_until_entered()
    waiter = start(effort, f"a thread that waited for a fill that raised {error.__name__}", cached.call, 1)
    pause()
    gate.open()
    if not isinstance(leader.join().error, error):
        raise Wrong(f"the caller got {leader.error or leader.value!r}, not {error.__name__}")
    waiter.join()
    if start(effort, f"the next call after a {error.__name__}", cached.call, 1).result() != "value":
        raise Wrong("the next call gives something else")
    return "who waited got a value" if waiter.value == "value" else f"who waited got {type(waiter.error).__name__} too"
