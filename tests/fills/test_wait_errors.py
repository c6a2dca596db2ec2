"""Errors of lookups that cannot wait: each says what happened, and then what to change."""

from __future__ import annotations

from typing import get_args

import pytest

from areole._fill.wait_errors import WaitError, wait_error
from areole.errors import FillTimeout


@pytest.mark.parametrize("kind", get_args(WaitError))
def test_each_names_the_cache_and_the_type_of_the_key_and_says_what_to_do(kind: WaitError) -> None:
    text = str(wait_error(kind, "prices", "secret", seconds=2, kind="GeneratorExit"))
    assert text.startswith("prices: cannot wait for a key of type str: ")
    assert "secret" not in text
    assert text.count(". ") == 1, "two sentences: what happened, what to change"
    assert text.endswith(".")
    assert "{" not in text


def test_a_timeout_says_how_long_it_was() -> None:
    error = wait_error("timeout", "prices", "a", seconds=0.5)
    assert type(error) is FillTimeout
    assert "within 0.5 s" in str(error)
