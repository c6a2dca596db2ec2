"""A function that is memoized in a SharedCache: its results are seen by all processes.

Its fills are those of the shared cache: one for each key in this process, and fenced. Each call is one `get_or_fill`
there, under a key that is a text of the caller's (a template, or a callable), or is made of the function's name and a
digest of the arguments:

    shop.prices:rates:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b
    shop.prices:rates@2:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b     with version=2

The digest is of the parameters' names too: a function whose signature was changed has other keys.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from .._core.entry import UNPUBLISHED, Empty
from .._core.ttl import seconds_of
from .._fill.tasks import TaskFills
from .._fill.threads import ThreadFills
from .._fill.under_lock import TaskFillsUnderLock, ThreadFillsUnderLock
from .._memoize.key_template import KeyTemplate
from .._memoize.kinds import full_name_of
from .._memoize.signature import Signature
from .._memoize.wrapper import HELPERS, define_key, define_tags
from .._platform.arguments import is_async_function
from ..errors import BackendError
from ..shared.cache import SharedCache
from ..shared.fills import FillOperations
from ..shared.picked import picked_serializer
from ..shared.steps import Steps, run, run_async
from ..shared.wire_names import as_fill, key_of_parts, wire_name_of
from ..typing import SharedCacheInfo
from .options import CachedOptions

__all__ = ["FunctionInShared"]


class FunctionInShared:
    """A function that is memoized in a shared cache, and what it offers besides being called."""

    def __init__(
        self, cache: SharedCache[Any], function: Callable[..., Any], options: CachedOptions, is_bound: bool = False
    ) -> None:
        if options.allow_single_use:
            raise TypeError("allow_single_use is for caches of this process: a SharedCache stores bytes of a result")
        cache._state.check_tagged(bool(options.tags))
        self.cache = cache
        self.function = function
        self.options = options
        self.is_async = is_async_function(function)
        key_options = options.key_options(function)
        self.signature = Signature.of(function, key_options)
        if key_options.key is None:
            self.prefix: str | None = f"{wire_name_of(function, options, is_bound)}:"
            key = f"make_key{self.signature.suffix}({', '.join(self.signature.key_parts)})"
        else:
            self.prefix = key_options.key.prefix if isinstance(key_options.key, KeyTemplate) else None
            key = self.signature.key_parts[0]
        self.cache_key = define_key(self.signature, key, {"make_key": self.make_key})
        self.tags_of = define_tags(function, self.signature, options.tags)
        self.wait = None if options.wait is None else seconds_of(options.wait, "wait", may_be_zero=True)
        self.takes_default = self.signature.takes_default
        try:
            self.operations  # noqa: B018  (what is wrong with the serializer is said here, where that can be known)
        except TypeError as error:
            if not isinstance(error.__cause__, NameError):  # a type that is defined below the function
                raise

    def make_key(self, *parts: Any) -> str:
        """Return the key of the arguments, or of what is made of them."""
        return key_of_parts(self.prefix, self.signature, parts)

    # ---- over the cache

    @functools.cached_property
    def operations(self) -> FillOperations:
        """Those of the cache, with counters and a serializer of the function's own; made at the first call."""
        serializer = self.options.serializer
        if serializer is None:
            serializer = picked_serializer(self.function, self.cache._serializer)
        operations = self.cache._operations_for(self.is_async, serializer, full_name_of(self.function), self.make_fills)
        self.seconds_by_ttl = operations.state.seconds_for(self.options.ttl)
        return operations

    def make_fills(self, *of_state: Any) -> ThreadFills | TaskFills:
        lock = self.options.lock
        if lock is None:
            return TaskFills(*of_state) if self.is_async else ThreadFills(*of_state)
        if self.is_async:
            return TaskFillsUnderLock(lock, False, *of_state)
        return ThreadFillsUnderLock(lock, self.look_now, False, *of_state)

    def look_now(self, name: str) -> Any:
        with suppress(BackendError):
            return run(self.operations.look(name))[0]
        return Empty

    def seconds_of(self, key: Any, result: Any) -> float | None:
        """Return for how many seconds `result` is to be stored; UNPUBLISHED: not at all."""
        return UNPUBLISHED if self.options.excludes(key, result) else self.seconds_by_ttl(key, result)

    def get_or_fill(self, args: Any, kwargs: Any, is_refresh: bool = False) -> Steps[Any]:
        operations, key = self.operations, self.cache_key(*args, **kwargs)
        call, wait = partial(self.function, *args, **kwargs), self.wait
        if self.options.lock is not None:
            fills = operations.mode._fills
            if fills.has_lock():
                wait = None  # another fill of this process may be what it would wait for
            call = fills.inside(operations.state.keys.name(key), call, is_refresh)
        more = self.seconds_of, wait, is_refresh, None, self.tags_for(args, kwargs)
        return operations.get_or_fill(key, as_fill(call, self.is_async), *more)

    def tags_for(self, args: Any, kwargs: Any) -> Callable[[], Sequence[str]] | None:
        """Return what gives the names of the tags of this call, once it is to be made."""
        tags_of, tag_names = self.tags_of, self.operations.state.tag_names
        return None if tags_of is None else lambda: tag_names(tags_of(*args, **kwargs))

    def look(self, args: Any, kwargs: Any, default: Any) -> Steps[Any]:
        operations = self.operations
        name = operations.state.keys.name(self.cache_key(*args, **kwargs))
        value = (yield from operations.forgive(operations.look(name), (Empty,)))[0]
        return default if value is Empty else value

    def start(self, steps: Steps[Any]) -> Any:
        """Run an operation: for an async def, return what is to be awaited."""
        self.cache._check_open()
        return run_async(steps) if self.is_async else run(steps)

    # ---- what the function offers; of an async def all but cache_key, cache_info and cache_parameters is awaited

    def invalidate(self, /, *args: Any, **kwargs: Any) -> Any:
        """Remove the result of this call in all processes; say whether there was one."""
        return self.start(self.operations.delete(self.cache_key(*args, **kwargs)))

    purge = invalidate

    def invalidate_tags(self, /, *tags: str) -> Any:
        """Remove all values of the cache that have one of `tags`, in all processes; say whether that was done."""
        return self.start(self.operations.invalidate_tags(tags))

    def refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Make this call again, store and return its result; others get the old one meanwhile."""
        return self.start(self.get_or_fill(args, kwargs, is_refresh=True))

    def peek(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of this call, or `default`; never calls, counts as no use."""
        default = None if self.takes_default else kwargs.pop("default", None)
        return self.start(self.look(args, kwargs, default))

    def cache_clear(self) -> Any:
        """Remove all results of this function, in all processes; start its own counters at 0 again.

        That is: all keys that begin with the function's name, or with what its template begins with. The store is
        walked through, which takes long where it has many keys.
        """
        if not self.prefix:
            raise TypeError(
                f"cache_clear cannot know the keys of {full_name_of(self.function)}, which key= makes: begin a "
                "template with a text of its own, such as 'user:{user_id}', or clear the whole cache"
            )
        self.operations.state.counters.reset()
        self.operations.state.flights.counters.reset()
        return self.start(self.operations.clear_keys(self.prefix))

    def cache_info(self) -> SharedCacheInfo:
        """Return this function's counters in this process; maxsize and currsize are those of the whole cache."""
        info: SharedCacheInfo = self.operations.state.info()
        return info

    def cache_parameters(self) -> dict[str, Any]:
        """Return what the function was decorated with."""
        return self.options.as_parameters()

    def make_wrapper(self) -> Any:
        """Make the function to be called, with the helpers on it."""
        start, get_or_fill = self.start, self.get_or_fill

        def call(*args: Any, **kwargs: Any) -> Any:
            return start(get_or_fill(args, kwargs))

        async def call_async(*args: Any, **kwargs: Any) -> Any:
            return await start(get_or_fill(args, kwargs))

        wrapper: Any = functools.update_wrapper(call_async if self.is_async else call, self.function)
        for name in HELPERS:
            setattr(wrapper, name, getattr(self, name))
        return wrapper
