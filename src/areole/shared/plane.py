"""The plane: how a process hears what others have changed, so that it drops its own copies.

A `Tier` is what this process keeps of a namespace: a read-through cache whose misses ask the store. Every change of a
key is reported to the tiers of this process by the call that makes it, and to other processes by a message of the
store, after the change, on one connection of each: see `Listener`.

What is kept is right because of the order of these steps. (Reading at the primary, and one connection whose messages
come in order, are what they rest on.)

    store:     the key is changed, then the message is sent
    listener:  connected, then every tier is emptied, then what is read may be kept
    tier:      a lookup has its flight in the index, then reads the store

  P1. A value that was read before a change was heard is not kept after that: hearing it removes the key's entry, or
      detaches its flight, whose value nobody finds then.

      1. A reads the old value       3. the message comes: A's flight is detached
      2. B changes the key           4. A's value goes to those who waited. (Without a flight, it would be kept here.)

  P2. Nothing is kept for longer than `lag` if messages do not come: a store or a network that stops without a word is
      seen by the answers to a PING, each half second. What counts is when the answered PING was sent, as a network may
      be late in both directions. Then every tier is emptied, flights too, and until there is a connection again what is
      read is not kept at all. (A process that was stopped itself may give a few values before its thread runs.)
      So this thread waits for nobody: listeners of removals run elsewhere, see `reports`, and names that take too long
      to drop one by one are dropped with all else. That ends every entry by its deadline first, which takes some
      milliseconds for 10,000, and removes them after it; while messages come, some in each turn.
      With `fail_safe` what is kept becomes stale instead, and stays as a fallback, outside of this bound: see
      `Tier.doubt`. As there are messages again it is dropped too, by P3.
  P3. After a connection was lost, messages may be lost: so every tier is emptied before what is read is kept again.

      1. A connects      2. A reads, and keeps      3. A empties its tiers    -- emptied first, a change between the
      last message and 1 would be missed; emptied last, what is read in between is dropped, which costs a miss.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from .._platform.fork import after_fork_in_child
from .._platform.locks import Guarded, run_locked
from .._platform.weak import WeakTable
from ..backends.in_executor import InPlace
from ..backends.null import NullBackend
from ..backends.protocol import ALL_THAT_BEGIN
from ..errors import CacheClosedError

__all__ = ["LAG", "Listener", "Plane", "TierOfPlane", "find_plane", "plane_of"]

_log = logging.getLogger("areole")

LAG: Final = 2.0
"""Seconds after which a process that hears nothing keeps nothing."""

HEARTBEAT: Final = 0.5
"""Seconds between two PINGs."""

RETRY: Final = 0.5
"""Seconds until the next try to connect."""


class TierOfPlane(Protocol):
    """What is notified of changes."""

    version_key: str

    def drop(self, name: str) -> None:
        """Drop what is kept under a wire name, and detach its fill."""

    def drop_beginning(self, prefix: str) -> None:
        """The same for all names that begin like this."""

    def drop_all(self) -> None:
        """Drop everything, and detach all fills."""

    def doubt(self) -> None:
        """Drop what must not be served if it may have been changed, and detach all fills."""

    def remove_some(self) -> None:
        """Go on with the removal of what was dropped, where that takes long."""


class Listener(Protocol):
    """A connection on which a backend tells of changes, in their order."""

    heard: float
    """When the last PING was sent, by `time.monotonic`, that has been answered; at first, when this was connected."""

    def receive(self, timeout: float) -> Sequence[str]:
        """Return the wire names that others have changed; wait for some, up to `timeout` seconds.

        One that ends with ALL_THAT_BEGIN stands for all that begin with what is before it.
        """

    def ping(self) -> None:
        """Ask for an answer."""

    def close(self) -> None: ...


class Plane(Guarded):
    """The tiers of one backend in this process, and the thread that listens for them, which ends with the backend.

    `lock` guards the start of that thread. `_is_live` is written by that thread alone, once it runs.
    """

    __slots__ = (
        "_backend",
        "_is_closed",
        "_is_live",
        "_keeps_unheard",
        "_prefixes",
        "_thread",
        "_tiers",
        "_tracked",
        "lag",
        "listens",
    )

    def __init__(self, backend: Any) -> None:
        super().__init__()
        self.listens = hasattr(backend, "listen")
        if backend.is_shared and not self.listens:
            raise TypeError(
                f"{type(backend).__name__} cannot tell a process what others have changed, so that values must not be "
                "kept in front of it: use Redis or SQLite, or the SharedCache alone"
            )
        self.lag = LAG
        self._backend = weakref.ref(backend)
        self._tiers: WeakTable[None] = WeakTable()
        self._thread: threading.Thread | None = None
        self._keeps_unheard = not self.listens and not isinstance(backend, NullBackend)
        self._is_live = self._keeps_unheard  # then no other process can change what is there
        self._is_closed = False
        self._prefixes: tuple[str, ...] = ()  # of which every change is to be heard, by any program
        self._tracked: tuple[str, ...] = self._prefixes  # those of the connection that there is

    def track(self, prefix: str) -> None:
        """Hear of every change of keys that begin like this, also by programs that know nothing of this.

        Nothing is kept until there is a connection that has asked for it.
        """
        backend = self._backend()
        if not getattr(backend, "tracks", False):
            raise TypeError(f"plane='tracking' is for Redis: a {type(backend).__name__} tells of no other's changes")
        if prefix not in self._prefixes:
            run_locked(self.lock, self._track, prefix)

    def _track(self, prefix: str) -> None:
        self._prefixes = (*self._prefixes, prefix)

    def add(self, tier: TierOfPlane) -> None:
        """Tell `tier` of changes from now on."""
        self._tiers.add_if_absent(tier, None)

    def is_live(self) -> bool:
        """Say whether what is read now may be kept. Starts the thread."""
        if self._thread is None and self.listens:
            run_locked(self.lock, self._start)
        return self._is_live and self._tracked is self._prefixes

    def _start(self) -> None:
        if self._thread is None and not self._is_closed:
            thread = threading.Thread(target=self._run, name="areole-plane", daemon=True)
            with suppress(RuntimeError):  # the interpreter ends
                thread.start()
                self._thread = thread

    def forget(self) -> None:
        """In the child of a fork: there is no thread, and what was copied from the parent is not kept."""
        self._is_live, self._thread = self._keeps_unheard, threading.current_thread()
        self._drop_all()  # reported later, as by the plane's thread: a lock of the listener's may be held for ever here
        self._thread = None

    def is_here(self) -> bool:
        """Say whether this is the thread of the plane, which must not wait."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the thread within a moment. What is read from now on is not kept."""
        self._is_closed, self._is_live = True, False

    def changed(self, name: str) -> None:
        """Tell the tiers of this process that `name` was changed; the name of a version stands for its namespace."""
        for tier in self._tiers.objects():
            if name == tier.version_key:
                _have_dropped(tier.drop_all)
            elif name.endswith(ALL_THAT_BEGIN):
                _have_dropped(partial(tier.drop_beginning, name[:-1]), tier.drop_all)
            else:
                _have_dropped(partial(tier.drop, name), tier.drop_all)

    def _drop_all(self) -> None:
        for tier in self._tiers.objects():
            _have_dropped(tier.drop_all)

    # ---- the thread

    def _run(self) -> None:
        self._thread = threading.current_thread()  # before the first removal: see `is_here`
        while not self._is_closed:
            listener = None
            try:
                listener = self._connect()
                self._hear(listener)
            except BaseException as error:  # of any client library; SystemExit of a key's method would end this thread
                _log.info("what others change is not heard now, so that nothing is kept: %s", error)
            if self._is_live or self._is_closed:
                self._is_live = False  # first: what is read from here on is not kept as fresh
                for tier in self._tiers.objects():
                    _have_dropped(tier.doubt, tier.drop_all)
            if listener is not None:
                listener.close()
            time.sleep(RETRY)

    def _connect(self) -> Listener:
        backend = self._backend()
        try:
            if backend is None:
                raise CacheClosedError("the backend is gone")
            self._tracked = self._prefixes
            return backend.listen(*self._tracked)  # type: ignore[no-any-return]
        except CacheClosedError:
            self.close()
            raise

    def _hear(self, listener: Listener) -> None:
        """Tell the tiers what comes, until nothing has come for too long, or there is more to be heard."""
        self._drop_all()
        self._is_live = not self._is_closed
        asked = 0.0
        while not self._is_closed and self._backend() is not None and self._tracked is self._prefixes:
            now, heard = time.monotonic(), listener.heard
            if now - heard > self.lag - HEARTBEAT:  # what follows takes that long at most
                return
            if now - asked >= HEARTBEAT:
                listener.ping()
                asked = now
            for name in listener.receive(HEARTBEAT / 2):
                if time.monotonic() - heard > self.lag - HEARTBEAT / 2:
                    return  # the first of them may be from just after `heard`: drop everything, which is sooner done
                self.changed(name)
            for tier in self._tiers.objects():
                _have_dropped(tier.remove_some)


def _have_dropped(*ways: Callable[[], object]) -> None:
    """Have one tier drop something, in the first of these ways that works; what it raises holds up no other."""
    for drop in ways:
        try:
            drop()
            return
        except Exception as error:  # as from a key's methods
            _log.warning("what was changed could not be dropped: %s was raised", type(error).__name__)


_planes: Final[WeakTable[Plane]] = WeakTable()
_making: Final = Guarded()


def plane_of(backend: Any) -> Plane:
    """Return the plane of a backend; one for all caches that use it."""
    return run_locked(_making.lock, _plane_of, _unwrapped(backend))


def _plane_of(backend: Any) -> Plane:
    plane = _planes.find(backend)
    return _planes.add_if_absent(backend, Plane(backend)) if plane is None else plane


def find_plane(backend: Any) -> Plane | None:
    """Return the plane of a backend, if this process keeps something in front of it."""
    return _planes.find(_unwrapped(backend))


def _unwrapped(backend: Any) -> Any:
    return backend._backend if isinstance(backend, InPlace) else backend


def _forget_all() -> None:
    for _, plane in list(_planes.records.values()):
        plane.forget()


after_fork_in_child("threads", _forget_all)
