"""Run the benchmarks one after the other, each in a process of its own, and keep all that they found in one file.

    python -m benchmarks                    all: about ten minutes
    python -m benchmarks --quick            about a minute, and noisier; without shared caches, which take a minute more
    python -m benchmarks --only hits        some; as often as wanted
    python -m benchmarks --out DIR          where the results go: LABEL.json and LABEL.txt (3.13t.json, for one)
    python -m benchmarks --plots            PNGs too; it needs matplotlib: pip install -e '.[bench]'

Within a part all contenders take turns in one process, which is what their ratios rest on. The exit status is 1 if a
part's is not 0, whose output says why: it failed, or (fan_out, hit_ratio) missed a bound. Others only name such bounds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import plots
from .build import Build, this_build

__all__ = ["CONTENDERS", "PARTS", "Part", "main", "run_part", "versions"]

ROOT = Path(__file__).parent.parent
CONTENDERS = (
    "areole",
    "aiocache",
    "async-lru",
    "atomic-lru",
    "cachebox",
    "cachetools",
    "cashews",
    "cereggii",
    "diskcache",
    "django",
    "dogpile.cache",
    "moka-py",
    "redis",
    "theine",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A module of the benchmarks. With `has_json` it can write raw samples; else what it prints is all there is."""

    name: str
    has_json: bool = True
    in_quick: bool = True
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("hits"),
    Part("scaling"),
    Part("storage"),
    Part("mixes"),
    Part("aio"),  # asynchronous hits, and stampedes of tasks
    Part("stampede", has_json=False),
    Part("accelerator", has_json=False),
    Part("fan_out", has_json=False),
    Part("import_time"),
    Part("hit_ratio", has_json=False),
    Part("fill", has_json=False, in_quick=False, arguments=("--batches",)),
    Part("tidying", has_json=False, in_quick=False),
    Part("shared", in_quick=False),
    Part("tiers", in_quick=False),
)


@dataclass(slots=True)
class Outcome:
    status: int
    seconds: float
    printed: str
    found: Any = field(default=None)  # what the part has written as JSON


def run_part(part: Part, quick: bool) -> Outcome:
    """Run a part in a process of its own, and print what it prints as soon as it does."""
    with tempfile.TemporaryDirectory(prefix="areole-") as folder:
        path, lines, start = Path(folder) / "found.json", [], time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{part.name}", *part.arguments]
        command += ["--quick"] if quick and not part.arguments else []
        command += ["--json", str(path)] if part.has_json else []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        ) as process:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
        found = json.loads(path.read_text()) if path.exists() else None
    return Outcome(process.returncode, round(time.perf_counter() - start, 1), "".join(lines), found)


def versions() -> dict[str, str | None]:
    """Return the version of each contender, None for what is not installed."""
    found: dict[str, str | None] = {}
    for name in CONTENDERS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="about a minute, and noisier")
    parser.add_argument("--only", action="append", choices=[part.name for part in PARTS], help="a part to run")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write LABEL.json and LABEL.txt there")
    parser.add_argument("--plots", action="store_true", help="draw too, into DIR: needs matplotlib, and --out")
    options = parser.parse_args(arguments)
    if options.plots and options.out is None:
        parser.error("--plots: where do the pictures go? Give --out DIR")
    if options.plots and plots.import_pyplot() is None:
        parser.error("--plots: matplotlib is not installed: pip install -e '.[bench]', or leave --plots out")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; return 1 if one has failed."""
    options = _parse(arguments)
    wanted = [part for part in PARTS if part.name in (options.only or ()) or _is_default(part, options)]
    found = versions()
    build = this_build({name: version for name, version in found.items() if version is not None})
    head = [*build.lines(), *(f"{name}: not installed" for name, version in found.items() if version is None)]
    print(*head, sep="\n", flush=True)
    outcomes: dict[str, Outcome] = {}
    for part in wanted:
        print(f"\n======== {part.name}", flush=True)
        outcomes[part.name] = run_part(part, options.quick)
        if options.out is not None:  # after each, so that what was measured stays if this is ended
            _write(options, build, head, outcomes)
    if options.plots:
        measured = {name: each.found for name, each in outcomes.items() if each.found}
        print("drawn:", *plots.draw(measured, options.out, build.label))
    broken = [name for name, outcome in outcomes.items() if outcome.status]
    print(f"\n{len(outcomes)} parts, {sum(each.seconds for each in outcomes.values()):.0f} s")
    if broken:
        print("with an exit status that is not 0 (see above):", ", ".join(broken))
    return int(bool(broken))


def _is_default(part: Part, options: argparse.Namespace) -> bool:
    return not options.only and (part.in_quick or not options.quick)


def _write(options: argparse.Namespace, build: Build, head: list[str], outcomes: dict[str, Outcome]) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    parts = {
        name: {"status": each.status, "seconds": each.seconds, "found": each.found or each.printed.splitlines()}
        for name, each in outcomes.items()
    }
    everything = {"build": build.as_json(), "contenders": versions(), "quick": options.quick, "parts": parts}
    (options.out / f"{build.label}.json").write_text(json.dumps(everything, indent=1) + "\n")
    texts = [f"\n======== {name}\n{each.printed}" for name, each in outcomes.items()]
    (options.out / f"{build.label}.txt").write_text("\n".join([*head, *texts]))


if __name__ == "__main__":
    sys.exit(main())
