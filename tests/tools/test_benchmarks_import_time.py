"""The benchmark of imports counts what it says, and fails over its bound. Nothing here depends on speed."""

from __future__ import annotations

import pytest

from benchmarks import import_time


def test_each_import_is_measured_as_often() -> None:
    samples = import_time.measure(1)
    assert {name: len(each) for name, each in samples.items()} == dict.fromkeys(import_time.IMPORTS, 1)
    assert all(each[0] > 0 for each in samples.values())


@pytest.mark.parametrize(("areole", "status"), [(159, 0), (161, 1)])
def test_more_than_the_bound_fails(
    areole: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = {"cereggii": [90, 100, 200], "areole": [areole] * 3, "first use": [500] * 3}
    monkeypatch.setattr(import_time, "measure", lambda rounds: made)
    assert import_time.main(["--quick", "--check"]) == status
    assert f"{areole / 100:.2f} times cereggii" in capsys.readouterr().out
