"""The decorator's wrappers: functions generated for the signature of what they memoize.

How a wrapper reaches its cache decides its speed (measured, see the design): so the wrapper of a function is a real
function, compiled with globals of its own that hold the entries and everything else it needs, and a hit is one lookup,
one attribute and one comparison. It fills in its own frame, following the protocol of `_single_flight`, so a recursive
function costs two frames a level, as under any plain decorator.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from keyword import iskeyword
from types import CodeType, FunctionType, MappingProxyType, MethodType
from typing import Any, TypeAlias

from .._core.entry import Empty
from .._core.flight import Flight
from .._fill.protocol import SingleFlight
from .._index.atomic import AtomicDictIndex
from .._index.bounded import BoundedIndex
from ..typing import CacheInfo
from .signature import Shape, shape_of

__all__ = ["HELPERS", "AnyCache", "Memo", "define_get", "define_key"]

AnyCache: TypeAlias = SingleFlight[Any, Any]

_HEAD = """
def {name}({parameters}):
    {make_key}
    {find_results}
    try:
        {take_reading}
        entry{s} = {entry}
        {hit}
    except (KeyError{s}, TypeError{s}):
        {or_no_reading}
    {make_key_late}
    {find_cache}
"""

_FILL = """
    while True:
        flight{s} = Flight{s}({key}, entry_type{s})
        latch{s} = flight{s}.latch
        try:
            if cache{s}._claim(flight{s}{reading}):
                cache{s}._settle(flight{s}, function{s}({call}))
        except BaseException{s} as error{s}:
            flight{s}.error = error{s}
            cache{s}._fail(flight{s})
            del flight{s}  # the traceback keeps this frame: it must not lead back to the exception
            raise
        finally:
            latch{s}.release()
        value{s} = cache{s}._finish(flight{s})
        if value{s} is not Empty{s}:
            return value{s}
        {no_reading}
"""

_SERVE = """
    return cache{s}._serve({key}, partial{s}(function{s}, {call}){reading})
"""

_AWAIT = """
    return await cache{s}._awaited({key}, partial{s}(function{s}, {call}){reading})
"""

_AWAIT_SERVED = _AWAIT.replace("._awaited(", "._serve(")

_HIT = """if entry{s}.deadline is None:
            {count_hit}
            return entry{s}.value"""

_HIT_UNDER_TTL = """if entry{s}.deadline > now{s}:
            {count_hit}
            return entry{s}.value"""

_KEY = "def {name}({parameters}): return {key}"


def _fill_in(shape: Shape, template: str, **parts: str) -> str:
    """Write a template out for a shape; lines that are left empty are dropped."""
    parts = {"parameters": shape.parameters} | parts
    text = template.format(s=shape.suffix, call=shape.call, **parts)
    return "\n".join(line for line in text.splitlines() if line.strip())


@functools.lru_cache(maxsize=1024)
def _compile(source: str) -> CodeType:
    """Compile; what `replace` makes is immortal on 3.13t, while what `compile` makes is fought over by all callers."""
    code = compile(source, "<areole.memoize>", "exec")
    return code.replace(co_consts=tuple(c.replace() if isinstance(c, CodeType) else c for c in code.co_consts))


def _rename(code: CodeType, names: Mapping[str, str]) -> CodeType:
    consts = tuple(_rename(const, names) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_names=tuple(names.get(each, each) for each in code.co_names), co_consts=consts)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names_in(const)


def _define(
    shape: Shape, source: str, name: str, attributes: Mapping[str, str] = MappingProxyType({}), **names: Any
) -> FunctionType:
    """Run `source`, which defines `name`, with globals of its own: builtins and `names`, under the shape's suffix.

    `attributes` are names of attributes in `source` that stand for others, which need be no identifiers.
    """
    builtins = (AttributeError, BaseException, KeyError, TypeError, type, tuple, map)
    values = {each.__name__ + shape.suffix: each for each in builtins}
    values |= {each + shape.suffix: value for each, value in (names | shape.defaults).items()}
    code = _rename(_compile(source), attributes) if attributes else _compile(source)
    # The keys are the bytecode's own string objects, and only those that it uses: they are found by identity alone.
    namespace = {each: values[each] for each in _names_in(code) if each in values}
    defined: dict[str, FunctionType] = {}
    exec(code, namespace, defined)
    return defined[name]


def define_key(shape: Shape, key: str, **names: Any) -> FunctionType:
    """Make the function that takes a shape's arguments and gives `key`, an expression of them and of `names`."""
    made = _define(shape, _fill_in(shape, _KEY, name="cache_key", key=key), "cache_key", **names)
    made.__qualname__ = shape.name  # what Python says of arguments that do not fit is said of the user's function
    return made


def define_get(source: str, names: dict[str, Any]) -> FunctionType:
    """Make a method's `__get__` from `source`, with globals of its own, `names`; `.slot` in it is `names["slot"]`."""
    code = _rename(_compile(source), {"slot": names["slot"], "slot_name": "slot"})
    names |= {"AttributeError": AttributeError, "KeyError": KeyError, "TypeError": TypeError, "MethodType": MethodType}
    exec(code, names)
    made: FunctionType = names.pop("__get__")
    return made


class Memo:
    """What a memoized function offers beside being called; each takes the arguments that the function takes."""

    of_instance = False

    def __init__(self, cache: AnyCache, function: Callable[..., Any], parameters: dict[str, Any]) -> None:
        self.cache = cache
        self.function = function
        self.parameters = parameters
        options = {each: parameters[each] for each in ("typed", "key", "ignore")}
        self.shape = shape_of(function, of_instance=self.of_instance, **options)
        self.names = {"key_function": parameters["key"], "ignored": frozenset(parameters["ignore"])}
        self.cache_key = define_key(self.shape, self.shape.key, **self.names)
        cache._explain_key = self.shape.explain_key
        if self.shape.takes_default:
            self.peek = self._peek_where_default_is_its_own  # type: ignore[method-assign]
        cache._returner = f"memoize: {cache.name}"

    def find_cache(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnyCache:
        """Return the cache that a call with these arguments uses."""
        return self.cache

    def invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Forget the result of this call; say whether there was one, stored or on its way."""
        key = self.cache_key(*args, **kwargs)  # first: it refuses arguments that do not fit
        return self.find_cache(args, kwargs).invalidate(key)

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call anew, store and return its result; others get the old one meanwhile."""
        key = self.cache_key(*args, **kwargs)
        return self.find_cache(args, kwargs)._refresh(key, self.function, args, kwargs)

    def peek(self, /, *args: Any, default: Any = None, **kwargs: Any) -> Any:
        """Return the stored result of this call, or `default`; never calls, never waits, counts as no use."""
        key = self.cache_key(*args, **kwargs)
        return self.find_cache(args, kwargs).peek(key, default)

    def _peek_where_default_is_its_own(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of this call, or None; never calls, never waits, counts as no use.

        `default` is an argument of the function. For another answer than None: `cache.peek(cache_key(...), answer)`.
        """
        key = self.cache_key(*args, **kwargs)
        return self.find_cache(args, kwargs).peek(key)

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results there are."""
        return self.cache.cache_info()

    def cache_clear(self) -> None:
        """Forget all results, and start all counters at 0 again; a clear of `cache` leaves them."""
        self.cache.clear()
        self.cache._reset_counters()

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the cache was made with."""
        return self.parameters | {"index": self.cache._index.name}

    def make_wrapper(self) -> Any:
        """Generate the function to be called, with all of this on it."""
        wrapper = self.generate(self._reach)
        functools.update_wrapper(wrapper, self.function)
        for each in HELPERS:
            setattr(wrapper, each, getattr(self, each))
        return wrapper

    def generate(
        self,
        reach: Callable[[str], tuple[dict[str, str], dict[str, Any]]],
        parameters: str = "",
        attributes: Mapping[str, str] = MappingProxyType({}),
    ) -> FunctionType:
        """Generate the function that looks up, and fills, at the entry that `reach` says how to get at."""
        shape, s = self.shape, self.shape.suffix
        name = getattr(self.function, "__name__", "")
        name = name if name.isascii() and name.isidentifier() and not iskeyword(name) else "memoized"
        under_ttl = self.cache._ttl is not None
        key = shape.key if shape.key.isidentifier() else f"key{s}"
        make_key = f"{key} = {shape.key}" if key != shape.key else ""
        is_cheap = "(" not in shape.key[1:]  # calls nothing: written out where a hit needs it, and made again on a miss
        reached, names = reach(shape.key if is_cheap else key)
        count_hit, more_names = self._count_hit()
        parts = {
            "name": name,
            "parameters": parameters or shape.parameters,
            "key": key,
            "make_key": "" if is_cheap else make_key,
            "make_key_late": make_key if is_cheap else "",
            "find_results": "",
            "find_cache": "",
            "take_reading": f"now{s} = clock{s}()" if under_ttl else "",
            "no_reading": f"now{s} = None" if under_ttl else "",
            "or_no_reading": f"now{s} = None" if under_ttl else "pass",
            "reading": f", now{s}" if under_ttl else "",
            "count_hit": count_hit,
        }
        template = _HEAD.replace("{hit}", _HIT_UNDER_TTL if under_ttl else _HIT)
        if self.cache._is_async:
            template = f"\nasync {template.lstrip()}{_AWAIT if self.cache._plan is None else _AWAIT_SERVED}"
        else:
            template += _FILL if self.cache._plan is None else _SERVE
        names |= self.names | more_names | {"clock": self.cache._clock, "function": self.function}
        names |= {"Empty": Empty, "Flight": Flight, "entry_type": self.cache._index.entry_type, "cache": self.cache}
        names |= {"partial": functools.partial}
        made = _define(shape, _fill_in(shape, template, **parts | reached), name, attributes, **names)
        made.__qualname__ = shape.name  # what Python says of arguments that do not fit
        return made

    def _count_hit(self) -> tuple[str, dict[str, Any]]:
        """Write what a hit does besides returning the value: notes for the policy and the counter, without a call."""
        cache, index, s = self.cache, self.cache._index, self.shape.suffix
        lines: list[str] = []
        names: dict[str, Any] = {}
        if isinstance(index, BoundedIndex):
            lines.append(index.policy.touch_source.format(entry=f"entry{s}", tick=f"tick{s}"))
            names["tick"] = index.policy.touch_with
        if cache._hits is not None:
            more_lines, more_names = cache._hits.write_step(s)
            lines += more_lines
            names |= more_names
        return "\n            ".join(lines), names

    def _reach(self, key: str) -> tuple[dict[str, str], dict[str, Any]]:
        """Say how the wrapper gets at the entry of `key`: parts of the source text, and the names that they need."""
        index, s = self.cache._index, self.shape.suffix
        if isinstance(index, AtomicDictIndex):
            return {"entry": f"cells{s}[{key}].entry"}, {"cells": index.cells}
        return {"entry": f"entries{s}[{key}]"}, {"entries": index.entries}


HELPERS = ("cache", "cache_clear", "cache_info", "cache_key", "cache_parameters", "invalidate", "peek", "refresh")
