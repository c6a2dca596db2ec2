"""Processes keep values in front of a shared cache: none is older than what the process has heard, or has to know.

Proves: a value that a process keeps is dropped when it hears of a change, and when it may have missed one.

Hunts:
    1. A reads version 1 from the store      3. A hears of it, and drops what it keeps
    2. B invalidates, and says so            4. A's read ends, and version 1 is kept for its whole ttl
    -- or the message of 2 is lost with its connection, or a network that has stopped lets nothing through.

The source, and what is published, are as in `shared`. After each invalidation the writer sends a mark, with the key's
number and version, by the same channel: a process that has heard it has heard the invalidation. No read that begins
then may give an older version. Nor may one that begins `lag`, and a margin, after the version was published, whatever
happens to what is between the process and the store; the writer has a connection of its own. In each reading process
are threads, which read one AtomicCache, and tasks, which read an AsyncAtomicCache before the same store; all invalidate
and refresh now and then. Less often, threads read an AtomicCache that fills many keys by one call, and the shared cache
itself, which keeps copies too.

Allowed: a value that was invalidated less than `lag` and a margin ago, if this process has not heard of it.

    tags          values have tags, and are invalidated by them too; in the tasks' cache only fills know them
    four          four processes read
    flood         10,000 other keys a second are invalidated
    evicts        with tags, and little memory, and other writes: values, tokens and versions are evicted
    fork          the second reader forks while its threads read; the child reads too
    stopped       a process is stopped in a fill for longer than its token stands, or than `lag`
    killed        a process is killed in a fill; what waits for its value takes over
    unsubscribed  the connections on which readers listen are ended by the server (CLIENT KILL)
    restart       the server is killed, and comes back empty
    frozen        the server is stopped for longer than `lag`
    cut           connections are cut in the midst of a message, or let nothing through for a while
    deaf          nothing that the server says comes to the readers for longer than `lag`
    partition     the same, one-sided: messages are lost and requests go through, or requests alone are held back
    mixed         all of these but forks, `frozen` and `deaf`, one after the other, to the same processes; with tags;
                  of the second reader values are soon stale, and refreshed behind, ahead of their end too
    locked        another program holds the lock of the file

For a process that was itself stopped, time counts as it runs: after that its plane needs a moment to notice.

`python -m stress run tiers/redis-four --seconds 60` makes some ten million reads on a machine that does nothing else.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ..shared.disturbances import DISTURBANCES, ENGINES, LEASE, MIXED, Disturbance, stopped
from ..shared.settings import Settings
from .shared import Shared

__all__ = ["Tiers"]

LONGER_THAN_LAG = 4.0
SECONDS_OF_FLOOD, A_SECOND, BATCH = 1, 10_000, 100


def unsubscribed(run: Tiers) -> None:
    import redis

    time.sleep(0.3 * run.choices.random())
    with redis.Redis(unix_socket_path=run.server.socket_path) as client:
        client.client_kill_filter(_type="pubsub")


def frozen(run: Tiers) -> None:
    time.sleep(1.0)
    run.server.pause()
    try:
        time.sleep(LONGER_THAN_LAG)
    finally:
        run.server.resume()
    run.crew.wait_until_reads_go_on(*run.readers)


def deaf(run: Tiers) -> None:
    break_for_longer_than_lag(run, run.proxy.stall)


def partition(run: Tiers) -> None:
    break_for_longer_than_lag(run, run.choices.choice([run.proxy.swallow, run.proxy.hold]))


def break_for_longer_than_lag(run: Tiers, begin: Callable[[], None]) -> None:
    time.sleep(1.5)
    begin()
    time.sleep(LONGER_THAN_LAG)
    run.proxy.pass_through()
    run.crew.wait_until_reads_go_on(*run.readers)


def stopped_for_long(run: Tiers) -> None:
    stopped(run, run.choices.choice([2 * LEASE, LONGER_THAN_LAG]))


def flood(run: Tiers) -> None:
    """Invalidate in batches, as many a second as is meant, if this process comes to it."""
    began = time.monotonic()
    for i in range(SECONDS_OF_FLOOD * A_SECOND // BATCH):
        run.cache.delete_many([f"other {j}" for j in range(BATCH)])
        time.sleep(max(0.0, began + i * BATCH / A_SECOND - time.monotonic()))
    run.counts["flood"] += SECONDS_OF_FLOOD * A_SECOND


def locked(run: Tiers) -> None:
    time.sleep(0.2 * run.choices.random())
    other = sqlite3.connect(run.path, isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(0.8)
    other.execute("ROLLBACK")
    other.close()


_AWAY: dict[str, Any] = {"timeout": 0.25, "sets": False}
_LEASED: dict[str, Any] = {"lease": LEASE}
WHAT_HAPPENS: dict[str, Any] = {
    "": Disturbance(engines=ENGINES),
    "tags": DISTURBANCES["tags"],
    "four": Disturbance(engines=ENGINES, readers=4, settings={"pause": 0.05}),  # so that reads are mostly hits
    "flood": Disturbance(flood, ENGINES),  # type: ignore[arg-type]
    "evicts": DISTURBANCES["evicts"],
    "fork": DISTURBANCES["fork"],
    "stopped": Disturbance(stopped_for_long, ENGINES, _LEASED, may_fail=True),  # type: ignore[arg-type]
    "killed": DISTURBANCES["killed"],
    "unsubscribed": Disturbance(unsubscribed),  # type: ignore[arg-type]
    "restart": DISTURBANCES["restart"],
    "frozen": Disturbance(frozen, settings=_AWAY, may_fail=True, is_long=True),  # type: ignore[arg-type]
    "cut": DISTURBANCES["cut"],
    "deaf": Disturbance(deaf, settings=_AWAY, may_fail=True, is_long=True),  # type: ignore[arg-type]
    "partition": Disturbance(partition, settings=_AWAY, may_fail=True),  # type: ignore[arg-type]
    "locked": Disturbance(locked, ("sqlite",), _AWAY, may_fail=True),  # type: ignore[arg-type]
    "mixed": replace(MIXED, second=MIXED.second | {"is_resilient": True}),
}


class Tiers(Shared):
    only_ours = "its processes share a SharedCache, below areole's caches"
    variants = tuple(
        f"{engine}-{name}" if name else engine for name, each in WHAT_HAPPENS.items() for engine in each.engines
    )
    disturbances = WHAT_HAPPENS
    with_proxy = ("cut", "deaf", "partition", "mixed")

    def start_engine(self, stack: ExitStack, name: str) -> str:
        url = super().start_engine(stack, name)
        self.marks = self.path if self.engine == "sqlite" else self.server.socket_url
        return url

    def make_settings(self, url: str) -> list[Settings]:
        *readers, writer = super().make_settings(url)
        direct = url if self.engine == "sqlite" else self.server.socket_url
        return [
            *(each.but(program="tier_reader", tasks=4, keeps=True) for each in readers),
            writer.but(marks=self.marks, url=direct),
        ]
