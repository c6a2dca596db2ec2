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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from .._core.entry import Empty, Entry
from .._core.flight import Flight
from .._core.wait_graph import Wait
from .._state.tags import begin_tagged
from ..errors import KeyLeftOutError
from .exceptions import raise_unchanged
from .gather import gather
from .protocol import Fills
from .rules import LEAD, Claim, FillRules
from .stale import StaleServing, throttle
from .task_flight import TaskFlight
from .task_waiter import wake
from .tasks import TaskFills
from .threads import ThreadFills

if TYPE_CHECKING:
    import asyncio

__all__ = ["Failed", "TaskBatches", "ThreadBatches", "outcomes_of", "result_of"]

Pair: TypeAlias = "tuple[Any, StaleServing | None]"
"""A key, and what may serve a stale value of it."""

CallFor: TypeAlias = Callable[[Any], Callable[[], Any]]
"""Of a key: what fills it alone, as a background refresh does."""


# ---- what a fill of many keys gives


class Failed:
    """Stands among the values of a batch for a key whose fill has failed."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


def outcomes_of(keys: Sequence[Any], given: Any) -> list[Any]:
    """Return the value of each key, or Failed, of what `fill_many` has returned for them."""
    if isinstance(given, Mapping):
        return [given[key] if key in given else Failed(KeyLeftOutError(key)) for key in keys]
    if not isinstance(given, Sequence) or isinstance(given, str | bytes | bytearray):
        raise TypeError(
            f"fill_many must return a mapping, or a sequence of values in the order of the keys, not "
            f"{type(given).__name__}"
        )
    if len(given) != len(keys):
        raise ValueError(
            f"fill_many returned {len(given)} values for {len(keys)} keys: return one for each, in the order of the "
            "keys, or a mapping, which may leave keys out"
        )
    return list(given)


def result_of(outcome: Any) -> Any:
    """Return a value; raise what stands for one."""
    if type(outcome) is Failed:
        raise_unchanged(outcome.error)
    return outcome


# ---- the flights


class Asked:
    """One key of a batch: its flight, and what the claim has answered."""

    __slots__ = ("flight", "found", "key", "serving")

    def __init__(self, key: Any, serving: StaleServing | None) -> None:
        self.key = key
        self.serving = serving
        self.flight: Any = None
        self.found = Claim.LOOK_AGAIN


class ThreadBatch(Flight):
    """A batch that a thread leads."""

    __slots__ = ("asked",)

    def __init__(self, asked: list[Asked], entry_type: type[Entry]) -> None:
        super().__init__(asked[0].key, entry_type)
        self.asked = asked

    def another(self) -> ThreadBatch:
        return ThreadBatch(self.asked, type(self.entry))

    def flight_for(self, key: Any, entry_type: type[Entry]) -> Flight:
        flight = Flight(key, entry_type)
        flight.leader = self.leader
        return flight


class TaskBatch(TaskFlight):
    """A batch that a task leads."""

    __slots__ = ("asked",)

    def __init__(
        self, asked: list[Asked], entry_type: type[Entry], loop: asyncio.AbstractEventLoop, *, is_cancellable: bool
    ) -> None:
        super().__init__(asked[0].key, entry_type, loop, is_cancellable=is_cancellable)
        self.asked = asked

    def flight_for(self, key: Any, entry_type: type[Entry]) -> Flight:
        return BatchedFlight(key, entry_type, self)


class BatchedFlight(TaskFlight):
    """The flight of one key of a batch in a task: who waits for it waits for the batch."""

    __slots__ = ("batch",)

    def __init__(self, key: Any, entry_type: type[Entry], batch: TaskBatch) -> None:
        Flight.__init__(self, key, entry_type)
        self.batch = batch
        self.leader = batch.leader
        self.loop = batch.loop

    @property
    def is_orphaned(self) -> bool:
        return self.batch.is_abandoned or self.has_stopped

    @property
    def is_cancelled(self) -> bool:
        return self.batch.is_cancelled

    def add_waiter(self, wait: Wait) -> None:
        self.batch.add_waiter(wait)

    def remove_waiter(self, wait: Wait) -> bool:
        return self.batch.remove_waiter(wait)

    def keep_running(self) -> None:
        self.batch.keep_running()

    def cancel(self) -> None:
        self.batch.cancel()


# ---- the protocol


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
        """Note the entries that are led under their tags; return their keys."""
        ours, tags = led(batch), self.rules.tags
        if tags is not None:
            for asked in ours:
                begin_tagged(self.state, asked.flight, tags)
        return [asked.key for asked in ours]

    def complete(self, flight: Any, value: Any, rules: FillRules | None = None, began: float = 0.0) -> None:
        """Publish what there is for each key. One that has failed fails alone."""
        ours, rules = led(flight), self.rules
        for asked, outcome in zip(ours, outcomes_of([asked.key for asked in ours], value), strict=True):
            try:
                self.one.complete(asked.flight, result_of(outcome), rules, began)
            except Exception as error:
                self._abort_one(asked.flight, error)
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


def led(batch: Any) -> list[Asked]:
    return [asked for asked in batch.asked if asked.found is LEAD]


def drop(batch: Any) -> None:
    """Release what leads to an exception whose traceback leads to this; not while the batch still needs it."""
    for asked in batch.asked:
        if asked.flight is not None:
            asked.flight.for_requester = None
        if asked.serving is not None:
            asked.serving.drop_flights()
    if not batch.latch.locked():
        batch.asked.clear()
        batch.error = None
    batch.entry.flight = None


def parts_of(pairs: list[Pair], most: int | None) -> list[list[Asked]]:
    all_asked = [Asked(key, serving) for key, serving in pairs]
    return [all_asked] if most is None else [all_asked[n : n + most] for n in range(0, len(pairs), most)]


class ThreadBatches(Batches, ThreadFills):
    """Batches of threads: led by the one that asks; under timeouts, by one of the pool on its behalf."""

    __slots__ = ("one", "raises")

    def __init__(self, one: ThreadFills, raises: bool = True) -> None:
        super().__init__(one.state, one.rules, one.stored_errors, one.wait_timeout)
        self.one, self.raises = one, raises

    def get_or_fill_many(
        self, keys: Iterable[Any], fill_many: Callable[[list[Any]], Any], call_for: CallFor, most: int | None = None
    ) -> dict[Any, Any]:
        """Return the values of keys that have none, by calls of `fill_many` for at most so many keys each."""
        values: dict[Any, Any] = dict.fromkeys(keys, Empty)
        left, is_counted = self.servings(values, call_for), False
        while left := self.look(left, values):
            self._fill_left(left, values, fill_many, is_counted, most)
            left, is_counted = [pair for pair in left if values[pair[0]] is Empty], True
        return values

    def _fill_left(
        self,
        left: list[Pair],
        values: dict[Any, Any],
        fill_many: Callable[[list[Any]], Any],
        is_counted: bool,
        most: int | None,
    ) -> None:
        """Lead what is to be led, and then wait for what others lead."""
        batches: list[tuple[ThreadBatch, Exception | None]] = []
        batch = error = None
        try:
            for part in parts_of(left, most):
                batch = ThreadBatch(part, self.state.entry_type)
                error = self._lead_batch(batch, fill_many, is_counted)
                batches.append((batch, error))
            for batch, error in batches:
                for asked in batch.asked:
                    values[asked.key] = self._result(asked, error)
        finally:
            for batch, _ in batches:
                drop(batch)
            del batch, error, batches

    def _lead_batch(
        self, batch: ThreadBatch, fill_many: Callable[[list[Any]], Any], is_counted: bool
    ) -> Exception | None:
        """Claim, fill and publish; return what the fill has raised, if there may be stale values to serve instead."""
        rules, error = self.batch_rules, None
        stale = rules.stale
        call = partial(self.load, batch, fill_many)
        claim: Any = partial(self.claim_all, is_counted=is_counted)
        try:
            has_timeouts = stale is not None and stale.has_timeouts
            if has_timeouts and self.claim_in_worker(batch, lambda each: claim(each) and LEAD, call, rules):
                return self._wait_for_worker(batch)
            error = self._lead_here(batch, claim, call, rules)
            if error is None:
                return None
            goes_on = batch.leads and not (stale is None and self.raises)  # each key has a value to serve, or Failed
            if goes_on and isinstance(error, Exception):
                return error
            drop(batch)
            raise_unchanged(error)
        finally:
            del batch, call, error

    def _wait_for_worker(self, batch: ThreadBatch) -> Exception | None:
        """Wait for the batch that a thread of the pool leads on behalf of this one; return what ends that in vain."""
        in_worker, batch.joined = batch.joined, None
        batch.latch = in_worker.latch  # type: ignore[union-attr]
        try:
            self._wait_for_own(in_worker, self.patience(batch))  # type: ignore[arg-type]
        except Exception as error:
            return error
        finally:
            del in_worker
        return None

    def _result(self, asked: Asked, error: Exception | None) -> Any:
        try:
            if asked.found is LEAD:
                return self.read_led(asked, error)
            return self.one.result_or_wait(asked.flight, asked.found, asked.serving)
        except BaseException as raised:
            return self.instead(asked, raised)
        finally:
            del error


class TaskBatches(Batches, TaskFills):
    """Batches of tasks, each led by one task."""

    __slots__ = ("one", "raises")

    def __init__(self, one: TaskFills, raises: bool = True) -> None:
        super().__init__(one.state, one.rules, one.stored_errors, one.wait_timeout)
        self.cancels, self.offloads = one.cancels, one.offloads
        self.one, self.raises = one, raises

    async def get_or_fill_many(
        self, keys: Iterable[Any], fill_many: Callable[[list[Any]], Any], call_for: CallFor, most: int | None = None
    ) -> dict[Any, Any]:
        """Return the values of keys that have none, by calls of `fill_many` for at most so many keys each."""
        values: dict[Any, Any] = dict.fromkeys(keys, Empty)
        left, is_counted = self.servings(values, call_for), False
        while left := self.look(left, values):
            parts = [self._fetch(part, fill_many, is_counted) for part in parts_of(left, most)]
            for found in await all_of(parts):
                values.update(found)
            left, is_counted = [pair for pair in left if values[pair[0]] is Empty], True
        return values

    async def _fetch(
        self, part: list[Asked], fill_many: Callable[[list[Any]], Any], is_counted: bool
    ) -> list[tuple[Any, Any]]:
        """Lead what is to be led, and wait for that and for what others lead, at once. Empty: look again."""
        loop, rules = self.running_loop(), self.batch_rules
        batch = TaskBatch(part, self.state.entry_type, loop, is_cancellable=self.cancels)
        try:
            began = self.state.clock() if rules.stale is not None else 0.0
            call = partial(self.load, batch, fill_many)
            found = self._start(batch, call, partial(self.claim_all, is_counted=is_counted), rules, began)
            waits = [self._wait_for_led(batch)] if found is LEAD else []
            waits += [self._wait_for_joined(asked) for asked in part if asked.found is not LEAD]
            return [pair for pairs in await all_of(waits) for pair in pairs]
        finally:
            if batch.own_wait is not None and batch.own_wait.flight is not None:
                self.end_wait(batch.own_wait, batch)  # it was cancelled before it began to wait
            drop(batch)
            del batch, call, part

    async def _wait_for_led(self, batch: TaskBatch) -> list[tuple[Any, Any]]:
        error = None
        try:
            try:
                await self._wait_for_own(batch, self.patience(batch))
            except Exception as raised:
                error = raised
            return [(asked.key, self._read(asked, error)) for asked in led(batch)]
        finally:
            del error, batch

    def _read(self, asked: Asked, error: Exception | None) -> Any:
        try:
            return self.read_led(asked, error)
        except BaseException as raised:
            return self.instead(asked, raised)
        finally:
            del error

    async def _wait_for_joined(self, asked: Asked) -> list[tuple[Any, Any]]:
        try:
            value = await self.one._result_or_wait(asked.flight, asked.found, asked.serving)
        except BaseException as raised:
            value = self.instead(asked, raised)
        return [(asked.key, value)]


async def all_of(awaitables: Sequence[Any]) -> list[Any]:
    """Await all at once; a single one without a task of its own."""
    return [await awaitables[0]] if len(awaitables) == 1 else await gather(awaitables)
