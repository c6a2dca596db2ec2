"""What becomes of a flight whose fill raises: invariant 4, and the first row of the design's promises.

Known faults: a BaseException in a fill poisons the key, and every later caller hangs (cereggii 1.0.1, measured; Go
singleflight #33519, #67087); an ordinary exception hangs the next call (theine 2.0.0, measured); `in` is true, or the
exception comes back, for a key whose fill failed (cereggii, measured); a cached exception raised again and again grows
its traceback (cereggii, 4 to 402 frames in 200 raises, measured).
"""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import AtomicCache

from .support import (
    Gate,
    assert_valid,
    every_index,
    run_python,
    run_threads,
    start_threads,
    wait_until_waiting,
)

WAITERS = 7

every_base_exception = pytest.mark.parametrize(
    "base_exception", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]
)


class FillError(Exception):
    """An ordinary exception that can be copied."""


class WithoutArguments(Exception):
    """Its copy would be made by `WithoutArguments("a message")`, which is refused."""

    def __init__(self) -> None:
        super().__init__("made by itself")


class Doubled(Exception):
    """Its copy would say "cannot cannot ..."."""

    def __init__(self, message: str) -> None:
        super().__init__(f"cannot {message}")


class Uncopyable(Exception):
    def __copy__(self) -> Exception:
        raise TypeError("no copy of me")


class Unreducible(Exception):
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise ValueError("no pickle of me")


class OfAnotherType(Exception):
    def __copy__(self) -> Exception:
        return Exception(*self.args)


class WithState(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.seen: list[str] = [detail]


COPYABLE = [
    lambda: FillError("message", 1),
    lambda: WithState(5, "detail"),
    lambda: KeyError("key"),
    lambda: FileNotFoundError(2, "No such file", "name"),
    lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    lambda: ExceptionGroup("several", [ValueError(1), KeyError(2)]),
]
NOT_COPYABLE: list[Callable[[], Exception]] = [
    WithoutArguments,
    lambda: Doubled("divide"),
    lambda: Uncopyable("message"),
    lambda: Unreducible("message"),
    lambda: OfAnotherType("message"),
]


def kind_of(make: Callable[[], Exception]) -> str:
    return type(make()).__name__


every_copyable = pytest.mark.parametrize("make", COPYABLE, ids=kind_of)
every_exception = pytest.mark.parametrize("make", COPYABLE + NOT_COPYABLE, ids=kind_of)
every_uncopyable = pytest.mark.parametrize("make", NOT_COPYABLE, ids=kind_of)


def frames_of(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def fail_together(make: Callable[[], BaseException], index: str, **options: Any) -> tuple[list[Any], Any]:
    """One leader and WAITERS that have joined it, whose fill raises what `make` makes. Returns results, the cache."""

    def fill_that_raises(key: str) -> Any:
        wait_until_waiting(cache, WAITERS)
        raise make()

    cache: AtomicCache[str, Any] = AtomicCache(fill_that_raises, index=index, **options)
    return run_threads(*[lambda: cache["key"]] * (WAITERS + 1)), cache


# ---- an Exception


@every_index
@every_exception
def test_leader_and_waiters_all_get_the_exception_and_its_traceback_leads_to_the_fill(
    make: Callable[[], Exception], index: str
) -> None:
    """Known fault: an ordinary exception hangs the next call (theine 2.0.0). Allowed: all eight raise it."""
    results, cache = fail_together(make, index)
    like = make()
    assert [type(result) for result in results] == [type(like)] * (WAITERS + 1)
    assert all(str(result) == str(like) for result in results)
    assert all("fill_that_raises" in frames_of(result) for result in results)
    assert cache.cache_info().fills == cache.cache_info().failures == 1
    assert_valid(cache)


@every_index
@every_copyable
def test_each_has_an_exception_of_its_own_where_it_can_be_copied(make: Callable[[], Exception], index: str) -> None:
    results, cache = fail_together(make, index)
    assert len({id(result) for result in results}) == WAITERS + 1
    assert all(vars(result).keys() == vars(make()).keys() for result in results)
    assert all(frames_of(result).count("fill_that_raises") == 1 for result in results)
    assert all(frames_of(result).count("run") <= 2 for result in results)  # the thread's own frame, and the leader's
    assert_valid(cache)


@every_index
@every_uncopyable
def test_an_exception_that_cannot_be_copied_by_its_class_is_not_falsified(
    make: Callable[[], Exception], index: str
) -> None:
    """Allowed: that very object, or another one that is the same in all respects."""
    results, cache = fail_together(make, index)
    assert {type(result) for result in results} == {type(make())}
    assert {result.args for result in results} == {make().args}
    assert {str(result) for result in results} == {str(make())}
    assert_valid(cache)


@every_index
def test_cause_context_and_notes_go_with_every_copy(index: str) -> None:
    def make() -> Exception:
        error = FillError("message")
        error.add_note("a note")
        error.__cause__ = ValueError("the cause")
        error.__context__ = KeyError("the context")
        return error

    results, cache = fail_together(make, index)
    assert all(type(result.__cause__) is ValueError for result in results)
    assert all(result.__suppress_context__ for result in results)
    assert all(result.__notes__ == ["a note"] for result in results)
    assert all(type(result.__context__) is KeyError for result in results)
    assert_valid(cache)


@every_index
def test_suppression_of_the_context_is_as_the_fill_left_it(index: str) -> None:
    """Setting `__cause__` sets `__suppress_context__`, so a careless copy hides the context."""

    def make() -> Exception:
        error = FillError("message")
        error.__context__ = KeyError("the context")
        return error

    results, _cache = fail_together(make, index)
    assert not any(result.__suppress_context__ for result in results)
    assert all(type(result.__context__) is KeyError for result in results)


@every_index
def test_a_note_that_one_waiter_adds_is_not_seen_by_the_others(index: str) -> None:
    """A shallow copy shares the list `__notes__`; "each its own copy" means that one too."""

    def make() -> Exception:
        error = FillError("message")
        error.add_note("by the fill")
        return error

    results, cache = fail_together(make, index)
    results[0].add_note("by one waiter")
    assert [len(result.__notes__) for result in results] == [2] + [1] * WAITERS
    assert_valid(cache)


@every_index
def test_notes_of_a_stored_exception_do_not_grow_with_the_lookups_that_add_some(index: str) -> None:
    def fill(key: str) -> Any:
        error = FillError("message")
        error.add_note("by the fill")
        raise error

    cache: AtomicCache[str, Any] = AtomicCache(fill, cache_exceptions=True, index=index)
    for _ in range(3):
        with pytest.raises(FillError) as caught:
            cache["key"]
        assert caught.value.__notes__ == ["by the fill"]
        caught.value.add_note("by the caller")
    assert_valid(cache)


@every_index
def test_nothing_of_a_failed_fill_is_stored(index: str) -> None:
    """Known fault: `in` is true, or the exception comes back, for a key whose fill failed (cereggii, measured)."""
    results, cache = fail_together(lambda: FillError("message"), index)
    assert isinstance(results[0], FillError)
    assert "key" not in cache
    assert cache.get("key") is None
    assert len(cache) == 0
    assert list(cache) == []
    assert cache.invalidate("key") is False
    assert_valid(cache)


@every_index
def test_the_call_after_a_failed_one_fills_anew(index: str) -> None:
    """Known fault: an ordinary exception in a memoized function hangs the next call (theine 2.0.0, measured)."""
    errors = [FillError("first"), FillError("second")]

    @AtomicCache.memoize(index=index)
    def function(key: str) -> str:
        if errors:
            raise errors.pop(0)
        return "value"

    for message in ("first", "second"):
        with pytest.raises(FillError, match=message):
            function("key")
    assert function("key") == "value"
    assert function.cache_info().failures == 2
    assert_valid(function.cache)


@every_index
@every_exception
def test_the_traceback_of_a_stored_exception_does_not_grow_over_200_raises(
    make: Callable[[], Exception], index: str
) -> None:
    """Known fault: from 4 to 402 frames in 200 raises (cereggii, measured)."""

    def fill(key: str) -> Any:
        raise make()

    cache: AtomicCache[str, Any] = AtomicCache(fill, cache_exceptions=True, index=index)
    lengths = []
    for _ in range(200):
        with pytest.raises(type(make())) as caught:
            cache["key"]
        lengths.append(len(frames_of(caught.value)))
    assert max(lengths[1:]) == min(lengths[1:])
    assert max(lengths) < 10
    assert cache.cache_info().fills == 1
    assert_valid(cache)


RAISED_AT_ONCE = """
    import threading
    from areole import AtomicCache
    from areole.testing import assert_valid

    class Copyable(Exception):
        pass

    class WithoutArguments(Exception):
        def __init__(self):
            super().__init__("made by itself")

    def fill(key):
        raise {make}

    cache = AtomicCache(fill, cache_exceptions={stored}, index={index!r})
    start = threading.Barrier(4)
    longest = []

    def length_of(tb):  # `traceback` reads source lines through `linecache`, which threads must not share
        return 0 if tb is None else 1 + length_of(tb.tb_next)

    def ask():
        start.wait()
        for _ in range({times}):
            try:
                cache["key"]
            except Exception as error:
                longest.append(length_of(error.__traceback__))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(longest) == 4 * {times}
    assert max(longest) < 60, max(longest)
    assert_valid(cache)
"""


@every_index
@pytest.mark.parametrize("stored", [False, True], ids=["passing", "stored"])
@pytest.mark.parametrize("make", ["Copyable('message')", "WithoutArguments()"])
def test_an_exception_raised_by_many_threads_at_once_neither_grows_nor_crashes_the_interpreter(
    make: str, stored: bool, index: str
) -> None:
    """Known fault: tracebacks grow (cereggii). And without a GIL, on 3.13:

    1. A raises an exception object, and links a frame to its traceback
    2. B, at the same time, sets the traceback of that same object, and frees the old one under A: a segmentation fault

    So one object must not be raised by two threads at once. In an interpreter of its own, which may crash.
    """
    run_python(RAISED_AT_ONCE.format(make=make, stored=stored, index=index, times=5000 if stored else 300))


class Big:
    """Stands for what a fill had in hand when it failed."""


@pytest.fixture
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@every_index
@pytest.mark.parametrize("asked_by", [1, 2], ids=["leader", "leader and waiter"])
@pytest.mark.parametrize(
    ("make", "stored"),
    [(lambda: FillError("message"), False), (lambda: FillError("message"), True), (WithoutArguments, False)],
    ids=["copyable", "copyable, stored", "not copyable"],
)
@pytest.mark.usefixtures("no_garbage_collector")
def test_what_a_failed_fill_held_goes_with_the_exception_and_needs_no_garbage_collector(
    make: Callable[[], Exception], asked_by: int, stored: bool, index: str
) -> None:
    """A traceback keeps whole frames. Where one of areole's leads back to the exception, a cycle keeps all of them:

    1. a waiter's frame raises its local `error`      2. error -> traceback -> that frame -> error

    Not asked of an exception that is stored and cannot be copied: there the lookup's own entry leads to it.
    """
    alive: list[weakref.ref[Any]] = []

    def fill(key: str) -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        wait_until_waiting(cache, asked_by - 1)
        raise make()

    cache: AtomicCache[str, Any] = AtomicCache(fill, cache_exceptions=stored, index=index)

    def ask() -> None:
        try:
            cache["key"]
        except Exception as error:
            alive.append(weakref.ref(error))

    run_threads(*[ask] * asked_by)
    if stored:
        ask()
        cache.invalidate("key")
    assert [ref() for ref in alive if ref() is not None] == []
    assert_valid(cache)


# ---- a BaseException that is no Exception


@every_index
@every_base_exception
def test_a_base_exception_is_the_leaders_and_exactly_one_waiter_takes_the_lead(
    base_exception: type[BaseException], index: str
) -> None:
    """Known fault: a BaseException in a fill poisons the key (cereggii 1.0.1, measured; Go #33519, #67087).

    1. A leads, and dies of KeyboardInterrupt      2. its entry stays      3. B to H wait for it, for ever

    Allowed: the leader raises it; of seven waiters one fills, and the six others get that very value.
    """
    calls: list[str] = []

    def fill(key: str) -> Any:
        calls.append(key)
        if len(calls) == 1:
            wait_until_waiting(cache, WAITERS)
            raise base_exception
        return object()

    cache = AtomicCache(fill, index=index)
    results = run_threads(*[lambda: cache["key"]] * (WAITERS + 1))
    raised = [result for result in results if isinstance(result, BaseException)]
    values = {id(result) for result in results if not isinstance(result, BaseException)}
    assert [type(each) for each in raised] == [base_exception]
    assert values == {id(cache["key"])}
    assert len(calls) == 2
    assert cache.cache_info().failures == 0
    assert_valid(cache)


@every_index
@every_base_exception
def test_a_key_whose_every_leader_dies_is_left_clean(base_exception: type[BaseException], index: str) -> None:
    """Each waiter takes the lead in its turn and dies of it: eight fills, eight exceptions, and nothing stays."""

    def fill(key: str) -> Any:
        raise base_exception

    cache: AtomicCache[str, Any] = AtomicCache(fill, index=index)
    results = run_threads(*[lambda: cache["key"]] * 8)
    assert [type(result) for result in results] == [base_exception] * 8
    assert cache.cache_info().fills == 8
    assert "key" not in list(cache)
    assert cache.invalidate("key") is False
    assert_valid(cache)


@every_base_exception
def test_a_memoized_call_that_dies_is_made_again(base_exception: type[BaseException]) -> None:
    deaths = [base_exception()]

    @AtomicCache.memoize
    def function(a: int, *, b: int = 0) -> int:
        if deaths:
            raise deaths.pop()
        return a + b

    with pytest.raises(base_exception):
        function(1, b=2)
    assert function(1, b=2) == 3
    assert_valid(function.cache)


@every_index
@every_base_exception
def test_a_refresh_that_dies_keeps_the_old_value_and_a_waiting_refresh_takes_over(
    base_exception: type[BaseException], index: str
) -> None:
    gate, calls = Gate(), []

    def fill(key: str) -> Any:
        calls.append(key)
        if len(calls) == 2:
            gate.enter()
            wait_until_waiting(cache, 1)
            raise base_exception
        return f"value {len(calls)}"

    cache = AtomicCache(fill, index=index)
    assert cache["key"] == "value 1"
    join_first = start_threads(lambda: cache.refresh("key"))
    gate.wait_until_entered()
    join_second = start_threads(lambda: cache.refresh("key"))
    assert cache["key"] == "value 1"
    gate.open()
    assert type(join_first()[0]) is base_exception
    assert join_second() == ["value 3"]
    assert cache["key"] == "value 3"
    assert_valid(cache)


def test_base_exceptions_are_never_stored_whatever_cache_exceptions_says() -> None:
    deaths: list[BaseException] = [KeyboardInterrupt(), SystemExit()]

    def fill(key: str) -> str:
        if deaths:
            raise deaths.pop()
        return "value"

    cache = AtomicCache(fill, cache_exceptions=True)
    for death in (SystemExit, KeyboardInterrupt):
        with pytest.raises(death):
            cache["key"]
    assert cache["key"] == "value"
    assert_valid(cache)
