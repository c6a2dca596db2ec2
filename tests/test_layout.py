"""The layout of the package: each folder imports only from those below it, and no module from one that imports it.

Imports inside functions and those for annotations alone count too: what a reader must know of is what a file names.
"""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import areole

PACKAGE = Path(areole.__file__).parent

FLOORS = (
    "errors typing _platform serializers _core _eviction _index _expiry _state _fill _memoize _cache "
    "backends shared _cached metrics testing fixtures"
)
"""From the bottom up; above them `demo`, and what stands at the top of the package."""

MODULES = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}


def imports_of(module: str) -> Iterator[str]:
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package[: len(package) - node.level + 1] + ([node.module] if node.module else []))
            for name in node.names:
                yield next(m for m in (f"{base}.{name.name}", base, f"{base}.__init__") if m in MODULES)


def floor_of(module: str) -> int:
    name = module.split(".")[1]
    return FLOORS.split().index(name) if name in FLOORS.split() else 99


def test_each_folder_imports_only_from_those_below_it() -> None:
    upward = [f"{m} -> {other}" for m in MODULES for other in imports_of(m) if floor_of(m) < floor_of(other)]
    assert not upward


def test_no_module_imports_one_that_imports_it() -> None:
    graph = TopologicalSorter({module: set(imports_of(module)) for module in MODULES})
    try:
        graph.prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
