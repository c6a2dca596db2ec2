"""A lookup at a module's top level, whose fill imports that module: it is refused, and not for ever waited for.

1. A imports m, which asks for a key         3. B's fill imports m, and waits for the lock of m, which A has
2. B is filling that key: A waits for B      -- and A waits for B. importlib sees cycles of modules only.

Known fault, of 0.1.0: it hangs. functools.cached_property lost its lock for such things (gh-87634).
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError, Resilience
from areole._platform import module_imports as _imports

from ..kit import PATIENCE, Gate, assert_valid, run_threads, start_threads


class Modules:
    """Makes modules that are imported for the first time; what they run is `tops[name]()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tops: dict[str, Callable[[], Any]] = {}

    def add(self, name: str, top: Callable[[], Any]) -> str:
        full_name = f"areole_test_{name}_{id(self)}"
        self.tops[full_name] = top
        sys.modules[f"{full_name}_top"] = self  # type: ignore[assignment]
        (self.path / f"{full_name}.py").write_text(
            f"import sys\nvalue = sys.modules['{full_name}_top'].tops['{full_name}']()\n"
        )
        return full_name

    def clear(self) -> None:
        for name in self.tops:
            sys.modules.pop(name, None)
            sys.modules.pop(f"{name}_top", None)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Modules(tmp_path)
    yield made
    made.clear()


def import_value(name: str) -> Any:
    return __import__(name).value


def wait_until_blocked_by_import(ident: int) -> None:
    """Return once the thread waits for the lock of a module."""
    deadline = time.monotonic() + PATIENCE
    while not _imports._blocking_on.get(ident):
        assert time.monotonic() < deadline
        time.sleep(0.001)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with a limit": {"max_items": 3},
    "with timeouts": {"resilience": Resilience(hard_timeout=PATIENCE)},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("ask", ["item", "refresh", "on a loop"])
def test_a_lookup_at_the_top_of_the_module_that_its_fill_imports_is_refused(
    modules: Modules, ask: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areole._fill.task_waiter.POLL_SECONDS", 0.02)
    gate = Gate()

    def fill(key: str) -> Any:
        gate.enter()
        return import_value(name)

    def top() -> Any:
        gate.open()
        try:
            if ask == "on a loop":
                return asyncio.run(cache.aio.fetch("key"))
            return cache["key"] if ask == "item" else cache.refresh("key")
        except FillDeadlockError as error:
            return str(error)

    name = modules.add("asks", top)
    cache: AtomicCache[str, Any] = AtomicCache(fill, **OPTIONS[options])
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    (error,) = run_threads(lambda: import_value(name))
    assert "waiting for the import of a module that this thread is executing" in error
    assert join() == [error]
    assert_valid(cache)


def test_a_lookup_is_refused_however_late_its_fill_imports_the_module(modules: Modules) -> None:
    """After several looks of the waiter, which has to look on."""
    gate = Gate()
    asks = threading.Event()

    def fill(key: str) -> Any:
        gate.enter()
        assert asks.wait(PATIENCE)
        time.sleep(0.2)
        return import_value(name)

    def top() -> Any:
        gate.open()
        asks.set()
        try:
            return cache["key"]
        except FillDeadlockError as error:
            return str(error)

    name = modules.add("late", top)
    cache: AtomicCache[str, Any] = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    (error,) = run_threads(lambda: import_value(name))
    assert "import" in error
    assert join() == [error]
    assert_valid(cache)


def test_a_lookup_at_the_top_of_a_module_waits_for_a_fill_that_needs_no_import_of_it(modules: Modules) -> None:
    """No false alarm: it takes longer than the waiter's first look, and imports another module."""
    gate = Gate()

    def fill(key: str) -> Any:
        gate.enter()
        time.sleep(0.2)
        return import_value(other)

    def top() -> Any:
        gate.open()
        return cache["key"]

    name, other = modules.add("waits", top), modules.add("other", lambda: "other")
    cache: AtomicCache[str, Any] = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    assert run_threads(lambda: import_value(name)) == ["other"]
    assert join() == ["other"]
    assert_valid(cache)


def test_a_third_thread_that_waits_for_the_module_is_no_reason_to_refuse(modules: Modules) -> None:
    gate, third = Gate(), Gate()
    idents: list[int] = []

    def fill(key: str) -> Any:
        gate.enter()
        time.sleep(0.15)
        return "filled"

    def top() -> Any:
        third.open()
        wait_until_blocked_by_import(idents[0])
        gate.open()
        return cache["key"]

    def import_too() -> Any:
        idents.append(threading.get_ident())
        third.enter()
        return import_value(name)

    name = modules.add("third", top)
    cache: AtomicCache[str, Any] = AtomicCache(fill)
    joins = [start_threads(lambda: cache["key"]), start_threads(import_too)]
    gate.wait_until_entered()
    third.wait_until_entered()
    assert run_threads(lambda: import_value(name)) == ["filled"]
    assert [join() for join in joins] == [["filled"], ["filled"]]
    assert_valid(cache)


def test_a_way_round_over_another_fill_and_another_module_is_seen(modules: Modules) -> None:
    """A executes `first` and waits for "a", whose fill waits for "b", whose fill imports `second`, and that `first`."""
    gates = {name: Gate() for name in ("a", "b")}

    def fill(key: str) -> Any:
        gates[key].enter()
        return cache["b"] if key == "a" else import_value(second)

    def top() -> Any:
        for gate in gates.values():
            gate.open()
        try:
            return cache["a"]
        except FillDeadlockError as error:
            return str(error)

    first = modules.add("first", top)
    second = modules.add("second", lambda: import_value(first))
    cache: AtomicCache[str, Any] = AtomicCache(fill)
    joins = []
    for key in "ab":
        joins.append(start_threads(lambda key=key: cache[key]))
        gates[key].wait_until_entered()
    (error,) = run_threads(lambda: import_value(first))
    assert "import" in error
    assert [join() for join in joins] == [[error], [error]]
    assert_valid(cache)


def test_a_fill_in_a_task_that_blocks_its_loop_in_an_import_is_seen(modules: Modules) -> None:
    gate = Gate()

    async def fill(key: str) -> Any:
        await asyncio.sleep(0)
        gate.enter()
        return import_value(name)

    def top() -> Any:
        gate.open()
        try:
            return cache.sync["key"]
        except FillDeadlockError as error:
            return str(error)

    name = modules.add("task", top)
    cache: AsyncAtomicCache[str, Any] = AsyncAtomicCache(fill)
    join = start_threads(lambda: asyncio.run(cache.fetch("key")))
    gate.wait_until_entered()
    (error,) = run_threads(lambda: import_value(name))
    assert "import" in error
    assert join() == [error]
    assert_valid(cache)


def test_outside_of_imports_nobody_looks_at_them() -> None:
    assert not _imports.is_importing()
    assert not _imports.waits_for_my_imports(threading.get_ident())
    assert _imports._module_locks is not None and type(_imports._module_locks) is dict
