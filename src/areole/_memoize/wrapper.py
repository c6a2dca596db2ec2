"""The wrapper of a memoized function: a function that is generated for its signature, with the helpers on it.

How a wrapper reaches its cache decides its speed (measured, see docs/architecture.md). So it is a real function,
compiled with globals of its own that hold the entries and everything else it needs, and a hit is one lookup, one
attribute and one comparison. It fills in its own frame, following the protocol of `_fill.protocol`, so a recursive
function costs two frames per level, as under any plain decorator.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from keyword import iskeyword
from types import FunctionType, MappingProxyType
from typing import Any

from .._core.accelerator import lookup_of, make_front
from .._core.entry import Empty
from .._core.flight import Flight
from .._core.stats import HitCounter
from .._fill.rules import LEAD, FillRules
from .._fill.tasks import TaskFills
from .._index.atomic import AtomicDictIndex
from .._index.bounded import BoundedIndex
from .._platform.generated import define
from ..typing import CacheInfo
from .key_template import KeyTemplate
from .kinds import full_name_of
from .signature import KeyOptions, Signature, check_previous, parameter_names
from .tag_templates import tags_source

__all__ = ["HELPERS", "MemoizedFunction", "Wrapper", "define_key", "define_tags"]

HELPERS = (
    "cache",
    "cache_clear",
    "cache_info",
    "cache_key",
    "cache_parameters",
    "invalidate",
    "invalidate_tags",
    "peek",
    "purge",
    "refresh",
)

_KEY = "def cache_key({parameters}): return {key}"

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

_AFTER_LOOK = """
{kind} {name}({parameters}):
    {key_before}
    {without_reading}
    {key_after}
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
    value{s} = {awaited} fills{s}.get_or_fill({key}, partial{s}(function{s}, {call}){reading}{tagged})
    return {filled}
"""

_NAMES: dict[str, Any] = {
    each.__name__: each for each in (AttributeError, BaseException, KeyError, TypeError, id, tuple, map, type)
}
_NAMES |= {"Empty": Empty, "Flight": Flight, "LEAD": LEAD, "partial": functools.partial}


def define_key(signature: Signature, key: str, names: Mapping[str, Any], is_freed: bool = False) -> FunctionType:
    """Generate the function that makes the key of a call: `key`, source text; `names` are those that it needs."""
    source = _KEY.format(parameters=signature.parameters, key=key)
    names = {name + signature.suffix: value for name, value in {**_NAMES, **signature.names, **names}.items()}
    made = define(source, names, is_freed=is_freed)
    made.__qualname__ = signature.function_name  # Python names it where arguments do not fit
    return made


def define_tags(
    function: Callable[..., Any], signature: Signature, tags: Any, is_freed: bool = False
) -> FunctionType | None:
    """Generate the function that gives the tags of a call; None: it has none."""
    if tags is None:
        return None
    source, names = tags_source(
        tags, parameter_names(function), signature.call, signature.suffix, full_name_of(function)
    )
    return define_key(signature, source, names, is_freed)


class Wrapper:
    """Generates the wrapper of `function`, which fills by `fills`, and has the helpers, which take its arguments."""

    cache: Any
    hits: Sequence[HitCounter] = ()
    """What counts hits."""
    load: Callable[[Any, Any], Any] | None = None
    """Makes what is returned of a key and what is stored."""
    is_freed = False
    """Whether generated functions have to be freed, also where that costs something."""

    def __init__(
        self,
        function: Callable[..., Any],
        fills: Any,
        options: KeyOptions,
        *,
        is_method: bool = False,
        namespace: object = None,
        tags: Any = None,
    ) -> None:
        self.function = function
        self.fills = fills
        self.signature = Signature.of(function, options, is_method=is_method)
        self.names = self.signature.names | {"function": function, "fills": fills, "namespace": namespace}
        parts = self.signature.key_parts
        if namespace is not None:
            parts = (f"namespace{self.signature.suffix}", *parts)
        is_tuple = len(parts) != 1 or namespace is not None
        self.key = f"({', '.join(parts)}{',' * (len(parts) == 1)})" if is_tuple else parts[0]
        self.cache_key = define_key(self.signature, self.key, {"namespace": namespace}, self.is_freed)
        self.tags_of = define_tags(function, self.signature, tags, self.is_freed)
        if self.signature.takes_default:
            self.peek = self._peek_without_default  # type: ignore[method-assign]

    # ---- the helpers

    def invalidate_tags(self, /, *tags: str) -> int:
        """Remove all results that have one of `tags`, and detach running calls that have; return how many."""
        invalidated: int = self.cache.invalidate_tags(*tags)
        return invalidated

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of this call; say whether there was one, stored or running."""
        cache, key = self.locate(args, kwargs)
        invalidated: bool = cache.invalidate(key)
        return invalidated

    purge = invalidate

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        cache, key = self.locate(args, kwargs)
        return self.fill_again(cache._fills, key, functools.partial(self.function, *args, **kwargs), args, kwargs)

    def fill_again(self, fills: Any, key: Any, call: Callable[[], Any], args: Any, kwargs: Any) -> Any:
        """Refresh `key` by this call, whose arguments are these; for tasks, return that to be awaited."""
        value = fills.refresh(key, call, self.rules_of(fills, args, kwargs))
        if self.load is None:
            return value
        return _load_awaited(self.load, key, value) if isinstance(fills, TaskFills) else self.load(key, value)

    def rules_of(self, fills: Any, args: Any, kwargs: Any) -> FillRules | None:
        """Return the rules for this call, if they are not those of `fills`."""
        if self.tags_of is None:
            return None
        rules: FillRules = fills.rules
        return rules.tagged(functools.partial(self.tags_of, *args, **kwargs))

    def peek(self, /, *args: Any, default: Any = None, **kwargs: Any) -> Any:
        """Return the stored result of this call, or `default`; never calls, never waits, counts as no use."""
        cache, key = self.locate(args, kwargs)
        return cache.peek(key, default)

    def _peek_without_default(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of this call, or None; never calls, never waits, counts as no use.

        `default` is an argument of the function. For another answer than None: `cache.peek(cache_key(...), answer)`.
        """
        cache, key = self.locate(args, kwargs)
        return cache.peek(key, None)

    def locate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Return the cache that a call with these arguments uses, and its key."""
        return self.cache, self.cache_key(*args, **kwargs)

    # ---- the generated functions

    def decorate(self, wrapper: Any) -> Any:
        """Make `wrapper` look like the function, and give it the helpers."""
        functools.update_wrapper(wrapper, self.function)
        for each in HELPERS:
            setattr(wrapper, each, getattr(self, each))
        return wrapper

    def generate(
        self,
        is_live: str,
        read_clock: str = "",
        *,
        entry: str = "",
        note_hit: str = "",
        start: str = _HIT,
        attributes: Mapping[str, str] = MappingProxyType({}),
        **texts: str,
    ) -> FunctionType:
        """Generate the function that looks up, and fills. All arguments but `attributes` are source text.

        `entry` is the expression for an entry by `{key}`, if it is no plain lookup; `is_live` says whether that is a
        hit, after `read_clock`, which may set `now`. `note_hit`: instead of what the state asks for. `start`: what
        comes before the fill.
        """
        s, state = self.signature.suffix, self.fills.state
        calls_nothing = self.load is None and not re.search(r"\w\(", self.key)  # so it may be evaluated twice
        key = self.key if self.key.isidentifier() else f"key{s}"
        make_key = f"{key} = {self.key}" if key != self.key else ""
        is_async = isinstance(self.fills, TaskFills)
        name = getattr(self.function, "__name__", "")
        self.names |= {
            "entry_type": state.entry_type,
            "clock": state.clock,
            "load": self.load,
            "tags_of": self.tags_of,
        }
        texts = {"first": "", "before_miss": "", "parameters": self.signature.parameters} | texts
        texts |= {
            "kind": "async def" if is_async else "def",
            "name": name if name.isascii() and name.isidentifier() and not iskeyword(name) else "memoized",
            "awaited": "await" if is_async else "",
            "key": key,
            "key_before": "" if calls_nothing else make_key,
            "key_after": make_key if calls_nothing else "",
            "entry": (entry or self._entry()).replace("{key}", self.key if calls_nothing else key),
            "read_clock": read_clock,
            "is_live": is_live,
            "note_hit": note_hit or self._note_hit("now{s}" if read_clock else "clock{s}()"),
            "value": "entry{s}.value" if self.load is None else f"load{{s}}({key}, entry{{s}}.value)",
            "without_reading": "now{s} = None" if read_clock else "pass",
            "reading": ", now{s}" if read_clock else "",
            "tagged": "" if self.tags_of is None else self._tagged(),
            "filled": "value{s}" if self.load is None else f"load{{s}}({key}, value{{s}})",
        }
        is_plain = self.fills.rules.stale is None and self.tags_of is None
        miss = _FILL if self.fills.is_inlined and is_plain else _GET_OR_FILL
        return self.define(start + miss, attributes, **texts)

    def define(
        self,
        template: str,
        attributes: Mapping[str, str] = MappingProxyType({}),
        **texts: str,
    ) -> FunctionType:
        """Define what `template` comes to with these texts and the signature's; lines that stay empty are dropped."""
        signature, s = self.signature, self.signature.suffix
        texts = {name: text.replace("{s}", s) for name, text in texts.items()}
        text = template.format(**{"parameters": signature.parameters, "call": signature.call, "s": s} | texts)
        source = "\n".join(line for line in text.splitlines() if line.strip())
        names = {name + s: value for name, value in (_NAMES | self.names).items()}
        made = define(source, names, attributes, self.is_freed)
        made.__qualname__ = signature.function_name  # Python names it where arguments do not fit
        return made

    def _tagged(self) -> str:
        """Write the rules of a call that has tags of its own."""
        return f", rules=fills{{s}}.rules.tagged(partial{{s}}(tags_of{{s}}, {self.signature.call}))"

    def _note_hit(self, now: str) -> str:
        """Write what a hit does besides returning the value: notes for the policy and the counters, without a call."""
        index = self.fills.state.index
        lines = [] if self.fills.state.idle is None else [f"entry{{s}}.times.used = {now}"]
        if isinstance(index, BoundedIndex):
            lines.append(index.policy.record_source.format(entry="entry{s}", tick="tick{s}"))
            self.names["tick"] = index.policy.record_with
        for number, counter in enumerate(self.hits):
            more_lines, more_names = counter.write_step(self.signature.suffix, number)
            lines += more_lines
            self.names |= more_names
        return "\n            ".join(lines)

    def _entry(self) -> str:
        """Write how an entry is found by its key."""
        index = self.fills.state.index
        if isinstance(index, AtomicDictIndex):
            self.names["cells"] = index.cells
            return "cells{s}[{key}].entry"
        self.names["entries"] = index.entries
        return "entries{s}[{key}]"


async def _load_awaited(load: Callable[[Any, Any], Any], key: Any, value: Any) -> Any:
    return load(key, await value)


class MemoizedFunction(Wrapper):
    """A function that has a read-through cache of its own."""

    def __init__(
        self, cache: Any, function: Callable[..., Any], parameters: dict[str, Any], *, is_method: bool = False
    ) -> None:
        self.cache = cache
        self.hits = () if cache._state.hits is None else (cache._state.hits,)
        self.parameters = parameters
        load = cache._fills.rules.load
        self.load = None if load is None else lambda key, raw: load(raw)
        previous = check_previous(parameters.get("previous"), function)
        key = parameters["key"]
        if isinstance(key, str):
            key = KeyTemplate(key, parameter_names(function), full_name_of(function))
        options = KeyOptions(parameters["typed"], key, parameters["ignore"], previous)
        tier = cache._fills.rules.tier
        cache._fills.rules = replace(cache._fills.rules, returner=f"memoize: {cache.name}")
        (cache._fills.rules if tier is None else tier).previous = previous
        super().__init__(function, cache._fills, options, is_method=is_method, tags=parameters.get("tags"))
        cache._state.explain_key = self.signature.explain_key
        self.to_fill: Any = None if tier is None else tier.memoize(self, parameters.get("name"))
        if tier is not None:
            self.names["function"] = self.to_fill
        self.liveness: tuple[str, ...] = ("entry{s}.deadline is None",)
        if not (cache._state.ttl is None and cache._state.idle is None):
            self.liveness = "entry{s}.deadline > now{s}", "now{s} = clock{s}()"

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        if self.to_fill is None:
            return super().refresh(*args, **kwargs)
        cache, key = self.locate(args, kwargs)
        call = functools.partial(self.to_fill.refresh, *args, **kwargs)
        return self.fill_again(cache._fills, key, call, args, kwargs)

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results there are."""
        info: CacheInfo = self.cache.cache_info()
        return info

    def cache_clear(self) -> Any:
        """Remove all results, and start all counters at 0 again; a clear of `cache` leaves them.

        Of an `async def` with `shared`: return something to await for the part in the store, which is done either way.
        """
        cleared = self.cache.clear()
        self.cache._state.reset_counters()
        if self.to_fill is not None:
            self.cache._fills.rules.tier.reset_counters()
        return cleared

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the cache was made with."""
        return self.parameters | {"index": self.cache._state.index.name}

    def make_wrapper(self) -> Any:
        """Generate the function to be called, with the helpers on it."""
        whole = self.generate(*self.liveness)
        return self.decorate(self._accelerate(whole) or whole)

    def _accelerate(self, whole: FunctionType) -> FunctionType | None:
        """Return a function that looks up in C, and leaves to `whole` all that is no plain hit; None: not here."""
        binding, is_async = self.signature.binding, isinstance(self.fills, TaskFills)
        if make_front is None or binding is None or is_async or self.load is not None:
            return None
        lookup = lookup_of(self.fills.state, self.hits)
        if lookup is None:
            return None
        front: FunctionType = make_front(whole, self.generate(*self.liveness, start=_AFTER_LOOK), lookup, *binding)
        return front
