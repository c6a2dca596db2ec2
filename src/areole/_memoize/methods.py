"""Memoized methods: what stands in a class.

A function that is decorated in a class body becomes a `MemoizedMethod`: a descriptor whose `obj.method` is a bound
method of Python's own, over the results of `obj` (see `instances`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from .._core.entry import Empty
from .._platform.arguments import is_async_function
from .._platform.generated import define
from . import kinds
from .instance_in_key import CachedClassMethod, CachedMethod, FunctionInClass
from .instances import MethodCaches, has_plain_attributes
from .signature import first_parameter
from .wrapper import HELPERS, MemoizedFunction

__all__ = ["memoize"]


class MemoizedMethod(FunctionInClass):
    """A memoized function defined in a class body.

    `obj.method(...)` and `Class.method(obj, ...)` use the results of `obj`. Called directly, as below a `@staticmethod`
    or a `@property`, it finds out whether its first argument is an instance: see `_choose`.
    """

    def __init__(
        self,
        cache: Any,
        function: Callable[..., Any],
        parameters: dict[str, Any],
        classes: frozenset[kinds.ClassName] = frozenset(),
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._caches = MethodCaches(cache, function, parameters)
        self._unbound = self._caches.unbound
        self._classes = classes
        self._first = first_parameter(function)
        self._chosen: MemoizedFunction | None = None
        self._names_of_get: dict[str, Any] = {}  # the globals of the `__get__` that is generated
        # As in `parse = memoize(json.loads)`: it may get an instance now and another argument next time.
        self._is_from_elsewhere = bool(classes - kinds.classes_by_name(function))

    def __set_name__(self, owner: type, name: str) -> None:
        self._classes |= {(owner.__module__, owner.__qualname__)}

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bind(instance)

    def _bind(self, instance: object) -> Any:
        if instance is None:
            return self if self._is_from_elsewhere else self._unbound
        found, names = self._caches.instance_cache_of(instance), self._names_of_get
        if names.get("known") is Empty and found.is_in_dict and self._may_know(type(instance)):
            names["known"] = type(instance)
        return MethodType(found.method, instance)

    def _may_know(self, cls: type) -> bool:
        """Say whether `cls` has this itself, and plain attributes: no subclass is kept alive by its base's method."""
        return vars(cls).get(self.__name__) is self and has_plain_attributes(cls)

    # ---- called directly

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        chosen = self._chosen or self._choose(args, kwargs)
        return (self._unbound if chosen is self._caches else self._plain[1])(*args, **kwargs)

    @functools.cached_property
    def _plain(self) -> tuple[MemoizedFunction, Any]:
        """What takes the first argument for an argument like all others."""
        plain = MemoizedFunction(self._caches.cache, self._function, self._caches.parameters)
        return plain, plain.make_wrapper()

    def _choose(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MemoizedFunction:
        """Find out whether the first argument is an instance, whose results are found by identity.

        It is, if it is one of the class that this was defined in, unless that has it as a staticmethod. Of other
        objects the parameter's name says it.
        """
        first = args[0] if args else kwargs.get(self._first)
        of_first = kinds.classes_of_object(first)
        cls = next((each for each in of_first if (each.__module__, each.__qualname__) in self._classes), None)
        known: list[type | None] = [cls] if cls else [kinds.find_class(each) for each in self._classes]
        if cls or not self._is_from_elsewhere:
            is_static = any(kinds.is_static_in(each, self) for each in known if each)
            chosen = self._plain[0] if is_static else self._caches
            if not self._is_from_elsewhere and (cls or is_static):
                self._chosen = chosen
            if cls or is_static:
                return chosen
        if self._first in ("self", "cls"):
            return self._caches
        if not self._first and args and kinds.has_equality(first) and self._is_related(first, known):
            raise TypeError(
                f"{self._caches.cache.name}: cannot tell whether the first argument, of type {type(first).__name__}, "
                "is the instance or an argument like others: put memoize above the other decorators, or have them keep "
                "the function's signature by functools.wraps"
            )
        return self._plain[0]

    def _is_related(self, first: object, classes: list[type | None]) -> bool:
        if not self._is_from_elsewhere:
            return True
        return any(each is None or kinds.share_an_attribute(each, type(first)) for each in classes)

    # ---- its helpers

    def __getattr__(self, name: str) -> Any:
        if name == "cache":
            return self._caches.cache if self._is_plain() else self._caches.cache_of_all
        if name not in HELPERS:
            return super().__getattr__(name)
        is_of_all = name == "invalidate_tags" or (name.startswith("cache_") and name != "cache_key")
        return getattr(self._caches, name) if is_of_all else functools.partial(self._help, name)

    def _help(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._chosen or self._choose(args, kwargs), name)(*args, **kwargs)

    def _is_plain(self) -> bool:
        """Say whether no instance has results, as far as calls have shown."""
        if self._is_from_elsewhere and self._caches.living.objects():
            return False
        return self._first not in ("self", "cls") if self._chosen is None else self._chosen is not self._caches


class MemoizedClassMethod(MemoizedMethod):
    """A memoized classmethod: the class is the instance."""

    __class__ = property(lambda self: classmethod)

    @property
    def __func__(self) -> Any:
        return self._function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self._bind(type(instance) if owner is None else owner)

    def _choose(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MemoizedFunction:
        return self._caches


# ---- a method's `__get__`, generated: it is half of a hit


_GET: Final = """
def __get__(self, instance, owner=None):
    try:
        if owner is known and (found := instance.slot)() is instance:
            return MethodType(found.method, instance)
        found = instance.__dict__[slot_name]
        if found() is instance:
            return MethodType(found.method, instance)
    except (AttributeError, KeyError, TypeError):
        pass
    return bind(instance)
"""
"""`instance.slot` is the fastest way to look there. But where nothing is there it asks the `__getattr__` of the class,
which may do anything: call the method again, for one. So it is for one class alone, `known`, that has none."""


_GET_IN_TABLE: Final = """
def __get__(self, instance, owner=None):
    found = table.get(id(instance))
    if found is not None and found() is instance:
        return MethodType(found.method, instance)
    return bind(instance)
"""


def _make_method(cache: Any, function: Any, parameters: dict[str, Any], classes: frozenset[kinds.ClassName]) -> Any:
    """Make a MemoizedMethod, of a class of its own, which has the `__get__`."""
    kind: Any = type("MemoizedMethod", (MemoizedMethod,), {"__doc__": MemoizedMethod.__doc__})
    method = kind(cache, function, parameters, classes)
    slot, table = method._caches.slot, method._caches.table
    names = {"bind": method._bind, "known": Empty, "slot_name": slot, "table": table, "MethodType": MethodType}
    kind.__get__ = define(_GET_IN_TABLE if method._caches.uses_table else _GET, names, {"slot": slot})
    method._names_of_get = kind.__get__.__globals__
    return method


def memoize(make_cache: Callable[..., Any], function: Any, parameters: dict[str, Any]) -> Any:
    """Wrap `function`, which may be a classmethod or staticmethod, by the kind of thing it is.

    `make_cache(fill, name=..., is_async=...)` makes the cache; `parameters` has `typed`, `key` and `ignore`, and what
    else `cache_parameters` is to give.
    """
    inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
    kinds.check_suitable(inner, allows_single_use=parameters.get("allow_single_use", False))
    name = kinds.full_name_of(inner)
    is_shared = parameters.get("shared") is not None
    if is_shared and parameters["key"] is None and (isinstance(function, classmethod) or kinds.classes_of(inner)):
        raise TypeError(
            f"{name}: memoize(shared=...) is for functions, as an instance has no name that other processes know: "
            "pass key=, such as key='price:{self.id}:{item}'"
        )
    make_cache = functools.partial(
        make_cache, functools.partial(_refuse_direct_fill, name), name=name, is_async=is_async_function(inner)
    )
    classes = frozenset() if isinstance(function, staticmethod) else kinds.classes_of(inner)
    if isinstance(function, classmethod) and not is_shared:
        return MemoizedClassMethod(make_cache(index="dict"), inner, parameters)
    if classes and not is_shared:
        return _make_method(make_cache(index="dict"), inner, parameters, classes)
    wrapper = MemoizedFunction(make_cache(), inner, parameters).make_wrapper()
    if isinstance(function, classmethod):
        return CachedClassMethod(wrapper)
    if isinstance(function, staticmethod):
        return staticmethod(wrapper)
    return CachedMethod(wrapper) if classes else wrapper


def _refuse_direct_fill(name: str, key: object) -> Any:
    raise TypeError(f"{name}: this cache belongs to a memoized function, which alone can fill it: call the function")
