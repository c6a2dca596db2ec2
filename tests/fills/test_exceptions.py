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
import urllib.error
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

import areole
from areole import AtomicCache, Resilience, Storage, cached
from areole.errors import FillFailedError

from ..kit import (
    PATIENCE,
    Gate,
    assert_valid,
    collect,
    every_index,
    is_free_threaded,
    run_python,
    run_threads,
    start_threads,
    wait_until_waiting,
)

WAITERS = 7

Asking: TypeAlias = tuple[Any, Callable[[], Any]]
"""A cache, and a lookup in it."""

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


class Frozen(Exception):
    """Forbids assignment, as frozen attrs classes and dataclasses do; its state is in a slot."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__("message")
        object.__setattr__(self, "code", code)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("frozen")


class Closing(Exception):
    """Owns something, and closes it when it goes: there must be no copy of it."""

    closed = 0

    def __del__(self) -> None:
        type(self).closed += 1


class Counted(Exception):
    made = 0

    def __init__(self, message: str) -> None:
        super().__init__(message)
        type(self).made += 1


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
REFUSING: list[Callable[[], Exception]] = [
    WithoutArguments,
    lambda: Doubled("divide"),
    lambda: Uncopyable("message"),
    lambda: Unreducible("message"),
    lambda: OfAnotherType("message"),
    lambda: Frozen(5),
]


def kind_of(make: Callable[[], Exception]) -> str:
    return type(make()).__name__


every_exception = pytest.mark.parametrize("make", COPYABLE + REFUSING, ids=kind_of)
every_refusing = pytest.mark.parametrize("make", REFUSING, ids=kind_of)


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
@every_exception
def test_each_has_an_exception_of_its_own(make: Callable[[], Exception], index: str) -> None:
    results, cache = fail_together(make, index)
    assert len({id(result) for result in results}) == WAITERS + 1
    assert all(vars(result).keys() == vars(make()).keys() for result in results)
    assert all(frames_of(result).count("fill_that_raises") == 1 for result in results)
    assert all(frames_of(result).count("run") <= 2 for result in results)  # the thread's own frame, and the leader's
    assert_valid(cache)


@every_index
@every_refusing
def test_an_exception_that_cannot_be_made_again_is_not_falsified(make: Callable[[], Exception], index: str) -> None:
    """Its constructor, `__copy__` and `__reduce__` are not called, nor its `__setattr__`."""
    results, cache = fail_together(make, index)
    assert {type(result) for result in results} == {type(make())}
    assert {result.args for result in results} == {make().args}
    assert {str(result) for result in results} == {str(make())}
    assert {getattr(result, "code", None) for result in results} == {getattr(make(), "code", None)}
    assert_valid(cache)


# ---- who gets the very object, and who a copy


def of_cache(fill: Callable[[str], Any]) -> Asking:
    cache = AtomicCache(fill)
    return cache, lambda: cache["key"]


def of_cache_with_ttl(fill: Callable[[str], Any]) -> Asking:
    cache = AtomicCache(fill, 60)
    return cache, lambda: cache["key"]


def of_refresh(fill: Callable[[str], Any]) -> Asking:
    cache = AtomicCache(fill, max_items=5)
    return cache, lambda: cache.refresh("key")


def of_resilience(fill: Callable[[str], Any]) -> Asking:
    cache = AtomicCache(fill, 60, resilience=Resilience(stale_ttl=60))
    return cache, lambda: cache["key"]


def of_resilience_with_timeouts(fill: Callable[[str], Any]) -> Asking:
    """The fill runs in a thread of areole's."""
    cache = AtomicCache(fill, 60, resilience=Resilience(hard_timeout=PATIENCE))
    return cache, lambda: cache["key"]


def of_function(fill: Callable[[str], Any]) -> Asking:
    function = AtomicCache.memoize(fill)
    return function.cache, lambda: function("key")


def of_method(fill: Callable[[str], Any]) -> Asking:
    class Owner:
        @AtomicCache.memoize
        def method(self, key: str) -> Any:
            return fill(key)

    Owner.method.__qualname__ = "Owner.method"
    owner = Owner()
    return owner.method.cache, lambda: owner.method("key")


def of_store(fill: Callable[[str], Any]) -> Asking:
    store: Storage[Any] = Storage()
    return store, lambda: store.get_or_fill("key", fill)


def of_cached(fill: Callable[[str], Any]) -> Asking:
    store: Storage[Any] = Storage()
    function = cached(store)(fill)
    return store, lambda: function("key")


every_way = pytest.mark.parametrize(
    "way",
    [
        of_cache,
        of_cache_with_ttl,
        of_refresh,
        of_resilience,
        of_resilience_with_timeouts,
        of_function,
        of_method,
        of_store,
        of_cached,
    ],
    ids=lambda way: way.__name__[3:],
)


@every_way
def test_the_caller_whose_fill_raised_gets_the_very_object_and_nothing_is_copied(
    way: Callable[..., Asking], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known fault: at every failure the constructor ran again, and an attribute was lost (areole 0.1.0)."""
    monkeypatch.setattr(areole._fill.protocol, "twin_of", pytest.fail)
    monkeypatch.setattr(areole._fill.protocol, "raise_copy_of", pytest.fail)
    raised: list[FillError] = []

    def fill(key: str) -> Any:
        raised.append(FillError("message"))
        raised[-1].add_note("a note")
        try:
            raise KeyError("the context")
        except KeyError:
            raise raised[-1] from ValueError("the cause")

    cache, ask = way(fill)
    try:
        raise LookupError("the caller handles another one")
    except LookupError:
        with pytest.raises(FillError) as caught:
            ask()
    assert caught.value is raised[0]
    assert len(raised) == 1
    assert type(caught.value.__context__) is KeyError and type(caught.value.__cause__) is ValueError
    assert caught.value.__notes__ == ["a note"]
    assert frames_of(caught.value)[-1] == "fill"
    assert_valid(cache)


@every_way
def test_those_who_wait_get_copies_of_what_the_leader_gets(way: Callable[..., Asking]) -> None:
    raised: list[Counted] = []
    made = Counted.made

    def fill(key: str) -> Any:
        wait_until_waiting(cache, WAITERS)
        raised.append(Counted("message"))
        raise raised[-1]

    cache, ask = way(fill)
    results = run_threads(*[ask] * (WAITERS + 1))
    assert sum(result is raised[0] for result in results) == 1
    assert len({id(result) for result in results}) == WAITERS + 1
    assert {(type(result), result.args) for result in results} == {(Counted, ("message",))}
    assert (len(raised), Counted.made - made) == (1, 1)
    assert_valid(cache)


@every_index
def test_a_lookup_that_joins_too_late_to_be_seen_is_made_again(index: str) -> None:
    """See areole._fill.exceptions: the leader sees no mark, and copies nothing; and what it raises is nobody else's.

    1. a lookup finds the flight      2. the leader fails, and sees no mark      3. the lookup sets it, and waits
    """
    calls: list[Any] = []

    def fill(key: str) -> Any:
        calls.append(key)
        if len(calls) == 1:
            wait_until_waiting(cache, 1)
            next(iter(cache._state.index.snapshot())).flight.is_joined = False  # type: ignore[union-attr]
        raise FillError(len(calls))

    cache: AtomicCache[str, Any] = AtomicCache(fill, index=index)
    results = run_threads(*[lambda: cache["key"]] * 2)
    assert sorted(result.args for result in results) == [(1,), (2,)]
    assert cache.cache_info().misses == cache.cache_info().failures == 2
    assert_valid(cache)


@pytest.mark.parametrize("stored", [False, True], ids=["passing", "stored"])
@every_index
def test_an_exception_that_closes_something_when_it_goes_is_never_copied(stored: bool, index: str) -> None:
    """Known fault: a copy of urllib's HTTPError closed the response as it went (areole 0.1.0).

    With a GIL the object itself is shared. Without one, no two threads may raise one object: an error stands for it.
    """
    Closing.closed = 0
    results, cache = fail_together(lambda: Closing("message"), index, cache_exceptions=stored)
    if is_free_threaded():
        assert sorted(type(result).__name__ for result in results) == ["Closing"] + ["FillFailedError"] * WAITERS
        text = f"{__name__}.Closing: message"
        assert all(text in str(result) for result in results if isinstance(result, FillFailedError))
        assert len({id(result) for result in results}) == WAITERS + 1
    else:
        assert len({id(result) for result in results}) == 1
        assert type(results[0]) is Closing
    assert Closing.closed == 0
    cache.clear()
    results.clear()
    collect()
    assert Closing.closed == 1
    assert_valid(cache)


def test_the_response_of_an_http_error_stays_open_for_who_holds_it() -> None:
    import email.message
    import io

    def fill(key: str) -> Any:
        wait_until_waiting(cache, WAITERS)
        raise urllib.error.HTTPError("url", 404, "message", email.message.Message(), io.BytesIO(b"body"))

    cache: AtomicCache[str, Any] = AtomicCache(fill)
    results: list[Any] = run_threads(*[lambda: cache["key"]] * (WAITERS + 1))
    assert {result.code for result in results} == {404}
    kept = results.pop()
    results.clear()
    collect()
    assert kept.read() == b"body"
    kept.close()


@pytest.mark.parametrize(
    "options",
    [
        {"index": "dict"},
        {"index": "atomic"},
        {"max_items": 5},
        {"ttl": 60},
        {"ttl": 60, "resilience": Resilience(stale_ttl=60)},
        {"ttl": 60, "resilience": Resilience(hard_timeout=PATIENCE)},
    ],
    ids=["dict", "atomic", "limit", "ttl", "resilience", "timeout"],
)
def test_a_stored_exception_keeps_no_frames_and_leaves_the_callers_own_alone(options: dict[str, Any]) -> None:
    """Known fault: those of its cause and its context stayed for as long as it was stored (areole 0.1.0)."""
    alive: list[weakref.ref[Any]] = []

    def fill(key: str) -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        try:
            try:
                raise KeyError("the context")
            except KeyError:
                raise ValueError("the cause")  # noqa: B904
        except ValueError as cause:
            raise FillError("message", cause) from cause

    cache: AtomicCache[str, Any] = AtomicCache(fill, cache_exceptions=True, **options)
    with pytest.raises(FillError) as caught:
        cache["key"]
    first: Any = caught.value
    chain = first, first.__cause__, first.__cause__.__context__
    assert [frames_of(each)[-1] for each in chain] == ["fill"] * 3
    with pytest.raises(FillError) as caught:
        cache["key"]
    second: Any = caught.value
    assert frames_of(first)[-1] == "fill"
    assert second.args[1] is second.__cause__ and type(second.__cause__.__context__) is KeyError
    assert second.__cause__.__traceback__ is second.__cause__.__context__.__traceback__ is None
    del first, second, caught, chain
    collect()
    assert alive[0]() is None
    assert_valid(cache)


def test_members_of_a_stored_group_keep_no_frames() -> None:
    def fill(key: str) -> Any:
        errors = []
        for number in range(2):
            try:
                raise ValueError(number)
            except ValueError as error:
                errors.append(error)
        raise ExceptionGroup("several", errors)

    cache: AtomicCache[str, Any] = AtomicCache(fill, cache_exceptions=True)
    with pytest.raises(ExceptionGroup) as caught:
        cache["key"]
    assert all(frames_of(each) == ["fill"] for each in caught.value.exceptions)
    with pytest.raises(ExceptionGroup) as again:
        cache["key"]
    assert [each.__traceback__ for each in again.value.exceptions] == [None, None]
    assert [each.args for each in again.value.exceptions] == [(0,), (1,)]
    assert_valid(cache)


def test_all_errors_of_areole_have_one_base_class() -> None:
    own = [getattr(areole.errors, name) for name in areole.errors.__all__]
    assert all(issubclass(each, areole.AreoleError) for each in own)
    assert issubclass(areole.FillTimeout, TimeoutError)
    for each in (areole.RecursiveFillError, areole.FillDeadlockError, areole.CacheClosedError):
        assert issubclass(each, RuntimeError)
    assert str(areole.FillTimeout("message")) == "message"


# ---- what goes with it


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

    class Closing(Exception):  # of which there is no copy
        def __del__(self):
            pass

    def Tangled():  # its cause is raised too, by those who get it
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            error = Copyable("message")
            error.__cause__ = cause
            return error

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
                try:
                    raise error.__cause__ or error
                except Exception:
                    pass

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
@pytest.mark.parametrize("make", ["Copyable('message')", "WithoutArguments()", "Closing()", "Tangled()"])
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
    collect()
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
