"""The wrapper of a memoized function: a function that is generated for its signature.

How a wrapper reaches its cache decides its speed (measured, see the design). So it is a real function, compiled with
globals of its own that hold the entries and everything else it needs, and a hit is one lookup, one attribute and one
comparison. It fills in its own frame, following the protocol of `_fill.protocol`, so a recursive function costs two
frames per level, as under any plain decorator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple, Protocol, Self

from .._core.entry import Empty
from .._core.flight import Flight
from .._fill.protocol import LEAD
from .._fill.tasks import TaskFills
from .._index.atomic import AtomicDictIndex
from .._index.bounded import BoundedIndex
from .._state.cache_state import CacheState
from ..typing import CacheInfo
from .helpers import Helpers
from .signature import KeyOptions

__all__ = ["AnyCache", "Lookup", "MemoizedFunction"]


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
    {key_before}
    {find}
    try:
        {read_clock}
        entry{s} = {entry}
        if entry{s}.deadline {is_live}:
            {note_hit}
            return entry{s}.value
    except (KeyError{s}, TypeError{s}):
        {without_reading}
    {key_after}
    {find_cache}
"""

_FILL = """
    flight{s} = Flight{s}({key}, entry_type{s})
    latch{s} = flight{s}.latch
    try:
        found{s} = fills{s}.claim(flight{s}{reading})
        if found{s} is LEAD{s}:
            fills{s}.complete(flight{s}, function{s}({call}))
    except BaseException{s} as error{s}:
        flight{s}.error = error{s}
        fills{s}.abort(flight{s})
        del flight{s}  # the traceback keeps this frame: it must not lead back to the exception
        raise
    finally:
        latch{s}.release()
    value{s} = fills{s}.result_or_wait(flight{s}, found{s})
    if value{s} is Empty{s}:
        return fills{s}.get_or_fill({key}, partial{s}(function{s}, {call}), is_counted=True)
    return value{s}
"""

_SERVE = """
    return fills{s}.get_or_fill({key}, partial{s}(function{s}, {call}){reading})
"""

_AWAIT = """
    return await fills{s}.get_or_fill({key}, partial{s}(function{s}, {call}){reading})
"""

_BUILTINS = {each.__name__: each for each in (AttributeError, BaseException, KeyError, TypeError, id)}


class Lookup(NamedTuple):
    """How a wrapper gets at an entry, as source text, with what that needs.

    `entry` has `{key}` in it. `find` and `find_cache` come before the lookup, and before a miss; `note_hit` is what a
    hit does besides, instead of what the cache asks for.
    """

    entry: str
    names: dict[str, Any]
    find: str = ""
    find_cache: str = ""
    note_hit: str | None = None


class MemoizedFunction(Helpers):
    """A memoized function, and what it offers besides being called."""

    cache: AnyCache

    def __init__(
        self, cache: AnyCache, function: Callable[..., Any], parameters: dict[str, Any], *, is_method: bool = False
    ) -> None:
        self.cache = cache
        self.parameters = parameters
        options = KeyOptions(parameters["typed"], parameters["key"], parameters["ignore"])
        super().__init__(function, options, is_method=is_method)
        cache._state.explain_key = self.signature.explain_key
        cache._fills.rules = replace(cache._fills.rules, returner=f"memoize: {cache.name}")

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
        return self.decorate(self.generate(self._lookup()))

    def _lookup(self) -> Lookup:
        index = self.cache._state.index
        if isinstance(index, AtomicDictIndex):
            return Lookup("cells{s}[{key}].entry", {"cells": index.cells})
        return Lookup("entries{s}[{key}]", {"entries": index.entries})

    def generate(self, lookup: Lookup, **parts: Any) -> FunctionType:
        """Generate the function that looks up, and fills; `parts` are those of `Helpers.define` that it is to have."""
        s, fills, state = self.signature.suffix, self.cache._fills, self.cache._state
        expression = self.signature.key
        is_cheap = "(" not in expression[1:]  # calls nothing: written out where a hit needs it, made again on a miss
        key = expression if expression.isidentifier() else f"key{s}"
        make_key = f"{key} = {expression}" if key != expression else ""
        note_hit, names = self._note_hit() if lookup.note_hit is None else (lookup.note_hit, {})
        under_ttl = state.ttl is not None
        is_async = isinstance(fills, TaskFills)
        miss = _AWAIT if is_async else _FILL if fills.rules.stale is None else _SERVE
        names |= _BUILTINS | lookup.names
        names |= {"Empty": Empty, "Flight": Flight, "partial": partial, "entry_type": state.entry_type}
        names |= {"LEAD": LEAD, "fills": fills, "clock": state.clock, "function": self.function}
        texts = {
            "kind": "async def" if is_async else "def",
            "name": self.function_name(),
            "key": key,
            "key_before": "" if is_cheap else make_key,
            "key_after": make_key if is_cheap else "",
            "find": lookup.find,
            "find_cache": lookup.find_cache,
            "entry": lookup.entry.format(s=s, key=expression if is_cheap else key),
            "read_clock": f"now{s} = clock{s}()" if under_ttl else "",
            "is_live": f"> now{s}" if under_ttl else "is None",
            "note_hit": note_hit,
            "without_reading": f"now{s} = None" if under_ttl else "pass",
            "reading": f", now{s}" if under_ttl else "",
        }
        return self.define(_HIT + miss, names, **texts | parts)

    def _note_hit(self) -> tuple[str, dict[str, Any]]:
        """Write what a hit does besides returning the value: notes for the policy and the counter, without a call."""
        index, hits, s = self.cache._state.index, self.cache._state.hits, self.signature.suffix
        lines: list[str] = []
        names: dict[str, Any] = {}
        if isinstance(index, BoundedIndex):
            lines.append(index.policy.record_source.format(entry=f"entry{s}", tick=f"tick{s}"))
            names["tick"] = index.policy.record_with
        if hits is not None:
            more_lines, more_names = hits.write_step(s)
            lines += more_lines
            names |= more_names
        return "\n            ".join(lines), names
