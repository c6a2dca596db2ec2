"""docs/moving.md: each name on the left exists in that library, and each line on the right runs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import areole
import areole.backends
import areole.serializers
import areole.testing
from areole import AtomicCache, SharedCache, Storage, cached

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/moving.md").read_text(encoding="utf-8")


def cells_of(table: str) -> list[list[str]]:
    """Return the code in the cells, cell after cell: left, right, left, right."""
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()]
    assert all(len(row) == 2 for row in rows)
    return [re.findall(r"`([^`]+)`", cell) for row in rows for cell in row]


TABLES = {
    library: cells_of(table)
    for library, table in re.findall(r"^\| name in (\w+) \| areole \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
}


async def double(x: int) -> int:
    return 2 * x


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "functools": lambda module: module.lru_cache(int),
    "cachetools": lambda module: module.cached(module.LRUCache(3), info=True)(lambda x: x),
    "async_lru": lambda module: module.alru_cache(double),
}
"""What `f` is, where a table says `f.cache_info()`."""


def thing_called(name: str, library: str) -> Any:
    first, *rest = name.split(".")
    found = WRAPPED[library](import_module(library)) if first == "f" else import_module(first)
    for part in rest:
        if not hasattr(found, part) and inspect.ismodule(found):
            import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    return found


def parameters_of(thing: Any) -> set[str] | None:
    """Name what may be passed by keyword; None: anything."""
    parameters = inspect.signature(thing).parameters.values()
    return None if any(each.kind is each.VAR_KEYWORD for each in parameters) else {each.name for each in parameters}


@pytest.mark.parametrize("library", TABLES)
def test_each_name_on_the_left_exists_in_that_library(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    for text in (text for cell in TABLES[library][::2] for text in cell):
        thing = thing_called(text.partition("(")[0], library)
        given = set(re.findall(r"(\w+)=", text))
        assert not given or given <= (parameters_of(thing) or given), text


def names_for_the_right() -> dict[str, Any]:
    shop = SharedCache[Any]("memory://", namespace="shop")
    shop.set("key", 1)
    own = {
        "areole": areole,
        "SharedCache": SharedCache,
        "store": Storage[Any](max_items=10),
        "shop": shop,
        "cache": AtomicCache(str),
        "load": str,
        "load_many": lambda keys: dict.fromkeys(keys, 1),
        "f": AtomicCache.memoize(str),
        "g": cached(shop, key="g:{x}")(lambda x: x),
        "secret": "a secret of at least 16 bytes",
    }
    return vars(areole) | own


def is_code(text: str) -> bool:
    """Say whether it is a line to run: names of arguments such as `shared=`, URLs and `async def` are not."""
    return not text.endswith(("=", "def", '"'))


async def run_line(line: str) -> None:
    """Run it, in names of its own; a decorator with a function below it."""
    names = names_for_the_right()
    code = f"{line}\ndef f(x):\n    return x\n" if line.startswith("@") else f"made = {line}"
    done = eval(compile(code, line, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(done):
        await done
    for each in (names.get("made"), names["shop"], names["store"]):
        if isinstance(each, SharedCache | Storage):
            each.close()


@pytest.mark.parametrize("library", TABLES)
def test_each_line_on_the_right_runs(library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in filter(is_code, (text for cell in TABLES[library][1::2] for text in cell)):
        asyncio.run(run_line(line))


def test_each_library_has_a_table_with_both_columns() -> None:
    sections = re.findall(r"^## From ([\w-]+)", PAGE, re.MULTILINE)
    assert list(TABLES) == [name.replace("-", "_") for name in sections] and len(TABLES) == 11
    assert all(all(cells[::2]) for cells in TABLES.values())
    assert sum(len(cell) for cells in TABLES.values() for cell in cells[1::2]) > 90
