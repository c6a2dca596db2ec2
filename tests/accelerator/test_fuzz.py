"""Programs that hypothesis makes up give the same with hits in C as with hits in Python, in two processes.

AREOLE_EXHAUSTIVE=1 runs thousands, and other ones each time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import areole

from ..interleave import EXHAUSTIVE
from .programs import KEYS, SUBJECTS

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

Program = tuple[list[tuple[int, ...]], list[int], str]

PROGRAMS = st.tuples(
    st.lists(st.tuples(*(st.integers(0, len(among) - 1) for among in SUBJECTS)), min_size=1, max_size=2),
    st.lists(st.integers(0, len(KEYS) - 1), min_size=2, max_size=4),
    # 50 steps: from the 64th fill on, when values of a tiny ttl are found expired depends on how fast all this runs
    st.binary(min_size=4 * 30, max_size=4 * 50).map(bytes.hex),
)


class Runner:
    """A process that runs programs, with its accelerator or without."""

    def __init__(self, pure: str) -> None:
        root, source = Path(__file__).parents[2], Path(areole.__file__).parents[1]
        paths = {"AREOLE_PURE": pure, "PYTHONPATH": f"{source}{os.pathsep}{root}", "PYTHONHASHSEED": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.accelerator.programs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | paths,
        )

    def ask(self, program: Program) -> None:
        print(json.dumps(program), file=self.process.stdin, flush=True)

    def answer(self) -> list[str]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it has ended, with status {self.process.wait()}"
        answer: list[str] = json.loads(line)
        return answer


@pytest.fixture(scope="module")
def runners() -> Iterator[list[Runner]]:
    made = [Runner(pure) for pure in ("0", "1")]
    yield made
    for runner in made:
        with runner.process:
            pass


@pytest.mark.skipif(not areole.accelerated, reason="hits are looked up in Python here")
@settings(
    max_examples=5000 if EXHAUSTIVE else 2 * settings().max_examples,
    derandomize=settings().derandomize and not EXHAUSTIVE,
)
@given(program=PROGRAMS)
def test_programs_give_the_same_in_c_and_in_python(runners: list[Runner], program: Program) -> None:
    for runner in runners:
        runner.ask(program)
    in_c, in_python = [runner.answer() for runner in runners]
    assert in_c == in_python
