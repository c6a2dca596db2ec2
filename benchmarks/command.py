"""What the commands of the benchmarks share: options, what is printed first, and how they end."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from . import against
from .build import Build, this_build

__all__ = ["finish", "installed", "introduce", "make_parser", "make_plain_parser"]


class _Contender(Protocol):
    @property
    def distribution(self) -> str | None: ...

    def version(self) -> str | None: ...


class _Results(Protocol):
    def missed(self) -> list[str]: ...

    def as_json(self) -> dict[str, Any]: ...


C = TypeVar("C", bound=_Contender)


def make_parser(name: str, documentation: str | None) -> argparse.ArgumentParser:
    """Make the parser of a benchmark that can also compare with another source tree."""
    parser = make_plain_parser(name, (documentation or "").partition("\n")[0], 10)
    against.add_options(parser)
    return parser


def make_plain_parser(name: str, description: str | None, seconds: int) -> argparse.ArgumentParser:
    """Make the parser of a benchmark, which takes about so many seconds with --quick."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"about {seconds} seconds, and noisier")
    parser.add_argument("--check", action="store_true", help="exit status 1 if a bound is missed")
    parser.add_argument("--json", metavar="PATH", help="write raw samples, and the machine, to PATH")
    return parser


def introduce(contenders: Sequence[_Contender]) -> Build:
    """Print what is measured, and on what; say what is not there."""
    versions = {each.distribution: each.version() for each in contenders if each.distribution}
    if "areole" in versions and versions["areole"] is None:
        raise SystemExit("areole is not installed: install the checkout (pip install -e .), or set PYTHONPATH=src")
    build = this_build({name: version for name, version in versions.items() if version is not None})
    missing = [f"SKIPPED: {name} is not installed" for name, version in versions.items() if version is None]
    print(*build.lines(), *missing, sep="\n")
    return build


def installed(contenders: Sequence[C]) -> list[C]:
    return [each for each in contenders if each.version() is not None]


def finish(results: _Results, options: argparse.Namespace) -> int:
    """Write the results where they are asked for, and name the bounds that were missed; return the exit status."""
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results.as_json(), file, indent=1)
            file.write("\n")
    missed = results.missed()
    if missed:
        print("\nmissed:", *missed, sep="\n  ")
    return 1 if options.check and missed else 0
