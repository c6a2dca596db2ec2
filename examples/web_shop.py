"""A web application of two processes, which goes on while its redis-server is killed and started again.

    python -m examples.web_shop

Each process serves HTTP from threads, keeps pages in memory, and shares them by Redis with the other one. A page has
as tags the categories on it, so a price that is changed in one process is seen in both, on every page. Without a
Redis they load each page themselves, and keep none: nobody could tell them what has changed. It needs a redis-server
and redis-py (pip install 'areole[redis]'); the database is a file.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from areole import AtomicCache, Filled, SharedCache

PRICES = {"bread": {"rye": 310, "wheat": 250}, "cheese": {"brie": 420, "gouda": 380}}


# ---- the application


class Shop:
    """Pages of categories, and what one product costs."""

    def __init__(self, folder: str, redis_url: str) -> None:
        self.path = f"{folder}/shop.db"
        self.loads = 0
        self.shared = SharedCache[Any](redis_url, namespace="shop", ttl=300, on_error="miss")
        kept = AtomicCache.memoize(shared=self.shared, local_ttl=60, name="page", tags=["{category}"])
        self.page = kept(self.load_page)
        kept = AtomicCache.memoize(shared=self.shared, local_ttl=60, name="offers", tags=())
        self.offers = kept(self.load_offers)

    def load_page(self, category: str) -> dict[str, int]:
        self.loads += 1
        with closing(sqlite3.connect(self.path, timeout=10)) as database:
            rows = database.execute("SELECT product, cents FROM prices WHERE category = ?", (category,))
            return dict(rows.fetchall())

    def load_offers(self) -> Filled[dict[str, int]]:
        """Find the cheapest product of each category. Only this knows which ones there are."""
        self.loads += 1
        with closing(sqlite3.connect(self.path, timeout=10)) as database:
            rows = database.execute("SELECT category, product, min(cents) FROM prices GROUP BY category").fetchall()
        return Filled({product: cents for _, product, cents in rows}, tags=[category for category, _, _ in rows])

    def change(self, category: str, product: str, cents: int) -> None:
        """Change the database first, and invalidate then."""
        with closing(sqlite3.connect(self.path, timeout=10)) as database, database:
            database.execute("UPDATE prices SET cents = ? WHERE product = ?", (cents, product))
        self.shared.invalidate_tags(category)


class Handler(BaseHTTPRequestHandler):
    """GET /: offers. GET /bread: its page. POST /bread/rye/320: another price. GET /loads: how many it has loaded."""

    protocol_version = "HTTP/1.1"
    shop: Shop

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.answer(self.shop.loads if name == "loads" else self.shop.page(name) if name else self.shop.offers())

    def do_POST(self) -> None:
        category, product, cents = self.path.strip("/").split("/")
        self.answer(self.shop.change(category, product, int(cents)))

    def answer(self, what: Any) -> None:
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def serve(folder: str, redis_url: str, pipe: Any) -> None:
    """Be one process of the application; say at which port, and end when that is asked for."""
    Handler.shop = Shop(folder, redis_url)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pipe.send(server.server_address[1])
        pipe.recv()
        server.shutdown()
    Handler.shop.shared.close()


# ---- what is tried with it


class Process:
    """One process of the application, as its clients see it."""

    def __init__(self, folder: str, redis_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=serve, args=(folder, redis_url, other_end))
        self.process.start()
        other_end.close()  # so that `recv` raises if the process ends
        self.port = self.pipe.recv()

    def ask(self, path: str, method: str = "GET") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status}")
            return json.loads(answer.read())

    def shows(self, category: str, product: str, cents: int) -> bool:
        """Say whether this process shows a price on both pages that have it."""
        return bool(self.ask(f"/{category}")[product] == self.ask("/")[product] == cents)

    def seconds_until(self, category: str, product: str, cents: int) -> float:
        """Return how long it takes until this process shows a price; while it does not, it shows the one before."""
        began = time.monotonic()
        while not self.shows(category, product, cents):
            if time.monotonic() > began + 30:
                raise RuntimeError(f"{product} does not cost {cents} after 30 s")
        return time.monotonic() - began

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join()


class Redis:
    """A redis-server, which can be killed."""

    def __init__(self, folder: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self.answers)

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Visitors:
    """Threads that ask all processes for pages, all the time."""

    def __init__(self, processes: list[Process]) -> None:
        self.asked, self.is_over, self.failures = 0, False, list[str]()
        self.threads = [threading.Thread(target=self.ask_on, args=(process,)) for process in processes]
        for thread in self.threads:
            thread.start()

    def ask_on(self, process: Process) -> None:
        while not self.is_over:
            for category, prices in PRICES.items():
                try:
                    if process.ask(f"/{category}").keys() != prices.keys():
                        self.failures.append(f"another page came for {category}")
                except Exception as error:
                    self.failures.append(str(error))
                self.asked += 1

    def end(self) -> None:
        self.is_over = True
        for thread in self.threads:
            thread.join()


def wait_until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError("it has not come within 30 s")
        time.sleep(0.02)


def make_database(folder: str) -> None:
    rows = [(category, *item) for category, prices in PRICES.items() for item in prices.items()]
    with closing(sqlite3.connect(f"{folder}/shop.db")) as database, database:
        database.execute("CREATE TABLE prices (category, product PRIMARY KEY, cents)")
        database.executemany("INSERT INTO prices VALUES (?, ?, ?)", rows)


def is_kept(process: Process) -> bool:
    """Say whether a process loads nothing when it is asked again."""
    before = process.ask("/loads")
    for _ in range(5):
        process.ask("/bread")
        process.ask("/")
    return bool(process.ask("/loads") == before)


def change(left: Process, right: Process, cents: int, when: str) -> None:
    """Change a price in one process, which shows it at once; say how long it takes until the other shows it."""
    left.ask(f"/bread/rye/{cents}", "POST")
    if not left.shows("bread", "rye", cents):
        raise RuntimeError(f"{when}: the process that has changed a price shows the old one")
    print(f"{when}: a price that one process has changed is shown by the other after", end=" ")
    print(f"{right.seconds_until('bread', 'rye', cents):.2f} s")


def main() -> None:
    if shutil.which("redis-server") is None:
        raise SystemExit("web_shop: there is no redis-server: install one")
    with tempfile.TemporaryDirectory() as folder:
        make_database(folder)
        redis = Redis(folder)
        left, right = processes = [Process(folder, redis.url) for _ in range(2)]
        visitors = Visitors(processes)
        try:
            wait_until(lambda: is_kept(left) and is_kept(right))
            change(left, right, 220, "with a redis-server")
            redis.kill()
            change(left, right, 230, "after it was killed")
            change(right, left, 240, "while it is away")
            redis.start()
            wait_until(lambda: is_kept(left) and is_kept(right))
            change(left, right, 245, "after it has come back")
        finally:
            visitors.end()
            for process in processes:
                process.end()
            redis.kill()
        print(f"{visitors.asked} pages were asked for meanwhile; {len(visitors.failures)} requests failed")


if __name__ == "__main__":
    main()
