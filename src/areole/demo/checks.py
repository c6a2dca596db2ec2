"""What else areole promises, tried on real threads. Each check returns what it saw, or raises an exception."""

from collections.abc import Callable
from time import sleep
from typing import TypeAlias

from .._cache.atomic_cache import AtomicCache
from ..errors import RecursiveFillError
from .threads import run_threads

__all__ = ["CHECKS", "Check", "run_check"]

Check: TypeAlias = Callable[[], str]
CALLERS = 4
TIMEOUT = 10.0  # seconds until a check counts as hanging


def run_check(check: Check) -> tuple[str, str, bool]:
    """Run one check; return its name, what was seen or went wrong, and whether the promise was kept."""
    name = check.__name__.replace("_", " ")
    try:
        return name, run_threads([check], TIMEOUT)[0], True
    except Exception as error:
        return name, f"{type(error).__name__}: {error}", False


def value_after_invalidate() -> str:
    source = {"key": "old"}
    meanwhile: list[str] = []

    @AtomicCache.memoize
    def load(key: str) -> str:
        value = source[key]
        if value == "old":  # the source changes while this fill is running, and another thread asks at once
            source[key] = "new"
            load.invalidate(key)
            meanwhile.extend(run_threads([lambda: load(key)], TIMEOUT))
        return value

    load("key")
    _expect([*meanwhile, load("key")], ["new", "new"])
    return "the new one, though a fill of the old one was still running; never a stale one"


def recursive_key() -> str:
    @AtomicCache.memoize
    def depth(key: str) -> int:
        return 1 + depth(key)

    try:
        raise ValueError(f"got {depth('key')}")
    except RecursiveFillError:
        return "RecursiveFillError at once, where it would wait for itself for ever"


def failing_fill() -> str:
    runs: list[str] = []

    @AtomicCache.memoize
    def load(key: str) -> str:
        runs.append(key)
        while load.cache_info().waits < CALLERS - 1:
            sleep(0.001)
        if len(runs) == 1:
            raise OSError("down")
        return "value"

    def call() -> str:
        try:
            return load("key")
        except OSError as error:
            return str(error)

    _expect([*run_threads([call] * CALLERS, TIMEOUT), load("key")], [*["down"] * CALLERS, "value"])
    _expect(len(runs), 2)
    return f"one run, whose error all {CALLERS} callers got; the next call tried again"


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise ValueError(f"expected {expected}, found {found}")


CHECKS: tuple[Check, ...] = (value_after_invalidate, recursive_key, failing_fill)
