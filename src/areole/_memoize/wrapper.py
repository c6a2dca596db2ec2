"""The wrapper of a memoized function: a function that is generated for its signature.

How a wrapper reaches its cache decides its speed (measured, see the design). So it is a real function, compiled with
globals of its own that hold the entries and everything else it needs, and a hit is one lookup, one attribute and one
comparison. It fills in its own frame, following the protocol of `_fill.protocol`, so a recursive function costs two
frames per level, as under any plain decorator.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple, Protocol, Self

from .._core.entry import Empty
from .._core.flight import Flight
from .._core.stats import HitCounter
from .._fill.protocol import LEAD
from .._fill.tasks import TaskFills
from .._index.atomic import AtomicDictIndex
from .._index.bounded import BoundedIndex
from .._state.cache_state import CacheState
from ..typing import CacheInfo
from .helpers import Helpers
from .signature import KeyOptions

__all__ = ["AnyCache", "Lookup", "MemoizedFunction", "Wrapper"]


class AnyCache(Protocol):
    """A read-through cache, as far as its memoized function needs it: the caches stand above this module."""

    _fills: Any
    _state: CacheState

    @property
    def name(self) -> str: ...
    @property
    def size_in_bytes(self) -> int: ...
    def _with_own_entries(self) -> Self: ...
    def __len__(self) -> int: ...
    def cache_info(self) -> CacheInfo: ...
    def clear(self) -> None: ...
    def invalidate(self, key: Any) -> bool: ...
    def peek(self, key: Any, default: Any = None) -> Any: ...
    def sweep(self) -> int: ...


_HIT = """
{kind} {name}({parameters}):
    {first}
    {key_before}
    try:
        {read_clock}
        entry{s} = {entry}
        if {is_live}:
            {note_hit}
            return {value}
    except (KeyError{s}, TypeError{s}):
        {without_reading}
    {key_after}
    {before_miss}
"""

_FILL = """
    flight{s} = Flight{s}({key}, entry_type{s})
    latch{s} = flight{s}.latch
    try:
        claim{s} = fills{s}.claim(flight{s}{reading})
        if claim{s} is LEAD{s}:
            fills{s}.complete(flight{s}, function{s}({call}))
    except BaseException{s} as error{s}:
        flight{s}.error = error{s}
        fills{s}.abort(flight{s})
        del flight{s}  # the traceback keeps this frame: it must not lead back to the exception
        raise
    finally:
        latch{s}.release()
    value{s} = fills{s}.result_or_wait(flight{s}, claim{s})
    if value{s} is Empty{s}:
        value{s} = fills{s}.get_or_fill({key}, partial{s}(function{s}, {call}), is_counted=True)
    return {filled}
"""

_GET_OR_FILL = """
    value{s} = {awaited} fills{s}.get_or_fill({key}, partial{s}(function{s}, {call}){reading})
    return {filled}
"""

_BUILTINS = {each.__name__: each for each in (AttributeError, BaseException, KeyError, TypeError, id)}


class Lookup(NamedTuple):
    """How a wrapper gets at an entry, as source text with `{s}` in it, and the names that this needs.

    `entry` is the expression for it, with `{key}` in it; `is_live` says whether it is a hit, after `read_clock`, which
    may set `now`. `first` and `before_miss` are statements. `note_hit`: instead of what the state asks for. `load` is
    called with a key and a value, and gives what is returned.
    """

    entry: str
    names: dict[str, Any]
    is_live: str
    read_clock: str = ""
    first: str = ""
    before_miss: str = ""
    note_hit: str | None = None
    load: Callable[[Any, Any], Any] | None = None


class Wrapper(Helpers):
    """Generates the function that looks up an entry, and fills."""

    fills: Any
    hits: Sequence[HitCounter] = ()
    """What counts hits."""

    def generate(self, lookup: Lookup, **parts: Any) -> FunctionType:
        """Generate it; `parts` are more of those of `Helpers.define`."""
        s, fills = self.signature.suffix, self.fills
        expression, names = self.key_expression()
        calls_nothing = lookup.load is None and not re.search(r"\w\(", expression)  # so it may be evaluated twice
        key = expression if expression.isidentifier() else f"key{s}"
        make_key = f"{key} = {expression}" if key != expression else ""
        note_hit, more_names = self._note_hit() if lookup.note_hit is None else (lookup.note_hit, {})
        is_async = isinstance(fills, TaskFills)
        names = _BUILTINS | names | more_names | lookup.names
        names |= {"Empty": Empty, "Flight": Flight, "LEAD": LEAD, "partial": partial, "load": lookup.load}
        names |= {"entry_type": fills.state.entry_type, "clock": fills.state.clock}
        texts = {
            "kind": "async def" if is_async else "def",
            "name": self.function_name(),
            "awaited": "await" if is_async else "",
            "first": lookup.first,
            "key": key,
            "key_before": "" if calls_nothing else make_key,
            "key_after": make_key if calls_nothing else "",
            "entry": lookup.entry.replace("{key}", expression if calls_nothing else key),
            "read_clock": lookup.read_clock,
            "is_live": lookup.is_live,
            "note_hit": note_hit,
            "value": "entry{s}.value" if lookup.load is None else f"load{{s}}({key}, entry{{s}}.value)",
            "without_reading": "now{s} = None" if lookup.read_clock else "pass",
            "reading": ", now{s}" if lookup.read_clock else "",
            "before_miss": lookup.before_miss,
            "filled": "value{s}" if lookup.load is None else f"load{{s}}({key}, value{{s}})",
        }
        miss = _GET_OR_FILL if is_async or fills.rules.stale is not None else _FILL
        names = {"fills": fills, "function": self.function} | names
        return self.define(_HIT + miss, names, **{name: text.replace("{s}", s) for name, text in texts.items()} | parts)

    def _note_hit(self) -> tuple[str, dict[str, Any]]:
        """Write what a hit does besides returning the value: notes for the policy and the counters, without a call."""
        index, s = self.fills.state.index, self.signature.suffix
        lines: list[str] = []
        names: dict[str, Any] = {}
        if isinstance(index, BoundedIndex):
            lines.append(index.policy.record_source.format(entry=f"entry{s}", tick=f"tick{s}"))
            names["tick"] = index.policy.record_with
        for number, counter in enumerate(self.hits):
            more_lines, more_names = counter.write_step(s, number)
            lines += more_lines
            names |= more_names
        return "\n            ".join(lines), names

    def _entry(self) -> tuple[str, dict[str, Any]]:
        """Write how an entry is found by its key."""
        index = self.fills.state.index
        if isinstance(index, AtomicDictIndex):
            return "cells{s}[{key}].entry", {"cells": index.cells}
        return "entries{s}[{key}]", {"entries": index.entries}


class MemoizedFunction(Wrapper):
    """A memoized function, and what it offers besides being called."""

    cache: AnyCache

    def __init__(
        self, cache: AnyCache, function: Callable[..., Any], parameters: dict[str, Any], *, is_method: bool = False
    ) -> None:
        self.cache = cache
        self.fills = cache._fills
        self.hits = [] if cache._state.hits is None else [cache._state.hits]
        self.parameters = parameters
        options = KeyOptions(parameters["typed"], parameters["key"], parameters["ignore"])
        super().__init__(function, options, is_method=is_method)
        cache._state.explain_key = self.signature.explain_key
        self.fills.rules = replace(self.fills.rules, returner=f"memoize: {cache.name}")

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results there are."""
        return self.cache.cache_info()

    def cache_clear(self) -> None:
        """Remove all results, and start all counters at 0 again; a clear of `cache` leaves them."""
        self.cache.clear()
        self.cache._state.reset_counters()

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the cache was made with."""
        return self.parameters | {"index": self.cache._state.index.name}

    def make_wrapper(self) -> Any:
        """Generate the function to be called, with the helpers on it."""
        entry, names = self._entry()
        return self.decorate(self.generate(Lookup(entry, names, *self.liveness())))

    def liveness(self) -> tuple[str, str]:
        """Write whether an entry is live, and how the clock is read for it."""
        if self.cache._state.ttl is None:
            return "entry{s}.deadline is None", ""
        return "entry{s}.deadline > now{s}", "now{s} = clock{s}()"
