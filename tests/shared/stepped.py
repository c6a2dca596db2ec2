"""Caches whose operations ask for their steps, to be done when a schedule says so: see `schedules`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any, Final

from areole import SharedCache
from areole._core.entry import Empty
from areole._core.flight import Flight
from areole._fill.rules import LEAD
from areole.backends import MemoryBackend
from areole.shared.fills import FillOperations
from areole.shared.modes import Threads
from areole.shared.outbox import Outbox
from areole.shared.renewer import Renewal, _Renewer
from areole.testing import ManualClock

from ..interleave.histories.model import ABSENT
from .model import START, TAGGED_START, TTLS

__all__ = ["STARTS", "Call", "Pause", "World"]

STARTS: Final = ("absent", "live", "old", "token", "expired", "new")
"""What is there at first: nothing; a value; one from before a clear; the token of a fill that died; a value that has
expired; not even a version of the namespace. For tags: a value with one; one whose tag was invalidated."""
TAG: Final = "t"

LEASE: Final = 0.02
WAIT: Final = 0.05


class Call:
    """A step that is done as one."""

    __slots__ = ("do", "method")

    def __init__(self, do: Callable[[], Any], method: str) -> None:
        self.do = do
        self.method = method


class Pause:
    """A step at which others go on: in a fill, and in a sleep, after which so many seconds have passed."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds


class Stepped(Threads):
    """The mode of threads, which asks for its steps instead of doing them."""

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        return Call(partial(super().call, method, *args), method.__name__)

    def sleep(self, seconds: float) -> Any:
        return Pause(seconds)

    def fly(self, name: str, lead: Callable[[], Any], is_refresh: bool = False) -> Any:
        """Do what `ThreadFills.get_or_fill` does, where a thread may stop at each step."""
        while True:
            flight = Flight(name, self.flights.entry_type)
            try:
                found = self._fills.claim_refresh(flight) if is_refresh else self._fills.claim(flight)
                if found is LEAD:
                    self._fills.complete(flight, (yield from lead()))
            except BaseException as error:
                flight.error = error
                self._fills.abort(flight)
                raise
            finally:
                flight.latch.release()
            if found is LEAD:
                return flight.value
            joined = flight.joined
            assert joined is not None
            while not joined.is_orphaned:
                yield joined
            if (value := self._fills.read_result(joined)) is not Empty:
                return value


class Renewals(_Renewer):
    """A renewer without a thread."""

    def start(self, renewal: Renewal) -> None:
        self.running[renewal.key] = renewal


class SilentOutbox(Outbox):
    """An outbox from which nothing is sent but by the operations."""

    def _put(self, names: Any, state: Any) -> None:
        self._renewal = self._renewal or Renewal(bool, 1.0, {})
        super()._put(names, state)


class World:
    """Two processes over one store. It is used for one run after the other, each with a key of its own."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock(1000.0)
        self.backend = MemoryBackend(clock=self.clock)
        self.backend.get_many_timed = None  # type: ignore[assignment, method-assign]  # others come in between
        self.renewals = Renewals()
        self.caches = [self._make_cache(options) for _ in range(2)]
        self._operations = [self._operations_of(cache) for cache in self.caches]
        self.key = ""
        self._keys = count()

    def _make_cache(self, options: dict[str, Any]) -> SharedCache[Any]:
        cache = SharedCache[Any](self.backend, namespace="shop", lease=LEASE, clock=self.clock, **options)
        cache._state.outbox = SilentOutbox(cache._state.outbox.everything, ("", True))  # each process has its own
        return cache

    def _operations_of(self, cache: SharedCache[Any]) -> FillOperations:
        state, made = cache._state, cache._operations
        assert made is not None
        mode = Stepped(self.backend, state.breaker, state.counters, state.flights)
        return FillOperations(state, mode, made.envelope)

    @property
    def name(self) -> str:
        return self.caches[0]._state.keys.name(self.key)

    def begin(self, start: str) -> None:
        """Make a fresh key, with what is there at first."""
        self.key = f"k{next(self._keys)}"
        first = self.caches[0]
        if first._state.has_versions:
            first.invalidate_tags(TAG)  # for the next run there are those that this one makes
        if start == "new":
            self.backend.kill_many(["shop:#v1", "shop:v1:#tag:", f"shop:v1:#tag:{TAG}"])
        else:
            first.set("other", 0, 0.001)
        if start in ("live", "old"):
            first.set(self.key, START, TTLS[START])
        if start == "old":
            first.clear(False)
        if start in ("tagged", "untagged"):
            first.set(self.key, TAGGED_START, TTLS[START], tags=[TAG])
        if start == "untagged":
            first.invalidate_tags(TAG)
        if start == "token":
            self.backend.take(self.name, b"of a dead fill", 0.006)
        if start == "expired":
            first.set(self.key, START, 0.001)
            self.clock.advance(0.002)

    def end(self, may_leave_token: bool) -> None:
        """Check that nothing is left behind, and remove the key."""
        assert may_leave_token or self.name not in self.backend._tokens, "a token stays"
        for cache in self.caches:
            state = cache._state
            assert not list(state.flights.entries), "a flight stays"
            state.breaker.succeeded()
            state.outbox.forget()
        assert not self.renewals.running, "a renewal stays"
        self.backend.kill(self.name)

    def patched(self) -> Any:
        """Return what is to be put in the place of the names of `fills`."""
        return {"renewer": self.renewals, "time": SimpleNamespace(monotonic=self.clock)}

    def steps(self, kind: str, process: int, given: Any, fill: Callable[[str], Any]) -> Any:
        """Return the generator of an operation."""
        do, key = self._operations[process], self.key
        tags = [TAG] if kind.startswith("tagged_") else []
        kind = kind.removeprefix("tagged_")
        match kind:
            case "get":
                return do.get(key, ABSENT)
            case "get_many":
                return do.get_many([key, "nothing"])
            case "contains":
                return do.contains(key)
            case "ttl_of":
                return do.ttl_of(key)
            case "set" | "add":
                return do.set(key, given, TTLS[kind], kind == "add", tags)
            case "untag":
                return do.invalidate_tags([TAG])
            case "delete":
                return do.delete(key)
            case "expire" | "expire_now":
                return do.expire(key, TTLS["expire"] if kind == "expire" else 0.0)
            case "clear" | "reclaim":
                return do.clear(kind == "reclaim")
        wait, is_refresh = WAIT if kind == "wait" else None, kind == "refresh"
        tags_of = (lambda: tags) if tags else None
        return do.get_or_fill(key, fill, lambda key, value: TTLS["fill"], wait, is_refresh, None, tags_of)
