"""Write the tables of docs/speed.md from the raw samples in benchmarks/results.

    python -m benchmarks.speed            after a new run of `benchmarks.hits --json` or `benchmarks.aio --json`

A test fails while the tables are not those of the samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["figure", "with_tables"]

RESULTS = Path(__file__).parent / "results"
PAGE = RESULTS.parent.parent / "docs" / "speed.md"

BUILDS = ("3.11", "3.13", "3.13t")
HITS = (
    "dict cache[k]",
    "lru_cache f(k)",
    "areole f(k)",
    "areole atomic f(k)",
    "areole ttl f(k)",
    "areole resilient f(k)",
    "cereggii f(k)",
    "cereggii ttl f(k)",
    "lru_cache f(k, 1, 2)",
    "areole f(k, 1, 2)",
    "cereggii f(k, 1, 2)",
    "lru_cache f(k, b=1, c=2)",
    "areole f(k, b=1, c=2)",
    "cereggii f(k, b=1, c=2)",
    "areole cache[k]",
    "areole atomic cache[k]",
    "areole ttl cache[k]",
    "cereggii cache[k]",
)


def samples(build: str, group: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{build}.json").read_text(encoding="utf-8"))[group]
    return found


def figure(build: str, group: str, case: str, threads: int = 1) -> str:
    """Return the median of the rounds, in nanoseconds per operation; nothing where that was not measured."""
    rounds = samples(build, group).get(case, {}).get(str(threads))
    return f"{median(rounds):,.0f}" if rounds else ""


def with_tables(page: str) -> str:
    """Return the page with today's tables between its markers."""
    for name, table in _tables().items():
        page = re.sub(rf"(?<=<!-- {name} -->\n\n).*?(?=\n\n<!-- /{name} -->)", table, page, flags=re.DOTALL)
    return page


def _tables() -> dict[str, str]:
    by_build = ["case", *BUILDS, "3.13t, 2 threads"]
    fills = samples("3.13", "fills")
    tasks = sorted(samples("aio-3.13", "hits").items(), key=lambda item: median(item[1]["1"]))
    return {
        "hits": _table(by_build, (_row(case, "hits", "threads") for case in HITS)),
        "fills": _table(by_build, (_row(case, "fills", "fills") for case in fills)),
        "async": _table(["case", "3.13"], ([case, figure("aio-3.13", "hits", case)] for case, _ in tasks)),
        "memory": _table(["what", "bytes"], ([k, f"{v:.0f}"] for k, v in samples("3.13", "bytes a key").items())),
    }


def _row(case: str, group: str, threaded: str) -> list[str]:
    return [case, *(figure(build, group, case) for build in BUILDS), figure("3.13t", threaded, case, threads=2)]


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
