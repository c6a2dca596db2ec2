"""A function that raises does no harm.

Asks: the function raises an Exception while three other threads wait; then the key is called again.
Survives: the first caller gets the exception; the others get it too, or a value; nobody hangs; the next call calls the
function again, and the key is not `in` the cache meanwhile.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort, Gate, pause, start


class Failure(Exception):
    pass


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    gate, calls = Gate(effort), []

    def fill(key: Any) -> str:
        calls.append(key)
        if len(calls) == 1:
            gate.enter()
            raise Failure
        return "value"

    cached = contender.cached(fill)
    leader = start(effort, "the caller whose function raised", cached.call, 1)
    gate.wait_until_entered()
    waiters = [start(effort, "a thread that waited for the fill that raised", cached.call, 1) for _ in range(3)]
    pause()
    gate.open()
    if not isinstance(leader.join().error, Failure):
        raise Wrong(f"the caller got {leader.error or leader.value!r}, not the exception of its function")
    shared = sum(isinstance(waiter.join().error, Failure) for waiter in waiters)
    others = [waiter.error or waiter.value for waiter in waiters if not isinstance(waiter.error, Failure)]
    if any(other != "value" for other in others):
        raise Wrong(f"those who waited got {others!r}")
    _check_the_next_call(cached, effort, len(calls) == 1)
    return f"of 3 who waited, {shared} got the exception"


def _check_the_next_call(cached: Any, effort: Effort, is_failed_yet: bool) -> None:
    try:
        if is_failed_yet and cached.contains(1):
            raise Wrong("`in` is true for a key whose fill failed")
    except NotOffered:
        pass
    later = start(effort, "the next call after a fill that raised", cached.call, 1).join()
    if isinstance(later.error, Failure):
        raise Wrong("the next call raises the old exception: the function is not called again")
    if later.result() != "value":
        raise Wrong(f"the next call gives {later.value!r}")
