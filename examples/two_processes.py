"""A read-through cache over SQLite, for two processes: each price is loaded once, and a change is seen by both.

    python -m examples.two_processes

No server is needed. What is cached is in a file, so that it is still there when the program is started again.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import tempfile
import time
from pathlib import Path

from areole import SharedCache

PRODUCTS = ["apple", "bread", "cheese", "dates"]


class Shop:
    """Prices in a database, and a cache in front of it."""

    def __init__(self, folder: str) -> None:
        self.database = Path(folder) / "shop.db"
        self.cache: SharedCache[int] = SharedCache(f"sqlite:///{folder}/cache.db", namespace="prices", ttl=300)
        self.loads = 0

    def price(self, product: str) -> int:
        """Return the price, in cents: loaded by one process, while the other waits for it."""
        return self.cache.get_or_fill(product, self.load, wait=5)

    def load(self, product: str) -> int:
        self.loads += 1
        time.sleep(0.05)  # a database that is far away
        with sqlite3.connect(self.database) as database:
            (price,) = database.execute("SELECT price FROM prices WHERE product = ?", (product,)).fetchone()
        database.close()
        return int(price)

    def change(self, product: str, price: int) -> None:
        """Change the database first, and invalidate then: no process reads the old price after this."""
        with sqlite3.connect(self.database) as database:
            database.execute("INSERT OR REPLACE INTO prices VALUES (?, ?)", (product, price))
        database.close()
        self.cache.delete(product)

    def close(self) -> None:
        self.cache.close()


def sell(folder: str, name: str, results: multiprocessing.Queue[tuple[str, int, int]]) -> None:
    """Ask for each price 100 times; report what a round costs, and how many prices this process has loaded."""
    shop = Shop(folder)
    for _ in range(100):
        total = sum(shop.price(product) for product in PRODUCTS)
    results.put((name, total, shop.loads))
    shop.close()


def sell_in_two_processes(folder: str) -> list[tuple[str, int, int]]:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[tuple[str, int, int]] = context.Queue()
    processes = [context.Process(target=sell, args=(folder, name, results)) for name in ("left", "right")]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=60) for _ in processes)
    for process in processes:
        process.join()
    results.close()
    results.join_thread()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        with sqlite3.connect(f"{folder}/shop.db") as database:
            database.execute("CREATE TABLE prices (product PRIMARY KEY, price)")
            database.executemany("INSERT INTO prices VALUES (?, 100)", [(product,) for product in PRODUCTS])
        database.close()
        for name, total, loads in (before := sell_in_two_processes(folder)):
            print(f"{name}: all together {total / 100:.2f}; loaded {loads} prices, and asked for 400")
        print(f"{sum(loads for _, _, loads in before)} loads in both, for {len(PRODUCTS)} prices")
        shop = Shop(folder)
        shop.change("cheese", 250)
        shop.close()
        for name, total, loads in sell_in_two_processes(folder):
            print(f"{name}: after a change {total / 100:.2f}; loaded {loads}")


if __name__ == "__main__":
    main()
