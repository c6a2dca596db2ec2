"""Memoizing: the decorator, as the read-through caches have it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from numbers import Real
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypedDict, TypeVar, Unpack, overload

from .._fill.resilience import Resilience
from .._platform.arguments import check_bool, check_on_abandon, in_the_name_of, shown, unexpected_keyword
from ..typing import (
    Clock,
    FillResult,
    G,
    H,
    IndexName,
    Later,
    Memoized,
    MemoizeDecorator,
    MemoizedGeneric,
    MemoizedLater,
    MemoizedLaterOfClass,
    MemoizedOfClass,
    OnAbandon,
    PolicyName,
    RemovalListener,
    Tags,
    TakesAnything,
    Ttl,
)
from .methods import memoize

__all__ = ["CacheOptions", "MemoizeOptions", "Memoizing"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")


class CacheOptions(TypedDict, total=False):
    """The keyword arguments of the read-through caches; see `AtomicCache`."""

    cache_exceptions: bool | type[Exception] | tuple[type[Exception], ...]
    wait_timeout: float | timedelta | None
    on_removal: RemovalListener[Any, Any] | None
    stats: bool
    clock: Clock
    name: str | None
    index: IndexName
    max_items: int | None
    max_bytes: int | None
    weigher: Callable[[Any, Any], int] | None
    policy: PolicyName
    resilience: Resilience | None
    allow_single_use: bool
    shared: Any
    local_ttl: float | timedelta | None
    copies: bool
    idle: float | timedelta | None
    tags: Tags


class MemoizeOptions(CacheOptions, total=False):
    """The keyword arguments of `memoize`: those of the caches, and how a call becomes a key."""

    typed: bool
    key: Callable[..., Any] | str | None
    ignore: Collection[str]
    previous: str | None
    inline: bool
    on_abandon: OnAbandon
    results: Literal["instance", "table"]


class Memoizing:
    """Gives a cache the decorator, which chooses by the function whether threads or tasks are to wait."""

    __slots__ = ()
    for_threads: ClassVar[Any]
    for_tasks: ClassVar[Any]
    """The caches that it makes, which stand above this module, and name themselves here."""

    @overload
    @classmethod
    def memoize(  # type: ignore[overload-overlap]
        cls, function: G, /, ttl: Ttl[Any, Any] | None = None, **options: Unpack[MemoizeOptions]
    ) -> MemoizedGeneric[G]: ...
    @overload
    @classmethod
    def memoize(  # type: ignore[overload-overlap]
        cls, function: TakesAnything[P, R], /, ttl: Ttl[Any, Any] | None = None, **options: Unpack[MemoizeOptions]
    ) -> Memoized[P, R]: ...
    @overload
    @classmethod
    def memoize(  # type: ignore[overload-overlap]
        cls,
        function: Callable[Concatenate[type[S], P], Later[R]],
        /,
        ttl: Ttl[Any, Any] | None = None,
        **options: Unpack[MemoizeOptions],
    ) -> MemoizedLaterOfClass[P, R]: ...
    @overload
    @classmethod
    def memoize(
        cls,
        function: Callable[Concatenate[type[S], P], R],
        /,
        ttl: Ttl[Any, Any] | None = None,
        **options: Unpack[MemoizeOptions],
    ) -> MemoizedOfClass[P, R]: ...
    @overload
    @classmethod
    def memoize(
        cls, function: H, /, ttl: Ttl[Any, Any] | None = None, **options: Unpack[MemoizeOptions]
    ) -> MemoizedGeneric[H]: ...
    @overload
    @classmethod
    def memoize(
        cls,
        function: Callable[P, Later[FillResult[S]]],
        /,
        ttl: Ttl[Any, Any] | None = None,
        **options: Unpack[MemoizeOptions],
    ) -> MemoizedLater[P, S]: ...
    @overload
    @classmethod
    def memoize(
        cls,
        function: Callable[P, FillResult[R]],
        /,
        ttl: Ttl[Any, Any] | None = None,
        **options: Unpack[MemoizeOptions],
    ) -> Memoized[P, R]: ...
    @overload
    @classmethod
    def memoize(
        cls,
        function: float | timedelta | None = None,
        /,
        ttl: Ttl[Any, Any] | None = None,
        **options: Unpack[MemoizeOptions],
    ) -> MemoizeDecorator: ...

    @classmethod
    def memoize(cls, function: Any = None, /, ttl: Any = None, **options: Any) -> Any:
        """Memoize a function, method, classmethod or staticmethod, `def` or `async def`: equal calls run it once.

        Use it as `@AtomicCache.memoize`, `@AtomicCache.memoize()`, or with the arguments of the constructor and these:

        Args:
            typed: arguments of different types are different keys, even where equal (1, 1.0 and True).
            key: a callable of the arguments that returns the key, or a template such as "user:{user_id}", which makes a
                text of them (see `cached`). With `shared`, that is the key in the shared cache.
            tags: templates among them name parameters of the function; a callable gets its arguments.
            ignore: names of parameters to leave out of the key; the leader's arguments are used.
            previous: the name of a keyword-only parameter, which is no part of the key. A refresh passes the old result
                there, also in the background; other calls leave it at its default.
            inline, on_abandon: those of `AsyncAtomicCache`, for an `async def`.
            results: where those of a method are kept: in the `__dict__` of their "instance", or in a "table" of the
                method, where a hit takes longer, and results that refer to their instance keep it alive.

        Returns:
            A function with the same signature, and with `invalidate(...)`, `refresh(...)`, `peek(..., default=None)`
            and `cache_key(...)`, which take the function's arguments, `invalidate_tags(*tags)`, `cache_info()`,
            `cache_clear()`, `cache_parameters()`, `cache` and `__wrapped__`. (If the function may take a `default`
            itself, `peek` has none.)

        `f(1, 2)`, `f(1, b=2)`, `f(a=1, b=2)`, and a default left out or given, are one key. What a function takes as
        `**kwargs` is in the key in the order of the call. The user, the tenant and context variables are in a key only
        if they are arguments. The results of a method belong to the instance, by identity, and are freed with it;
        copies and pickles of the instance leave them out.
        """
        with in_the_name_of("memoize"):
            return cls._memoize(function, ttl, options)

    @classmethod
    def _memoize(cls, function: Any, ttl: Any, options: dict[str, Any]) -> Any:
        _check_names(cls, options)
        check_bool("inline", options.get("inline", False))
        check_on_abandon(options.get("on_abandon", "cancel"))
        if options.get("results", "instance") not in ("instance", "table"):
            raise ValueError(f"results must be 'instance' or 'table', not {shown(options['results'])}")
        if function is None or isinstance(function, Real | timedelta):
            if function is not None and ttl is not None:
                raise TypeError(f"memoize got ttl twice: {shown(function)} and {shown(ttl)}")
            ttl = function if ttl is None else ttl
            return lambda function: cls.memoize(function, ttl, **options)
        parameters = {
            "maxsize": options.get("max_items"),
            "ttl": ttl,
            "typed": False,
            "key": None,
            "ignore": (),
        } | options
        names = ("typed", "key", "ignore", "name", "inline", "on_abandon", "previous", "results")
        for_cache = {name: options[name] for name in options if name not in names}
        if for_cache.get("tags") is not None:
            for_cache["tags"] = ()  # the wrapper knows those of a call
        for_tasks = {name: options[name] for name in options if name == "on_abandon"}

        def make_cache(fill: Callable[[Any], Any], name: str, is_async: bool, **more: Any) -> Any:
            more = for_cache | more | {"name": options.get("name") or name}
            kind: Any = cls.for_tasks if is_async else cls.for_threads
            kind = cls if issubclass(cls, kind) else kind
            if hasattr(options.get("shared"), "_for_function"):
                more["shared"] = options["shared"]._for_function(function)
            cache: Any = kind(fill, ttl, inline=True, **for_tasks | more) if is_async else kind(fill, ttl, **more)
            return cache

        return memoize(make_cache, function, parameters)


def _check_names(cls: type[Memoizing], options: dict[str, Any]) -> None:
    """Raise TypeError for what is no option of `memoize`; a user's class may take others, and checks them itself."""
    known = ["ttl", *sorted(MemoizeOptions.__optional_keys__)]
    for name in options:
        if name not in known and cls.__init__ in (cls.for_threads.__init__, cls.for_tasks.__init__):
            raise unexpected_keyword("memoize", name, known)
