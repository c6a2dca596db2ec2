"""`python -m stress run shared tiers`, for a moment on some variants: nothing is found, and nothing is left behind.

Each starts three processes or more, so that CI cannot have all of them: `AREOLE_EXHAUSTIVE=1` does, and so does the
command. What is broken on purpose, tests/tools/test_stress_faults, has further variants find it.
"""

from __future__ import annotations

import os

import pytest

from stress.frame import run
from stress.scenarios import SCENARIOS

from ..kit import is_free_threaded
from . import servers

SECONDS = float(os.environ.get("AREOLE_STRESS_SECONDS", "0.3"))
"""For each, and what it takes to start the processes, and to disturb them once."""

PATIENCE = 200.0
"""Seconds: a busy machine takes ten times as long as an idle one to play all disturbances."""

ALL = [f"{name}/{variant}" for name in ("shared", "tiers") for variant in SCENARIOS[name].variants]
SOME = [
    "shared/redis-mixed",
    "shared/redis-fork",
    "shared/sqlite-mixed",
    "tiers/redis-mixed",
    "tiers/redis-fork",
    "tiers/sqlite-four",
]
if is_free_threaded():  # these take long there, and "mixed" of `tiers` has the same in it
    SOME = [name for name in SOME if name not in ("shared/redis-mixed", "shared/sqlite-mixed")]


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("name", ALL if os.environ.get("AREOLE_EXHAUSTIVE") else SOME)
def test_no_read_is_older_than_what_its_process_has_heard_or_what_has_returned(name: str) -> None:
    scenario, _, variant = name.partition("/")
    result = run(SCENARIOS[scenario], variant=variant, rounds=1, seconds=SECONDS, seed=1, patience=PATIENCE)
    if result.skipped:
        servers.skip_or_fail(result.skipped)
    assert result.is_clean, "\n".join([*result.messages, result.stacks])
    assert result.operations > 0
    assert result.also["invalidations"] > 0


def test_those_that_ci_runs_are_some_of_all() -> None:
    assert set(SOME) < set(ALL)
