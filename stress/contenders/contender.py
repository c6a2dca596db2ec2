"""A cache as the programs use it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import benchmarks.contenders

from .outcome import NotOffered

__all__ = ["Cached", "Contender", "by_hand"]


class Missing:
    """In the place of an operation that is not offered."""

    def __init__(self, feature: str) -> None:
        self.feature = feature

    def __call__(self, *arguments: Any) -> NoReturn:
        raise NotOffered(self.feature)


class Cached:
    """One cache. `call(key)` gives the value of a key, from the function that it was made for on a miss.

    What the contender does not offer raises NotOffered. `count` is how many entries it says that it has, `size` how
    many bytes; `tidy` is what its documentation offers for dropping what has expired.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        invalidate: Callable[[Any], Any] | None = None,
        clear: Callable[[], Any] | None = None,
        count: Callable[[], int] | None = None,
        size: Callable[[], int] | None = None,
        contains: Callable[[Any], bool] | None = None,
        store: Callable[..., Any] | None = None,
        tidy: Callable[[], Any] = lambda: None,
    ) -> None:
        self.call = call
        self.invalidate: Callable[[Any], Any] = invalidate or Missing("removing a key")
        self.clear: Callable[[], Any] = clear or Missing("clearing")
        self.count: Callable[[], int] = count or Missing("a count of entries")
        self.size: Callable[[], int] = size or Missing("a limit in bytes")
        self.contains: Callable[[Any], bool] = contains or Missing("`in`")
        self.store: Callable[..., Any] = store or Missing("setting a value")
        self.tidy = tidy

    def offers(self, operation: str) -> bool:
        return not isinstance(getattr(self, operation), Missing)

    def remove(self, key: Any) -> Any:
        """Remove a key, by clearing where there is no other way."""
        return self.invalidate(key) if self.offers("invalidate") else self.clear()

    async def remove_in_loop(self, key: Any) -> None:
        """The same, awaited where that has to be."""
        removal = self.remove(key)
        if inspect.isawaitable(removal):
            await removal


class Contender(benchmarks.contenders.Contender):
    """A way to use a cache: how it is made, and what it offers.

    Options that a row may ask for: `ttl` (seconds), `clock` (a callable that gives seconds), `max_items`, `max_bytes`
    (values are bytes), `item_ttl` (for `store(key, value, ttl)`), `cache_exceptions`. The class says which it has; a
    row that asks for another is "not offered".
    """

    features: ClassVar[frozenset[str]] = frozenset()
    is_async: ClassVar[bool] = False
    fills: ClassVar[bool] = True
    """Whether it runs the function on a miss; else its user does: looks up, calls, stores."""
    least_ttl: ClassVar[float] = 0.05
    clock_name: ClassVar[str | None] = None
    """The function of `time` that it reads at each use, where no clock can be given."""
    column: ClassVar[str | None] = None
    """Whose column it shares in the compact table, if its own name is not the one."""
    module: ClassVar[str | None] = None
    """What is imported to use it, for those that are no part of Python."""

    def missing(self) -> str | None:
        """Say why it cannot be used here; None if it can."""
        return "not installed" if self.version() is None else None

    def cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        """Return a new cache of a function of one key."""
        for name in options:
            self.require(name)
        return self.make_cached(function, **options)

    def require(self, option: str) -> None:
        names = {"ttl": "a ttl", "clock": "a clock of one's own", "max_items": "a limit of items"}
        names |= {"max_bytes": "a limit in bytes", "item_ttl": "a ttl for each item"}
        names |= {"cache_exceptions": "caching exceptions"}
        if option not in self.features:
            raise NotOffered(names[option])

    def require_fills(self) -> None:
        if not self.fills:
            raise NotOffered("calling a function on a miss")

    def errors_for_a_wait_without_end(self) -> tuple[type[Exception], ...]:
        """Return those that its documentation has for a call that would wait for ever."""
        return ()

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        raise NotImplementedError

    def decorate(self, function: Callable[..., Any]) -> Any:
        """Return a function of any arguments, memoized."""
        raise NotOffered("a decorator")

    def for_methods(self) -> tuple[Callable[[Any], Any], Callable[[Any], None]]:
        """Return a decorator for methods, as the documentation says, and what it wants done in `__init__`."""
        return self.decorate, lambda instance: None


def by_hand(
    function: Callable[[Any], Any], look_up: Callable[[Any], tuple[Any, bool]], store: Callable[[Any, Any], Any]
) -> Callable[[Any], Any]:
    """Return what the user of a store that calls no function writes: look up, else call it and store its value."""

    def call(key: Any) -> Any:
        value, found = look_up(key)
        if not found:
            value = function(key)
            store(key, value)
        return value

    return call
