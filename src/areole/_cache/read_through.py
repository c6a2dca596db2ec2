"""What the read-through caches for threads and for tasks are made of, and what both refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, TypeVar

from .._core.entry import Empty, TimedEntry
from .._core.ttl import make_deadline, make_seconds, seconds_of
from .._fill.filled import previous_in, special_types
from .._fill.gathering import Gatherings
from .._fill.protocol import Fills
from .._fill.resilience import Resilience, stale_rules_of
from .._fill.rules import FillRules
from .._fill.stale import StaleServing
from .._index.limits import check_at_least, size_of
from .._index.make import bounded_index, make_index
from .._memoize.decorator import Memoizing
from .._memoize.tag_templates import tags_of_key
from .._platform.arguments import check_bool, check_callable, check_name, check_tags
from .._platform.refcount import defer
from .._state.live_caches import live_caches
from ..errors import KeyLeftOutError
from ..typing import Clock
from .lookups import Lookups, new_state

__all__ = ["ReadThrough", "gatherings_of", "name_of", "open_fills", "the_one_given"]

K = TypeVar("K")
V = TypeVar("V")
F = TypeVar("F", bound=Fills)


class ReadThrough(Memoizing, Lookups[K, V]):
    """A view of a state that has a fill function, and a strategy for calling it."""

    __slots__ = ("_fill", "_fills")
    _fills: Any

    _opens_copies: ClassVar[bool] = False
    _copying: ClassVar[Any]
    """The same cache for copies, which stands above it, and is named there."""

    def _fill_by(self, fills: Any, fill: Callable[[K], Any]) -> None:
        if fills.rules.load is not None and not self._opens_copies:
            raise TypeError(f"{type(self).__name__}: copies=True is for AtomicCache and AsyncAtomicCache themselves")
        self._use(fills.state)
        self._fills = fills
        self._fill = fill

    @classmethod
    def _view(cls, fills: Any, fill: Callable[[K], Any]) -> Self:
        """Make a view over fills that are there."""
        view: Self = object.__new__(cls if fills.rules.load is None else cls._copying)
        view._fill_by(fills, fill)
        return view

    def _with_own_entries(self) -> Self:
        """Return the cache of one instance: the same settings and counters, and entries of its own.

        It lives and dies with the instance, so its reference counts are not deferred.
        """
        own = self._copy()
        own._fill_by(self._fills.over(self._state.with_own_entries()), self._fill)
        return own

    def invalidate(self, key: K) -> bool:
        """Remove the value of `key`, and detach a fill that is running; say whether there was either.

        Does not wait. A lookup that starts after this has returned never gets a value whose fill began before it; a
        running fill finishes for its waiters and is not stored.

        With `shared`: removes it in all processes too. An asynchronous cache does so for this process in the call, and
        returns something to await for the rest, which is done either way.
        """
        tier = self._fills.rules.tier
        return super().invalidate(key) if tier is None else tier.invalidate(key, self._fills)

    def clear(self) -> Any:
        """Invalidate everything that is there when the call begins. What is filled meanwhile may stay.

        With `shared`: clears its namespace, in all processes, as `invalidate` does.
        """
        tier = self._fills.rules.tier
        return super().clear() if tier is None else tier.clear(self._fills)

    def invalidate_tags(self, *tags: str) -> int:
        """Remove all values that have one of `tags`, and detach running fills that have; return how many there were.

        Does not wait. A lookup that starts after this has returned never gets a value of these whose fill began before
        it, as with `invalidate`.

        With `shared`: removes them in all processes, too, and what else of that cache has one of `tags`; returns how
        many there were in this process. An asynchronous cache does that for this process in the call, and returns
        something to await for the rest, which is done either way.
        """
        tier = self._fills.rules.tier
        if tier is None:
            return super().invalidate_tags(*tags)
        self._check_open()
        return tier.invalidate_tags(check_tags("invalidate_tags", tags), self._fills)  # type: ignore[no-any-return]

    def _refresh_for(self, key: K) -> Callable[[], Any]:
        """Return the fill's call for a refresh of `key`."""
        fill: Any = self._fill
        return self._call_for(key) if self._fills.rules.tier is None else partial(fill.refresh, key)

    def _look_up_many(self, keys: Iterable[K]) -> tuple[dict[K, Any], list[K]]:
        """Return the values that there are, Empty where there is none, in the order asked; and the keys of those."""
        values: dict[K, Any] = {}
        entries, clock, on_hit = self._entries, self._clock, self._on_hit
        for key in keys:
            try:  # the hit, written out: with a call for each, a hundred take four times as long
                entry = entries[key]
                deadline = entry.deadline
                if deadline is None or deadline > clock():
                    if on_hit is not None:
                        on_hit(entry)
                    values[key] = entry.value
                    continue
            except KeyError:
                values[key] = Empty
                continue
            except TypeError:
                pass
            values[key] = self._value_if_any(key)
        return values, [key for key, value in values.items() if value is Empty]

    def _value_if_any(self, key: K) -> Any:
        """Return the value that `fetch` would return without waiting; else Empty, uncounted, as `fetch` is to count."""
        fills, rules = self._fills, self._fills.rules
        if rules.stale is not None:
            return StaleServing(fills, key, self._call_for(key), rules, rules.stale).try_without_waiting(None)
        entry = self._state.find(key)
        return self._state.hit(entry) if entry is not None and entry.is_live(self._clock()) else Empty

    def _own_many(self, keys: Iterable[K]) -> Callable[[list[K]], Any]:
        """Return what fills many keys; it refuses the keys of functions that are cached here."""
        fill: Any = self._fill
        if self._state.freed.were_cached:
            check = self._state.freed.own_fill(self._state, lambda key: None)
            for key in keys:
                check(key)
        return fill.many  # type: ignore[no-any-return]

    def _call_for(self, key: K) -> Callable[[], Any]:
        """Return the fill's call for `key`; it refuses the keys of functions that are cached here."""
        state = self._state
        if state.freed.were_cached:
            return partial(state.freed.own_fill(state, self._fill), key)
        return partial(self._fill, key)

    if not TYPE_CHECKING:  # these are for the message alone, and nothing is to be checked after a use of one

        def __setitem__(self, key: K, value: V) -> NoReturn:
            raise NotImplementedError(
                f"{self.name}: a read-through cache takes its values from its fill function alone; "
                "use invalidate(key) or refresh(key), or a Storage for values of your own"
            )

        def __delitem__(self, key: K) -> NoReturn:
            raise NotImplementedError(f"{self.name}: use invalidate(key), which says whether there was something")


def open_fills(
    kind: type[F],
    of: str,
    fill: object,
    ttl: Any,
    *,
    cache_exceptions: Any = False,
    wait_timeout: Any = None,
    on_removal: Any = None,
    stats: bool = False,
    clock: Clock = time.monotonic,
    name: str | None = None,
    index: Any = "auto",
    max_items: int | None = None,
    max_bytes: int | None = None,
    weigher: Callable[[Any, Any], int] | None = None,
    policy: Any = "s3fifo",
    resilience: Resilience | None = None,
    allow_single_use: bool = False,
    shared: Any = None,
    local_ttl: Any = None,
    tags: Any = None,
    has_many: bool = False,
    idle: Any = None,
    copies: bool = False,
) -> F:
    """Check the options of a cache, and return the fills over its new state; `of` is what is called, for messages.

    `has_many`: `fill` is called with many keys, and may leave some out.
    """
    check_bool("allow_single_use", allow_single_use)
    check_name(name)
    check_bool("copies", copies)
    tier = open_tier(shared, ttl, local_ttl, tags, copies)
    if tier is not None:
        ttl = tier.ttl
    if copies:
        weigher = _weigher_of_copies(weigher, max_bytes)
    stale = None if resilience is None else stale_rules_of(resilience)
    if stale is not None:
        expires = ttl if tier is None or tier.expires else None
        stale.check_cache(expires, cache_exceptions or has_many, wait_timeout)
        if idle is not None:
            raise ValueError("idle= is for a cache without a Resilience: leave one of them out")
    idle = None if idle is None else seconds_of(idle, "idle")
    bounds = bounded_index(index, max_items, max_bytes, weigher, policy)
    state = new_state(
        name or name_of(fill),
        bounds or make_index(index, keeps_keys=ttl is None and idle is None),
        clock,
        on_removal,
        stats,
        ttl,
        TimedEntry if not (stale is None and idle is None) and bounds is None else None,
        idle,
    )
    stored_errors = _error_types(cache_exceptions)
    if stale is not None and stale.negative_ttl is not None:
        if has_many:
            stored_errors += (KeyLeftOutError,)
        negative: Any = stale.negative_ttl
        if tier is not None:
            negative = partial(tier.error_ttl, make_seconds(negative))
        state.error_deadline_of = make_deadline(negative, clock)
    state.stores_live_only = not stored_errors and (stale is None or stale.stale_ttl is None)
    special = special_types(allow_single_use)
    rules = FillRules(state.deadline_of, make_seconds(ttl), stale, special, f"{of}: the fill of {state.name}")
    if tier is not None:
        rules.tier, rules.dump, rules.load = tier, tier.value_of, tier.load
        if copies and state.on_removal is not None:
            state.on_removal = partial(_report_opened, state.on_removal, tier.load)
        tier.use(state, stale)
        state.behind = tier.counters
    takes = None if has_many else previous_in(fill)  # type: ignore[arg-type]
    if tier is None:
        rules.previous = takes
    else:
        tier.previous = takes
    if tags is not None:
        rules.tags = tags_of_key(tags, state.name)
        if tier is not None:
            tier.tags = rules.tags
    state.fills_plainly = stale is None and tags is None
    defer(state.entries)
    live_caches.add(state, reads_through=True)
    return kind(state, rules, stored_errors, None if wait_timeout is None else seconds_of(wait_timeout, "wait_timeout"))


def open_tier(shared: Any, ttl: Any, local_ttl: Any, tags: Any, copies: bool) -> Any:
    """Return what has to do with the shared cache behind; None: there is none."""
    if shared is None:
        if local_ttl is not None:
            raise TypeError("local_ttl is for a cache with shared=; for a cache of this process alone, give it a ttl")
        if copies:
            raise TypeError("copies is for a cache with shared=, whose serializer makes them: pass that, or use Cache")
        return None
    if isinstance(shared, type) or not hasattr(shared, "_open_tier"):
        given = "the class" if isinstance(shared, type) else type(shared).__name__
        raise TypeError(f"shared must be a SharedCache, such as SharedCache(url, namespace=...), not {given}")
    if ttl is not None and not callable(ttl):
        seconds_of(ttl)
    return shared._open_tier(ttl, None if local_ttl is None else seconds_of(local_ttl, "local_ttl"), tags, copies)


def _weigher_of_copies(weigher: Any, max_bytes: int | None) -> Callable[[Any, Any], int] | None:
    if weigher is not None:
        raise TypeError("weigher is for objects, and copies=True keeps bytes, which max_bytes counts: leave it out")
    return None if max_bytes is None else lambda key, raw: size_of(raw)


def _report_opened(on_removal: Any, load: Callable[[Any], Any], key: Any, raw: Any, cause: Any) -> None:
    on_removal(key, load(raw), cause)


def the_one_given(of: str, fill: Any, fill_many: Any, coalesce: Any, max_batch: Any) -> Callable[[Any], Any]:
    """Return `fill` or `fill_many`, whichever was given: exactly one must be. Check what belongs to `fill_many`."""
    if (fill is None) == (fill_many is None):
        both = "both fill and fill_many" if fill is not None else "neither fill nor fill_many"
        raise TypeError(f"{of} got {both}: pass fill, called with one key, or fill_many, called with a list of keys")
    check_callable("fill" if fill_many is None else "fill_many", fill or fill_many)
    for name, given in (("coalesce", coalesce), ("max_batch", max_batch)):
        if fill_many is None and given is not None:
            raise TypeError(f"{name} is for a cache with fill_many, which is called with several keys: pass that")
    check_at_least("max_batch", max_batch, 1)
    return fill or fill_many  # type: ignore[no-any-return]


def gatherings_of(fills: Fills, coalesce: Any, max_batch: int | None) -> Gatherings | None:
    """Return what gathers the single misses of a cache; None: nothing does."""
    if coalesce is None:
        return None
    state = new_state(fills.state.name, make_index("dict", keeps_keys=False), time.monotonic, None, False)
    return Gatherings(state, seconds_of(coalesce, "coalesce"), max_batch)


def name_of(fill: object) -> str:
    return getattr(fill, "__qualname__", None) or type(fill).__qualname__


def _error_types(cache_exceptions: object) -> tuple[type[Exception], ...]:
    if isinstance(cache_exceptions, bool):
        return (Exception,) if cache_exceptions else ()
    types = cache_exceptions if isinstance(cache_exceptions, tuple) else (cache_exceptions,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise TypeError(f"cache_exceptions must be a bool, or a type or tuple of types of Exception, not {each!r}")
    return types
