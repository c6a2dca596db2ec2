"""What a flight brings: a value, and for whom it is fresh enough."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..typing import Source
from .envelope import Tags

__all__ = ["Found", "Outcome", "moment"]

moment: Final[Callable[[], int]] = itertools.count().__next__
"""Gives a number above all that it has given: a clock may read the same before and after an invalidation."""


class Found:
    """A value of the shared cache, as a cache in front of it gets it.

    `seconds` is how long it is fresh here: None for ever, 0 not at all; below 0, since when it is stale. `left`
    is how long it is of use, with its stale time. `is_left`: another process fills it, and it stays here meanwhile.
    """

    __slots__ = ("epoch", "is_left", "left", "raw", "seconds", "source", "tag_names", "value", "weight")

    def __init__(
        self,
        value: Any,
        seconds: float | None,
        source: Source,
        raw: bytes | None = None,
        left: float | None = 0.0,
        is_left: bool = False,
        weight: int | None = None,
    ) -> None:
        self.value = value
        self.seconds = seconds
        self.source = source
        self.raw = raw  # as it is stored
        self.left = left
        self.is_left = is_left
        self.weight = weight  # what it counts for here, if the fill says so
        self.epoch: object = None  # of the TagTable here, before it was read
        self.tag_names: Sequence[str] = ()  # besides those that `raw` lists

    def doubt(self, has_fallback: bool) -> None:
        """Have it kept as a fallback alone, or not at all: what others change is not heard."""
        self.seconds = 0.0 if self.seconds is None else min(self.seconds, 0.0)
        if not has_fallback:
            self.seconds = self.left = 0.0


class Outcome:
    """The value of a flight, when its fill began, and until which moment it was known to be fresh.

    A caller that began after `fresh_at`, and after the flight, must not take it. Another process may have invalidated
    the key before that caller came:

    1. A's fill reads the source        3. C, in A's process, joins A's fill, and would get the value of before 2,
    2. B invalidates, and returns       though it asked after that.

    A token that stood when a step was sent has stood from the beginning of the fill, so that no `set` or `delete` of
    the key came in between: a caller that began before that step may have the value. It is the same with the versions
    of its tags. A `clear` makes no token void, but changes the version: a caller that has read another one than the
    fill began under must not take the value. Where the store failed nobody knows, and callers that began later fill
    again, once for all of them.
    """

    __slots__ = (
        "began",
        "fresh_at",
        "is_filled",
        "is_left",
        "late_tags",
        "leader",
        "left",
        "payload",
        "seconds",
        "tag_names",
        "tags",
        "value",
        "version",
        "weight",
    )

    def __init__(self, leader: object) -> None:
        self.leader = leader
        self.began = moment()
        self.fresh_at: int | None = None
        self.is_filled = False  # False: it was found, which is no answer to a refresh
        self.value: Any = None
        self.seconds: float | None = 0.0  # for how many it may be kept in front of the store; None: for ever
        self.weight: int | None = None  # what it counts for there, if the fill says so
        self.left: float | None = 0.0  # and for how many it is of use there, with its stale time
        self.is_left = False  # another process fills, and the leader leaves it to that: this is nothing for others
        self.payload: bytes | None = None  # `value` packed, under `version`
        self.late_tags: Tags = ()  # which the fill has brought
        self.tag_names: Sequence[str] = ()  # of all, also where their versions could not be read
        self.tags: Tags = ()  # with their versions before the fill began; COUNT is the first, where there may be any
        self.version: bytes | None = None  # of the namespace, before the fill began; none: it was found in the store

    def serves(self, caller: object, began: int, version: bytes | None) -> bool:
        """Say whether `caller` may take the value, which began then and has read that version since."""
        if self.leader is caller:
            return True
        if self.is_left:
            return False
        if self.began > began:
            return True
        if self.fresh_at is None or began > self.fresh_at:
            return False
        return not self.version or self.version == version
