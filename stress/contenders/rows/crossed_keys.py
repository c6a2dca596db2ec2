"""Two fills that ask for each other's keys get an error.

Asks: in one thread the fill of A asks for B, in another, at the same time, the fill of B asks for A.
Survives: both threads come back, with an error or a value, and other keys work afterwards. A RecursionError is
"raises": the functions ran into each other hundreds of times first.
"""

from __future__ import annotations

import threading
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, start


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    barrier = threading.Barrier(2)
    both = threading.local()

    def fill(key: Any) -> Any:
        if key == "other":
            return "value"
        if not hasattr(both, "met"):
            both.met = True
            barrier.wait(effort.patience)
        return cached.call("b" if key == "a" else "a")

    cached = contender.cached(fill)
    tasks = [start(effort, "one of two fills that ask for each other", cached.call, key) for key in "ab"]
    errors = [task.join().error for task in tasks]
    for error in errors:
        if isinstance(error, RecursionError) or not isinstance(error, Exception | None):
            raise error
    if errors == [None, None]:
        raise Wrong(f"no error: {[task.value for task in tasks]!r}")
    if start(effort, "another key afterwards", cached.call, "other").result() != "value":
        raise Wrong("another key has no value afterwards")
    return ", ".join(dict.fromkeys(type(error).__name__ for error in errors if error))
