"""Keys whose `__eq__` and `__hash__` call the cache work.

Asks: two threads call 20 keys that all have one hash; their `__eq__` and `__hash__` call the cache too; keys leave by a
limit of items, or by removal.
Survives: all come to an end, with the right values; where a method runs while its own thread holds up the cache, and
would wait for another thread, the error that the documentation has for that will do.
"""

from __future__ import annotations

from collections import Counter
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

    def call(key: Key, number: int) -> bool:
        is_right = cached.call(key) == key.number
        if number % 5 == 0 and cached.offers("invalidate"):
            cached.invalidate(key)
        return is_right

    def churn() -> Counter[str]:
        seen: Counter[str] = Counter()
        for number in range(effort.count(400, least=60)):
            try:
                seen["right" if call(Key(number % 20), number) else "wrong"] += 1
            except contender.errors_for_a_wait_without_end() as error:
                seen[type(error).__name__] += 1
        return seen

    churns: list[Callable[[], Any]] = [churn] * 2
    seen = sum(together(effort, "a call with a key that calls the cache", churns, seconds=5), Counter[str]())
    if wrong := seen.pop("wrong", 0):
        raise Wrong(f"{wrong} values of other keys")
    if not seen.pop("right", 0):
        raise Wrong(f"no call gives a value: {dict(seen)}")
    return ", ".join(sorted(seen))
