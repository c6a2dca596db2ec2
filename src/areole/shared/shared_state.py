"""SharedState: what the views of one shared cache have in common; and the checks of what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

from .._cache.lookups import new_state
from .._core.sentinels import DefaultTTLSentinel
from .._core.ttl import EXPIRED_AT_ONCE, SecondsOf, seconds_from, seconds_of
from .._index.make import make_index
from .._platform.arguments import check_plain, check_tags
from .._state.live_caches import live_caches
from ..backends.protocol import ALL_THAT_BEGIN
from ..errors import CacheClosedError
from ..typing import Clock, SharedCacheInfo
from .breaker import CircuitBreaker
from .counters import SharedCounters
from .item_limit import ItemLimit
from .outbox import Outbox, shared_outbox
from .plane import find_plane
from .wire_keys import WireKeys, check_namespace

__all__ = ["SharedState"]

FAILURES, PAUSE = 5, 1.0
"""After so many failed calls in a row the store is not asked for so many seconds."""


class SharedState:
    """Settings, counters, and the flights of this process."""

    def __init__(
        self,
        namespace: str,
        *,
        format_name: str,
        has_envelope: bool,
        ttl: Any,
        raises: bool,
        lease: float,
        max_items: int | None,
        clock: Clock,
    ) -> None:
        self.name = check_namespace(namespace)
        self.keys = WireKeys(namespace, has_envelope)
        self.has_versions = has_envelope
        self.format_name = format_name
        self.ttl = None if ttl is None else seconds_of(ttl, may_be_callable=False)
        self.raises = raises
        self.lease = lease
        self.counters = SharedCounters()
        self.item_limit = None if max_items is None else ItemLimit(max_items)
        self.flights = new_state(self.name, make_index("dict", keeps_keys=False), clock, None, False)
        self.breaker = CircuitBreaker(FAILURES, PAUSE, clock)
        everything = self.keys.version_key if has_envelope else self.keys.prefix + ALL_THAT_BEGIN
        self.outbox = Outbox(everything, (format_name, has_envelope), self.keys.tag_prefix)
        self.life = SimpleNamespace(is_closed=False)  # one for all states that are made of this one
        self.backend: Any = None
        """The store, which other caches of this process may use too: its plane tells all that is in front of it."""
        live_caches.add(self)

    def check_open(self) -> None:
        if self.life.is_closed:
            raise CacheClosedError(f"SharedCache {self.name!r} is closed")

    def refuse_copy(self) -> NoReturn:
        raise TypeError(f"SharedCache {self.name!r} cannot be pickled or copied: make one in each process")

    def with_own_counters(self, name: str) -> SharedState:
        """Return a state over the same flights that counts for a part of the cache, and for the whole too."""
        part = copy(self)
        part.name = name
        part.counters = SharedCounters(self.counters)
        part.flights = self.flights.with_own_counters(None)
        part.flights.name = name
        return part

    def register(self, where: object) -> None:
        """Raise ValueError if another cache of this process has the same namespace, of another format, there."""
        outbox = shared_outbox((where, self.name), self.outbox)
        if outbox.made_for != self.outbox.made_for:
            serializer, has_envelope = outbox.made_for
            raise ValueError(
                f"namespace {self.name!r} is used in this store by a cache with serializer {serializer} and "
                f"envelope={has_envelope}: take another namespace, or the same serializer and envelope"
            )
        self.outbox = outbox

    def detach_fill(self, name: str) -> None:
        """Detach the fill of this process, so that no later caller joins it, and drop what is kept in front."""
        self.flights.invalidate(name, 0.0)
        self.drop_kept(name)

    def drop_kept(self, name: str) -> None:
        """Drop what this process keeps of `name` in front of the store; the version's name stands for everything."""
        backends = self.backend, *self.outbox.backends.objects()
        for plane in dict.fromkeys(map(find_plane, backends)):
            if plane is not None:
                plane.changed(name)

    def queue(self, names: Iterable[str]) -> None:
        """Queue the deletes of these keys, then drop what is kept of them: see Q3 in `outbox`."""
        self.outbox.put(names, self)
        for name in names:
            self.drop_kept(name)

    def tag_names(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Return what tags are called in the store."""
        names = tuple(dict.fromkeys(map(self.keys.tag, check_tags("SharedCache", tags))))
        self.check_tagged(bool(names))
        return names

    def check_tagged(self, is_tagged: bool) -> None:
        """Raise ValueError if values are to have tags that cannot be stored with them."""
        if is_tagged and not self.has_versions:
            raise ValueError(f"SharedCache {self.name!r}: bare values have no tags: leave out tags=, or envelope=False")

    def tags_for(self, tags: Iterable[str] | None) -> Callable[[], tuple[str, ...]] | None:
        """Return what gives the names of a fill's tags; see `fills`."""
        if tags is None:
            return None
        names = self.tag_names(tags)
        return lambda: names

    def seconds_of(self, ttl: Any) -> float | None:
        """Return for how many seconds a value is to be stored; None: for ever."""
        if isinstance(ttl, DefaultTTLSentinel):
            return self.ttl
        return None if ttl is None else seconds_of(ttl, may_be_zero=True, may_be_callable=False)

    def seconds_for(self, ttl: Any) -> SecondsOf[Any, Any]:
        """Return the function (key, value) -> seconds of a fill; see `fills` for what is not stored."""
        if callable(ttl):
            check_plain("ttl", ttl)
            return partial(self._seconds_by, ttl)
        seconds = self.seconds_of(ttl)
        if seconds == 0:
            seconds = EXPIRED_AT_ONCE
        return lambda key, value: seconds

    def _seconds_by(self, ttl: Callable[[Any, Any], Any], key: Any, value: Any) -> float | None:
        given = ttl(key, value)
        return self.ttl if isinstance(given, DefaultTTLSentinel) else seconds_from(given)

    def info(self) -> SharedCacheInfo:
        limit = self.item_limit
        return SharedCacheInfo(
            maxsize=None if limit is None else limit.max_items,
            currsize=None if limit is None else len(limit),
            waits=self.flights.counters.waits.get(),
            **self.counters.read(),
        )
