"""One call is one entry, however it is written.

Asks: f(1, 2), f(1, b=2), f(a=1, b=2) and f(b=2, a=1) of a memoized f(a, b).
Survives: the function is called once.
"""

from __future__ import annotations

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    calls = []

    def function(a: int, b: int) -> int:
        calls.append((a, b))
        return a + b

    f = contender.decorate(function)
    if {f(1, 2), f(1, b=2), f(a=1, b=2), f(b=2, a=1)} != {3}:
        raise Wrong("a wrong value")
    if len(calls) > 1:
        raise Wrong(f"{len(calls)} entries")
    return ""
