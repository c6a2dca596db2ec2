"""A read-through cache over SQLite: eight threads ask for prices, and each price is loaded by one query.

    python -m examples.read_through

Meanwhile prices change. A thread that has changed one never reads the old price afterwards.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from areole import AtomicCache

PRODUCTS = [f"product {number}" for number in range(20)]


class Prices:
    """Prices in a database, and a cache in front of it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.queries: list[str] = []
        """Which products were asked for, for those who want to count."""
        self.cents = AtomicCache(self.load, ttl=60, max_items=10_000)
        self.one_change = threading.Lock()
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE prices (product PRIMARY KEY, cents)")
            database.executemany("INSERT INTO prices VALUES (?, 100)", [(product,) for product in PRODUCTS])

    def load(self, product: str) -> int:
        self.queries.append(product)
        with closing(sqlite3.connect(self.path, timeout=30)) as database:
            row = database.execute("SELECT cents FROM prices WHERE product = ?", (product,)).fetchone()
        if row is None:
            raise KeyError(product)  # is not stored
        return int(row[0])

    def raise_price(self, product: str) -> int:
        """Change the database first, and invalidate then: a load that began before is stored nowhere."""
        with self.one_change, closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            database.execute("UPDATE prices SET cents = cents + 1 WHERE product = ?", (product,))
            (cents,) = database.execute("SELECT cents FROM prices WHERE product = ?", (product,)).fetchone()
        self.cents.invalidate(product)
        return int(cents)


def ask_for_all(prices: Prices) -> int:
    return sum(prices.cents[product] for product in PRODUCTS)


def change_and_ask(prices: Prices, seed: int) -> int:
    """Raise some prices, among others who do the same; count how often an older price was read afterwards."""
    choice, stale = random.Random(seed), 0
    for product in choice.choices(PRODUCTS, k=10):
        raised = prices.raise_price(product)
        stale += prices.cents[product] < raised
    return stale


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(8) as threads:
        prices = Prices(f"{folder}/shop.db")
        totals = set(threads.map(ask_for_all, [prices] * 8))
        print(f"8 threads asked for {len(PRODUCTS)} prices: {len(prices.queries)} queries; all read {totals}")
        stale = sum(threads.map(change_and_ask, [prices] * 8, range(8)))
        print(f"80 changes by 8 threads: {stale} old prices were read after a change")


if __name__ == "__main__":
    main()
