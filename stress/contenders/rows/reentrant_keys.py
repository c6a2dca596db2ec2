"""Keys whose `__eq__` and `__hash__` call the cache work.

Asks: two threads call 20 keys that all have one hash; their `__eq__` and `__hash__` call the cache too; keys leave by a
limit of items, or by removal.
Survives: all come to an end, with the right values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort, together


def run(contender: Contender, effort: Effort) -> str:
    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            cached.call(1000)
            return 7

        def __eq__(self, other: object) -> bool:
            cached.call(1001)
            return isinstance(other, Key) and self.number == other.number

    def fill(key: Any) -> Any:
        return key.number if isinstance(key, Key) else key

    options = {"max_items": 8} if "max_items" in contender.features else {}
    cached = contender.cached(fill, **options)

    def churn() -> int:
        wrong = 0
        for number in range(effort.count(400, least=60)):
            key = Key(number % 20)
            wrong += cached.call(key) != key.number
            if number % 5 == 0 and cached.offers("invalidate"):
                cached.invalidate(key)
        return wrong

    churns: list[Callable[[], Any]] = [churn] * 2
    if wrong := sum(together(effort, "a call with a key that calls the cache", churns, seconds=5)):
        raise Wrong(f"{wrong} values of other keys")
    return ""
