"""docs/known-faults.md says which test there is for each fault of another cache; here it is held to that."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = [
    line for line in (ROOT / "docs" / "known-faults.md").read_text().splitlines() if re.match(r"\| (?!fault )", line)
]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_is_in_the_table() -> None:
    """Single flight 11, removal 11, async 7, keys 11, process 6, shared caches 19."""
    assert len(LINES) == 65


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[2:42])
def test_the_tests_that_the_table_names_are_there(line: str) -> None:
    """A name without a file is in the file that was named before it."""
    file, named = None, 0
    for path, name in re.findall(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`", line):
        file = ROOT / path if path else file
        assert file is not None and name in names_in(file), name
        named += 1
    assert named
    assert all((ROOT / path).exists() for path in re.findall(r"`(stress/[\w/]+\.py)`", line))
