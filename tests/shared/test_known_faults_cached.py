"""Faults of other caches' decorators over shared stores, each over all engines; see docs/known-faults.md.

Those that test_cached_shared, its asynchronous twin and test_cached_shared_names show are not here again.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from areole import FillDeadlockError, SharedCache, cached

from ..kit import collect, run_threads
from .kit import Engine, Subject, every_engine, opened

pytestmark = every_engine


@pytest.fixture
def subject(engine: Engine, request: pytest.FixtureRequest) -> Iterator[Subject]:
    with opened(engine, request) as subject:
        yield subject


@pytest.fixture
def shop(subject: Subject) -> SharedCache[Any]:
    return make(subject)


@pytest.fixture
def run_here(engine: Engine) -> Callable[..., list[Any]]:
    """Run functions in threads, whose connections end with them."""

    def closing(function: Callable[[], Any]) -> Any:
        try:
            return function()
        finally:
            if engine.name == "django-database":
                from django.db import connections

                connections.close_all()

    return lambda *functions: run_threads(*[functools.partial(closing, each) for each in functions])


def make(subject: Subject, namespace: str = "shop") -> SharedCache[Any]:
    return SharedCache(subject.connect(), namespace=namespace)


def test_a_burst_of_threads_on_a_cold_key_makes_one_call(shop: SharedCache[Any], run_here: Any) -> None:
    """functools.lru_cache 16 calls of 16; cachetools' lock, moka-py, cachebox in some bursts."""
    calls: list[int] = []

    @cached(shop, name="slow")
    def slow(burst: int) -> int:
        calls.append(burst)
        threading.Event().wait(0.002)
        return burst

    for burst in range(10):
        assert run_here(*[functools.partial(slow, burst)] * 8) == [burst] * 8
    assert calls == list(range(10))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_base_exception_in_a_fill_leaves_the_key_free(shop: SharedCache[Any], error: type[BaseException]) -> None:
    """cereggii: every later caller hangs."""
    errors: list[BaseException] = [error()]

    @cached(shop, name="f")
    def f(a: int) -> int:
        if errors:
            raise errors.pop()
        return a

    with pytest.raises(error):
        f(1)
    assert [f(1), f(1)] == [1, 1]


def test_two_fills_that_need_each_other_are_an_error_for_one_of_them(shop: SharedCache[Any], run_here: Any) -> None:
    """cereggii: both hang."""
    barrier = threading.Barrier(2)

    @cached(shop, name="f")
    def f(key: str) -> str:
        barrier.wait(60)
        try:
            return f"{key} of {f.cache.get_or_fill(f.cache_key('b' if key == 'a' else 'a'), lambda key: 'a look')}"
        except FillDeadlockError:
            return f"{key} alone"

    results = run_here(lambda: f("a"), lambda: f("b"))
    assert "a alone" in results or "b alone" in results


def test_what_gives_a_coroutine_is_refused_and_nothing_is_stored(shop: SharedCache[Any]) -> None:
    """cereggii, memoizing an async def as a plain function: the coroutine is cached, the second await fails."""
    made: list[Coroutine[Any, Any, int]] = []

    async def later(a: int) -> int:
        return a

    def hidden(a: int) -> Any:
        made.append(later(a))
        return made[-1]

    f = cached(shop, name="f")(hidden)
    with pytest.raises(TypeError, match="coroutine"):
        f(1)
    made[0].close()
    assert f.peek(1) is None


def test_a_clear_of_one_function_is_no_pattern_and_keeps_to_its_namespace(subject: Subject) -> None:
    """cachetory: the prefix is left out of clear: everybody's data is gone. SCAN's MATCH is a glob."""
    shop, other = make(subject), make(subject, "shop2")
    templates = ["a[1]*?:{x}", "a1:{x}", "a[1]:{x}", "a\\[1]*?:{x}", "a:{x}"]
    here = [cached(shop, key=each)(lambda x: x) for each in templates]
    elsewhere = cached(other, key=templates[0])(lambda x: x)
    for each in (*here, elsewhere):
        assert [each(1), each(2)] == [1, 2]
    if subject.is_weaker("refuses to clear"):
        with pytest.raises(NotImplementedError, match=r"SharedCache\.clear does without"):
            here[0].cache_clear()
        return
    here[0].cache_clear()
    assert [each.peek(1) for each in here] == [None, 1, 1, 1, 1] and elsewhere.peek(2) == 2


def test_results_keep_no_instance_alive(shop: SharedCache[Any]) -> None:
    """functools: memoized methods keep `self` alive."""

    class Stall:
        name = "tea"

        @cached(shop, key="price:{self.name}:{item}")
        def price(self, item: str) -> str:
            return f"{self.name} {item}"

    stall = Stall()
    freed = weakref.ref(stall)
    assert stall.price("a") == "tea a"
    del stall
    collect()
    assert freed() is None and Stall().price.peek("a") == "tea a"


def test_minus_one_and_minus_two_are_two_calls(shop: SharedCache[Any]) -> None:
    """theine: deleting by hash, `delete(-1)` deletes `-2`."""
    f = cached(shop, name="f")(lambda a: a)
    assert [f(-1), f(-2), f.invalidate(-1), f.peek(-2), f.peek(-1)] == [-1, -2, True, -2, None]


def test_a_result_of_none_is_a_result(shop: SharedCache[Any]) -> None:
    """purecache: the function is called again."""
    calls: list[int] = []
    f = cached(shop, name="f")(calls.append)
    assert [f(1), f(1), f.peek(1, default=7)] == [None, None, None] and calls == [1]


def test_a_result_of_one_key_is_not_another_keys(shop: SharedCache[Any]) -> None:
    """dogpile.cache, cachetory: keys joined as text collide; here also where a key is as long as keys may be."""
    f = cached(shop, key="{a}:{b}")(lambda a, b: [a, b])
    calls = [("1:2", "3"), ("1", "2:3"), ("", "1:2:3"), ("x" * 300, ""), ("x" * 301, ""), ("x" * 150, "x" * 150)]
    for _ in range(2):
        assert [f(*each) for each in calls] == [list(each) for each in calls]
    assert f.cache_info().hits == len(calls)
