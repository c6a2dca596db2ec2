"""Two reading processes and a writing one share a cache: no read is older than an invalidation that has returned.

Proves: no value from a fill that began before an invalidation is stored or returned after it, in any process, whatever
happens to the processes, the server and what is between them.

Hunts:
    1. A misses, and reads the source: version 1     3. A stores version 1, and everybody reads it for its whole ttl
    2. B writes version 2 to the source, and         -- or somebody who asks after 2 joins A's fill, or another key's
       invalidates the key; the call returns            answer is read on a connection that was left in mid-reply

The source of truth is a counter for each key, in memory that all processes share, and so is what has been published:

    (a) the writer   1. raises source[k] to v   2. calls delete, set, clear or invalidate_tags, until it returns
                     3. published[k] = v
    (b) a fill       reads source[k], once, as the first thing that it does
    (c) a reader     1. reads published[k]      2. calls get, get_many or get_or_fill

A reader that read v must not get a value below v: the fill that made that value read the source before (a1), so it
began before the invalidation (a2); and the read (c2) began after (a3), so after the invalidation had returned. Each key
has one writer. A value above source[k], or of another key, is wrong.

Allowed: any number of fills; a miss at any time; a value that is older than one read before, if nothing newer has been
published. The first reader takes a miss for a failure (on_error="miss"), the second and the writer see it. BackendError
is allowed only where the server, the connections or another process's locks are disturbed:

    stopped   a process is stopped in a fill for longer than its token stands
    killed    a process is killed in a fill; what waits for its value takes over
    restart   the server is killed, and comes back empty
    cut       connections are cut in the midst of a reply, or let nothing through for a while
    stalled   the server answers nothing for longer than `timeout`; over SQLite another program holds its lock
    tags      values have tags, and are invalidated by them too
    evicts    the same, with little memory, and other writes: values, tokens and versions are evicted
    fork      the second reader forks while its threads read and fill
    clock     the second reader's clocks are an hour off
    mixed     all of these but forks, one after the other, to the same processes; with tags

In `restart`, `cut`, `stalled` and `mixed` the writer uses no `set`: one whose answer was lost may take effect later,
whenever what is between lets it through, and nothing could tell that it is too late. A `delete` or `clear` that comes
late costs a fill, and no more.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from areole import SharedCache

from ..child import ChildScenario
from ..shared.crew import Crew
from ..shared.disturbances import DISTURBANCES, none
from ..shared.ledger import Ledger
from ..shared.reader import NUMBERS
from ..shared.settings import Settings, make_cache
from ..stranger import is_stranger

__all__ = ["Shared"]


def _has_redis() -> bool:
    return bool(shutil.which("redis-server") and find_spec("redis"))


class Shared(ChildScenario):
    only_ours = "its processes share a SharedCache"
    variants = tuple(
        f"{engine}-{name}" if name else engine for name, each in DISTURBANCES.items() for engine in each.engines
    )
    seconds_each = 20.0
    disturbances = DISTURBANCES
    with_proxy: tuple[str, ...] = ("cut", "mixed")

    @classmethod
    def why_variant_skipped(cls, variant: str) -> str:
        if variant.startswith("redis") and not is_stranger(variant) and not _has_redis():
            return "there is no redis-server, or no redis-py, here"
        return super().why_variant_skipped(variant)

    def play(self) -> None:
        self.engine, _, name = self.variant.partition("-")
        self.disturbance = self.disturbances[name]
        self.readers = list(range(self.disturbance.readers))  # their places
        given = self.ends - time.monotonic()
        with ExitStack() as stack:
            self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="areole-stress-"))
            self.path = str(Path(self.folder) / "cache.db")
            self.ledger = Ledger(self.folder)
            stack.callback(self.ledger.close)
            url = self.start_engine(stack, name)
            self.settings = self.make_settings(url)
            self.cache = stack.enter_context(make_cache(self.settings[0]))
            self.start_crew()
            try:
                self.ends = time.monotonic() + given
                self.disturb()
            finally:
                found = self.crew.end()
                self.tell(found)

    # ---- before

    def start_engine(self, stack: ExitStack, name: str) -> str:
        if self.engine == "sqlite":
            return f"sqlite:///{self.path}" + ("?max-bytes=262144" if name == "evicts" else "")
        from tests.shared.servers import redis_server

        self.server = stack.enter_context(redis_server(**self.disturbance.server))
        if name not in self.with_proxy:
            return self.server.socket_url
        from tests.shared.proxy import Proxy

        self.proxy = stack.enter_context(Proxy(self.server.port))
        return f"redis://127.0.0.1:{self.proxy.port}/0"

    def make_settings(self, url: str) -> list[Settings]:
        threads, seed = max(1, self.threads - 1), str(self.choices.random())
        base = Settings(self.folder, url, 0, seed, threads, **self.disturbance.settings)
        first = base.but(on_error="miss" if self.disturbance.may_fail else "raise")
        others = [base.but(place=place, tasks=4, **self.disturbance.second) for place in self.readers[1:]]
        return [first, *others, base.but(place=len(self.readers), program="writer")]

    def start_crew(self) -> None:
        from tests.shared.servers import die_with_us

        self.crew = Crew(self.settings, self.ledger, die_with_us())
        self.crew.start_all()

    # ---- meanwhile

    def disturb(self) -> None:
        self.disturbance.play(self)
        while self.has_time and not self.has_found:
            self.disturbance.play(self)
            self.counts["disturbances"] += self.disturbance.play is not none
        if not self.has_found:
            self.crew.wait_until_reads_go_on(*self.readers)

    def others(self, place: int) -> list[int]:
        """Return the places of all readers but one."""
        return [other for other in self.readers if other != place]

    @property
    def has_found(self) -> bool:
        totals = self.ledger.totals()
        return bool(self.findings or totals["stale"] or totals["wrong"])

    def fill(self, key: str) -> list[Any]:
        return [key, self.ledger.source[NUMBERS[key]]]

    def write_others(self, keys: list[str], value: bytes) -> None:
        """Store what is not the cache's; over Redis past the library."""
        if self.engine == "sqlite":
            with SharedCache[bytes](self.settings[0].url, namespace="other", serializer="noop", timeout=5) as other:
                other.set_many(dict.fromkeys(keys, value))
            return
        import redis

        with redis.Redis(unix_socket_path=self.server.socket_path) as client:
            client.mset(dict.fromkeys(keys, value))

    # ---- afterwards

    def tell(self, found: list[str]) -> None:
        totals = self.ledger.totals()
        for each in found[:6]:
            kind, _, text = each.partition(": ")
            self.findings.append((kind, text))
            totals[kind] -= 1  # it is counted by its message
        self.expect(self.disturbance.may_fail or not totals["errors"], f"{totals['errors']} calls raised BackendError")
        self.counts["operations"] += totals["reads"]
        for name in ("hits", "fills", "refused", "invalidations", "errors", "forks", "stale", "wrong"):
            self.counts[name] += max(totals[name], 0)
