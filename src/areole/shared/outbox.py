"""Outbox: what could not be invalidated in the store, and is removed from it as soon as it can be reached again.

A change that failed, or was stopped, may have been made or not. So its keys are queued here, to be deleted: those of a
`set` too, as its new value is not at hand any more. To delete the version of a namespace, or of a tag, is to change it.

  Q1. A process reads or changes a key in the store only after what it has queued of it has been sent.
  Q2. What was sent late removes nothing that this process has stored since: while one sends the delete of a key, all
      others wait to use that key.

      1. the thread of `renewer` sends the delete of K, which takes long      3. the delete arrives: without Q2,
      2. A sets K, which is stored                                               the value of 2 is gone.

     The count of tags (see T2 in `versions`) is sent before the versions of tags. So no key is sent as long as another
     one of the same call is being sent by somebody else.
  Q3. A key is queued before what is kept of it here is dropped. The other way round,

      1. A's delete fails, and K is dropped here      3. K is queued, and deleted later, but B's old value is kept
      2. B reads the old K, and keeps it                 here until another process changes K.

A lookup that fails changes nothing, and nothing is queued. Nor is the key of a fill that could not be stored, which has
invalidated nothing: its token stood, and then the value is as good as one whose store succeeded, or it was void, and
nothing was stored. But a refresh has promised that its value replaces the old one: its key is queued. That of a failed
`add` is not: the value that is there may be another's, and is to stay.

Lost is what is queued in a process that ends, is killed, or whose store is closed: others may read the old value until
its ttl ends. The child of a fork begins with nothing.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final

from .._platform.fork import after_fork_in_child
from .._platform.locks import Guarded, run_locked
from .._platform.weak import WeakTable
from ..backends.protocol import ALL_THAT_BEGIN
from ..errors import BackendTimeout, CacheClosedError
from .renewer import Renewal, renewer
from .steps import Steps, run, run_async

__all__ = ["Outbox", "send_queued", "shared_outbox"]

_log = logging.getLogger("areole")

MOST: Final = 10_000
"""So many keys are queued; if there are more, all values of the namespace are removed instead."""

RETRY: Final = 0.5
"""Seconds between two tries to send."""

BATCH: Final = 1000
"""Keys that are deleted by one call."""

PAUSE, LONGEST_WAIT = 0.005, 2.0
"""Seconds between two looks whether another one has sent a key, and in all."""


class Outbox(Guarded):
    """The queue of one namespace, for all caches of it in this process.

    `lock` makes one step of looking and changing; `queued` is looked at without it. What is being sent is queued.
    """

    __slots__ = ("_first", "_last", "_prefixes", "_renewal", "_sending", "backends", "everything", "made_for", "queued")

    def __init__(self, everything: str, made_for: tuple[str, bool], first: str = "") -> None:
        super().__init__()
        self._first = first
        self.everything = everything
        """The name that stands for all values: of the version, or one that ends with ALL_THAT_BEGIN."""
        self.made_for = made_for
        self.backends: WeakTable[None] = WeakTable()
        """Those of the caches that share this queue: caches that were made of one URL have one each."""
        self._clear()

    def _clear(self) -> None:
        self.queued: dict[str, object] = {}  # a name, and an object that differs each time it is queued
        self._prefixes: list[str] = []
        self._sending: dict[object, dict[str, object]] = {}
        self._renewal: Renewal | None = None
        self._last: Any = None  # backend for which something was queued, whose cache may be gone by then

    forget = _clear

    def put(self, names: Iterable[str], state: Any) -> None:
        """Queue the deletes of these keys, for the backend of `state`."""
        run_locked(self.lock, self._put, names, state)

    def _put(self, names: Iterable[str], state: Any) -> None:
        self._last = state.backend
        for name in names:
            self._note_prefix(name)
            self.queued[name] = object()
        if len(self.queued) > MOST:
            _log.warning("%s: more than %d keys could not be deleted, so that all will be", state.name, MOST)
            kept = {name: mark for name, mark in self.queued.items() if self._is_sending(name)}
            self._note_prefix(self.everything)
            self.queued = {self.everything: object(), **kept}
            self._forget_prefixes()
        if self.queued and self._renewal is None:
            renewal = renewer.make(partial(send_queued, weakref.ref(self)), 3 * RETRY)
            renewer.start(renewal)
            self._renewal = renewal

    def _note_prefix(self, name: str) -> None:
        """Note it if it is one, before it is queued: who looks for a key looks into the queue first."""
        if name.endswith(ALL_THAT_BEGIN) and name not in self._prefixes:
            self._prefixes = [*self._prefixes, name]

    def _forget_prefixes(self) -> None:
        self._prefixes = [name for name in self._prefixes if name in self.queued]

    def _is_sending(self, name: str) -> bool:
        return any(name in claimed for claimed in list(self._sending.values()))

    # ---- send

    def settle(self, names: Iterable[str], mode: Any) -> Steps[None]:
        """Send what is queued of these keys; wait where another one does. Raise BackendError if it cannot be sent."""
        ends = time.monotonic() + LONGEST_WAIT
        while found := self._queued_of(names):
            if (yield from self._send(found, mode.backend, mode.call)):
                continue
            if time.monotonic() > ends:
                raise BackendTimeout("a delete that had failed before could not be sent again in time")
            yield mode.sleep(PAUSE)

    def _queued_of(self, names: Iterable[str]) -> list[str]:
        queued, prefixes = self.queued, self._prefixes
        found = [name for name in names if name in queued]
        if prefixes:
            found += [each for each in prefixes if each in queued and any(name.startswith(each[:-1]) for name in names)]
        return found

    def _send(self, names: Iterable[str], backend: Any, call: Callable[..., Any]) -> Steps[bool]:
        """Send those of `names` that are queued, unless somebody else is sending one of them; say whether it did."""
        claimed: dict[str, object] = {}
        ticket = object()
        release = partial(self._sending.pop, ticket, None)  # one call of C code: see `Renewal`
        try:
            run_locked(self.lock, self._claim, names, ticket, claimed)
            plain = [name for name in claimed if name != self._first and not name.endswith(ALL_THAT_BEGIN)]
            first = [[self._first]] if self._first in claimed else []
            for batch in first + [plain[at : at + BATCH] for at in range(0, len(plain), BATCH)]:
                yield call(backend.kill_many, batch)
                run_locked(self.lock, self._sent, batch, claimed)
            for name in [name for name in claimed if name.endswith(ALL_THAT_BEGIN)]:
                with suppress(NotImplementedError):  # of Django's caches: what is there stays until its ttl ends
                    for _ in range(2):  # see `Operations.clear_keys`
                        yield call(backend.clear, name[:-1])
                run_locked(self.lock, self._sent, [name], claimed)
        finally:
            release()
        return bool(claimed)

    def _claim(self, names: Iterable[str], ticket: object, claimed: dict[str, object]) -> None:
        queued = {name: self.queued[name] for name in names if name in self.queued}
        if not any(self._is_sending(name) for name in queued):
            claimed.update(queued)
            self._sending[ticket] = claimed

    def _sent(self, names: Iterable[str], claimed: dict[str, object]) -> None:
        """Take from the queue what was sent, unless it has been queued again since."""
        for name in names:
            if self.queued.get(name) is claimed[name]:
                del self.queued[name]
        self._forget_prefixes()

    def send(self) -> bool:
        """Send all, in a thread of our own; False: there is nothing left, or nothing to send it by."""
        is_open = False
        for backend in [each for each in (self._last, *self.backends.objects()) if each is not None]:
            try:
                if self.queued:
                    _send_by(backend, self._send)(list(self.queued))
                is_open = True
                break
            except CacheClosedError:
                continue
        return run_locked(self.lock, self._goes_on, is_open)

    def _goes_on(self, is_open: bool) -> bool:
        if self.queued and is_open:
            return True
        self._last = self._renewal = None  # what is queued from now on starts another one
        return False


def send_queued(of: Callable[[], Outbox | None]) -> bool:
    """Send what is queued in an outbox, as long as a cache has it; False: there is nothing left to do."""
    outbox = of()
    return outbox is not None and outbox.send()


def _send_by(backend: Any, send: Callable[..., Steps[bool]]) -> Callable[[list[str]], object]:
    """Return what sends by this backend: an asynchronous one on a loop of this thread's own."""
    if not iscoroutinefunction(backend.kill_many):
        return lambda names: run(send(names, backend, _call))

    async def send_and_close(names: list[str]) -> None:
        import asyncio

        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await run_async(send(names, backend, _call))
        finally:
            await backend.aclose()

    def send_on_own_loop(names: list[str]) -> None:
        import asyncio

        asyncio.run(send_and_close(names))

    return send_on_own_loop


def _call(method: Callable[..., Any], *args: Any) -> Any:
    return method(*args)


_outboxes: Final[weakref.WeakValueDictionary[Any, Outbox]] = weakref.WeakValueDictionary()
"""By store and namespace: all caches of one namespace have one, whatever backend they use."""

_registering: Final = Guarded()


def shared_outbox(where: object, outbox: Outbox) -> Outbox:
    """Return the outbox of this place, which is `outbox` if there is none yet."""
    return run_locked(_registering.lock, _outboxes.setdefault, where, outbox)


def _forget_all() -> None:
    for outbox in list(_outboxes.values()):
        outbox.forget()


after_fork_in_child("threads", _forget_all)
