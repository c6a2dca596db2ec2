"""What a fill may say: Filled and NOT_MODIFIED, which it returns instead of a plain value; and what it may be given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any, Final, final

from .._core.entry import UNPUBLISHED, Empty, Removal
from .._core.flight import Flight
from .._core.sentinels import DEFAULT_TTL, DefaultTTLSentinel, NotModifiedSentinel
from .._core.ttl import SecondsOf, deadline_after, seconds_from
from .._index.limits import check_at_least, weigh_all, weigh_none
from .._platform.arguments import check_bool, check_tags, suggests_names
from .._state.cache_state import CacheState
from .._state.tags import begin_tagged, note_late_tags, tags_of
from ..typing import FilledType, RemovalCause, V_co
from .rules import FillRules
from .single_use import SINGLE_USE, refuse_result

__all__ = [
    "NOT_MODIFIED",
    "Filled",
    "begun",
    "explain_result",
    "old_value",
    "plain_value",
    "previous_in",
    "special_types",
    "without_old",
]


@final
@dataclass(slots=True, eq=False)
class Filled(FilledType[V_co]):
    """What a fill may return instead of a plain value: the value, and what is to become of it.

    Those who asked get the value. The fill of any cache may return one: of `AtomicCache`, `AsyncAtomicCache`,
    `memoize`, `cached`, and of `get_or_fill` and `refresh`.

    Args:
        value: what callers get, and what is stored.
        ttl: seconds or a timedelta, from the end of the fill, instead of the cache's ttl; None: for ever; 0 or less:
            the value has expired at once, and the one that it was to replace leaves. DEFAULT_TTL: the cache's.
        tags: more texts by which `invalidate_tags` finds the value, not known when the fill began. If any tag of the
            cache was invalidated since, it is not stored, and the caller that began the fill alone gets it: those who
            wait fill again. For a cache, a function or a call that was given `tags=`, an empty one too.
        store: False: those who wait for this fill get the value, and it is stored nowhere. A value that is there stays.
        weight: the bytes that the value counts for under `max_bytes`, instead of what the weigher says, or the length
            of bytes. With a SharedCache behind, that is for this process's copy.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
    """

    value: V_co
    ttl: float | timedelta | DefaultTTLSentinel | None = DEFAULT_TTL
    tags: Iterable[str] = ()
    store: bool = True
    weight: int | None = None
    _seconds: float | None = field(init=False, repr=False)  # of `ttl`, as `seconds_from`; None: the cache's

    def __post_init__(self) -> None:
        if type(self.value) is Filled:
            raise TypeError("Filled: value must be a plain value, not another Filled")
        self.tags = check_tags("Filled", self.tags)
        self._seconds = None if self.ttl is DEFAULT_TTL else seconds_from(self.ttl, "ttl of Filled")
        check_bool("store of Filled", self.store)
        self.weight = check_at_least("weight of Filled", self.weight, 0)

    def seconds_or(self, given: float | None) -> float | None:
        """Return the ttl of the value in seconds, where it is `given` for a plain one; UNPUBLISHED: not stored."""
        if not self.store:
            return UNPUBLISHED
        return given if self._seconds is None or given == UNPUBLISHED else self._seconds


Filled.__init__ = suggests_names()(Filled.__init__)  # type: ignore[method-assign]


def special_types(allow_single_use: bool) -> frozenset[type[Any]]:
    """Return the types of results that are no plain values, or are refused."""
    return _FILLED if allow_single_use else _SPECIAL


NOT_MODIFIED: Final[Filled[Any]] = NotModifiedSentinel.NOT_MODIFIED  # type: ignore[assignment]
"""What a fill may return where the value that it is to replace is still right: that stays, with a new ttl from now.

After the status 304 of HTTP. `Filled(NOT_MODIFIED, ttl=5)` gives the ttl. It is a TypeError where there is no value
that the fill was to replace. To type checkers it is a `Filled`.
"""

_FILLED: Final[frozenset[type[Any]]] = frozenset({Filled, NotModifiedSentinel})
_SPECIAL: Final = SINGLE_USE | _FILLED


def plain_value(result: Any, returner: str) -> Any:
    """Return what callers get of what a fill returned, where nothing is stored, nor was."""
    if type(result) is Filled:
        result = result.value
    return old_value(Empty, returner) if result is NOT_MODIFIED else result


def explain_result(result: Any, rules: FillRules, flight: Flight, state: CacheState) -> tuple[Any, FillRules]:
    """Return what a Filled has, or NOT_MODIFIED stands for, and the rules for it. Refuse others of these types."""
    if result is NOT_MODIFIED:
        old = old_value(Empty if flight.old is None else flight.old.value, rules.returner)
        if rules.load is not None:
            old = rules.load(old)  # as a fill returns it
        if flight.entry.is_published:
            flight.tags = (*getattr(flight, "tags", ()), *tags_of(flight.entry))  # also those that only its fill knew
            return old, rules
        unstored = _stored_nowhere  # it has left meanwhile, and was reported
        return old, replace(rules, deadline_of=unstored, seconds_of=unstored)
    if type(result) is not Filled:
        refuse_result(rules.returner, result)
    if result.tags and rules.tags is None:
        raise TypeError(f"{rules.returner} returned a Filled with tags=: give the cache, or the function, tags=() too")
    expiry_of, weight, weigh = partial(_expiry, result, rules, flight, state), result.weight, None
    if weight is not None and state.index.weigh is not weigh_none:
        weigh = weigh_all(lambda key, value: weight)
    return result.value, replace(rules, deadline_of=expiry_of, seconds_of=expiry_of, weigh=weigh)


def _stored_nowhere(key: Any, value: Any) -> float:
    return UNPUBLISHED


def _expiry(
    filled: Filled[Any], rules: FillRules, flight: Flight, state: CacheState, key: Any, value: Any
) -> float | None:
    """Return the deadline; under a Resilience, which makes that, the seconds. `skip` of `cached` is asked here too.

    The tags are noted here: after all else that may raise, or say that the value is not to be stored.
    """
    of_plain: SecondsOf[Any, Any] = rules.deadline_of if rules.stale is None else rules.seconds_of
    given = of_plain(key, value)
    seconds = filled.seconds_or(given)
    if filled.tags and seconds != UNPUBLISHED and not note_late_tags(state, flight, filled.tags):
        return UNPUBLISHED
    if seconds is given or seconds == UNPUBLISHED:
        return seconds
    assert seconds is not None
    if not rules.takes_ttls() or (seconds == inf and state.ttl is None):
        return None
    if 0 < seconds < inf:
        state.expire_this_too(flight)
    return deadline_after(seconds, state.clock) if rules.stale is None else seconds


# ---- the value that a fill is to replace


def old_value(old: Any, returner: str) -> Any:
    """Return what NOT_MODIFIED stands for; TypeError if that is Empty."""
    if old is Empty:
        raise TypeError(
            f"{returner} returned NOT_MODIFIED, but there is no value that it was to replace: "
            "return NOT_MODIFIED only where the fill was given previous="
        )
    return old


def without_old(removed: Sequence[Removal], flight: Flight) -> list[Removal]:
    """Leave out that the old value was replaced, as it was by itself."""
    key, old = flight.entry.key, None if flight.old is None else flight.old.value
    return [each for each in removed if not (each[0] is key and each[1] is old and each[2] in _REPLACED)]


_REPLACED: Final = (RemovalCause.REPLACED, RemovalCause.EXPIRED)


def begun(call: Callable[..., Any], flight: Flight, rules: FillRules, state: CacheState) -> Callable[..., Any]:
    """Note the entry of a fill that is about to begin under its tags; return its call, with the value to be replaced.

    No value is handed over where there is none.
    """
    if rules.tags is not None:
        begin_tagged(state, flight, rules.tags)
    if rules.previous is None or flight.old is None:
        return call
    return partial(call, **{rules.previous: flight.old.value})


def previous_in(fill: Callable[..., Any], name: str = "previous") -> str | None:
    """Return the name by which `fill` takes the value that it is to replace, or None; it is not its first parameter."""
    try:
        others = list(inspect.signature(fill).parameters.values())[1:]
    except (TypeError, ValueError):  # some builtins have no signature
        return None
    found = next((each for each in others if each.name == name and each.kind in _BY_NAME), None)
    if found is not None and found.default is found.empty:
        raise TypeError(f"fill: its parameter {name} needs a default, such as None, for keys that have no value")
    return None if found is None else name


_BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
