"""Generated functions: their lines are in tracebacks, for so many texts at most, and a hit calls nothing else."""

from __future__ import annotations

import asyncio
import functools
import linecache
import sys
import traceback
from types import CodeType, FrameType
from typing import Any

import pytest

import areole
from areole import AtomicCache, Storage, cached
from areole._platform import generated

memoize: Any = AtomicCache.memoize


def fail(n: int) -> int:
    raise ZeroDivisionError(n)


async def fail_later(n: int) -> int:
    raise ZeroDivisionError(n)


def failing_class() -> Any:
    """Make the class anew: the text of an older one may have been dropped for those of a thousand newer functions."""

    class Failing:
        @memoize
        def bound(self, n: int) -> int:
            raise ZeroDivisionError(n)

        unbound = bound

    return Failing


def lines_of(error: BaseException) -> list[str | None]:
    """Return the lines of generated code that a traceback shows."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame.line for frame in frames if frame.filename.startswith(generated.FILE)]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        pytest.param(lambda: memoize(fail)(1), "function_(n)", id="function"),
        pytest.param(lambda: memoize(fail, ttl=60)(1), "function_(n)", id="ttl"),
        pytest.param(lambda: failing_class()().bound(1), "function_(self, n)", id="method"),
        pytest.param(lambda: (made := failing_class()).unbound(made(), 1), "function_(self, n)", id="class"),
        pytest.param(lambda: memoize(fail, key=fail)(1), "key_ = key_function_(n)", id="key"),
        pytest.param(lambda: memoize(fail, key=fail).peek(1), "def cache_key(n): return key_function_(n)", id="peek"),
        pytest.param(lambda: asyncio.run(memoize(fail_later)(1)), "partial_(function_, n)", id="async def"),
    ],
)
def test_a_traceback_shows_the_line(call: Any, line: str) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        call()
    shown = lines_of(caught.value)
    assert shown and all(shown), shown
    assert any(each is not None and line in each for each in shown), shown
    linecache.checkcache()
    assert lines_of(caught.value) == shown, "it is still there after others have looked for changed files"


def test_functions_of_one_signature_and_options_share_a_text() -> None:
    def make() -> Any:
        def f(of_one_signature: int) -> int:
            return of_one_signature

        return memoize(f)

    assert make().__code__ is make().__code__


def test_no_more_texts_are_kept_than_may_be() -> None:
    for n in range(generated.MAX_SOURCES + 50):
        assert generated.define(f"def text_{n}(): return {n}", {})() == n
    kept = [file for file in linecache.cache if file.startswith(generated.FILE)]
    assert len(kept) <= generated.MAX_SOURCES
    newest = generated.define("def newest(): return 1", {}).__code__.co_filename
    assert linecache.getline(newest, 1) == "def newest(): return 1"
    linecache.clearcache()
    generated.define("def newest(): return 1", {})
    assert linecache.getline(newest, 1) == "def newest(): return 1", "a dropped text is shown again"


class Shop:
    @memoize
    def price(self, item: str) -> str:
        return item

    @cached(Storage(max_items=5))
    def in_store(self, item: str) -> str:
        return item

    @memoize(results="table")
    def in_table(self, item: str) -> str:
        return item


def same(item: str) -> str:
    return item


SHOP = Shop()

HITS: dict[str, tuple[Any, Any]] = {  # what is called once more, and the functions that this visits
    "function": (memoize(same), ["same"]),
    "function, limits": (memoize(same, max_items=5), ["same"]),
    "function, ttl and counted": (memoize(same, ttl=60, stats=True, max_items=5), ["same"]),
    "function, many parameters": (memoize(lambda a, b=1, *c, **d: a), ["memoized"]),
    "method": (lambda item: SHOP.price(item), ["__get__", "price"]),
    "method, in a table": (lambda item: SHOP.in_table(item), ["__get__", "in_table"]),
    "cached": (cached(Storage(max_items=5))(same), ["same"]),
    "cached, s3fifo, counted": (cached(Storage(max_items=5, policy="s3fifo", stats=True))(same), ["same"]),
    "cached, in a read-through cache": (cached(AtomicCache(str))(same), ["same"]),
    "method, through the class": (functools.partial(Shop.price, SHOP), ["price"]),
}


IN_C = ("function", "function, limits", "function, ttl and counted")


@pytest.mark.parametrize("hit", HITS)
def test_a_hit_visits_generated_functions_alone(hit: str) -> None:
    call, expected = HITS[hit]
    if areole.accelerated and hit in IN_C:
        expected = []
    call("tea")
    call("tea")
    visited: list[CodeType] = []

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename != __file__:
            visited.append(frame.f_code)

    sys.setprofile(note)
    try:
        call("tea")
    finally:
        sys.setprofile(None)
    assert [code.co_name for code in visited] == expected
    assert all(code.co_filename.startswith(generated.FILE) for code in visited)
    print(f"a hit of a {hit} visits {len(visited)}")
