"""Measure how long imports take, in turns, each in a process of its own: `python -X importtime`.

    python -m benchmarks.import_time [--quick] [--check] [--json PATH]

    cereggii                     what areole needs in any case
    areole                       which imports the module of a public name when the name is first used
    from areole import ...       the names that most programs use: what the first use costs

What has not been compiled yet is compiled before the first round. Medians, and ratios to cereggii.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Final

from .build import Build
from .command import finish, introduce, make_plain_parser
from .contenders import Contender

__all__ = ["Imports", "main", "measure"]

MOST: Final = 1.6
"""What `import areole` may take, to cereggii alone (issue 13)."""

IMPORTS: Final = {
    "cereggii": "import cereggii",
    "areole": "import areole",
    "first use": "from areole import AtomicCache, Cache, Storage, cached",
}
_LINE: Final = re.compile(r"import time: +(\d+) \|")


@dataclass(frozen=True, slots=True)
class Imports:
    build: Build
    samples: dict[str, list[int]]
    """Microseconds of each round."""

    def ratio(self, name: str) -> float:
        return statistics.median(self.samples[name]) / statistics.median(self.samples["cereggii"])

    def missed(self) -> list[str]:
        ratio = self.ratio("areole")
        return [f"import areole: {ratio:.2f} times what cereggii takes, more than {MOST}"] if ratio > MOST else []

    def as_json(self) -> dict[str, Any]:
        return {"build": self.build.as_json(), "microseconds": self.samples}


def main(arguments: list[str]) -> int:
    options = make_plain_parser("import_time", __doc__, 5).parse_args(arguments)
    results = Imports(introduce([_Package("areole"), _Package("cereggii")]), measure(5 if options.quick else 31))
    for name, code in IMPORTS.items():
        median = statistics.median(results.samples[name]) / 1000
        print(f"{code:<56} {median:7.1f} ms  {results.ratio(name):5.2f} times cereggii")
    return finish(results, options)


class _Package(Contender):
    def __init__(self, name: str) -> None:
        self.name = self.distribution = name


def measure(rounds: int) -> dict[str, list[int]]:
    """Return the microseconds of each import, `rounds` of each; they take turns."""
    samples: dict[str, list[int]] = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as compiled:
        for code in IMPORTS.values():
            _microseconds(code, compiled)
        for _ in range(rounds):
            for name, code in IMPORTS.items():
                samples[name].append(_microseconds(code, compiled))
    return samples


def _microseconds(code: str, compiled: str) -> int:
    """Add up what each module took by itself; what the interpreter imports before that is in all of them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = compiled
    command = [sys.executable, "-X", "importtime", "-c", f"import site, sys; sys.stderr.write('begin\\n'); {code}"]
    shown = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr
    return sum(int(found) for found in _LINE.findall(shown.partition("begin")[2]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
