"""Each test here sees its own caches alone: others have left thousands, and to read them all takes seconds.

Of more than 2,000 the SDK of OpenTelemetry shows the rest as one.
"""

from __future__ import annotations

import pytest

from areole._platform.weak import WeakTable
from areole._state.live_caches import LiveCache, live_caches


@pytest.fixture(autouse=True)
def own_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    table: WeakTable[LiveCache] = WeakTable()
    for state, live in live_caches.all():
        if state.name.startswith("tests.metrics."):  # of what a module defines
            table.add_if_absent(state, live)
    monkeypatch.setattr(live_caches, "_caches", table)
