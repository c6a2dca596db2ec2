"""Memoized methods work, and keep no object alive.

Asks: a class with a memoized method, made as the documentation says.
Survives: each object has results of its own; an object that nobody else holds goes; one without a hash works.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from ..contender import Contender
from ..outcome import Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    calls: list[str] = []
    holder, no_hash = _classes(contender, calls)
    faults = [*_results(holder, calls), *_lifetime(holder), *_no_hash(no_hash)]
    if faults:
        raise Wrong("; ".join(faults))
    return ""


def _classes(contender: Contender, calls: list[str]) -> tuple[Any, Any]:
    decorate, set_up = contender.for_methods()

    class Holder:
        def __init__(self, name: str) -> None:
            set_up(self)
            self.name = name

        @decorate
        def m(self, k: int) -> tuple[str, int]:
            calls.append(self.name)
            return self.name, k

    class HasNoHash:
        __hash__ = None  # type: ignore[assignment]

        def __init__(self) -> None:
            set_up(self)

        def __eq__(self, other: object) -> bool:
            return self is other

        @decorate
        def m(self, k: int) -> int:
            return k

    return Holder, HasNoHash


def _results(holder: Any, calls: list[str]) -> list[str]:
    try:
        one, two = holder("one"), holder("two")
        got = [one.m(1), two.m(1), one.m(1), two.m(1)]
    except TypeError:
        return ["a method gets no self"]
    if got != [("one", 1), ("two", 1)] * 2:
        return ["another object's result"]
    return [] if len(calls) == 2 else [f"{len(calls)} calls for two results"]


def _lifetime(holder: Any) -> list[str]:
    try:
        instance = holder("gone")
        instance.m(1)
    except TypeError:
        return []
    reference = weakref.ref(instance)
    del instance
    gc.collect()
    return ["keeps its object alive"] if reference() is not None else []


def _no_hash(no_hash: Any) -> list[str]:
    try:
        instance = no_hash()
        return [] if instance.m(1) == instance.m(1) == 1 else ["a wrong result for an object without a hash"]
    except TypeError:
        return ["none for an object without a hash"]
