"""FillCall: one call of `get_or_fill` or `refresh`, from its beginning to its end."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .._core.entry import Empty
from .._core.sentinels import CACHE_MISS
from .._core.ttl import SecondsOf
from .._fill.filled import Filled
from ..typing import Source
from .outcome import Found, moment
from .stale_times import Wanted

__all__ = ["FillCall", "TagsOf"]

TagsOf: TypeAlias = Callable[[], Sequence[str]] | None
"""Gives the names of a value's tags, as its fill begins; None: the fill gives none either."""


class FillCall:
    """One call of `get_or_fill` or `refresh`: what it was given, and what it has seen.

    `fill` is None where one call of a fill is for many keys: see `fill_many`.
    """

    __slots__ = (
        "began",
        "fill",
        "is_left",
        "is_refresh",
        "is_stale",
        "key",
        "left",
        "name",
        "old",
        "own",
        "previous",
        "raw",
        "seconds",
        "seconds_of",
        "source",
        "tag_names",
        "tags_of",
        "version",
        "wait",
        "wanted",
        "weight",
    )

    def __init__(
        self,
        name: str,
        key: Any,
        fill: Callable[[Any], Any] | None,
        seconds_of: SecondsOf[Any, Any],
        wait: float | None = None,
        is_refresh: bool = False,
        previous: str | None = None,
        wanted: Wanted | None = None,
        tags_of: TagsOf = None,
    ) -> None:
        self.name = name
        self.key = key
        self.fill = fill
        self.seconds_of = seconds_of
        self.wait = wait
        self.is_refresh = is_refresh
        self.previous = previous  # the keyword by which the fill takes the value that it is to replace
        self.old: Any = Empty  # that value: the one that `raw` is
        self.own = b""  # the token that it takes as it leads, which stands if no other process has made one
        self.tags_of = tags_of
        self.tag_names: Sequence[str] = ()  # of the value that was filled, also where it could not be stored
        self.began = moment()
        self.raw: bytes | None = None  # what is stored
        self.version: bytes | None = None
        self.source: Source = "shared"
        self.weight: int | None = None  # what it counts for there, if the fill says so
        self.wanted = wanted
        self.seconds: float | None = 0.0  # for how many the value is fresh in front of the store; None: for ever
        self.left: float | None = 0.0  # and for how many it is of use there, with its stale time
        self.is_stale = self.is_left = False

    def take_another_token(self) -> bytes:
        self.own = os.urandom(16)
        return self.own

    def measure(self, left: Any, stale: float) -> None:
        """Note the times of what was found, of which the store has said how many seconds are left."""
        self.left = 0.0 if left is CACHE_MISS else left  # CACHE_MISS: it came after that was asked, and is not kept
        self.seconds = None if left is None else 0.0 if left is CACHE_MISS else left - stale

    def takes(self, value: Any) -> bool:
        """Say whether the value that was found answers this call."""
        seconds = self.seconds
        self.is_stale = False
        if seconds is None or self.left == 0.0:
            return True
        if self.wanted is None:
            return seconds > 0
        is_taken = self.wanted.takes(value, self.raw, seconds, lambda: self.seconds_of(self.key, value))
        self.is_stale = is_taken and seconds <= 0
        return is_taken

    @property
    def may_leave(self) -> bool:
        """Whether it may leave what is there to another process that fills it."""
        return self.wanted is not None and self.wanted.leaves and self.old is not Empty and not self.is_refresh

    @property
    def stale(self) -> float:
        """For how many seconds after its ttl the store is to keep what this fills."""
        return 0.0 if self.wanted is None else self.wanted.stale_ttl

    def seconds_for(self, value: Any, filled: Filled[Any] | None) -> float | None:
        """Return for how many seconds what was filled is fresh, if `filled` does not say so."""
        seconds = self.seconds_of(self.key, value)
        return seconds if filled is None else filled.seconds_or(seconds)

    def left_unstored(self, value: Any, filled: Filled[Any] | None) -> float | None:
        """Return for how many seconds a value that the store could not take is kept: as a fallback alone."""
        if self.wanted is None or not self.wanted.rules.fail_safe or (filled is not None and filled.tags):
            return 0.0
        seconds = self.seconds_for(value, filled)
        return None if seconds is None else seconds + self.stale

    def found_as(self, value: Any) -> Found:
        source: Source = "stale" if self.is_stale else self.source
        found = Found(value, self.seconds, source, self.raw, self.left, self.is_left, self.weight)
        found.tag_names = self.tag_names
        return found
