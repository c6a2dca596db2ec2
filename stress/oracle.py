"""The oracle: what a run may show, and what it may not.

The value of a key is the `Fill` that made it, so that every value tells where it comes from. Every call, fill and
removal is stamped by one atomic counter: `a.ended < b.began` means that a had ended before b began. Runs go in rounds;
between two rounds no thread is in the cache, and each round starts with a cold one. What is counted:

  wrong    An answer that is no value of that key, or that the caller's own fill did not make although it ran; an
           exception that nobody raised; a structure that is not as it must be while no operation is running.
  stale    An answer that had to be gone.
  doubled  A fill that should have been a wait or a hit.
  blocked  A thread that made no progress (see frame).

An alarm must never be false, so each rule follows from what the library promises, by these arguments.

Stale, by the floor of versions (invariant 3). Each key has a version, which only grows, and a floor.

  (a) who removes         1. raises the version to v   2. calls invalidate or clear   3. raises the floor to v
  (b) a fill              reads the version, once, as the first thing that it does
  (c) who asks            1. reads the floor           2. calls the cache

A call that read the floor v must not get a value of a version below v. For suppose that it did. The fill that made
the value read the version before (a1), the counter's step to v, since it only grows: so the fill began before the
invalidate (a2) began. The call saw the floor that (a3) had raised, so its lookup (c2) began after the invalidate had
returned. "A get that starts after `invalidate` returned never yields a value whose fill began before it": broken. What
is *not* alarmed: a value whose fill began while the invalidate was running. Its version is v or more if it began after
(a1), and it may stay, or it may not: both are allowed.

`clear` removes what is there when it begins. A fill that began before was either in the index then, and is removed,
or it had been taken out before, and may not come back. So the same argument holds, for every key.

Stale, by the round. All was cleared when no fill was running: a value from before is stale.

Stale or wrong, where nothing leaves. In a round without removals and without a ttl, the fills of a key that succeed
follow one another, and each replaces the one before, for good. So once a call has returned a value (`seen` is then the
stamp at which its fill began), a call that begins later gets that value or one whose fill began later: an older one is
stale, and no value at all is wrong, be it a miss or an error; but a refresh may raise what its own fill raised.

Doubled. A fill is claimed at some moment between the start of the call that runs it (`called`) and the start of the
function (`began`). Take two fills of a key. The entry of the one claimed first, A, had left the index when B was
claimed: between the two claims
  - it was removed: by an invalidate or clear that overlaps the window from the earlier `called` to the later `began`;
  - or A had ended, and B may follow it: A failed, or expired, or B is its refresh (the scenario's `may_follow`);
  - or A is a refresh, and the value that it was to replace was evicted, and it with that (`may_overlap`).
So two fills that no removal's window touches, and of which the later to begin may not follow the earlier, are doubled.
(Had the later to begin been claimed first, the other could not even have come second: the first had not begun, so it
had neither failed nor expired, and without a removal its entry was still there.) And a group of n fills of which none
may follow another takes n - 1 removals between n claims, one invalidate for one of them: each fill that was run for one
of n - 1 overlapping invalidations is allowed, and no more. A `clear` may take out a key more than once, and counts as
many; so does the invalidation of a tag, which looks again where a refresh has replaced what it had found.

A stranger's cache (`--subject`) may not promise one fill of a key at a time. There a call that has run a fill may get
the value of another, of two fills that overlap either may be stored last, and doubled is counted apart.

Stale, by the ttl: see scenarios/expiry. Stale errors: see scenarios/failures.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from cereggii import AtomicInt64

from .findings import KINDS, Findings
from .worker import Worker

__all__ = ["KINDS", "Call", "Fill", "Findings", "Oracle", "Removal", "find_doubled"]

_WINDOW: Final = 8  # so many fills of a key in a row are looked at together


class Line:
    """What is known of one key."""

    __slots__ = ("_lock", "floor", "seen", "version")

    def __init__(self) -> None:
        self.version = AtomicInt64(0)  # raised before each removal begins
        self.floor = 0  # the highest version whose removal has returned
        self.seen = 0  # where nothing leaves: when the newest fill began that a call has returned
        self._lock = threading.Lock()  # makes one step of comparing and raising; readers need none

    def raise_floor(self, version: int) -> None:
        with self._lock:
            self.floor = max(self.floor, version)

    def raise_seen(self, began: int) -> None:
        if began > self.seen:
            with self._lock:
                self.seen = max(self.seen, began)


class Call:
    """One lookup: what was known when it began, the fill that it ran, what came of it."""

    __slots__ = ("began", "clock", "error", "floor", "key", "led", "refreshes", "seen", "value")

    def __init__(self, key: Any, line: Line, refreshes: bool, clock: float) -> None:
        self.key = key
        self.floor = line.floor
        self.seen = line.seen
        self.clock = clock
        self.refreshes = refreshes
        self.led: Fill | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.began = 0


class Fill:
    """One run of the fill function, and the value that it returns. `with fill:` is around what the function does."""

    __slots__ = (
        "_oracle",
        "began",
        "call",
        "clock_began",
        "clock_ended",
        "clock_over",
        "ended",
        "failed",
        "key",
        "over",
        "version",
    )

    def __init__(self, oracle: Oracle, key: Any, version: int, call: Call) -> None:
        self.key = key
        self.version = version
        self.call = call
        self.clock_began = oracle.clock()
        self.clock_ended = self.clock_over = 0.0
        self.failed = False
        self.ended = self.over = 0  # stamps: the function ended; the call that ran it has returned
        self._oracle = oracle
        self.began = oracle.stamp()

    def __reduce__(self) -> tuple[Callable[[int, int], Fill], tuple[int, int]]:
        """A cache that pickles or copies its values gives this very one back."""
        self._oracle.pickled[self.began] = self
        return _unpickle, (id(self._oracle), self.began)

    def __enter__(self) -> Fill:
        return self

    def __exit__(self, error_type: object, *_: object) -> None:
        self.failed = error_type is not None
        self.clock_ended = self._oracle.clock()
        self.ended = self._oracle.stamp()

    def __repr__(self) -> str:
        times = f"called {self.call.began}, ran {self.began} to {self.ended}"
        return f"<fill of {self.key!r}, version {self.version}, {times}{', failed' if self.failed else ''}>"


_oracles: WeakValueDictionary[int, Oracle] = WeakValueDictionary()


def _unpickle(oracle: int, began: int) -> Fill:
    return _oracles[oracle].pickled[began]


class Removal(NamedTuple):
    """An invalidate of one key, or a clear; stamps."""

    keys: tuple[Any, ...]
    began: int
    ended: int
    weight: int  # how many entries of one key it may have taken out


class Oracle:
    """Goes along with every operation of a scenario, and judges.

    `clock` is read before a lookup begins, when a fill begins and ends, and after the call that ran it has returned.
    """

    def __init__(self, findings: Findings, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.findings = findings
        self.clock = clock
        self.lines: dict[Any, Line] = {}
        self.round_began = 0
        self.nothing_leaves = False  # in this round: no removals, no ttl
        self.fills_once = "doubled" not in findings.not_promised
        self.pickled: dict[int, Fill] = {}  # by when they began
        _oracles[id(self)] = self
        self._stamps = AtomicInt64(0)

    def stamp(self) -> int:
        stamp: int = self._stamps.increment_and_get()
        return stamp

    def start_round(self, keys: Iterable[Any], nothing_leaves: bool = False) -> None:
        """Called while no operation is running, with a cold cache."""
        self.nothing_leaves = nothing_leaves and self.fills_once
        self.lines = {key: Line() for key in keys}
        self.round_began = self.stamp()

    # ---- around every operation

    def ask(
        self,
        worker: Worker,
        lookup: Callable[[Any], Any],
        key: Any,
        *,
        refreshes: bool = False,
        may_miss: bool = False,
        falls_back: bool = False,
        raises: tuple[type[BaseException], ...] = (),
    ) -> Call:
        """Call `lookup(key)`, judge its answer, and return all about it.

        `raises` is what it may raise; `may_miss` says that it may return None, and `falls_back` that it may return
        another value than its own fill's, if that failed.
        """
        call = Call(key, self.lines[key], refreshes, self.clock())
        call.began = self.stamp()
        worker.calls.append(call)
        try:
            call.value = lookup(key)
        except raises as error:
            call.error = error
        finally:
            worker.calls.pop()
            worker.operations += 1
            if call.led is not None:
                call.led.clock_over, call.led.over = self.clock(), self.stamp()
        worker.answers.append(call)
        if call.value is None:
            self._judge_miss(call, may_miss)
        elif self._judge(call, call.value, falls_back):
            worker.hits += call.value.ended < call.began
        return call

    def _judge(self, call: Call, value: Any, falls_back: bool = False) -> bool:
        """Report an answer that is wrong or stale; return whether it is a value of the key at all."""
        if type(value) is not Fill or value.key != call.key or value.failed or not value.ended:
            self.findings.add("wrong", f"{call.key!r} gave {value!r}")
            return False
        has_other = call.led is not None and value is not call.led and not (falls_back and call.led.failed)
        if has_other and self.fills_once:
            self.findings.add("wrong", f"a call ran {call.led!r} and got {value!r}")
        if value.version < call.floor:
            self.findings.add("stale", f"{value!r} for a call begun at {call.began}, with the floor {call.floor}")
        elif value.began < self.round_began:
            self.findings.add("stale", f"{value!r} came back after a clear while idle, at {self.round_began}")
        elif value.began < call.seen:
            self.findings.add("stale", f"{value!r} for a call begun at {call.began}; seen before: {call.seen}")
        if self.nothing_leaves:
            self.lines[call.key].raise_seen(value.began)
        return True

    def _judge_miss(self, call: Call, may_miss: bool) -> None:
        if call.error is None and not may_miss:
            self.findings.add("wrong", f"{call.key!r} gave None, and fills return none")
        if call.seen and not call.refreshes:
            what = "nothing" if call.error is None else repr(call.error)
            self.findings.add("wrong", f"{call.key!r} gave {what}, and it had had a value, begun at {call.seen}")

    def begin(self, key: Any) -> Call:
        """Note that a lookup begins, for one that ends later, among others of its thread: `end` judges its answer."""
        call = Call(key, self.lines[key], False, self.clock())
        call.began = self.stamp()
        return call

    def end(self, worker: Worker, call: Call, value: Any) -> None:
        """Judge what a lookup has given that began with `begin`."""
        call.value = value
        worker.operations += 1
        worker.answers.append(call)
        if self._judge(call, value):
            worker.hits += value.ended < call.began

    def start_loose_fill(self, worker: Worker, key: Any) -> Fill:
        """The same as `start_fill`, for a fill that runs in no particular call: claimed at any time in this round."""
        call = Call(key, self.lines[key], False, self.clock())
        call.began = self.round_began
        worker.fills_run += 1
        fill = Fill(self, key, self.lines[key].version.get(), call)
        worker.fills.append(fill)
        return fill

    def start_fill(self, worker: Worker, key: Any) -> Fill:
        """Called by the fill function before anything else, to be used in a `with` statement."""
        version = self.lines[key].version.get()
        assert worker.calls, f"a fill of {key!r} runs in a thread that asked for nothing"
        call = worker.calls[-1]
        assert call.key == key, f"a fill of {key!r} runs in a call for {call.key!r}"
        if call.led is not None:
            self.findings.add("doubled", f"one call ran {call.led!r}, and then another")
        call.led = fill = Fill(self, key, version, call)
        worker.fills_run += 1
        worker.fills.append(fill)
        return fill

    def put(self, worker: Worker, put: Callable[[Any, Any], Any], key: Any) -> None:
        """Call `put(key, value)` with a value of a version of its own: a removal too, of what is there or being filled.

        Each key is put and removed by one thread alone, and never cleared meanwhile: else the versions would not say
        in what order puts took place.
        """

        def put_new() -> None:
            value = Fill(self, key, self.lines[key].version.get(), Call(key, self.lines[key], False, self.clock()))
            with value:
                pass
            put(key, value)

        self.remove(worker, (key,), put_new)

    def remove(self, worker: Worker, keys: tuple[Any, ...], remove: Callable[[], Any], weight: int = 1) -> None:
        """Call `remove()`, which invalidates `keys`, between raising their versions and raising their floors."""
        versions = [self.lines[key].version.increment_and_get() for key in keys]
        began = self.stamp()
        remove()
        worker.removals.append(Removal(keys, began, self.stamp(), weight))
        for key, version in zip(keys, versions, strict=True):
            self.lines[key].raise_floor(version)
        worker.operations += 1

    def invalidate(
        self, worker: Worker, invalidate: Callable[[Any], Any], key: Any, removes_again: bool = False
    ) -> None:
        self.remove(worker, (key,), lambda: invalidate(key), weight=_WINDOW if removes_again else 1)

    def clear(self, worker: Worker, clear: Callable[[], Any]) -> None:
        self.remove(worker, tuple(self.lines), clear, weight=_WINDOW)

    # ---- while no operation is running

    def check_doubled(
        self,
        workers: list[Worker],
        may_follow: Callable[[Fill, Fill], bool],
        may_overlap: Callable[[Fill, Fill], bool] = lambda first, second: False,
    ) -> None:
        """Report fills of the round that had no reason.

        `may_follow(a, b)`: b may come after a, which had ended; `may_overlap(a, b)`: it may, even before a had ended.
        """
        fills, removals = fills_by_key(workers), defaultdict(list)
        for worker in workers:
            for removal in worker.removals:
                for key in removal.keys:
                    removals[key].append(removal)
        for key, of_key in fills.items():
            for group in find_doubled(of_key, removals[key], may_follow, may_overlap):
                self.findings.add("doubled", f"{len(group)} fills, and too few removals: {group}")


def fills_by_key(workers: list[Worker]) -> dict[Any, list[Fill]]:
    fills = defaultdict(list)
    for worker in workers:
        for fill in worker.fills:
            fills[fill.key].append(fill)
    return fills


def find_doubled(
    fills: list[Fill],
    removals: list[Removal],
    may_follow: Callable[[Fill, Fill], bool],
    may_overlap: Callable[[Fill, Fill], bool] = lambda first, second: False,
) -> Iterator[list[Fill]]:
    """Find groups of fills of one key for which there were too few removals; at most one that starts with each fill."""
    fills = sorted(fills, key=lambda fill: fill.began)
    starts = sorted(removal.began for removal in removals for _ in range(removal.weight))
    ends = sorted(removal.ended for removal in removals for _ in range(removal.weight))

    def excused(group: list[Fill]) -> int:
        low, high = min(fill.call.began for fill in group), group[-1].began
        return bisect_right(starts, high) - bisect_left(ends, low)

    for i in range(len(fills)):
        group = fills[i : i + 1]
        for fill in fills[i + 1 : i + _WINDOW]:
            if any(
                may_overlap(other, fill) or (other.ended < fill.began and may_follow(other, fill)) for other in group
            ):
                break
            group.append(fill)
            if excused(group) < len(group) - 1:
                yield group
                break
