"""Fills of a shared cache: one for each key in this process, stored only under a token that stands.

A lookup looks in the store for itself: to join another caller's look could give it something older than what had been
invalidated, in another process, before it came. Where there is nothing it joins the flight of its key, or leads it. The
leader takes the key's token, which looks again in the same step, so that nothing is filled twice in this process; it
fills, and stores. What comes of a flight serves those who waited by the rule of `Outcome`; the others go round again,
and what they then lead or join began after they did. So nobody waits for more than two fills, unless keys are
invalidated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any

from .._core.entry import UNPUBLISHED, Empty
from .._core.sentinels import CACHE_MISS
from .._core.sources import note_source
from .._core.ttl import EXPIRED_AT_ONCE, SecondsOf
from .._fill.filled import NOT_MODIFIED, Filled, old_value
from .._fill.single_use import SINGLE_USE, refuse_result
from ..errors import BackendError
from .envelope import Tags
from .fill_call import FillCall, TagsOf
from .operations import Operations
from .outcome import Found, Outcome, moment
from .renewer import renewer
from .shared_state import SharedState
from .steps import Steps
from .versions import COUNT

__all__ = ["FillOperations"]

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two looks for what another process fills."""


class FillOperations(Operations):
    """The operations, with fills."""

    def over(self, state: SharedState, make_fills: Any = None) -> FillOperations:
        """Return the same operations over a part of the cache, which counts by itself too."""
        make_fills = type(self.mode._fills) if make_fills is None else make_fills
        part = FillOperations(state, self.mode.over(state.counters, state.flights, make_fills), self.envelope)
        part.local = self.local
        return part

    def get_or_fill(
        self,
        key: Any,
        fill: Callable[[Any], Any],
        seconds_of: SecondsOf[Any, Any],
        wait: float | None = None,
        is_refresh: bool = False,
        previous: str | None = None,
        tags_of: TagsOf = None,
    ) -> Steps[Any]:
        """Return the value of `key`; if it has none, fill it, or wait for who does. A refresh fills it again."""
        call = FillCall(self.state.keys.name(key), key, fill, seconds_of, wait, is_refresh, previous, None, tags_of)
        local = self.tiers()[0]
        if local is None or is_refresh:
            value = yield from self._find_or_fill(call, self._look_first)
        elif (value := local.find_kept(self, call.name)) is not Empty:
            return value
        else:
            (found,) = yield from local.keep([call.name], partial(self._find_to_keep, call))
            value = found.value
        note_source(self.state.name, key, call.source)
        return value

    def _find_to_keep(self, call: FillCall, keeps: list[bool]) -> Steps[list[Found]]:
        value = yield from self._find_or_fill(call, self._look_and_measure if keeps[0] else self._look_first)
        return [call.found_as(value)]

    def find_or_fill(self, call: FillCall) -> Steps[Found]:
        """Return what a cache in front of this one may keep."""
        value = yield from self._find_or_fill(call, self._look_and_measure)
        return call.found_as(value)

    def _find_or_fill(self, call: FillCall, look: Callable[[FillCall], Steps[Any]]) -> Steps[Any]:
        state, is_refresh = self.state, call.is_refresh
        if not (is_refresh or self.tiers()[1]):
            return (yield from self.fill_past_the_store(call))
        is_counted = is_refresh
        while True:
            value = yield from look(call)
            if value is not Empty and not is_refresh:
                if not is_counted:
                    state.counters.hits.increment_and_get()
                break
            if not is_counted:
                state.counters.misses.increment_and_get()
                is_counted = True
            outcome = yield self.mode.fly(call.name, partial(self.lead, call), is_refresh)
            value = yield from self.served(call, outcome)
            if value is not Empty:
                break
        if state.item_limit is not None:
            yield from self.evict(state.item_limit.note(call.name))
        return value

    def served(self, call: FillCall, outcome: Outcome) -> Steps[Any]:
        """Return the value of a flight if it serves this call, or Empty: the call goes round again."""
        if not outcome.serves(call, call.began, call.version) or (call.is_refresh and not outcome.is_filled):
            return Empty
        value = yield from self._value_of(outcome, call)
        call.is_left, call.is_stale = outcome.is_left, False
        if not outcome.is_left:  # else what was found stays as it was
            call.seconds, call.left, call.raw = outcome.seconds, outcome.left, outcome.payload
        call.weight, call.tag_names = outcome.weight, outcome.tag_names
        call.source = "filled" if outcome.is_filled else "shared"
        return value

    def _look_first(self, call: FillCall) -> Steps[Any]:
        """Look in the store, and note what is there. Where it fails and that is to be a miss, nothing is."""
        call.old = yield from self.forgive(self._note_stored(call), Empty)
        return call.old

    def _note_stored(self, call: FillCall) -> Steps[Any]:
        value, call.raw, call.version = yield from self.look(call.name)
        return value

    def _look_and_measure(self, call: FillCall) -> Steps[Any]:
        """Look, and note how long the value is good, by one request.

        One that is not taken, as it is due or stale, is asked for again if it was a newer one with an older time.
        """
        while True:
            call.old, left = yield from self.forgive(self._note_measured(call), (Empty, None))
            if call.old is Empty or call.takes(call.old):
                return call.old
            later = yield from self.forgive(self._left(call.name), CACHE_MISS)
            if later is CACHE_MISS or (later is not None and later <= left):
                return Empty

    def _note_measured(self, call: FillCall) -> Steps[tuple[Any, Any]]:
        name = [call.name]
        (value,), (call.raw,), call.version, (left,) = yield from self.look_many(name, name, takes_stale=True)
        if value is not Empty:
            call.measure(left, self.envelope.stale_of(call.raw))
        return value, left

    def _value_of(self, outcome: Outcome, call: FillCall) -> Steps[Any]:
        """Return the value: to its leader as it is, to each other caller an object of its own, if it was packed."""
        if outcome.leader is call or outcome.payload is None:
            return outcome.value
        value = yield from self.open(outcome.payload, call.name, outcome.version)
        return outcome.value if value is Empty else value

    # ---- lead

    def lead(self, call: FillCall) -> Steps[Outcome]:
        """Do what the leader of a flight does; its flight is open for others until this returns."""
        outcome = Outcome(call)
        call.take_another_token()
        tags = (COUNT, *call.tags_of()) if call.tags_of is not None and self.state.has_versions else ()
        outcome.tag_names = tags[1:]
        try:
            token, version = yield from self._take(call, outcome)
            if token is None:
                return outcome
            if tags:  # after the wait for others, who may have been invalidated
                version, outcome.tags = yield from self.current_versions(tags, version)
        except BackendError:
            if self.state.raises:
                raise
            self._queue_refresh(call)
            return (yield from self._fill_unstored(call, outcome))
        return (yield from self._fill_and_store(call, outcome, token, version))

    def _take(self, call: FillCall, outcome: Outcome) -> Steps[tuple[bytes | None, bytes]]:
        """Take the key's token. None: there is a value meanwhile, which is in `outcome`."""
        pause, ends = FIRST_PAUSE, time.monotonic() + (call.wait or 0.0)
        version = yield from self.current_version(call.version)
        while True:
            sent = moment()
            raw, token = yield self.call(self.backend.take, call.name, call.own, self.state.lease, call.raw)
            if raw is not None:
                call.old, call.raw, call.version = yield from self.look(call.name)
                if call.old is not Empty and not call.is_refresh:
                    outcome.value, outcome.fresh_at = call.old, sent
                    outcome.payload, outcome.version = call.raw, call.version
                    return None, version
                version = yield from self.current_version(call.version)
                continue
            left = ends - time.monotonic()
            if token != call.own and call.may_leave:
                outcome.value, outcome.is_left = call.old, True
                return None, version
            if token == call.own or left <= 0:
                # It may have been cleared while this one waited, and then the value would be one of before that.
                return token, version if pause == FIRST_PAUSE else (yield from self.current_version())
            yield self.mode.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _fill_and_store(self, call: FillCall, outcome: Outcome, token: bytes, version: bytes) -> Steps[Outcome]:
        state = self.state
        renewal = renewer.make(self.mode.renewal(call.name, token, state.lease), state.lease)
        try:
            renewer.start(renewal)
            result = yield from self._run_fill(call)
            raw, seconds = yield from self._pack_result(call, outcome, result, version)
        except GeneratorExit:  # nobody runs these steps any more: the lease ends
            raise
        except BaseException:
            if token == call.own:  # one that was joined is that of a fill that still runs
                yield from self._release(call.name, token)
            raise
        finally:
            renewal.release()
        outcome.version = version
        sent = moment()
        try:
            is_void = yield from self.have_changed(outcome.tags if outcome.late_tags else outcome.tags[1:])
            kept = None if is_void else raw
            ttl = None if kept is None or seconds is None else seconds + call.stale
            stood = (yield self.call(self.backend.store_if_mine, call.name, kept, token, ttl)) and not is_void
            if stood and seconds == EXPIRED_AT_ONCE and call.is_refresh:
                yield self.call(self.backend.kill, call.name)  # what it was to replace leaves
            elif stood and kept and call.is_refresh and call.raw is None and hasattr(self.backend, "tell"):
                yield self.call(self.backend.tell, call.name)  # the store may have evicted what others keep
        except BaseException as error:
            if isinstance(error, BackendError) or not isinstance(error, Exception):  # as in `change`
                self._queue_refresh(call)
            if state.raises or not isinstance(error, BackendError):
                raise
            return outcome
        finally:
            if call.is_refresh:  # also where the store failed; this drops what this refresh would keep, too
                state.drop_kept(call.name)
        outcome.payload = raw
        if stood:
            outcome.fresh_at = sent
            outcome.seconds = 0.0 if raw is None else seconds
            outcome.left = 0.0 if raw is None else ttl
        else:
            outcome.left = 0.0
            state.counters.refused_stores.increment_and_get()
        return outcome

    def _run_fill(self, call: FillCall) -> Steps[Any]:
        self.state.counters.fills.increment_and_get()
        try:
            if call.fill is None:
                return (yield call)
            previous = {} if call.previous is None or call.old is Empty else {call.previous: call.old}
            return (yield self.mode.call_fill(partial(call.fill, **previous) if previous else call.fill, call.key))
        except Exception:
            self.state.counters.failures.increment_and_get()
            raise

    def _queue_refresh(self, call: FillCall) -> None:
        """Have the value removed that a refresh could not replace."""
        if call.is_refresh:
            self.state.outbox.put([call.name], self.state)

    def _pack_result(
        self, call: FillCall, outcome: Outcome, result: Any, version: bytes
    ) -> Steps[tuple[bytes | None, float | None]]:
        """Return what is to be stored, None for nothing, and for how many seconds."""
        filled = self._note_result(call, outcome, result)
        value = outcome.value
        seconds = call.seconds_for(value, filled)
        outcome.left = call.left_unstored(value, filled)  # until it is stored
        if seconds is not None and seconds <= EXPIRED_AT_ONCE:
            return None, seconds
        seconds = None if seconds is None or seconds == inf else seconds
        kept = None if seconds is None else seconds + call.stale
        stale = 0.0 if seconds is None else call.stale
        if filled is not None and filled.tags and not (yield from self._read_late_tags(outcome, filled)):
            return None, UNPUBLISHED
        tags = [*outcome.tags[1:], *outcome.late_tags]
        return (yield from self.pack(value, call.name, version, kept, tags, stale)), seconds

    def _read_late_tags(self, outcome: Outcome, filled: Filled[Any]) -> Steps[bool]:
        """Read the versions of tags that the fill has brought, before COUNT is read again: see T2 in `versions`."""
        known = {tag for tag, _ in outcome.tags}
        late = [tag for tag in self.state.tag_names(filled.tags) if tag not in known]
        found = yield from self.forgive(self.current_versions(late), None)
        outcome.late_tags = () if found is None else found[1]
        return found is not None

    def _with_those_of(self, raw: Any, tags: Tags) -> Tags:
        """Add the tags that an old value has; with its versions, as it is not to be stored if they stand no more."""
        more = [each for each in self.envelope.tags_of(raw) if each not in tags]
        return [*(tags or [(COUNT, b"")]), *more] if more else tags

    def _release(self, name: str, token: bytes) -> Steps[None]:
        """Make the token of a fill that failed void, for those of other processes who wait for it."""
        with suppress(Exception):  # from a backend that failed, or was closed: then its lease ends
            yield self.call(self.backend.store_if_mine, name, None, token)

    def fill_past_the_store(self, call: FillCall) -> Steps[Any]:
        """Fill for this caller alone, who is not to have what others have found."""
        self.state.counters.misses.increment_and_get()
        outcome = yield from self._fill_unstored(call, Outcome(call))
        call.seconds, call.source = 0.0, "filled"
        return outcome.value

    def _fill_unstored(self, call: FillCall, outcome: Outcome) -> Steps[Outcome]:
        """Fill while the store fails."""
        filled = self._note_result(call, outcome, (yield from self._run_fill(call)))
        outcome.left = call.left_unstored(outcome.value, filled)
        return outcome

    def _note_result(self, call: FillCall, outcome: Outcome, result: Any) -> Filled[Any] | None:
        """Note the value that a fill returned, and its weight; return what it was in, if that says more."""
        filled, returner = result if type(result) is Filled else None, f"get_or_fill: the fill for {self.state.name}"
        value = result if filled is None else filled.value
        if value is NOT_MODIFIED:
            value = old_value(call.old, returner)
            outcome.tags = self._with_those_of(call.raw, outcome.tags)
        if type(value) in SINGLE_USE:
            refuse_result(returner, value)
        if filled is not None and filled.tags and call.tags_of is None:
            raise TypeError(f"{returner} returned a Filled with tags=: give the cache, function or call tags=() too")
        outcome.value, outcome.is_filled = value, True
        outcome.weight = None if filled is None else filled.weight
        if filled is not None and filled.tags:
            outcome.tag_names = (*outcome.tag_names, *self.state.tag_names(filled.tags))
        return filled
