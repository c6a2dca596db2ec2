"""`python -m stress run shared`, for a moment on each variant: nothing is found, and nothing is left behind."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from stress.frame import run
from stress.scenarios import SCENARIOS

from . import servers

SECONDS = float(os.environ.get("AREOLE_STRESS_SECONDS", "0.3"))
"""For each, and what it takes to start the processes, and to disturb them once."""


@pytest.mark.parametrize("variant", SCENARIOS["shared"].variants)
def test_no_read_is_older_than_an_invalidation_that_has_returned(variant: str) -> None:
    if variant.startswith("redis"):
        servers.require("redis-server")
        if find_spec("redis") is None:
            servers.skip_or_fail("redis-py is not installed")
    result = run(SCENARIOS["shared"], variant=variant, rounds=1, seconds=SECONDS, seed=1)
    assert result.is_clean, "\n".join([*result.messages, result.stacks])
    assert result.operations > 0
    assert result.also["invalidations"] > 0
