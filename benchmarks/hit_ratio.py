"""Hit ratios of areole's policies, of the best that could be, and of other caches: `python -m benchmarks.hit_ratio`.

Writes benchmarks/results/hit_ratio.md, and hit_ratio.png if there is matplotlib. A contender that is not installed is
left out, and the table says so. The policies are driven through a dict, as a store would, with items of weight 1;
`--through-storage` runs the same traces through a `Storage` as well (get, and after a miss set), where one thread must
get exactly as many hits, and fails if it does not. `--traces FOLDER` adds recorded requests, see `benchmarks.recorded`.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

from areole import CACHE_MISS, Storage
from areole._eviction.policy import make_policy

from . import recorded
from .build import this_build
from .plots import import_pyplot
from .recorded import RecordedRow
from .traces import TRACES

__all__ = ["CONTENDERS", "Contender", "hits_of_policy", "hits_of_storage", "hits_of_the_optimum", "main"]

RESULTS = Path(__file__).parent / "results"
SHARES = (0.001, 0.01, 0.1)  # of the distinct keys
TARGET = 0.97  # of the best online contender's hit ratio
TARGET_ON_LOOP = 0.95
NO_TARGET = ("shifting popularity",)
SCANS = "zipf 1.0 with scans"

Keys = Sequence[int]


@dataclass(frozen=True, slots=True)
class Contender:
    """`hits(trace, size)` counts the hits of a new cache of that size."""

    name: str
    hits: Callable[[Keys, int], int]
    distribution: str | None = None
    is_online: bool = True
    is_ours: bool = False

    def version(self) -> str | None:
        """Return the installed version, "" for what needs none, None for what is not there."""
        if self.distribution is None:
            return ""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None


def hits_of_the_optimum(trace: Keys, size: int) -> int:
    """Count hits where what is wanted last is not kept (Belady), the newest included: nobody needs to let it in."""
    inside: dict[int, float] = {}  # key: when it is wanted next
    latest: list[tuple[float, int]] = []
    hits = 0
    for key, wanted in zip(trace, _next_uses(trace), strict=True):
        hits += key in inside
        inside[key] = wanted
        heapq.heappush(latest, (-wanted, key))
        if len(inside) > size:
            _drop_latest(inside, latest)
    return hits


def _next_uses(trace: Keys) -> list[float]:
    upcoming: dict[int, float] = {}
    wanted = [inf] * len(trace)
    for i in range(len(trace) - 1, -1, -1):
        wanted[i] = upcoming.get(trace[i], inf)
        upcoming[trace[i]] = i
    return wanted


def _drop_latest(inside: dict[int, float], latest: list[tuple[float, int]]) -> None:
    while True:
        wanted, key = heapq.heappop(latest)
        if inside.get(key) == -wanted:  # else it was used since it was pushed, or is gone
            del inside[key]
            return


def hits_of_policy(name: str) -> Callable[[Keys, int], int]:
    def hits(trace: Keys, size: int) -> int:
        policy = make_policy(name)
        make_entry: Any = policy.entry_type
        entries: dict[int, Any] = {}
        hits = 0
        for key in trace:
            entry = entries.get(key)
            if entry is not None:
                hits += 1
                policy.record_access(entry)
                continue
            if len(entries) >= size:
                del entries[policy.evict().key]
            entries[key] = entry = make_entry(key)
            entry.weight = 1
            if hasattr(entry, "hash"):
                entry.hash = hash(key)
            policy.add(entry)
        return hits

    return hits


def hits_of_storage(name: str) -> Callable[[Keys, int], int]:
    """The same as `hits_of_policy`, through a real store; its items weigh alike too, whatever the size of the key."""

    def hits(trace: Keys, size: int) -> int:
        def weigh_alike(key: int, value: bool) -> int:
            return 1000 - sys.getsizeof(key)

        store: Storage[bool] = Storage(max_items=size, policy=name, weigher=weigh_alike, stats=True)
        for key in trace:
            if store.get(key) is CACHE_MISS:
                store.set(key, True)
        hits = store.cache_info().hits
        assert hits is not None
        return hits

    return hits


def _hits_of_cachetools(name: str) -> Callable[[Keys, int], int]:
    def hits(trace: Keys, size: int) -> int:
        import cachetools

        cache = getattr(cachetools, name)(size)
        hits = 0
        for key in trace:
            try:
                cache[key]
                hits += 1
            except KeyError:
                cache[key] = True
        return hits

    return hits


def _hits_of_theine(trace: Keys, size: int) -> int:
    import theine

    cache: Any = theine.Cache(size, nolock=True)  # one thread: what is set takes effect at once
    hits = 0
    for key in trace:
        _, is_hit = cache.get(key)
        if is_hit:
            hits += 1
        else:
            cache.set(key, True)
    cache.close()
    return hits


def _hits_of_moka(trace: Keys, size: int) -> int:
    import moka_py

    cache: Any = moka_py.Moka(size)
    hits = 0
    for key in trace:
        if cache.get(key):
            hits += 1
        else:
            cache.set(key, True)
            cache.run_pending_tasks()  # else it holds more than its size for a while
    return hits


CONTENDERS = (
    Contender("optimum", hits_of_the_optimum, is_online=False),
    Contender("areole lru", hits_of_policy("lru"), is_ours=True),
    Contender("areole s3fifo", hits_of_policy("s3fifo"), is_ours=True),
    Contender("cachetools LRU", _hits_of_cachetools("LRUCache"), "cachetools"),
    Contender("cachetools LFU", _hits_of_cachetools("LFUCache"), "cachetools"),
    Contender("theine", _hits_of_theine, "theine"),
    Contender("moka-py", _hits_of_moka, "moka-py"),
)

PUBLISHED = Contender("S3-FIFO as published", recorded.hits_of_published_s3fifo)
"""Is run on recorded requests alone."""

THROUGH_STORAGE = {
    f"areole {name}": Contender(f"areole {name}, through Storage", hits_of_storage(name), is_ours=True)
    for name in ("lru", "s3fifo")
}


@dataclass(slots=True)
class Row:
    """The hit ratios over one trace at one size, by contender."""

    trace: str
    share: float
    ratios: dict[str, float] = field(default_factory=dict)

    def disagreement(self) -> str:
        """Say which policy has other hits through a store than alone, if one has."""
        for name, through in THROUGH_STORAGE.items():
            alone, stored = self.ratios.get(name), self.ratios.get(through.name)
            if stored is not None and stored != alone:
                return f"{name} has {stored:.6f} through Storage, and {alone:.6f} alone"
        return ""

    def best(self) -> float | None:
        """Return the hit ratio of the best online contender that is not ours, if one is installed."""
        theirs = [self.ratios[c.name] for c in CONTENDERS if c.name in self.ratios and c.is_online and not c.is_ours]
        return max(theirs, default=None)

    def of_best(self) -> float | None:
        best = self.best()
        return self.ratios["areole s3fifo"] / best if best else None

    def misses_target(self) -> str:
        """Say which target is missed, if one is."""
        of_best = self.of_best()
        target = TARGET_ON_LOOP if self.trace == "loop" else TARGET
        if self.trace not in NO_TARGET and of_best is not None and of_best < target:
            return f"s3fifo reaches {of_best:.1%} of the best contender, not {target:.0%}"
        if self.trace == SCANS and self.ratios["areole s3fifo"] <= self.ratios["areole lru"]:
            return "s3fifo does not beat lru"
        return ""


def measure(requests: int, keys: int, seed: int, contenders: Sequence[Contender]) -> Iterator[Row]:
    for trace in TRACES:
        for share in SHARES:
            size = max(1, round(keys * share))
            made = trace.make(requests, keys, size, seed)
            yield Row(trace.name, share, {c.name: c.hits(made, size) / len(made) for c in contenders})


def measure_recorded(folder: Path, contenders: Sequence[Contender]) -> Iterator[RecordedRow]:
    online = frozenset(c.name for c in contenders if c.is_online)
    for name, trace in recorded.read_traces(folder).items():
        distinct = len(set(trace))
        for share in recorded.SHARES:
            size = max(1, round(distinct * share))
            ratios = {c.name: c.hits(trace, size) / len(trace) for c in contenders}
            yield RecordedRow(name, share, size, ratios, online)


def recorded_table(rows: Sequence[RecordedRow], names: Sequence[str]) -> str:
    header = ["recorded", "cache", "entries", *names, "s3fifo - best"]
    lines = ["| " + " | ".join(header) + " |", "|---|--:" + "|--:" * (len(header) - 2) + "|"]
    for row in rows:
        cells = [row.trace, f"{row.share:.0%}", f"{row.size:,}", *(f"{row.ratios[name]:.4f}" for name in names)]
        lines.append("| " + " | ".join([*cells, f"{row.ratios['areole s3fifo'] - row.best():+.4f}"]) + " |")
    means = [f"{recorded.average(rows, name):.4f}" for name in names]
    lines.append("| " + " | ".join(["mean", "", "", *means, ""]) + " |")
    return "\n".join(lines)


def recorded_verdict(rows: Sequence[RecordedRow]) -> str:
    near = sum(row.is_near_best() for row in rows)
    worst = min(row.ratios["areole s3fifo"] - row.ratios["areole lru"] for row in rows)
    facts = (
        f"Within a point of the best: {near} of {len(rows)} cases. Against lru: {100 * worst:+.1f} points at the least."
    )
    return "\n".join([*(recorded.missed_targets(rows) or ["Targets reached."]), facts])


def table(rows: Sequence[Row], names: Sequence[str]) -> str:
    header = ["trace", "cache", *names, "s3fifo / best"]
    lines = ["| " + " | ".join(header) + " |", "|---|--:" + "|--:" * (len(header) - 2) + "|"]
    for row in rows:
        of_best = row.of_best()
        cells = [row.trace, f"{row.share:.1%}", *(f"{row.ratios[name]:.4f}" for name in names)]
        lines.append("| " + " | ".join([*cells, "" if of_best is None else f"{of_best:.3f}"]) + " |")
    return "\n".join(lines)


def disagreements(rows: Sequence[Row]) -> list[str]:
    """Say for which rows a store and its policy disagree; else that they agree."""
    wrong = [f"WRONG: {row.trace} at {row.share:.1%}: {row.disagreement()}." for row in rows if row.disagreement()]
    return wrong or ["Through a Storage, in one thread, both policies have exactly the hits that they have alone."]


def describe(arguments: argparse.Namespace, installed: Sequence[Contender], missing: Sequence[Contender]) -> str:
    versions = ", ".join(f"{c.name} {c.version()}" for c in installed if c.distribution)
    lines = [
        "# Hit ratios",
        "",
        f"`python -m benchmarks.hit_ratio --requests {arguments.requests} --keys {arguments.keys} "
        f"--seed {arguments.seed}{' --through-storage' * arguments.through_storage}"
        f"{' --traces FOLDER' * (arguments.traces is not None)}`; {versions or 'no contenders'}.",
        "; ".join(line for line in this_build({}).lines() if line) + ".",
        "Cache: share of the distinct keys. Best: of the contenders that do not see the future, areole left out.",
    ]
    lines += [f"Left out, as it is not installed: {contender.name}." for contender in missing]
    return "\n".join(lines)


def plot(rows: Sequence[Row], names: Sequence[str], path: Path) -> bool:
    """Draw one panel for each trace; say whether there is matplotlib to do it."""
    pyplot = import_pyplot()
    if pyplot is None:
        return False
    traces = list(dict.fromkeys(row.trace for row in rows))
    figure, panels = pyplot.subplots(2, -(-len(traces) // 2), figsize=(13, 7), sharey=True, layout="constrained")
    for panel, trace in zip(panels.flat, traces, strict=False):
        _draw(panel, trace, [row for row in rows if row.trace == trace], names)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return True


def _draw(panel: Any, trace: str, rows: Sequence[Row], names: Sequence[str]) -> None:
    for name in names:
        style: dict[str, Any] = {"marker": "o", "linewidth": 1.2, "markersize": 4}
        if name == "optimum":
            style |= {"color": "black", "linestyle": "--"}
        elif name == "areole s3fifo":
            style |= {"linewidth": 2.6, "zorder": 5}
        panel.plot([row.share * 100 for row in rows], [row.ratios[name] for row in rows], label=name, **style)
    panel.set(title=trace, xscale="log", xticks=[0.1, 1, 10], xticklabels=["0.1%", "1%", "10%"], ylim=(0, 1))
    panel.set_xlabel("cache, share of the distinct keys")
    panel.set_ylabel("hit ratio")
    panel.grid(alpha=0.3)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hit_ratio", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short traces: about 15 s, and writes nothing")
    parser.add_argument(
        "--through-storage", action="store_true", help="run our policies through a Storage too, and compare"
    )
    parser.add_argument("--traces", type=Path, metavar="FOLDER", help="recorded requests, files NAME.u32.gz")
    parser.add_argument("--requests", type=int)
    parser.add_argument("--keys", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parsed = parser.parse_args(arguments)
    parsed.requests = parsed.requests or (120_000 if parsed.quick else 600_000)
    parsed.keys = parsed.keys or (50_000 if parsed.quick else 100_000)
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a target is missed, or a store does not do what its policy does; else 0."""
    parsed = parse(arguments)
    started = time.perf_counter()
    installed = [c for c in CONTENDERS if c.version() is not None]
    names = [c.name for c in installed]
    through = list(THROUGH_STORAGE.values()) if parsed.through_storage else []
    rows = list(measure(parsed.requests, parsed.keys, parsed.seed, [*installed, *through]))
    heading = describe(parsed, installed, [c for c in CONTENDERS if c not in installed])
    missed = [f"Missed: {row.trace} at {row.share:.1%}: {row.misses_target()}." for row in rows if row.misses_target()]
    targets = missed or [
        f"Targets reached: {TARGET:.0%} of the best contender ({TARGET_ON_LOOP:.0%}: loop); better than lru with scans."
    ]
    compared = disagreements(rows) if through else []
    parts = [heading, table(rows, names), "\n".join([*targets, *compared])]
    if parsed.traces is not None:
        on_recorded = list(measure_recorded(parsed.traces, [*installed, PUBLISHED]))
        parts += [recorded_table(on_recorded, [*names, PUBLISHED.name]), recorded_verdict(on_recorded)]
        missed += recorded.missed_targets(on_recorded)
    report = "\n\n".join(parts) + "\n"
    print(report)
    print(f"{time.perf_counter() - started:.0f} s")
    if not parsed.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "hit_ratio.md").write_text(report)
        if not plot(rows, names, RESULTS / "hit_ratio.png"):
            print("no plot: matplotlib is not installed")
    return 1 if missed or any(row.disagreement() for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
