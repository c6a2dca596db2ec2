"""Processes keep values in front of a shared cache: none is older than what the process has heard, or has to know.

Proves: a value that a process keeps is dropped when it hears of a change, and when it may have missed one.

Hunts:
    1. A reads version 1 from the store      3. A hears of it, and drops what it keeps
    2. B invalidates, and says so            4. A's read ends, and version 1 is kept for its whole ttl
    -- or the message of 2 is lost with its connection, or a network that has stopped lets nothing through.

The source, and what is published, are as in `shared`. After each invalidation the writer sends a mark, with the key's
number and version, by the same channel: a process that has heard it has heard the invalidation. No read that begins
then may give an older version. Nor may one that begins `lag`, and a margin, after the version was published, whatever
happens to what is between the process and the store; the writer has a connection of its own. Both readers invalidate
and refresh now and then.

Allowed: a value that was invalidated less than `lag` and a margin ago, if this process has not heard of it.

    killed    the connections on which readers listen are ended by the server
    frozen    the server is stopped for longer than `lag`
    cut       connections are cut in the midst of a message, or let nothing through for a while
    deaf      nothing that the server says comes to the readers for longer than `lag`
    locked    another program holds the lock of the file
    fork      the second reader forks while its threads read; the child reads too
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import ExitStack
from typing import Any

from ..shared.disturbances import ENGINES, Disturbance, cut, none
from ..shared.settings import Settings
from .shared import WRITER, Shared

__all__ = ["Tiers"]

LONGER_THAN_LAG = 4.0


def killed(run: Tiers) -> None:
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
    run.crew.wait_until_reads_go_on(0, 1)


def deaf(run: Tiers) -> None:
    time.sleep(1.5)
    run.proxy.stall()
    time.sleep(LONGER_THAN_LAG)
    run.proxy.pass_through()
    run.crew.wait_until_reads_go_on(0, 1)


def locked(run: Tiers) -> None:
    time.sleep(0.2 * run.choices.random())
    other = sqlite3.connect(run.path, isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(0.8)
    other.execute("ROLLBACK")
    other.close()


_AWAY: dict[str, Any] = {"timeout": 0.25, "sets": False}
WHAT_HAPPENS: dict[str, Disturbance] = {
    "": Disturbance(none, ENGINES),
    "killed": Disturbance(killed),  # type: ignore[arg-type]
    "frozen": Disturbance(frozen, settings=_AWAY, may_fail=True),  # type: ignore[arg-type]
    "cut": Disturbance(cut, settings=_AWAY, may_fail=True),
    "deaf": Disturbance(deaf, settings=_AWAY, may_fail=True),  # type: ignore[arg-type]
    "locked": Disturbance(locked, ("sqlite",), _AWAY, may_fail=True),  # type: ignore[arg-type]
    "fork": Disturbance(none, ENGINES, second={"forks": True}),
}


class Tiers(Shared):
    variants = tuple(
        f"{engine}-{name}" if name else engine for name, each in WHAT_HAPPENS.items() for engine in each.engines
    )
    disturbances = WHAT_HAPPENS
    with_proxy = ("cut", "deaf")

    def start_engine(self, stack: ExitStack, name: str) -> str:
        url = super().start_engine(stack, name)
        self.marks = self.path if self.engine == "sqlite" else self.server.socket_url
        return url

    def make_settings(self, url: str) -> list[Settings]:
        settings = [each.but(program="tier_reader") for each in super().make_settings(url)]
        direct = url if self.engine == "sqlite" else self.server.socket_url
        settings[WRITER] = settings[WRITER].but(program="writer", marks=self.marks, url=direct)
        return settings
