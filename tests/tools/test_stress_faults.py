"""Every planted fault still fits the library, and is found by the first of those that should find it.

The whole table, of all that find each, is stress/results/faults.md; `python -m stress faults` makes it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import areole
from stress.faults import Fault, FaultMustBeRewritten, load_faults, plant
from stress.planted import OTHERS, try_to_catch, why_not_here
from stress.scenarios import SCENARIOS
from tests.kit import is_free_threaded
from tests.shared.servers import skip_or_fail

FAULTS = load_faults()
SLOW = {
    "flights_outlive_a_fork",
    "plane_without_a_heartbeat",
    "redis_renew_brings_a_void_token_back",
    "shared_joiner_overlooks_a_clear",
    "shared_joiner_trusts_an_older_flight",
    "shared_unstored_fill_is_for_all",
    "shared_version_is_not_compared",
    "sqlite_delete_leaves_the_token",
    "sqlite_set_leaves_the_token",
    "sqlite_store_ignores_the_token",
    "wait_lets_go_in_two_steps",
}
"""These take more than some seconds: `python -m stress faults` alone looks for them."""
SECONDS = 150.0
"""For each, on a machine that is very busy; most are found at once."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_still_fits(name: str, tmp_path: Path) -> None:
    plant(FAULTS[name], tmp_path)
    for file, _, new in FAULTS[name].patches:
        assert new in (tmp_path / "areole" / file).read_text()
        compile((tmp_path / "areole" / file).read_text(), file, "exec")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_says_what_it_breaks_and_who_finds_it(name: str) -> None:
    fault = FAULTS[name]
    assert fault.breaks
    assert fault.caught_by
    for by in fault.caught_by:
        scenario, _, variant = by.partition("/")
        assert by in OTHERS or variant in SCENARIOS[scenario].variants


def test_the_faults_break_what_was_asked_for() -> None:
    assert len(FAULTS) > 30


@pytest.mark.parametrize("name", sorted(set(FAULTS) - SLOW))
def test_a_fault_is_found(name: str) -> None:
    if not FAULTS[name].is_one_here:
        pytest.skip("it breaks nothing without a GIL")
    if is_free_threaded() and all(by.startswith(("shared/", "tiers/")) for by in FAULTS[name].caught_by):
        pytest.skip("what finds it starts processes and servers, which takes long: it is looked for with a GIL")
    here = [by for by in FAULTS[name].caught_by if not why_not_here(by)]
    if not here:
        skip_or_fail(why_not_here(FAULTS[name].caught_by[0]))
    tries = []
    for by in here:  # the next one where a slow machine had no time for the first to find it
        tries.append(try_to_catch(FAULTS[name], by, SECONDS))
        if tries[-1].kinds:
            return
    raise AssertionError("; ".join(tried.summary for tried in tries))


@pytest.mark.parametrize(("old", "times"), [("no such text", 0), ("import", 7)])
def test_a_patch_that_does_not_fit_once_says_that_the_fault_must_be_rewritten(
    old: str, times: int, tmp_path: Path
) -> None:
    fault = Fault("some_fault", "nothing", ("invalidate/dict",), (("__init__.py", old, ""),))
    with pytest.raises(FaultMustBeRewritten, match=r"some_fault: its text is in areole/__init__.py \d+ times"):
        plant(fault, tmp_path)
    assert (times == 0) is (old not in Path(areole.__file__).read_text())
