"""Samples: nanoseconds an operation, round by round, and what can be said from them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Case", "Samples", "Spread", "spread_of"]


class Case(NamedTuple):
    """What is measured: a contender, used in one shape."""

    contender: str
    shape: str

    def __str__(self) -> str:
        return f"{self.contender} {self.shape}"


class Spread(NamedTuple):
    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float


def spread_of(values: list[float]) -> Spread:
    ordered = sorted(values)
    last = len(ordered) - 1
    return Spread(
        ordered[0], ordered[last // 4], statistics.median(ordered), ordered[(3 * last + 3) // 4], ordered[last]
    )


@dataclass(slots=True)
class Samples:
    """One number a round, for each case and number of threads.

    Two cases are compared round by round, because what disturbs a round, disturbs its neighbours too: a ratio here is
    the median of the rounds' ratios.
    """

    by_case: dict[Case, dict[int, list[float]]] = field(default_factory=dict)

    def __contains__(self, case: Case) -> bool:
        return case in self.by_case

    def add(self, case: Case, threads: int, nanoseconds: float) -> None:
        self.by_case.setdefault(case, {}).setdefault(threads, []).append(nanoseconds)

    def threads(self) -> list[int]:
        return sorted({n for by_threads in self.by_case.values() for n in by_threads})

    def nanoseconds(self, case: Case, threads: int = 1) -> Spread:
        """Return nanoseconds an operation: the time of all threads together over the operations of all."""
        return spread_of(self.by_case[case][threads])

    def ratio(self, case: Case, other: Case, threads: int = 1) -> Spread:
        """Return how many times as long as `other` this takes."""
        return self._compare(self.by_case[case][threads], self.by_case[other][threads], lambda a, b: a / b)

    def difference(self, case: Case, other: Case, threads: int = 1) -> Spread:
        return self._compare(self.by_case[case][threads], self.by_case[other][threads], lambda a, b: a - b)

    def scaling(self, case: Case, threads: int) -> Spread:
        """Return the throughput of so many threads over that of one."""
        return self._compare(self.by_case[case][1], self.by_case[case][threads], lambda a, b: a / b)

    @staticmethod
    def _compare(these: list[float], those: list[float], how: Callable[[float, float], float]) -> Spread:
        return spread_of([how(a, b) for a, b in zip(these, those, strict=True)])

    def as_json(self) -> dict[str, dict[str, list[float]]]:
        return {
            str(case): {str(n): [round(each, 3) for each in values] for n, values in by_threads.items()}
            for case, by_threads in self.by_case.items()
        }
