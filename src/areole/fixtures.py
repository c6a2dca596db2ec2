"""Fixtures of pytest: `from areole.fixtures import caching_disabled, empty_caches` in your conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .testing import clear_all, disabled

__all__ = ["caching_disabled", "empty_caches"]


@pytest.fixture
def caching_disabled() -> Iterator[None]:
    """Have every lookup fill during the test; see `areole.testing.disabled`."""
    with disabled():
        yield


@pytest.fixture
def empty_caches() -> None:
    """Empty every cache before the test; see `areole.testing.clear_all`."""
    clear_all()
