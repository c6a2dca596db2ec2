"""What becomes of the result of one `get_or_fill` of a store, by its ttl and its Resilience."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .._core.ttl import EXPIRED_AT_ONCE, DeadlineOf, deadline_after
from .._fill.resilience import Resilience, stale_rules_of
from .._fill.rules import FillRules
from ..typing import Clock

__all__ = ["deadline_in", "rules_with"]


def deadline_in(seconds: float | None, clock: Clock) -> DeadlineOf[Any, Any]:
    return lambda key, value: None if seconds is None else deadline_after(seconds, clock)


def rules_with(
    rules: FillRules, seconds: float | None, clock: Clock, resilience: Resilience | None, never_expires: bool
) -> FillRules:
    """Return `rules` with this ttl and this Resilience, in a store that may ignore every ttl."""
    rules = replace(rules, deadline_of=deadline_in(seconds, clock))
    if resilience is None:
        return rules
    stale = stale_rules_of(resilience)
    if not never_expires:
        stale.check_ttl(seconds)
    seconds = EXPIRED_AT_ONCE if seconds == 0 else seconds
    return replace(rules, stale=stale, seconds_of=lambda key, value: seconds)
