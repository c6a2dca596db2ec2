"""Requests that were recorded elsewhere, and how s3fifo has to do on them: `benchmarks.hit_ratio --traces FOLDER`.

A folder holds files `NAME.u32.gz`, each a gzipped list of little-endian 32-bit numbers, one a request. They are not in
the repository.
"""

from __future__ import annotations

import gzip
import sys
from array import array
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["NEAR", "SHARES", "RecordedRow", "average", "hits_of_published_s3fifo", "missed_targets", "read_traces"]

Keys = Sequence[int]

SHARES = (0.01, 0.05, 0.2)  # of the distinct keys
NEAR = 0.01  # of all requests: what counts as the same hit ratio
NEAR_BEST = 0.75  # of all cases in which s3fifo is to be that near to the best
GIVEN = frozenset({"corda", "web12", "multi1", "loop", "sprite", "oltp"})
MEAN_OF_GIVEN = 0.431

OURS, LRU = "areole s3fifo", "areole lru"


def read_traces(folder: Path) -> dict[str, list[int]]:
    """Return the traces of a folder by their names; ValueError if there are none."""
    found = {path.name.removesuffix(".u32.gz"): _read(path) for path in sorted(folder.glob("*.u32.gz"))}
    if not found:
        raise ValueError(f"{folder} has no files NAME.u32.gz: give the folder that holds the recorded traces")
    return found


def _read(path: Path) -> list[int]:
    numbers = array("I")
    numbers.frombytes(gzip.decompress(path.read_bytes()))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def hits_of_published_s3fifo(trace: Keys, size: int) -> int:
    """Count the hits of S3-FIFO as its authors describe it, with a small queue of a tenth, in the plainest way."""
    small, main, ghosts = deque[int](), deque[int](), OrderedDict[int, None]()
    uses: dict[int, int] = {}
    small_size = max(1, size // 10)
    hits = 0

    def evict_from_main() -> None:
        while uses[main[0]]:
            uses[main[0]] -= 1
            main.rotate(-1)
        del uses[main.popleft()]

    def evict() -> None:
        while small and (len(small) >= small_size or not main):
            key = small.popleft()
            if uses[key] > 1:
                uses[key] = 0
                main.append(key)
                if len(main) > size - small_size:
                    return evict_from_main()
            else:
                del uses[key]
                ghosts[key] = None
                if len(ghosts) > size - small_size:
                    ghosts.popitem(last=False)
                return None
        return evict_from_main()

    for key in trace:
        if key in uses:
            hits += 1
            uses[key] = min(3, uses[key] + 1)
            continue
        was_ghost = key in ghosts
        while len(uses) >= size:
            evict()
        uses[key] = 0
        if was_ghost:
            ghosts.pop(key, None)
            main.append(key)
        else:
            small.append(key)
    return hits


@dataclass(frozen=True, slots=True)
class RecordedRow:
    """The hit ratios over one trace at one size, by contender; `online` are those that do not see the future."""

    trace: str
    share: float
    size: int
    ratios: Mapping[str, float]
    online: frozenset[str]

    def best(self) -> float:
        """Return the hit ratio of the best online contender but s3fifo."""
        return max(ratio for name, ratio in self.ratios.items() if name in self.online and name != OURS)

    def is_near_best(self) -> bool:
        return self.ratios[OURS] >= self.best() - NEAR

    def is_below_lru(self) -> bool:
        """Say whether lru is better by more than a point, though something that is online is better than lru."""
        return self.ratios[OURS] < self.ratios[LRU] - NEAR and self.best() > self.ratios[LRU]


def average(rows: Sequence[RecordedRow], name: str) -> float:
    return sum(row.ratios[name] for row in rows) / len(rows)


def missed_targets(rows: Sequence[RecordedRow]) -> list[str]:
    """Say which targets are missed on the recorded requests."""
    missed = [
        f"Missed: {row.trace} at {row.share:.0%}: more than a point below lru." for row in rows if row.is_below_lru()
    ]
    near = sum(row.is_near_best() for row in rows)
    if near < NEAR_BEST * len(rows):
        missed.append(f"Missed: within a point of the best in {near} of {len(rows)} cases.")
    if {row.trace for row in rows} == GIVEN and average(rows, OURS) < MEAN_OF_GIVEN:
        missed.append(f"Missed: a mean of {average(rows, OURS):.1%}, not {MEAN_OF_GIVEN:.1%}.")
    return missed
