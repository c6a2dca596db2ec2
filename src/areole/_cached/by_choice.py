"""A function whose cache is chosen at each call, by a callable that gives it, or None: then the function is called.

In each cache that was chosen the function is cached once, when it is first chosen. That is kept by the cache, by a weak
reference to the function: so the function keeps no cache alive, and a cache no function, unless that refers to itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from .._cache.atomic_cache import AsyncAtomicCache, AtomicCache
from .._cache.storage import Storage
from .._fill.filled import plain_value
from .._memoize.kinds import full_name_of
from .._memoize.signature import Signature
from .._memoize.wrapper import HELPERS
from .._platform.arguments import is_async_function
from .._platform.weak import WeakTable
from ..typing import CacheInfo
from .options import CachedOptions

__all__ = ["KINDS", "OWN_CACHES", "FunctionByChoice", "is_shared"]

_NO_CACHE_INFO: Final = CacheInfo(None, 0, None, 0, 0, 0, 0, 0, 0)
_OF_ALL: Final = ("cache_clear", "cache_info", "cache_parameters")
_PLAIN: Final = ("cache_info", "cache_key", "cache_parameters")


class FunctionByChoice:
    """`choose` gives a cache, or None; `make(cache, function, options)` caches the function there."""

    def __init__(
        self,
        choose: Callable[..., Any],
        function: Callable[..., Any],
        options: CachedOptions,
        make: Callable[[Any, Callable[..., Any], CachedOptions], Any],
    ) -> None:
        self.choose = choose if takes_arguments(choose) else lambda *args, **kwargs: choose()
        self.given = choose
        self.function = function
        self.returner = f"cached: {full_name_of(function)}"
        self.options = options
        self.make = make
        self.takes_default = Signature.of(function, options.key_options(function)).takes_default

    def find(self, args: Any, kwargs: Any) -> Any:
        """Return the function as it is cached in the cache of this call; None: there is no cache."""
        cache = self.choose(*args, **kwargs)
        if cache is None:
            return None
        table = table_of(cache)
        return table.find(self) or table.add_if_absent(self, self.make(cache, self.function, self.options))

    def make_wrapper(self) -> Any:
        """Make the function to be called, with the helpers on it; its `cache` is what chooses."""
        function, find, returner = self.function, self.find, self.returner

        def call(*args: Any, **kwargs: Any) -> Any:
            return plain_value((find(args, kwargs) or function)(*args, **kwargs), returner)

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return plain_value(await (find(args, kwargs) or function)(*args, **kwargs), returner)

        is_async = is_async_function(function)
        wrapper: Any = functools.update_wrapper(call_async if is_async else call, function)
        for name in HELPERS:
            helper = functools.partial(self.help_async if is_async and name not in _PLAIN else self.help, name)
            setattr(wrapper, name, self.given if name == "cache" else helper)
        return wrapper

    def help(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Do what the helper `name` does in the cache of these arguments."""
        for_call = kwargs
        if name == "invalidate_tags":
            raise TypeError(
                f"{full_name_of(self.function)}: its cache is chosen at each call: call `invalidate_tags` of that cache"
            )
        if name == "peek" and not self.takes_default:
            for_call = {each: value for each, value in kwargs.items() if each != "default"}
        found = self.find(args, for_call)
        if found is None:
            return self.without_cache(name, args, kwargs)
        return getattr(found, name)() if name in _OF_ALL else getattr(found, name)(*args, **kwargs)

    async def help_async(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Do so for an async def: awaited, whether the cache is one of this process or not."""
        result = self.help(name, *args, **kwargs)
        return plain_value(await result if inspect.iscoroutine(result) else result, self.returner)

    def without_cache(self, name: str, args: Any, kwargs: Any) -> Any:
        if name == "refresh":
            return plain_value(self.function(*args, **kwargs), self.returner)
        if name == "peek":
            return None if self.takes_default else kwargs.get("default")
        answers = {"invalidate": False, "purge": False, "cache_info": _NO_CACHE_INFO}
        return self.options.as_parameters() if name == "cache_parameters" else answers.get(name)


def takes_arguments(choose: Callable[..., Any]) -> bool:
    """Say whether `choose` cannot do without the arguments of the call."""
    try:
        parameters = inspect.signature(choose).parameters.values()
    except ValueError:  # some builtins have no signature
        return False
    return any(each.default is each.empty for each in parameters)


OWN_CACHES: Final = (Storage, AtomicCache, AsyncAtomicCache)
KINDS: Final = "a Storage, a Cache, a read-through cache or a SharedCache"


def is_shared(cache: object) -> bool:
    """Say whether `cache` is a SharedCache, which is imported where it may be one."""
    if isinstance(cache, OWN_CACHES) or callable(cache):
        return False
    from ..shared.cache import SharedCache

    return isinstance(cache, SharedCache)


def table_of(cache: Any) -> WeakTable[Any]:
    """Return where a cache that was chosen keeps what is cached in it."""
    if not (isinstance(cache, OWN_CACHES) or is_shared(cache)):
        raise TypeError(f"cache must give {KINDS}, or None, not {type(cache).__name__}")
    table: WeakTable[Any] = cache._state.freed.by_choice if isinstance(cache, OWN_CACHES) else cache._by_choice
    return table
