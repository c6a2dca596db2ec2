"""Memoized methods, and which wrapper a decorated thing gets.

A function defined in a class body becomes a `MemoizedMethod`: each instance has results of its own, found by identity,
that do not keep it alive. They stand in the instance's `__dict__`, under a name that is no identifier, so that results
which refer back to the instance are a cycle that the collector can see; an instance without a `__dict__`, and a class,
has them in a table that it leaves when it dies, and there such results do keep it alive.

All instances share the settings, the counters and the lock.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import weakref
from collections.abc import Callable, Collection
from typing import Any

from ._arguments import is_async_function
from ._bounded import BoundedIndex
from ._keys import first_parameter
from ._memoize import HELPERS, AnyCache, Memo
from ._stats import CacheInfo
from ._weak import DroppingRef, WeakTable

__all__ = [
    "BoundFunction",
    "BoundMemo",
    "MemoizedClassMethod",
    "MemoizedMethod",
    "is_async_function",
    "memoize",
]

_serial = itertools.count(1)


class _Results:
    """One instance's results of one method: a twin of the method's cache.

    `owner()` is the instance. Whoever finds results must look: they may be a copy's, made with the instance's
    `__dict__`, or a dead instance's whose id, or whose place in the table, another one has now.
    """

    __slots__ = ("cache", "entries", "owner")

    def __init__(self, owner: Callable[[], Any], cache: AnyCache) -> None:
        self.owner = owner
        self.cache = cache
        self.entries = cache._entries

    def __reduce__(self) -> Any:
        return _no_results, ()  # an instance is pickled and copied without


class _NoResults:
    """What is left of results in a copied or unpickled instance: nobody's."""

    entries: Any = None

    def owner(self) -> None:
        return None


def _no_results() -> _NoResults:
    return _NoResults()


class InstanceMemo(Memo):
    """What a memoized method offers: its first argument says whose results are meant."""

    of_instance = True

    def __init__(self, cache: AnyCache, function: Callable[..., Any], parameters: dict[str, Any]) -> None:
        super().__init__(cache, function, parameters)
        self.slot = f"<{self.cache.name} {next(_serial)}>"
        self.table: dict[int, _Results] = {}  # by id, for those without a __dict__
        self.twins: WeakTable[None] = WeakTable()

    def results_of(self, instance: object) -> _Results:
        """Return the results of `instance`, made now if it has none."""
        home, place = self._home_of(instance)
        while True:
            results: _Results | None = home.get(place)
            if results is not None and results.owner() is instance:
                return results
            made = self._make_results(instance, home)
            if results is None:
                home.setdefault(place, made)  # one atomic step: of two threads, both use what is in afterwards
                continue
            with self.cache._index.lock:  # makes one step of looking and replacing what is not this instance's
                if home.get(place) is results:
                    home[place] = made

    def _home_of(self, instance: object) -> tuple[dict[Any, Any], Any]:
        attributes = getattr(instance, "__dict__", None)
        if type(attributes) is dict:
            return attributes, self.slot
        return self.table, id(instance)

    def _make_results(self, instance: object, home: dict[Any, Any]) -> _Results:
        twin = self.cache._twin()
        try:
            ref = weakref.ref(instance) if home is not self.table else DroppingRef.to(instance, self.table)
        except TypeError as error:
            raise TypeError(
                f"{self.cache.name}: a memoized method knows its instance by a weak reference, and instances of "
                f"{type(instance).__name__} take none: add '__weakref__' to its __slots__"
            ) from error
        self.twins.add_if_absent(twin, None)
        return _Results(ref, twin)

    def find_cache(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnyCache:
        return self.results_of(args[0] if args else kwargs[self.shape.first]).cache

    def cache_info(self) -> CacheInfo:
        """Return the counters so far, and how many results all living instances have, and what these weigh.

        `maxsize` and `max_bytes` are each instance's.
        """
        info = self.cache.cache_info()
        infos = [info, *(twin.cache_info() for twin in self.twins.objects())]
        size = None if info.size_in_bytes is None else sum([each.size_in_bytes or 0 for each in infos])
        return info._replace(currsize=sum([each.currsize for each in infos]), size_in_bytes=size)

    def cache_clear(self) -> None:
        """Forget all results of all instances, and start all counters at 0 again."""
        for cache in [self.cache, *self.twins.objects()]:
            cache.clear()
        self.cache._reset_counters()

    def _reach(self, key: str) -> tuple[dict[str, str], dict[str, Any]]:
        first, s = self.shape.first, self.shape.suffix
        find_results = _FIND_RESULTS.format(s=s, first=first)
        parts = {"find_results": find_results, "entry": f"results{s}.entries[{key}]"}
        parts["find_cache"] = f"cache{s} = results{s}.cache"
        if isinstance(self.cache._index, BoundedIndex):  # each twin has a policy of its own
            parts["count_hit"] = f"results{s}.cache._on_hit(entry{s})"
        return parts, {"slot": self.slot, "results_of": self.results_of}


_FIND_RESULTS = """try:
        results{s} = {first}.__dict__[slot{s}]
        if results{s}.owner() is not {first}:
            results{s} = results_of{s}({first})
    except (AttributeError{s}, KeyError{s}):
        results{s} = results_of{s}({first})"""


class BoundFunction(functools.partial[Any]):
    """A decorated method together with its instance, or class; made anew at each access, as bound methods are."""

    def __init_subclass__(cls) -> None:
        """Show the function's own: every class has a module, and a doc string, if only None, in its own namespace."""
        cls.__module__ = property(lambda self: self.func.__module__)  # type: ignore[assignment]
        cls.__doc__ = property(lambda self: self.func.__doc__)  # type: ignore[assignment]

    of_arguments: Collection[str] = HELPERS
    """The helpers that take the instance too, as their first argument."""

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.func)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Any:
        return self.func

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # it takes the instance too, which is not for `inspect.signature` to see
            raise AttributeError(name)
        found = getattr(self.func, name)
        return functools.partial(found, *self.args) if name in self.of_arguments else found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundFunction) and self.func is other.func and self.args[0] is other.args[0]

    def __hash__(self) -> int:
        return hash((self.func, id(self.args[0])))

    def __repr__(self) -> str:
        owner = self.args[0]  # its class is named, and no more: an instance is part of the key
        return f"<memoized {self.func.__qualname__} of {(owner if isinstance(owner, type) else type(owner)).__name__}>"

    def __reduce__(self) -> Any:
        return getattr, (self.args[0], self.func.__name__)


class BoundMemo(BoundFunction):
    """One whose instance has results of its own."""

    @property
    def cache(self) -> AnyCache:
        """The cache of this instance alone."""
        memo: InstanceMemo = self.func.cache_clear.__self__  # type: ignore[attr-defined]
        return memo.results_of(self.args[0]).cache

    def cache_info(self) -> CacheInfo:
        """Return the counters of the method, over all instances, and how many results this one has."""
        return self.cache.cache_info()

    def cache_clear(self) -> None:
        """Forget the results of this instance. The counters, which are the method's over all instances, go on."""
        self.cache.clear()


class MemoizedMethod:
    """A memoized function defined in a class body.

    `obj.method(...)` and `Class.method(obj, ...)` use the results of `obj`. Called directly, as below a `@staticmethod`
    or a `@property`, it goes by the name of the first parameter: an instance where that is `self` or `cls`, else an
    argument like all others.
    """

    def __init__(self, cache: AnyCache, function: Callable[..., Any], parameters: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._of_instance = InstanceMemo(cache, function, parameters).make_wrapper()
        if first_parameter(function) in ("self", "cls"):
            self._direct = self._of_instance
        else:
            self._direct = Memo(cache, function, parameters).make_wrapper()
        if cache._is_async and sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._of_instance if instance is None else BoundMemo(self._of_instance, instance)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._direct(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in HELPERS:
            return getattr(self._direct, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<memoized {self.__qualname__}>"

    def __reduce__(self) -> str:
        return str(self.__qualname__)  # by its name: below a `@staticmethod` it is what that name gives


class MemoizedClassMethod(MemoizedMethod):
    """A memoized classmethod: the class is the instance."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return BoundMemo(self._of_instance, type(instance) if owner is None else owner)


def memoize(make_cache: Callable[..., AnyCache], function: Any, parameters: dict[str, Any]) -> Any:
    """Wrap `function`, which may be a classmethod or staticmethod, by the kind of thing it is.

    `make_cache(fill, name=..., is_async=...)` makes the cache; `parameters` has `typed`, `key` and `ignore`, and what
    else `cache_parameters` is to tell.
    """
    inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
    check_suitable(inner, allows_single_use=parameters.get("allow_single_use", False))
    fill = functools.partial(_refuse_direct_fill, full_name_of(inner))
    make_cache = functools.partial(make_cache, fill, name=full_name_of(inner), is_async=is_async_function(inner))
    kind = MemoizedClassMethod if isinstance(function, classmethod) else MemoizedMethod
    if kind is MemoizedClassMethod or (inner is function and stands_in_class_body(inner)):
        return kind(make_cache(index="dict"), inner, parameters)
    wrapper = Memo(make_cache(), inner, parameters).make_wrapper()
    return wrapper if inner is function else staticmethod(wrapper)


def full_name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None)}.{name}"


def stands_in_class_body(function: Any) -> bool:
    """Say whether a `def` or lambda stands directly in a class body: its qualified name says so."""
    outer = function.__qualname__.rpartition(".")[0] if inspect.isfunction(function) else ""
    return bool(outer) and not outer.endswith("<locals>")


def _refuse_direct_fill(name: str, key: object) -> Any:
    raise TypeError(f"{name}: this cache belongs to a memoized function, which alone can fill it: call the function")


def check_suitable(function: Any, decorator: str = "memoize", allows_single_use: bool = False) -> None:
    if isinstance(function, property | functools.cached_property):
        kind = type(function).__name__
        raise TypeError(f"{decorator} takes no {kind}: put @{kind} above {decorator}, which takes the function itself")
    if not callable(function):
        raise TypeError(f"{decorator} takes a function, a method or a callable, not {type(function).__name__}")
    if allows_single_use:
        return
    if any(inspect.isgeneratorfunction(form) or inspect.isasyncgenfunction(form) for form in _forms_of(function)):
        raise TypeError(
            f"{full_name_of(function)} is a generator function: memoized, its first caller would use up what all "
            "others get. Return a list or a tuple instead"
        )


def _forms_of(function: Any) -> list[Any]:
    """Return what may say which kind of function this is: itself, and its `__call__` if it is an object."""
    return [function] if isinstance(function, type) else [function, type(function).__call__]
