"""What happens to a cache while processes use it. Each is done again and again, until the time is over."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .settings import KEYS

if TYPE_CHECKING:
    from ..scenarios.shared import Shared

__all__ = ["DISTURBANCES", "ENGINES", "LEASE", "MIXED", "Disturbance", "none", "stopped"]

LEASE: Final = 0.5
"""Seconds that a token stands in a run in which it is to end."""
HOUR: Final = 3600.0
TAKEN_OVER: Final = 15.0
"""Seconds after which what a killed process was filling has another filler, for sure."""


def none(run: Shared) -> None:
    time.sleep(0.1)


def stopped(run: Shared, seconds: float = 2 * LEASE) -> None:
    """Stop a process in a fill for longer than its token stands; the others go on, and so does it afterwards."""
    place = run.choices.choice(run.readers)
    run.crew.hold_in_fill(place)
    run.crew.signal(place, signal.SIGSTOP)
    try:
        time.sleep(seconds)
        run.crew.wait_until_reads_go_on(*run.others(place))
    finally:
        run.crew.signal(place, signal.SIGCONT)
    if run.choices.random() < 0.5:
        time.sleep(LEASE / 2)  # its token is renewed, or rather is not, before its fill goes on
    run.ledger.hold[place] = 0
    run.crew.wait_until_reads_go_on(place)


def killed(run: Shared) -> None:
    """Kill a process in a fill. The other goes on; one that waits takes over before its wait ends."""
    place = run.choices.choice(run.readers)
    run.crew.hold_in_fill(place)
    run.crew.kill(place)
    run.crew.wait_until_reads_go_on(*run.others(place))
    for number, key in enumerate(KEYS):
        floor, began = run.ledger.published[number], time.monotonic()
        tags = run.settings[0].tags_of(number) or None
        _, version = run.cache.get_or_fill(key, run.fill, wait=2 * TAKEN_OVER, tags=tags)
        run.expect(version >= floor, f"after a kill {key!r} gave {version}; {floor} had been invalidated before")
        run.expect(time.monotonic() - began < TAKEN_OVER, f"nobody took {key!r} over within {TAKEN_OVER} s")
    run.crew.start(place)
    run.crew.wait_until_ready()


def restart(run: Shared) -> None:
    """Kill the server, and start it again: values and tokens are gone."""
    time.sleep(0.3 * run.choices.random())
    run.server.kill()
    time.sleep(0.5 * run.choices.random())
    run.server.start()
    run.crew.wait_until_reads_go_on(*run.readers)


def cut(run: Shared) -> None:
    """Cut all connections in the midst of what they say; now and then let nothing through for a while."""
    time.sleep(0.05 * run.choices.random())
    drawn = run.choices.random()
    if drawn < 0.1:
        run.proxy.stall()
        time.sleep(0.4)
        run.proxy.pass_through()
        run.crew.wait_until_reads_go_on(*run.readers)
    elif drawn < 0.5:
        run.proxy.cut_after(run.choices.randrange(300))
        time.sleep(0.02)
        run.proxy.pass_through()
    else:
        run.proxy.cut()


def stalled(run: Shared) -> None:
    """Let the server answer nothing for longer than the cache waits."""
    time.sleep(0.2 * run.choices.random())
    if run.engine == "sqlite":
        with sqlite3.connect(run.path, isolation_level=None, timeout=10) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(0.8)
            other.execute("ROLLBACK")
        other.close()
    else:
        run.server.pause()
        try:
            time.sleep(0.8)
        finally:
            run.server.resume()
    run.crew.wait_until_reads_go_on(*run.readers)


def evicts(run: Shared) -> None:
    """Write much else, so that values, tokens and versions are evicted."""
    for _ in range(10):
        run.write_others([f"other:{run.choices.random()}" for _ in range(40)], b"x" * 4096)
        time.sleep(0.02)


def mixed(run: Shared) -> None:
    """Do all of the others that do not take long, one after the other, to the processes that are started once."""
    for name, each in run.disturbances.items():
        if run.engine not in each.engines or each.play in (none, mixed) or each.is_long:
            continue
        each.play(run)
        run.crew.wait_until_reads_go_on(*run.readers)
        if run.has_found:
            return run.expect(False, f"it was found after {name!r} was played")
    return None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """`settings`: changes to those of all processes; `second`: to those of the second reader."""

    play: Callable[[Shared], None] = none
    engines: tuple[str, ...] = ("redis",)
    settings: dict[str, Any] = field(default_factory=dict)
    second: dict[str, Any] = field(default_factory=dict)
    readers: int = 2
    is_long: bool = False
    server: dict[str, Any] = field(default_factory=dict)
    may_fail: bool = False
    """Whether calls may raise BackendError: the first reader then takes a miss for it, all others see it."""


ENGINES: Final = ("redis", "sqlite")
_AWAY: Final = {"timeout": 0.25, "sets": False}
_LEASED: Final = {"lease": LEASE}
_TAGGED: Final = {"tags": True}
_EVICTS: Final = {"maxmemory": "3mb", "maxmemory_policy": "allkeys-lru"}
MIXED: Final = Disturbance(
    mixed, ENGINES, _AWAY | _LEASED | _TAGGED | {"pause": 0.03}, {"clock_off": HOUR}, server=_EVICTS, may_fail=True
)

DISTURBANCES: Final[dict[str, Disturbance]] = {
    "": Disturbance(engines=ENGINES),
    "tags": Disturbance(engines=ENGINES, settings=_TAGGED),
    "stopped": Disturbance(stopped, ENGINES, _LEASED, may_fail=True),
    "killed": Disturbance(killed, ENGINES, _LEASED, may_fail=True),
    "restart": Disturbance(restart, settings=_AWAY, may_fail=True),
    "cut": Disturbance(cut, settings=_AWAY, may_fail=True),
    "stalled": Disturbance(stalled, ENGINES, _AWAY, may_fail=True),
    "evicts": Disturbance(evicts, ENGINES, _TAGGED, server=_EVICTS),
    "fork": Disturbance(engines=ENGINES, second={"forks": True}),
    "clock": Disturbance(engines=ENGINES, second={"clock_off": HOUR}),
    "mixed": MIXED,
}
