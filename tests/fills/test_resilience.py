"""What a Resilience promises one caller at a time, over all that takes one. The clock moves only when told to."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from areole import RemovalCause, Resilience

from ..kit import Subject, every_subject

pytestmark = every_subject

Kind = type[Subject]

AT_ONCE = Resilience(stale_ttl=5)
IN_NEED = Resilience(stale_ttl=5, fail_safe=True)


def test_a_live_value_is_a_hit_up_to_the_end_of_its_ttl(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    assert subject.look_up("a") == ("a", 1)
    subject.clock.advance(10 - 2**-20)
    assert subject.look_up("a") == subject.get("a") == ("a", 1)
    subject.settle()
    assert subject.fill.keys == ["a"]
    assert (subject.info().stale_hits, subject.info().background_fills) == (0, 0)


def test_a_stale_value_is_served_at_once_and_refreshed_behind(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.look_up("a") == subject.get("a") == ("a", 2)
    assert subject.fill.keys == ["a", "a"]
    info = subject.info()
    assert (info.misses, info.fills, info.stale_hits, info.background_fills) == (1, 2, 1, 1)


def test_a_stale_value_is_for_lookups_that_fill_alone(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    assert subject.get("a") is None
    assert subject.cache.peek("a", None) is None
    assert "a" not in subject.cache and len(subject.cache) == 0 and list(subject.cache) == []
    assert subject.info().currsize == 0
    assert subject.look_up("a") == ("a", 1)  # none of these has dropped it
    subject.settle()


def test_nothing_older_than_ttl_and_stale_ttl_is_served(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(15)
    assert subject.look_up("a") == ("a", 2)
    subject.settle()
    assert subject.info().background_fills == 0


def test_a_failing_background_fill_leaves_the_stale_value_until_its_end(kind: Kind, caplog: Any) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = ValueError("secret")
    with caplog.at_level(logging.WARNING, "areole"):
        for seconds in (0, 1, 1):
            subject.clock.advance(seconds)
            assert subject.look_up("a") == ("a", 1)
            subject.settle()
    assert len(subject.fill.keys) == 4 and subject.info().failures == 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert "ValueError" in caplog.text and "secret" not in caplog.text
    subject.clock.advance(3)
    with pytest.raises(ValueError) as caught:
        subject.look_up("a")
    assert caught.value is subject.fill.error
    subject.settle()


def test_a_failed_fill_is_not_tried_again_for_a_second(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = ValueError()
    subject.look_up("a")
    subject.settle()
    subject.clock.advance(1 - 2**-20)
    for _ in range(10):
        assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert len(subject.fill.keys) == 2
    subject.clock.advance(2**-20)
    subject.look_up("a")
    subject.settle()
    assert len(subject.fill.keys) == 3


def test_negative_ttl_says_for_how_long_a_failure_counts(kind: Kind) -> None:
    subject = kind(10, Resilience(stale_ttl=50, negative_ttl=20))
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = ValueError()
    subject.look_up("a")
    subject.settle()
    subject.clock.advance(19)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert len(subject.fill.keys) == 2
    subject.fill.error = None
    subject.clock.advance(1)
    subject.look_up("a")
    subject.settle()
    assert subject.look_up("a") == ("a", 3)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_base_exception_in_a_background_fill_stays_there(kind: Kind, error: type[BaseException]) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = error()
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    subject.fill.error = None
    subject.clock.advance(1)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.look_up("a") == ("a", 3)


def test_an_invalidated_stale_value_is_never_served(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    assert subject.invalidate("a") is False  # to all but lookups that fill, there was nothing
    assert subject.look_up("a") == ("a", 2)
    subject.settle()


def test_a_stale_value_of_another_key_is_another(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    for key in "abc":
        subject.look_up(key)
    subject.clock.advance(10)
    assert [subject.look_up(key) for key in "abc"] == [("a", 1), ("b", 1), ("c", 1)]
    subject.settle()
    assert [subject.look_up(key) for key in "abc"] == [("a", 2), ("b", 2), ("c", 2)]
    assert subject.info().background_fills == 3


# ---- fail_safe


def test_fail_safe_fills_first(kind: Kind) -> None:
    subject = kind(10, IN_NEED)
    subject.look_up("a")
    subject.clock.advance(10)
    assert subject.look_up("a") == ("a", 2)
    assert (subject.info().stale_hits, subject.info().background_fills) == (0, 0)
    subject.settle()


def test_fail_safe_serves_the_stale_value_where_the_fill_raises(kind: Kind, caplog: Any) -> None:
    subject = kind(10, IN_NEED)
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = ValueError("secret")
    with caplog.at_level(logging.WARNING, "areole"):
        assert subject.look_up("a") == ("a", 1)
    assert "ValueError" in caplog.text and "secret" not in caplog.text
    info = subject.info()
    assert (info.misses, info.fills, info.failures, info.stale_hits) == (1, 2, 1, 1)
    assert subject.look_up("a") == ("a", 1)  # and does not try for a second
    assert len(subject.fill.keys) == 2
    subject.clock.advance(1)
    subject.fill.error = None
    assert subject.look_up("a") == ("a", 3)
    subject.settle()


def test_fail_safe_has_an_end(kind: Kind) -> None:
    subject = kind(10, IN_NEED)
    subject.look_up("a")
    subject.fill.error = ValueError()
    subject.clock.advance(15)
    for _ in range(2):
        with pytest.raises(ValueError):
            subject.look_up("a")
    assert len(subject.fill.keys) == 3
    subject.settle()


def test_fail_safe_counts_the_age_from_when_the_value_is_served(kind: Kind) -> None:
    """The fill may take so long that what was fit to be served is not, when it fails."""
    subject = kind(10, IN_NEED)
    subject.look_up("a")
    subject.clock.advance(14)
    subject.fill.before = lambda key: subject.clock.advance(1)
    subject.fill.error = ValueError()
    with pytest.raises(ValueError):
        subject.look_up("a")
    subject.settle()


def test_fail_safe_lets_a_base_exception_through(kind: Kind) -> None:
    subject = kind(10, IN_NEED)
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = SystemExit()
    with pytest.raises(SystemExit):
        subject.look_up("a")
    subject.settle()


def test_fail_safe_raises_where_there_is_no_stale_value(kind: Kind) -> None:
    subject = kind(10, IN_NEED)
    subject.fill.error = ValueError()
    with pytest.raises(ValueError) as caught:
        subject.look_up("a")
    assert caught.value is subject.fill.error
    subject.settle()


def test_fail_safe_does_not_serve_what_was_invalidated_while_the_fill_failed(kind: Kind) -> None:
    subject = kind(10, IN_NEED)
    subject.look_up("a")
    subject.clock.advance(10)
    subject.fill.error = ValueError()
    subject.fill.before = lambda key: subject.invalidate(key)
    with pytest.raises(ValueError):
        subject.look_up("a")
    subject.settle()


# ---- refresh_ahead


def test_refresh_ahead_begins_at_its_fraction_and_not_before(kind: Kind) -> None:
    subject = kind(10, Resilience(refresh_ahead=0.25))
    subject.look_up("a")
    subject.clock.advance(7.5 - 2**-20)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.fill.keys == ["a"]
    subject.clock.advance(2**-20)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.look_up("a") == ("a", 2)
    subject.clock.advance(7)
    assert subject.look_up("a") == ("a", 2)  # its ttl began anew
    subject.settle()
    info = subject.info()
    assert (info.misses, info.stale_hits, info.background_fills, info.expirations) == (1, 0, 1, 0)


def test_get_sees_a_value_that_is_to_be_refreshed_and_refreshes_nothing(kind: Kind) -> None:
    subject = kind(10, Resilience(refresh_ahead=0.25))
    subject.look_up("a")
    subject.clock.advance(9)
    assert subject.get("a") == ("a", 1)
    assert len(subject.cache) == subject.info().currsize == 1
    subject.settle()
    assert subject.fill.keys == ["a"]


def test_without_stale_ttl_nothing_is_served_after_the_ttl(kind: Kind) -> None:
    subject = kind(10, Resilience(refresh_ahead=0.25))
    subject.look_up("a")
    subject.clock.advance(10)
    assert subject.look_up("a") == ("a", 2)
    subject.settle()
    assert subject.info().background_fills == 0


def test_a_failed_refresh_ahead_is_tried_again_after_a_second(kind: Kind) -> None:
    subject = kind(10, Resilience(refresh_ahead=0.5))
    subject.look_up("a")
    subject.clock.advance(5)
    subject.fill.error = ValueError()
    for _ in range(3):
        assert subject.look_up("a") == ("a", 1)
        subject.settle()
    assert len(subject.fill.keys) == 2
    subject.clock.advance(1)
    subject.fill.error = None
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.look_up("a") == ("a", 3)


def test_xfetch_draws_at_each_lookup_by_how_long_the_fill_took(kind: Kind) -> None:
    """A draw u fires at t if t - took * log(1 - u) >= the end: for u = 0.5 and took = 2, from 1.386 seconds before."""
    draws: list[float] = []
    subject = kind(100, Resilience(refresh_ahead="xfetch", random=lambda: draws.pop(0)))
    subject.fill.before = lambda key: subject.clock.advance(2)
    subject.look_up("a")
    subject.fill.before = lambda key: None
    subject.clock.advance(86)
    assert subject.look_up("a") == ("a", 1)  # too far off for a draw
    subject.clock.advance(12.5)
    draws[:] = [0.0, 0.5]
    subject.look_up("a")
    subject.settle()
    assert draws == [0.5] and subject.fill.keys == ["a"]
    assert subject.look_up("a") == ("a", 1)  # 1.5 s before
    subject.settle()
    assert draws == [] and subject.fill.keys == ["a"]
    subject.clock.advance(0.2)
    draws.append(0.5)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.look_up("a") == ("a", 2)
    assert draws == []


def test_xfetch_of_a_fill_that_took_no_time_does_nothing(kind: Kind) -> None:
    subject = kind(100, Resilience(refresh_ahead="xfetch", random=lambda: 1 - 2**-53))
    subject.look_up("a")
    subject.clock.advance(100 - 2**-20)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    assert subject.fill.keys == ["a"]


# ---- jitter


def test_jitter_shortens_the_ttl_and_never_lengthens_it(kind: Kind) -> None:
    draws = [0.0, 0.5, 1 - 2**-53]
    subject = kind(100, Resilience(jitter=0.5, random=lambda: draws.pop(0)))
    for key in "abc":
        subject.look_up(key)
    left = []
    for seconds in (50, 25, 25):  # the ttls are 100, 75 and 50, and a little
        subject.clock.advance(seconds - 2**-20)
        left.append("".join(key for key in "abc" if subject.get(key)))
        subject.clock.advance(2**-20)
    assert left == ["abc", "ab", "a"]
    assert not any(subject.get(key) for key in "ab")
    subject.settle()


# ---- the listener


def test_the_listener_is_told_when_a_stale_value_is_replaced(kind: Kind) -> None:
    told: list[Any] = []
    subject = kind(10, AT_ONCE, on_removal=lambda key, value, cause: told.append(cause))
    subject.look_up("a")
    subject.clock.advance(10)
    subject.look_up("a")
    subject.settle()
    assert told == [RemovalCause.EXPIRED]
    subject.invalidate("a")
    assert told == [RemovalCause.EXPIRED, RemovalCause.EXPLICIT]
    subject.settle()


def test_the_listener_is_told_when_a_live_value_is_replaced_ahead(kind: Kind) -> None:
    told: list[Any] = []
    subject = kind(10, Resilience(refresh_ahead=0.5), on_removal=lambda key, value, cause: told.append(cause))
    subject.look_up("a")
    subject.clock.advance(5)
    subject.look_up("a")
    subject.settle()
    assert told == [RemovalCause.REPLACED]


@pytest.mark.parametrize("span", [timedelta.max, 1e300, 10**308], ids=["timedelta.max", "1e300", "10**308"])
@pytest.mark.parametrize("name", ["stale_ttl", "hard_timeout", "negative_ttl", "soft_timeout"])
def test_huge_spans_are_for_ever(kind: Kind, name: str, span: Any) -> None:
    """Neither the moments of a value nor a wait overflow."""
    spans = {"stale_ttl": 5, "fail_safe": True, "refresh_ahead": 0.5} | {name: span}
    subject = kind(10, Resilience(**spans))
    assert subject.look_up("a") == ("a", 1)
    subject.fill.error = ValueError("fails")
    subject.clock.advance(6)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    subject.clock.advance(6)
    assert subject.look_up("a") == ("a", 1)
    subject.settle()
    subject.fill.error = None
    subject.clock.advance(2.0)
    key, number = subject.look_up("a")
    assert key == "a" and (number == 1) == (name == "negative_ttl")
    subject.settle()
