"""What holds for the whole run."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar

import pytest

from areole._index import atomic as _index

from .interleave.explore import free_atomic_dicts
from .kit import LOOPS, assert_no_complaints, is_free_threaded, run

T = TypeVar("T")

if is_free_threaded() and sys.version_info < (3, 14):
    # 3.13t makes functions immortal once a second thread has run, memoized ones with their AtomicDicts too, so that
    # this one process would come to the limit past which "atomic" is a dict. The C library's own is about 1,020.
    _index.MAX_ATOMIC_DICTS = 900  # type: ignore[misc]

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:
    pass  # its tests are skipped
else:
    # The same few examples in every run; AREOLE_EXAMPLES=1000 for that many others in each.
    EXAMPLES = os.environ.get("AREOLE_EXAMPLES")
    settings.register_profile(
        "areole",
        max_examples=int(EXAMPLES or 60),
        derandomize=not EXAMPLES,
        deadline=None,  # here and below: a slow machine is no failure
        suppress_health_check=[HealthCheck.too_slow],
        database=None,
    )
    settings.load_profile("areole")


@pytest.fixture(params=LOOPS)
def on_loop(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Give `run`, on one kind of loop: every test that asks for a loop runs on each kind."""
    return partial(run, new_loop=request.param)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a name with an address: processes that share the tests (pytest-xdist) would not agree about them.

    First come those that collect often, or go through all of areole's code: both take the longer the more the tests
    before them have left. On 3.13t that is each memoized function.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: pass ids=repr_without_address, of tests.kit")
    if is_free_threaded() and not os.environ.get("AREOLE_EXHAUSTIVE"):
        for item in items:
            if item.nodeid.startswith("tests/tools/test_benchmarks"):
                item.add_marker(
                    pytest.mark.skip(reason="the benchmarks are tried with a GIL; without, it takes minutes")
                )
    first = [item for item in items if item.nodeid.startswith(FIRST)]
    rest = [item for item in items if not item.nodeid.startswith(FIRST)]
    items[:] = share_out(first, rest, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


FIRST: Final = (
    "tests/interleave/",
    "tests/tools/",
    "tests/memoize/test_cached_freed.py",
    "tests/fills/test_interrupts.py",
    "tests/fills/test_background.py",
    "tests/fills/test_resilience_schedules.py",
    "tests/fills/test_abandoned_fills.py",
    "tests/eviction/test_storage_interrupts.py",
    "tests/eviction/test_storage_reentry.py",
    "tests/shared/test_stopped_calls.py",
)


def share_out(first: list[T], rest: list[T], count: int) -> list[T]:
    """Have each of `count` processes, which get equal slices of the whole in order, begin with some of `first`."""
    size = -(-(len(first) + len(rest)) // count)
    shared, left = list[T](), iter(rest)
    for n in range(count):
        share = first[n::count]
        shared += [*share, *islice(left, size - len(share))]
    return [*shared, *left]


def pytest_collection_finish() -> None:
    """Keep what was loaded until here out of all collections: many tests make some, and each would walk through it.

    Not without a GIL: there a collection walks through frozen objects too, and comes more often the fewer are left.
    """
    if not is_free_threaded():
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_complaints_of_loops() -> Iterator[None]:
    yield
    gc.collect()
    assert_no_complaints()


@pytest.fixture(autouse=True)
def room_for_atomic_dicts() -> None:
    """Collect what tests before this one have left, before it would get a dict for an AtomicDict."""
    free_atomic_dicts(100)
