"""The prime oracle, as in Trino's tests: every thread finds in what it reads all the primes that it has put there.

Proves: a get that starts after an invalidation has returned sees what was written before that (invariant 3), by an
argument of its own, which shares nothing with the floor of versions. Each thread has a prime. It multiplies a product
that all share by it, invalidates, reads, and what it reads is divisible by its prime as often as it has multiplied.

Hunts:
    1. A's fill reads the product: 6               3. A publishes 6, after the invalidation
    2. B makes it 30, and invalidates              4. B reads 6, which its prime 5 does not divide.

Allowed: any product that has all the reader's own primes in it, whatever there is of the others'.
"""

from __future__ import annotations

import threading
from typing import Any

from ..oracle import Findings
from ..scenario import Scenario
from ..worker import Worker

__all__ = ["Primes", "nth_prime"]


class Primes(Scenario):
    needs = ("invalidate",)
    operations = 25

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.product = 1
        self.lock = threading.Lock()  # makes one step of reading, multiplying and storing

    def start_round(self, number: int) -> None:
        super().start_round(number)
        self.product = 1

    def fill(self, key: Any) -> int:
        product, worker = self.product, self.worker()
        worker.fills_run += 1
        worker.pause(self.pauses)
        return product

    def play(self, worker: Worker) -> None:
        prime, own = nth_prime(worker.number), 1
        for _ in range(self.operations):
            with self.lock:
                self.product *= prime
            self.subject.invalidate("product")
            own *= prime
            for _ in range(worker.choices.choice((1, 1, 2, 3))):
                self.expect(own, worker)

    def expect(self, own: int, worker: Worker) -> None:
        ran, read = worker.fills_run, self.subject.read("product")
        worker.operations += 1
        worker.hits += worker.fills_run == ran
        if type(read) is not int or read % own:
            self.oracle.findings.add("stale", f"{worker.name} had made it divisible by {own}, and read {read!r}")

    def check_round(self, workers: list[Worker]) -> None:
        self.subject.check()


def nth_prime(n: int) -> int:
    """Return a prime for thread `n`: 2, 3, 5 and so on."""
    found: list[int] = []
    candidate = 1
    while len(found) <= n:
        candidate += 1
        if all(candidate % prime for prime in found):
            found.append(candidate)
    return found[n]
