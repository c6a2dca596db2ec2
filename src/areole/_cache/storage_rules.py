"""What becomes of the result of one `get_or_fill` of a store, by its ttl and its Resilience."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from .._core.ttl import EXPIRED_AT_ONCE, DeadlineOf, deadline_after
from .._fill.filled import special_types
from .._fill.resilience import Resilience, stale_rules_of
from .._fill.rules import FillRules
from .._platform.arguments import check_tags
from ..typing import Clock

__all__ = ["deadline_in", "rules_for_call", "rules_with"]


def deadline_in(seconds: float | None, clock: Clock) -> DeadlineOf[Any, Any]:
    return lambda key, value: None if seconds is None else deadline_after(seconds, clock)


def rules_for_call(rules: FillRules, allow_single_use: bool, tags: Iterable[str] | None) -> FillRules:
    """Return `rules` for a call that lets more results pass, or has tags, or both."""
    if allow_single_use:
        rules = replace(rules, refused_types=special_types(True))
    if tags is None:
        return rules
    checked = check_tags("get_or_fill", tags)
    return rules.tagged(lambda: checked)


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
