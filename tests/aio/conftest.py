"""Every test that asks for a loop runs on each kind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from .support import LOOPS, run


@pytest.fixture(params=LOOPS)
def on_loop(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Give `run`, on one kind of loop."""
    return partial(run, new_loop=request.param)
