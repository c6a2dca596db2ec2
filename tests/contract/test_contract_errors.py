"""cache_exceptions: which exceptions are stored, for how long, and what is raised then."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from areole import AtomicCache
from areole.errors import FillFailedError

from ..kit import Fill, ManualClock, assert_valid, every_index, is_free_threaded


class Uncopyable(ValueError):
    """Its `__del__` would run for a copy too."""

    def __del__(self) -> None:
        pass


@every_index
@pytest.mark.parametrize(
    "cache_exceptions, is_stored",
    [
        (False, False),
        (True, True),
        (LookupError, True),
        (KeyError, True),
        (Exception, True),
        (ValueError, False),
        ((ValueError, LookupError), True),
        ((ValueError, OSError), False),
        ((), False),
    ],
)
def test_an_exception_is_stored_if_cache_exceptions_says_so(index: str, cache_exceptions: Any, is_stored: bool) -> None:
    cache, fill = make_failing(index, KeyError("x"), cache_exceptions)
    for _ in range(3):
        with pytest.raises(KeyError):
            cache["a"]
    assert fill.keys == (["a"] if is_stored else ["a"] * 3)
    assert_valid(cache)


@every_index
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_is_no_exception_is_never_stored(index: str, error: BaseException) -> None:
    cache, fill = make_failing(index, error)
    for _ in range(2):
        with pytest.raises(type(error)):
            cache["a"]
    assert fill.keys == ["a", "a"]
    assert_valid(cache)


@pytest.mark.parametrize(
    "refused", [None, 1, "ValueError", BaseException, KeyboardInterrupt, int, (ValueError, int), [ValueError]]
)
def test_cache_exceptions_of_another_kind_is_a_type_error(refused: Any) -> None:
    with pytest.raises(TypeError, match="cache_exceptions must be"):
        AtomicCache(str, cache_exceptions=refused)


@every_index
def test_get_in_len_and_iteration_do_not_see_a_stored_exception(index: str) -> None:
    cache, fill = make_failing(index, ValueError())
    fail(cache)
    default = object()
    assert "a" not in cache and len(cache) == 0 and list(cache) == []
    assert cache.get("a", default) is default and cache.peek("a", default) is default and cache.get_many([*"a"]) == {}
    fail(cache)
    assert fill.keys == ["a"], "a lookup that does not fill must leave the stored exception alone"
    assert_valid(cache)


@every_index
def test_each_lookup_raises_a_copy_of_its_own_whose_traceback_does_not_grow(index: str) -> None:
    error = ValueError("message", 1)
    error.note = "attribute"  # type: ignore[attr-defined]
    error.__cause__ = OSError("the cause")
    cache, _ = make_failing(index, error)
    raised = [fail(cache) for _ in range(20)]
    assert len(set(map(id, raised))) == 20
    assert {(type(each), each.args, each.note) for each in raised} == {(ValueError, ("message", 1), "attribute")}  # type: ignore[attr-defined]
    assert all(each.__cause__ is error.__cause__ for each in raised)
    assert len({count_frames(each) for each in raised[1:]}) == 1
    assert_valid(cache)


@every_index
def test_an_exception_that_cannot_be_copied_is_raised_itself_and_does_not_grow(index: str) -> None:
    """Or, where threads must not share one object, an error stands for it in all lookups but the first."""
    error = Uncopyable(1, 2)
    cache, _ = make_failing(index, error)
    frames = []
    for i in range(20):
        raised = fail(cache)
        if is_free_threaded() and i:  # no two threads may raise one object
            assert type(raised) is FillFailedError
        else:
            assert raised is error
        frames.append(count_frames(raised))
    assert len(set(frames[1:])) == 1
    assert_valid(cache)


@every_index
def test_invalidate_forgets_a_stored_exception_and_says_so(index: str) -> None:
    cache, fill = make_failing(index, ValueError())
    fail(cache)
    assert cache.invalidate("a") is True
    assert cache.invalidate("a") is False
    fill.error = None
    assert cache["a"] == ("a", 2)
    assert_valid(cache)


@every_index
def test_clear_forgets_stored_exceptions(index: str) -> None:
    cache, fill = make_failing(index, ValueError())
    fail(cache)
    cache.clear()
    fill.error = None
    assert cache["a"] == ("a", 2)
    assert_valid(cache)


@every_index
def test_refresh_replaces_a_stored_exception(index: str) -> None:
    cache, fill = make_failing(index, ValueError())
    fail(cache)
    fill.error = None
    assert cache.refresh("a") == ("a", 2)
    assert cache["a"] == ("a", 2)
    assert_valid(cache)


@every_index
def test_a_refresh_that_raises_keeps_the_old_value_even_where_exceptions_are_stored(index: str) -> None:
    cache, fill = make_failing(index, None)
    cache["a"]
    fill.error = ValueError()
    with pytest.raises(ValueError):
        cache.refresh("a")
    assert cache["a"] == cache.get("a") == ("a", 1)
    assert_valid(cache)


def test_a_stored_exception_expires_like_a_value_from_the_end_of_the_fill() -> None:
    clock = ManualClock()
    fill = Fill(clock, takes=100)
    fill.error = ValueError()
    cache = AtomicCache(fill, 10, clock=clock, cache_exceptions=True)
    fail(cache)
    clock.advance(10 - 2**-20)
    fail(cache)
    assert fill.keys == ["a"]
    clock.advance(2**-20)
    fill.error = None
    assert cache["a"] == ("a", 2)
    assert_valid(cache)


def test_invalidate_of_an_expired_stored_exception_says_that_there_was_nothing() -> None:
    clock = ManualClock()
    fill = Fill()
    fill.error = ValueError()
    cache = AtomicCache(fill, 10, clock=clock, cache_exceptions=True)
    fail(cache)
    clock.advance(10)
    assert cache.invalidate("a") is False
    assert_valid(cache)


def test_a_callable_ttl_gets_the_exception_as_the_value() -> None:
    clock, asked = ManualClock(), []  # type: ignore[var-annotated]

    def ttl(key: str, value: Any) -> float | None:
        asked.append((key, type(value)))
        return 1 if isinstance(value, Exception) else None

    fill = Fill()
    fill.error = ValueError()
    cache = AtomicCache(fill, ttl, clock=clock, cache_exceptions=True)
    fail(cache)
    clock.advance(1)
    fill.error = None
    assert cache["a"] == ("a", 2)
    assert asked == [("a", ValueError), ("a", tuple)]
    assert_valid(cache)


@every_index
def test_a_stored_exception_of_a_memoized_function(index: str) -> None:
    calls: list[int] = []

    @AtomicCache.memoize(cache_exceptions=ZeroDivisionError, index=index)
    def invert(n: int) -> float:
        calls.append(n)
        return 1 / n

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            invert(0)
    assert calls == [0]
    assert invert.invalidate(0) is True
    with pytest.raises(ZeroDivisionError):
        invert(0)
    assert calls == [0, 0]
    assert_valid(invert.cache)


def make_failing(
    index: str, error: BaseException | None, cache_exceptions: Any = True
) -> tuple[AtomicCache[Any, Any], Fill]:
    fill = Fill()
    fill.error = error
    return AtomicCache(fill, index=index, cache_exceptions=cache_exceptions), fill


def fail(cache: AtomicCache[Any, Any]) -> Exception:
    """Look up "a", which must raise, and return what it raised."""
    with pytest.raises((ValueError, FillFailedError)) as caught:
        cache["a"]
    return caught.value


def count_frames(error: BaseException) -> int:
    return len(list(traceback.walk_tb(error.__traceback__)))
