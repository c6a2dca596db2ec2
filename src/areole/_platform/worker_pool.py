"""The threads in which fills run that no caller, or not every caller, waits for: one small pool for the process.

    submit(task)   in the background, when there is a thread for it: refreshes of values that can be served meanwhile
    run(task)      now, in a thread of its own: fills that a caller waits for, with a timeout

Both use daemon threads that are started when they are needed and kept for some seconds. A fill with a waiter is never
queued: fills that wait for each other could take all threads, and wait for one that is still in the queue. A background
fill claims its key when it begins, so nothing waits for a queued one.

Which task begins
    All caches share MOST_THREADS. A cache that runs no background fill always gets a thread, so no cache starves
    another; and the caches take turns. A fill that has run for longer than its patience is *hung*: it no longer counts
    among the MOST_THREADS, and another one begins, up to MOST_EACH threads per cache and MOST_IN_ALL in the process.
    The upper half of those is kept for caches that run none. At the limit fills stay in the queue: their values are
    served stale for as long as they may be, and then lookups fill themselves.

Who takes what is queued
    A *drainer*: a thread that runs one queued task after another. It chooses under `lock`, which only threads of the
    pool take, so `submit` waits for nothing and can be called in a finalizer, which may hold any lock. `submit` queues
    the task, and then calls a drainer, unless one was called that has not looked yet:

        submit    queue the task           is `_called_until` set? then one will look      else set it, and call one
        drainer   clear `_called_until`    look at the queues

    so whichever of the two comes first, a drainer looks at the queues after the task is there. If an interrupt comes
    between setting it and calling, it counts for CALL_SECONDS only. A drainer that begins a task while another may
    begin calls the next one.

    A fill becomes hung by the passing of time, which calls no drainer. So lookups of stale values whose refresh is
    queued call `look`, which calls one if a running fill has become hung since the last one looked.

Taking an idle thread and giving it its task is one step of C code (see `locks`). In two steps

    1. `run` takes a thread out of the idle ones    2. it is interrupted    3. the thread waits for a task for ever.

At interpreter exit no task begins any more; running ones are left, as daemon threads are. In the child of a fork there
are no threads, and the queues are empty.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf
from operator import attrgetter, call
from typing import Any, Final, NamedTuple, TypeAlias

from ..typing import Clock
from .fork import after_fork_in_child
from .locks import run_locked
from .weak import WeakTable

__all__ = ["HUNG_SECONDS", "Client", "Pool", "pool"]

Task: TypeAlias = Callable[[], Any]

_log = logging.getLogger("areole")

MOST_THREADS: Final = 4
"""How many threads run what was submitted for all caches; hung fills and a cache's first fill may come on top."""

MOST_EACH: Final = 8
"""How many of them a cache may have, hung ones included."""

MOST_IN_ALL: Final = 64
"""How many there may be at all."""

HUNG_SECONDS: Final = 5.0
"""How long a background fill may take before it counts as hung, where no timeout says."""

MOST_QUEUED: Final = 1000
"""How many tasks of one cache may wait: they keep keys, values and arguments alive."""

IDLE_SECONDS = 10.0
"""How long a thread without a task is kept."""

CALL_SECONDS: Final = 1.0
"""How long a drainer that was called may take to look, before another one is called."""


class _Worker:
    """A thread that does one task after another. While it is idle, what gives it the next one is in the list `idle`."""

    def __init__(self, idle: list[Callable[[Task], None]], task: Task) -> None:
        self._idle = idle
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._give = self._tasks.put
        self._give(task)

    def start(self) -> None:
        threading.Thread(target=self._work, name="areole-fill", daemon=True).start()

    def _work(self) -> None:
        while (task := self._next()) is not None:
            _do(task)
            del task
            self._idle.append(self._give)

    def _next(self) -> Task | None:
        """Return the next task; None if none came for IDLE_SECONDS, and none will come."""
        try:
            return self._tasks.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            pass
        try:
            self._idle.remove(self._give)
        except ValueError:
            return self._tasks.get()  # it was taken just now, and given a task in the same step
        return None


def _do(task: Any) -> None:
    try:
        task()
    except BaseException as error:
        # Neither its message nor its traceback: they may show keys and values.
        _log.warning("a background task of areole raised %s", type(error).__name__)


# ---- what is queued


class Client(NamedTuple):
    """The cache for which a task is submitted."""

    identity: object
    """All that is submitted with the same object shares one queue. Each task keeps it alive; the others do not."""
    name: str
    count_hung: Callable[[], Any]
    """Called once for each task that is found to be hung."""


NOBODY: Final = Client(_log, "areole", int)
"""Stands for all caches: what is submitted for it holds a thread that any of them could have."""


class _Job:
    """A task, and while it runs, from when on it is hung."""

    __slots__ = ("due", "is_hung", "lane", "patience", "task")

    def __init__(self, task: Task, lane: _Lane, patience: float) -> None:
        self.task: Task | None = task
        self.lane = lane
        self.patience = patience
        self.due = inf
        self.is_hung = False


class _Lane:
    """The background fills of one cache. `waiting` takes more at any time; the rest is used under the lock alone."""

    __slots__ = ("count_hung", "is_reported", "name", "running", "turn", "waiting")

    def __init__(self, client: Client) -> None:
        _, self.name, self.count_hung = client
        self.waiting: deque[_Job] = deque()
        self.running: dict[_Job, None] = {}
        self.turn = 0  # when it last began one
        self.is_reported = False

    def begin(self, now: float, turn: int) -> _Job:
        job = self.waiting.popleft()
        job.due = now + job.patience
        self.running[job] = None
        self.turn = turn
        return job

    def end(self, job: _Job, now: float) -> None:
        self.set_hung_aside(now)  # this one too, if it ends late
        self.running.pop(job, None)
        self.is_reported = self.is_reported and bool(self.running)

    def set_hung_aside(self, now: float) -> None:
        for job in self.running:
            if not job.is_hung and job.due <= now:
                job.is_hung = True
                self.count_hung()

    def next_hung(self) -> float:
        """Return when the next of those that run becomes hung."""
        return min((job.due for job in self.running if not job.is_hung), default=inf)

    def count_active(self) -> int:
        return sum(not job.is_hung for job in self.running)

    def may_begin(self, total: int, active: int) -> bool:
        """Say whether another one may begin, where so many run in all lanes, and so many of them are not hung."""
        if not self.running:
            return total < MOST_IN_ALL
        if total >= MOST_IN_ALL // 2 or len(self.running) >= MOST_EACH:
            return False
        return active < MOST_THREADS or not self.count_active()

    def becomes_stuck(self) -> bool:
        """Say whether what waits here, and may not begin, waits for hung fills alone, if that is not known yet."""
        if self.is_reported or not self.waiting or self.count_active():
            return False
        self.is_reported = True
        return True


# ---- the pool


class Pool:
    """See the module. The clock says what is hung."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._is_closed = False
        self.restart_in_child()

    def restart_in_child(self) -> None:
        """Begin without threads and tasks: in the child of a fork those of the parent do not exist."""
        self._idle: list[Callable[[Task], None]] = []
        self._lanes: WeakTable[_Lane] = WeakTable()
        self.lock = threading.RLock()  # of the drainers alone: no fill needs it
        self._turn = 0
        self._called_until = -inf  # a drainer was called and has not looked yet; counts until then
        self._look_at = inf  # from when on `look` calls a drainer

    def close(self) -> None:
        """Begin no task any more."""
        self._is_closed = True

    def run(self, task: Task) -> bool:
        """Do `task` in a thread of its own, beginning now; False: there is no thread to be had."""
        if self._is_closed:
            return False
        try:
            next(map(call, map(call, (self._idle.pop,)), (task,)))  # takes and gives in one step: see the module
        except IndexError:
            try:
                _Worker(self._idle, task).start()
            except RuntimeError:  # there are too many threads, or the interpreter exits
                return False
        return True

    def submit(self, task: Task, client: Client = NOBODY, patience: float = HUNG_SECONDS) -> bool:
        """Have `task` done in the background; False: not now, there is too much to do, or the interpreter exits."""
        if self._is_closed:
            return False
        lane = self._lanes.add_if_absent(client.identity, _Lane(client))
        if len(lane.waiting) >= MOST_QUEUED:
            self.look()
            return False
        lane.waiting.append(_Job(task, lane, patience))
        now = self._clock()
        return now < self._called_until or self._call_drainer(now)

    def look(self) -> None:
        """Have a drainer look whether a running fill has become hung; called by lookups whose refresh is queued."""
        if (now := self._clock()) >= self._look_at:
            self._call_drainer(now)

    def _call_drainer(self, now: float) -> bool:
        self._called_until = self._look_at = now + CALL_SECONDS
        if self.run(self._drain):
            return True
        self._called_until = -inf
        return False

    # ---- the drainers

    def _drain(self) -> None:
        job = None
        try:
            while not self._is_closed and (job := self._begin(job)) is not None:
                _do(job.task)
                job.task = None  # before the thread is idle: it keeps its arguments alive
        finally:
            if job is not None:
                run_locked(self.lock, job.lane.end, job, self._clock())

    def _begin(self, ended: _Job | None) -> _Job | None:
        """Begin the next task; call another drainer if there is one more for it; report the lanes that are stuck."""
        job, has_more, stuck = run_locked(self.lock, self._choose, ended, self._clock())
        if has_more:
            self._call_drainer(self._clock())
        for lane in stuck:
            _log.warning(
                "%s: no background fill begins: all threads that it may have are held by fills that take too long. "
                "Values are served stale until one of them ends, or until lookups fill them",
                lane.name,
            )
        return job

    def _choose(self, ended: _Job | None, now: float) -> tuple[_Job | None, bool, list[_Lane]]:
        """Return the job that the calling drainer is to do, whether there is another, and the lanes to report."""
        self._called_until = -inf  # before it looks
        if ended is not None:
            ended.lane.end(ended, now)
        lanes = self.busy_lanes()
        for lane in lanes:
            lane.set_hung_aside(now)
        job = None
        if allowed := _allowed(lanes):
            self._turn += 1
            job = min(allowed, key=attrgetter("turn")).begin(now, self._turn)
            allowed = _allowed(lanes)
        self._look_at = min((lane.next_hung() for lane in lanes), default=inf)
        stuck = [lane for lane in lanes if lane not in allowed and lane.becomes_stuck()]
        return job, bool(allowed), stuck

    def busy_lanes(self) -> list[_Lane]:
        return [lane for _, lane in list(self._lanes.records.values()) if lane.waiting or lane.running]


def _allowed(lanes: list[_Lane]) -> list[_Lane]:
    """Return those of the lanes that may begin a fill."""
    if sum(lane.count_active() for lane in lanes if lane.name is NOBODY.name) >= MOST_THREADS:
        return []  # what belongs to no cache counts for every cache
    total = sum(len(lane.running) for lane in lanes)
    active = sum(lane.count_active() for lane in lanes)
    return [lane for lane in lanes if lane.waiting and lane.may_begin(total, active)]


pool = Pool()
atexit.register(pool.close)
after_fork_in_child("threads", pool.restart_in_child)
