"""A child forked while a fill is running can use the cache.

Asks: while a thread fills a key, the process forks; the child calls that key and another.
Survives: the child gets both values.
"""

from __future__ import annotations

import os
import signal
import warnings
from typing import Any

from ..contender import Contender
from ..outcome import Hangs, NotOffered, Wrong
from ..tools import Effort, Gate, start


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    if not hasattr(os, "fork"):
        raise NotOffered("fork, on this system")
    gate, parent = Gate(effort), os.getpid()

    def fill(key: Any) -> str:
        if os.getpid() == parent:
            gate.enter()
        return "value"

    cached = contender.cached(fill)
    leader = start(effort, "the filling caller", cached.call, 1)
    gate.wait_until_entered()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking while threads run, which is the question
        child = os.fork()
    if child == 0:
        _be_the_child(cached, effort)
    _, status = os.waitpid(child, 0)
    gate.open()
    leader.result()
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        raise Hangs("the child's call never comes back")
    if code:
        raise Wrong("the child's call raises" if code == 1 else f"the child ends with {code}")
    return ""


def _be_the_child(cached: Any, effort: Effort) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(max(1, round(effort.patience)))
        code = 0 if [cached.call(2), cached.call(1)] == ["value", "value"] else 2
    finally:
        os._exit(code)
