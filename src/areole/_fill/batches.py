"""ThreadBatches and TaskBatches: how batches are led and waited for, in threads and in tasks. See `batch`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from .._core.entry import Empty
from .batch import Batches, CallFor
from .batch_flights import Asked, Pair, TaskBatch, ThreadBatch, drop, led, parts_of
from .exceptions import raise_unchanged
from .gather import gather
from .rules import LEAD
from .tasks import TaskFills
from .threads import ThreadFills

__all__ = ["TaskBatches", "ThreadBatches"]


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
