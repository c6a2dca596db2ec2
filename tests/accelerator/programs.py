"""Small programs that use caches: each is made of numbers, and gives a text for each of its steps.

`python -m tests.accelerator.programs` reads one from each line, as JSON, and writes what it gives to a line.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from areole import AtomicCache, Storage
from areole.testing import ManualClock

__all__ = ["KEYS", "SUBJECTS"]

T = TypeVar("T")
Action = tuple[Callable[..., Any], list[str]]


class Text(str):
    """Equal to a str, with its hash."""


class OddText(str):
    """Equal to a str, with another hash."""

    def __hash__(self) -> int:
        return 7


class Number(int):
    """Equal to an int, with its hash."""


class Key:
    """A key that steps change: its hash, and what is raised when it is hashed or compared."""

    def __init__(self, in_hash: Any = None, in_eq: Any = None) -> None:
        self.hash, self.in_hash, self.in_eq = 1, in_hash, in_eq

    def __repr__(self) -> str:
        return "Key()"

    def __hash__(self) -> int:
        if self.in_hash:
            raise self.in_hash("in hash")
        return self.hash

    def __eq__(self, other: object) -> bool:
        if self.in_eq:
            raise self.in_eq("in eq")
        return isinstance(other, Key)


KEYS: tuple[Callable[[], Any], ...] = (
    *(lambda key=key: key for key in (1, 1.0, True, "a", (1, "a"), None, 2**70, -1, -2, b"a", frozenset([1]))),
    *(lambda: Text("a"), lambda: OddText("a"), lambda: Number(1), Key, Key, list, lambda: (1, [])),
    *(lambda error=error: Key(in_hash=error) for error in (ArithmeticError, TypeError, KeyError, KeyboardInterrupt)),
    *(lambda error=error: Key(in_eq=error) for error in (ArithmeticError, TypeError, KeyError)),
)
# how each is called: an x for an argument by position, then the names of others
CALLS = {
    "k": ["x", "x", "k"],
    "k, /": ["x", "k"],  # the second is an error
    "k, *, c": ["x c", "c k"],
    "k, b=1": ["x", "xx", "x b", "b k"],
    "k, /, b=1, *, c=2": ["x", "xx", "x b", "xx c", "x c b"],
    "*, c=2, d": ["d", "d c"],
    "k, *, b=1, c=2": ["x", "x b", "c k b"],
    "k, b, c=2": ["xx", "xxx", "xx c", "c k b"],
    "": [""],
    "k, b=[]": ["x", "xx"],
    "*k, c=1": ["x", "xx", "x c", ""],
    "cache": ["x"],
    "subclass": ["x"],
    "store": ["x"],
}
WRONG = ["", "x", "xx", "xxx", "k", "k b", "x k", "x z"]
IGNORED = {
    "k, *, b=1, c=2": ["b"],
    "k, b, c=2": ["b", "c"],
}  # the key is a tuple, and `k` alone
LIMITS = ({}, *({"max_items": n, "policy": policy} for n in (1, 3, 5) for policy in ("lru", "s3fifo")))
EXPIRY = ({}, {"ttl": 1e6}, {"ttl": 1e-9}, {"ttl": 5.0, "clock": True}, {"idle": 3.0, "clock": True})
SUBJECTS: tuple[Sequence[Any], ...] = (
    tuple(CALLS),
    LIMITS,
    EXPIRY,
    ({}, {"stats": True}),
    ({}, {"cache_exceptions": True}),
)


class Wrapped(AtomicCache[Any, Any]):
    def __getitem__(self, key: Any) -> Any:
        return "wrapped", super().__getitem__(key)


class Choice:
    """Takes one thing after another out of a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, among: Sequence[T]) -> T:
        self.number, index = divmod(self.number, len(among))
        return among[index]


class Foreign:
    """What has no business in an index."""

    deadline, value, freq = math.inf, "foreign", 0


class Program:
    def __init__(self, subjects: list[list[int]], keys: list[int]) -> None:
        self.clock, self.fills, self.in_fill = ManualClock(), 0, list[Callable[[], Any]]()
        self.keys = [KEYS[number]() for number in keys for _ in range(2)]  # equal ones too, not only the same
        self.subjects = [self.make(*(among[n] for n, among in zip(each, SUBJECTS, strict=True))) for each in subjects]

    def make(self, kind: str, *settings: dict[str, Any]) -> tuple[Any, list[Action]]:
        """Return a cache, and what is done with it, as often as it is here."""
        merged = {name: value for each in settings for name, value in each.items()}
        if "clock" in merged:
            merged["clock"] = self.clock
        cache, look_up, *actions = self.of_kind(kind, merged)
        right, wrong = CALLS[kind], [] if kind in ("cache", "subclass") else WRONG
        calls: list[Action] = [(each, right * 4 + wrong) for each in [look_up] * 30 + actions * 2]

        def call_in_fill(key: Any) -> None:
            self.in_fill = [partial(look_up, key)]

        def look_up_foreign(key: Any) -> Any:
            before = dict(cache._entries)
            cache._entries.setdefault(key, Foreign())
            try:
                return look_up(key)
            finally:
                cache._entries.clear()
                cache._entries.update(before)

        calls += [(each, ["x"]) for each in (self.rehash, self.spoil, call_in_fill, look_up_foreign)]
        others = (cache.cache_info, self.fail, self.advance, self.advance, cache.sweep, cache.clear)
        return cache, [*calls, *((each, [""]) for each in others)]

    def of_kind(self, kind: str, settings: dict[str, Any]) -> list[Any]:
        if kind == "store":
            settings.pop("cache_exceptions", None)
            store = Storage[Any](default_ttl=settings.pop("ttl", None), **settings)
            put, expire = (lambda key: store.set(key, self.fill())), (lambda key: store.expire_in(key, 0.0))
            return [store, store.get, put, put, expire, store.pop]
        if kind in ("cache", "subclass"):
            cache = (AtomicCache[Any, Any] if kind == "cache" else Wrapped)(self.fill, **settings)
            return [cache, lambda key: cache[key], cache.get, cache.get, cache.invalidate]
        defined = {"fill": self.fill}
        exec(f"def function({kind}): return fill(*locals().values())", defined)
        function: Any = AtomicCache.memoize(defined["function"], ignore=IGNORED.get(kind, ()), **settings)
        return [function.cache, function, function.invalidate]

    def fill(self, *args: Any) -> Any:
        self.fills += 1
        return self.fills, args, [self.in_fill.pop()() for _ in self.in_fill]

    def fail(self) -> None:
        def fail(error: Any = (ArithmeticError, TypeError, KeyError, StopIteration)[self.fills % 4]) -> None:
            raise error("in fill")

        self.in_fill = [fail]

    def advance(self) -> None:
        self.clock.advance(2.0)

    def rehash(self, key: Any) -> None:
        if isinstance(key, Key):
            key.hash = 3 - key.hash

    def spoil(self, key: Any) -> None:
        if isinstance(key, Key):
            key.in_eq = None if key.in_eq else KeyError

    def step(self, number: int) -> str:
        choose = Choice(number)
        cache, actions = choose(self.subjects)
        action, shapes = choose(actions)
        shape = choose(shapes)
        args = [choose(self.keys) for _ in range(shape.count("x"))]
        kwargs = {name: choose(self.keys) for name in shape.replace("x", "").split()}
        outcome = outcome_of(partial(action, *args, **kwargs))
        return f"{action.__qualname__}(*{args}, **{kwargs}): {outcome}; {notes_of(cache)}"

    def end(self) -> list[str]:
        """Say what each cache holds, and what stays as new keys come."""
        found = []
        for cache, ((look_up, _), *_) in self.subjects:
            found.append(f"{cache.cache_info()}")
            for number in range(10, 16):
                outcome_of(partial(cache.set, number, 0) if isinstance(cache, Storage) else partial(look_up, number))
                found.append(f"{[text_of(entry.key) for entry in cache._state.live_entries()]}")
        return found


def text_of(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"


def notes_of(cache: Any) -> list[int]:
    """Return what s3fifo has noted at hits; what lru has depends on the build, and is seen as it evicts."""
    return [getattr(entry, "freq", 0) for entry in cache._entries.values()]


def outcome_of(call: Callable[[], Any]) -> str:
    try:
        return text_of(call())
    except (Exception, KeyboardInterrupt) as error:
        return f"{error!r} of {error.__cause__!r} in {error.__context__!r}"


def run_program(subjects: list[list[int]], keys: list[int], steps: str) -> list[str]:
    """Run the steps, of eight hexadecimal digits each."""
    program = Program(subjects, keys)
    return [program.step(int(steps[n : n + 8], 16)) for n in range(0, len(steps), 8)] + program.end()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run_program(*json.loads(line))), flush=True)
