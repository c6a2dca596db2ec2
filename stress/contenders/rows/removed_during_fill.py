"""A key removed while it is being filled does not get the old value.

Asks: while the function of a key runs, another thread removes the key, or clears the cache; what the function would
give has changed by then. (If the removal waits for the function, the function is released.)
Survives: a call made after the removal has returned gives the new value.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort, Gate, start


def run(contender: Contender, effort: Effort) -> str:
    contender.require_fills()
    reported: list[str] = []
    offered = 0
    for operation in ("invalidate", "clear"):
        try:
            wrong = _remove_by(operation, contender, effort)
        except NotOffered:
            continue
        offered += 1
        reported += [wrong] if wrong else []
    if not offered:
        raise NotOffered("removing a key, nor clearing")
    if reported:
        raise Wrong("; ".join(reported))
    return "by key and by clearing" if offered == 2 else ""


def _remove_by(operation: str, contender: Contender, effort: Effort) -> str | None:
    gate, state = Gate(effort), {"version": 1}

    def fill(key: Any) -> int:
        version = state["version"]
        if version == 1:
            gate.enter()
        return version

    cached = contender.cached(fill)
    remove: Any = getattr(cached, operation)
    if not cached.offers(operation):
        raise NotOffered(operation)
    arguments = (1,) if operation == "invalidate" else ()
    leader = start(effort, "the filling caller", cached.call, 1)
    gate.wait_until_entered()
    state["version"] = 2
    removal = start(effort, "the removal during a fill", remove, *arguments)
    waits = not removal.ends_within(0.3)
    gate.open()
    removal.result()
    leader.join()
    if start(effort, "the call after a removal during a fill", cached.call, 1).result() == 2:
        return None
    names = {"invalidate": "removing", "clear": "clearing"}
    return f"{names[operation]}{' waits, and' if waits else ''} leaves the old value"
