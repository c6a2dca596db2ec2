"""Batches: one call of `fill_many` for all keys that nobody fills yet, each with a flight of its own.

A batch claims key by key, and waits for nothing in between. It calls the fill once for those that it leads, publishes
each value, and opens the latch. Only then it waits for the flights of others that its claims have found. So

  - No two batches wait for each other, in whatever order they name their keys: one that waits leads nothing any more.
    It would be otherwise if it waited first:

        1. A claims x, and finds y led by B      3. A waits for y, and has x to fill
        2. B claims y, and finds x led by A      4. B waits for x, and has y to fill    -- for ever.

    What its fill itself looks up is seen by the graph of waits: all its flights name one leader.
  - Invariant 4: its flights share one latch, that of the batch, which is itself a flight, though in no index. So all
    that a single fill does with its flight is done with the batch: by a thread, one of the pool, or a task. The latch
    is opened by one release, which no interrupt cuts short. With a latch for each,

        1. A settles x and y, and opens x      2. A is interrupted      3. B waits for y    -- for ever.

  - In a task, who waits for one of the keys waits for the batch: it is cancelled when the last one has left.
  - An invalidation of one key detaches the flight of that key alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from .._core.entry import Empty
from .._core.flight import Flight
from .._state.tags import begin_tagged
from .batch_flights import Asked, Pair, led
from .exceptions import raise_unchanged
from .outcomes import Failed, outcomes_of, result_of
from .protocol import Fills
from .rules import LEAD, Claim, FillRules
from .stale import StaleServing, throttle
from .task_waiter import wake

__all__ = ["Batches", "CallFor"]

CallFor: TypeAlias = Callable[[Any], Callable[[], Any]]
"""Of a key: what fills it alone, as a background refresh does."""


class Batches(Fills):
    """What is done with the flight of a key, done with a batch; `one` are the fills of single keys.

    `raises`: whether what one key has raised is raised, or Failed stands for it among the values.
    """

    __slots__ = ()
    one: Any
    raises: bool

    def look(self, left: list[Pair], values: dict[Any, Any]) -> list[Pair]:
        """Take the values that may be served without waiting, stale ones too; return what is left."""
        missing = []
        for key, serving in left:
            value = Empty if serving is None else serving.try_without_waiting(None)
            if value is Empty:
                missing.append((key, serving))
            values[key] = value
        return missing

    def servings(self, keys: Iterable[Any], call_for: CallFor) -> list[Pair]:
        rules = self.rules
        if rules.stale is None:
            return [(key, None) for key in keys]
        return [(key, StaleServing(self.one, key, call_for(key), rules, rules.stale)) for key in keys]

    def claim_all(self, batch: Any, is_counted: bool) -> Claim:
        """Claim each key, or take the value that it has by now. The answer is LEAD if there is something to fill."""
        found = Claim.JOIN
        for asked in batch.asked:
            if self._claim_one(batch, asked, is_counted) is LEAD:
                found = LEAD
        batch.leads = True
        return found

    def _claim_one(self, batch: Any, asked: Asked, is_counted: bool) -> Claim:
        serving = asked.serving
        asked.flight = flight = batch.flight_for(asked.key, self.state.entry_type)
        flight.latch, flight.waiters = batch.latch, batch.waiters
        if serving is None:
            asked.found = self.one.claim(flight, is_counted=is_counted)
        else:
            asked.found = serving.claim(flight, in_worker=False)
        if asked.found is LEAD:
            flight.for_requester = []
        return asked.found

    @property
    def batch_rules(self) -> FillRules:
        """What a batch itself is led by: its keys have the tags."""
        return self.rules if self.rules.tags is None else replace(self.rules, tags=None)

    def load(self, batch: Any, fill_many: Callable[[list[Any]], Any]) -> Any:
        keys = self._begin_led(batch)
        return fill_many(keys) if keys else keys

    def _begin_led(self, batch: Any) -> list[Any]:
        """Note the entries that are led under their tags; return the keys that are to be filled."""
        tags = self.rules.tags
        if tags is not None:
            for asked in led(batch):
                try:
                    begin_tagged(self.state, asked.flight, tags)
                except Exception as error:
                    self._abort_one(asked.flight, error)
        return [asked.key for asked in _unfailed(batch)]

    def complete(self, flight: Any, value: Any, rules: FillRules | None = None, began: float = 0.0) -> None:
        """Publish what there is for each key. One that has failed fails alone."""
        ours, rules = _unfailed(flight), self.rules
        for asked, outcome in zip(ours, outcomes_of([asked.key for asked in ours], value), strict=True):
            try:
                value = outcome if type(outcome) is not Failed else result_of(outcome)
                self.one.complete(asked.flight, value, rules, began)
            except Exception as error:
                self._abort_one(asked.flight, error)
            finally:
                del outcome  # as in `result_of`
        flight.removed = [each for asked in ours for each in asked.flight.removed]
        flight.value = len(ours)

    def _abort_one(self, flight: Flight, error: BaseException) -> None:
        flight.error = error
        raised = flight.for_requester  # read once: the requester takes it away when it leaves
        throttle(self, flight, self.rules.stale)
        try:
            self.one._clear_up(flight)
        except Exception as worse:  # from the ttl of an exception that is to be stored
            error = worse
        if raised is not None:
            raised.append(error)
        del flight, raised, error

    def abort(self, flight: Any) -> None:
        """Clear up after what ended the claims or the fill, in the flights that have not settled."""
        error: Any = flight.error
        try:
            for asked in flight.asked:
                each = asked.flight
                if each is not None and each.error is None and each.entry.flight is each:
                    if not flight.leads:  # it came from a claim: who has joined another key's flight looks again
                        each.leads = False
                    self._abort_one(each, error)
        finally:
            if flight.waiters:
                wake(flight)
            del error

    def detach(self, flight: Any) -> None:
        for asked in flight.asked:
            if asked.flight is not None:
                self.one.detach(asked.flight)

    def after_lead(self, flight: Any) -> None:
        """Do what a leader does once the latch is open, for as many fills as these were."""
        super().after_lead(flight)
        expirer = self.state.expirer
        if expirer is not None:
            for _ in range(1, flight.value):
                expirer.expire_some(self.state)

    def patience(self, batch: Any) -> float | None:
        """Return for how many seconds to wait for a batch: as long as for that of its keys which is worth the most."""
        each = [asked.serving.patience() for asked in led(batch) if asked.serving is not None]
        seconds = [patience for patience in each if patience is not None]
        return max(seconds) if seconds and len(seconds) == len(each) else None

    def instead(self, asked: Asked, error: BaseException) -> Any:
        """Return the stale value that is served where `error` was raised, Empty: look again, or Failed; else raise."""
        try:
            if asked.serving is not None and asked.serving.can_serve_instead(error):
                return asked.serving.value
            if self.raises or not isinstance(error, Exception):
                raise
            return Failed(error)
        finally:
            del error

    def read_led(self, asked: Asked, error: Exception | None) -> Any:
        """Return or raise what a key has got that this batch has led; `error` has ended the batch, or the wait."""
        flight = asked.flight
        if flight.value is not Empty and asked.serving is None:
            return flight.value
        try:
            if flight.value is Empty and error is not None:
                if not self.raises:
                    return Failed(error)
                if not flight.for_requester:
                    raise_unchanged(error)
            value = self.one.read_requested(flight)
            return value if asked.serving is None else asked.serving.has_result(value)
        finally:
            flight.for_requester = None
            del flight, error


def _unfailed(batch: Any) -> list[Asked]:
    return [asked for asked in led(batch) if asked.flight.error is None]
