"""What a claim answers, and what becomes of what a fill returns."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from .._core.ttl import DeadlineOf, SecondsOf
from .resilience import StaleRules
from .single_use import SINGLE_USE

__all__ = ["LEAD", "Claim", "FillRules"]


class Claim(enum.Enum):
    """The answer of a claim."""

    LEAD = "the caller must run the fill, and complete or abort its flight"
    JOIN = "another flight is running: it is in `flight.joined`"
    HIT = "there was a live value, which is in `flight.value`, or a stored exception, which `flight.joined` has"
    LOOK_AGAIN = "there is a stale value that this lookup may serve without waiting"
    LED_IN_WORKER = "a thread of the pool leads `flight.joined` on behalf of the caller: under timeouts"
    GONE = "the entry that was to be refreshed is not there any more"


LEAD: Final = Claim.LEAD


@dataclass(slots=True)
class FillRules:
    """What becomes of what a fill returns.

    `deadline_of` serves caches without stale values; `seconds_of` those with them, whose moments `stale` works out.
    """

    deadline_of: DeadlineOf[Any, Any]
    seconds_of: SecondsOf[Any, Any]
    stale: StaleRules | None = None
    refused_types: frozenset[type[Any]] = SINGLE_USE
    """Of results that are no plain values: those that are refused, and Filled; see `filled.special_types`."""
    returner: str = ""
    """What the message about a refused result begins with: the function called, and what it calls."""
    dump: Callable[[Any], Any] | None = None
    """Makes what is stored, and what waiters get, of a result."""
    load: Callable[[Any], Any] | None = None
    """Makes a result again of what `dump` has made, where NOT_MODIFIED stands for it."""
    tier: Any = None
    """What a cache in front of a shared one has to do with that; see `shared.tier`."""
    tags: Callable[[Any], Iterable[str]] | None = None
    """Gives the tags of a key, which are checked texts, as its fill begins; None: no fill has any."""
    previous: str | None = None
    """The keyword by which the fill takes the value that it is to replace; None: it does not."""
    takes_ttls: Callable[[], bool] = lambda: True
    """Says whether a ttl that a fill gives counts, when there is one."""
    weigh: Callable[[Any, Any], int] | None = None
    """What weighs the value, if the index is not to."""

    def tagged(self, tags: Callable[[], Iterable[str]]) -> Self:
        """Return these rules for one call, which has other tags than its key tells."""
        return replace(self, tags=lambda key: tags())
