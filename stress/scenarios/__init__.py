"""The scenarios, by name: to add one, write its file and put it here."""

import sys

from ..case import Case
from .batches import Batches
from .byte_limit import ByteLimit
from .cancellations import Cancellations
from .clocks import Clocks
from .cold_storm import ColdStorm
from .equal_hashes import EqualHashes
from .equal_hashes_loops import EqualHashesLoops
from .eviction import Eviction
from .exits import Exits
from .expiry import Expiry
from .failures import Failures
from .fork import Fork
from .interrupts import Interrupts
from .invalidate import Invalidate
from .locks import Locks
from .loops import Loops
from .many_caches import ManyCaches
from .primes import Primes
from .recursion import Recursion
from .reentrant import Reentrant
from .refresh import Refresh
from .removals import Removals
from .resiliences import Resiliences
from .shared import Shared
from .threads import Threads
from .tiers import Tiers

__all__ = ["SCENARIOS", "describe"]

_ON_THREADS = (ColdStorm, Invalidate, Primes, Refresh, Expiry, Clocks, Failures, Recursion)
_OF_HARD_CASES = (Reentrant, EqualHashes, Resiliences, Batches)
_BOUNDED = (Eviction, ByteLimit)
_OF_MANY = (Threads, ManyCaches)
_IN_TASKS = (Loops, EqualHashesLoops, Cancellations)
_IN_PROCESSES = (Interrupts, Locks, Removals, Fork, Exits, Shared, Tiers)

SCENARIOS: dict[str, type[Case]] = {
    each.name(): each for each in (*_ON_THREADS, *_OF_HARD_CASES, *_BOUNDED, *_OF_MANY, *_IN_TASKS, *_IN_PROCESSES)
}


def describe(name: str) -> str:
    """Return the first line of a scenario's header."""
    header = sys.modules[SCENARIOS[name].__module__].__doc__
    assert header is not None
    return header.partition("\n")[0]
