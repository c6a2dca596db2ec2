"""Keys of one hash are still two keys.

Asks: the keys -1 and -2, which have the same hash, are filled; then one is removed.
Survives: both stay, with their own values; removing one leaves the other.
"""

from __future__ import annotations

from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    calls: list[int] = []

    def fill(key: Any) -> Any:
        calls.append(key)
        return key

    cached = contender.cached(fill)
    if [cached.call(key) for key in (-1, -2, -1, -2)] != [-1, -2, -1, -2]:
        raise Wrong("another key's value")
    if len(calls) > 2:
        raise Wrong(f"-1 and -2 put each other out: {len(calls)} fills")
    if cached.offers("invalidate"):
        cached.invalidate(-1)
        cached.call(-2)
        if len(calls) > 2:
            raise Wrong("removing -1 removes -2")
        cached.call(-1)
        if len(calls) == 2:
            raise Wrong("removing -1 does not remove it")
    return ""
