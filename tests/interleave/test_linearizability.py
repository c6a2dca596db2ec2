"""Histories of real threads have an order that explains them, and the checker that says so tells good from bad."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from .histories.checker import check_key
from .histories.model import ABSENT, FillRun, Operation, Raised, Rules, State, Step, Wrong, apply, steps_of
from .histories.record import SUBJECTS
from .histories.search import Outcome, search_free, search_scheduled

HISTORIES = 2_000
SCHEDULED = 70

every_subject = pytest.mark.parametrize("subject", SUBJECTS)


@every_subject
def test_histories_of_real_threads_are_linearizable(subject: str) -> None:
    """Invariants 1, 2, 3 and 9, for every operation at once. Its 2,000 histories are shared out over the subjects."""
    outcome = sum(search_free(subject, -(-HISTORIES // len(SUBJECTS)), seed=1), Outcome())
    assert not outcome.messages, outcome.messages[0]
    assert outcome.histories * len(SUBJECTS) >= HISTORIES


@every_subject
def test_histories_of_scheduled_threads_are_linearizable_and_overlap(subject: str) -> None:
    """The same, where the overlap does not depend on the machine: a third of the runs have no preemption, by design."""
    outcome = sum(search_scheduled(subject, SCHEDULED // len(SUBJECTS), seed=1), Outcome())
    assert not outcome.messages, outcome.messages[0]
    assert outcome.share > 0.2


# ---- the checker


def op(thread: int, kind: str, began: int, ended: int, result: object, given: str | None = None) -> Operation:
    return Operation(thread, kind, "key", given, began, ended, result)


def led(
    thread: int, began: int, fill: tuple[int, int], ended: int, name: str, kind: str = "ask", fails: bool = False
) -> Operation:
    result = Raised(name) if fails else name
    return Operation(thread, kind, "key", None, began, ended, result, FillRun(name, fails, *fill))


FILL = led(0, 1, (2, 3), 4, "v")
SLOW_FILL = led(0, 1, (2, 20), 21, "v")

BAD = {
    "a stale read after an invalidate": [FILL, op(1, "invalidate", 5, 6, True), op(1, "get", 7, 8, "v")],
    "a fill stored though invalidated meanwhile": [
        SLOW_FILL,
        op(1, "invalidate", 5, 6, True),
        op(1, "get", 22, 23, "v"),
    ],
    "a fill joined after it was detached": [SLOW_FILL, op(1, "invalidate", 5, 6, True), op(1, "ask", 7, 22, "v")],
    "an invalidate that says nothing of the fill": [SLOW_FILL, op(1, "invalidate", 5, 6, False)],
    "two fills at once": [SLOW_FILL, led(1, 5, (6, 7), 8, "w")],
    "a second fill of what is there": [FILL, led(1, 5, (6, 7), 8, "w")],
    "a lost set": [op(0, "set", 1, 2, True, "s"), op(1, "get", 3, 4, ABSENT)],
    "a set overwritten by an older fill": [SLOW_FILL, op(1, "set", 5, 6, True, "s"), op(1, "get", 22, 23, "v")],
    "an older value after a newer one": [
        op(0, "set", 1, 10, True, "s"),
        op(1, "set", 2, 11, True, "t"),
        op(2, "get", 12, 13, "s"),
        op(2, "get", 14, 15, "t"),
    ],
    "two winners of add": [op(0, "add", 1, 4, True, "s"), op(1, "add", 2, 3, True, "t")],
    "an add refused though nothing was there": [op(0, "add", 1, 2, False, "s")],
    "one value popped twice": [
        op(0, "set", 1, 2, True, "s"),
        op(0, "pop", 3, 6, "s"),
        op(1, "pop", 4, 5, "s"),
    ],
    "deleted twice": [op(0, "set", 1, 2, True, "s"), op(0, "delete", 3, 6, True), op(1, "delete", 4, 5, True)],
    "a value read before its fill had ended": [SLOW_FILL, op(1, "get", 5, 6, "v")],
    "a value that nobody stored": [op(0, "get", 1, 2, "x")],
    "a waiter that gets another's exception": [op(0, "ask", 1, 2, Raised("x"))],
    "an exception that was stored": [led(0, 1, (2, 3), 4, "v", fails=True), op(1, "ask", 5, 6, Raised("v"))],
    "a refresh that leaves the old value": [
        FILL,
        led(1, 5, (6, 7), 8, "w", kind="refresh"),
        op(0, "get", 9, 10, "v"),
    ],
    "a refresh that undoes an invalidate": [
        FILL,
        led(1, 5, (6, 15), 16, "w", kind="refresh"),
        op(2, "invalidate", 8, 9, True),
        op(2, "get", 17, 18, "w"),
    ],
    "a refresh that gives the old value": [FILL, op(1, "refresh", 5, 6, "v")],
    "a leader that gives another value than its own": [
        Operation(0, "ask", "key", None, 1, 4, "x", FillRun("v", False, 2, 3)),
    ],
}

GOOD = {
    "a fill, a hit, an invalidate, nothing": [
        FILL,
        op(1, "ask", 5, 6, "v"),
        op(1, "invalidate", 7, 8, True),
        op(1, "get", 9, 10, ABSENT),
        op(1, "invalidate", 11, 12, False),
    ],
    "waiters of a detached fill get its value": [
        SLOW_FILL,
        op(1, "ask", 3, 22, "v"),
        op(2, "invalidate", 5, 6, True),
        op(2, "get", 23, 24, ABSENT),
    ],
    "a fill after an invalidate, while the detached one runs": [
        SLOW_FILL,
        op(1, "invalidate", 5, 6, True),
        led(1, 7, (8, 9), 10, "w"),
        op(1, "get", 22, 23, "w"),
    ],
    "waiters get the exception, and the next one fills": [
        led(0, 1, (2, 9), 10, "v", fails=True),
        op(1, "ask", 3, 11, Raised("v")),
        led(1, 12, (13, 14), 15, "w"),
    ],
    "a set during a fill wins": [SLOW_FILL, op(1, "set", 5, 6, True, "s"), op(1, "get", 22, 23, "s")],
    "an add during a fill wins": [SLOW_FILL, op(1, "add", 5, 6, True, "s"), op(1, "get", 22, 23, "s")],
    "two adds, of which one stores": [op(0, "add", 1, 4, True, "s"), op(1, "add", 2, 3, False, "t")],
    "two pops, of which one gets it": [
        op(0, "set", 1, 2, True, "s"),
        op(0, "pop", 3, 6, ABSENT),
        op(1, "pop", 4, 5, "s"),
    ],
    "a delete that detaches a fill and says no": [
        SLOW_FILL,
        op(1, "delete", 5, 6, False),
        op(1, "get", 22, 23, ABSENT),
    ],
    "the old value is read during a refresh": [
        FILL,
        led(1, 5, (6, 15), 16, "w", kind="refresh"),
        op(2, "get", 7, 8, "v"),
        op(2, "get", 17, 18, "w"),
    ],
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_refused(name: str) -> None:
    assert check_key(BAD[name]), name
    assert "key" in check_key(BAD[name]), "the message does not show the history"


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_accepted(name: str) -> None:
    assert check_key(GOOD[name]) == ""


BOUNDED = Rules(may_evict=True)
MAY_VANISH = [op(0, "set", 1, 2, True, "s"), op(1, "get", 3, 4, ABSENT)]


def test_where_values_may_be_put_out_a_value_may_vanish_and_never_comes_back() -> None:
    assert check_key(MAY_VANISH, BOUNDED) == ""
    assert check_key([*MAY_VANISH, op(1, "get", 5, 6, "s")], BOUNDED)
    assert check_key(BAD["a stale read after an invalidate"], BOUNDED)
    assert check_key(BAD["a fill stored though invalidated meanwhile"], BOUNDED)
    assert check_key(BAD["two fills at once"], BOUNDED)


def test_where_the_value_that_a_refresh_shows_is_put_out_the_refresh_stays_the_only_fill() -> None:
    """Found by a stressed run, when the library did so already and the model took the refresh out with the value."""
    refreshed = [FILL, led(0, 5, (6, 20), 21, "w", "refresh"), op(1, "get", 7, 8, ABSENT)]
    assert check_key([*refreshed, op(1, "ask", 9, 22, "w"), op(2, "get", 23, 24, "w")], BOUNDED) == ""
    assert check_key([*refreshed, led(1, 9, (10, 11), 12, "x"), op(2, "get", 23, 24, "w")], BOUNDED)
    assert check_key([*refreshed, op(2, "get", 9, 10, "v")], BOUNDED), "what was put out comes back"


def test_where_gets_may_join_one_that_began_before_an_invalidate_may_give_what_is_published_after_it() -> None:
    history = [led(0, 1, (2, 10), 12, "v"), op(1, "invalidate", 5, 6, True), op(2, "get", 3, 13, "v")]
    assert check_key(history)
    assert check_key(history, Rules(gets_join=True)) == ""
    history[2].began = 7
    assert check_key(history, Rules(gets_join=True))


def test_where_a_clear_may_remove_twice_a_key_may_be_filled_and_be_gone_within_it() -> None:
    history = [
        led(0, 1, (2, 3), 4, "v"),
        op(1, "clear", 5, 20, None),
        led(0, 6, (7, 8), 9, "w"),
        led(0, 11, (12, 13), 14, "x"),
    ]
    assert check_key(history)
    assert check_key(history, Rules(clears=2)) == ""


# ---- against a search without any cleverness


def is_explained(operations: list[Operation], rules: Rules) -> bool:
    """Try every order of all steps, one after the other, without a memo."""
    try:
        steps = [steps_of(operation, rules) for operation in operations]
    except Wrong:
        return False
    return _is_explained(steps, [0] * len(steps), State(), rules)


def _is_explained(steps: list[list[Step]], done: list[int], state: State, rules: Rules) -> bool:
    left = [(number, steps[number][i]) for number, i in enumerate(done) if i < len(steps[number])]
    if not left:
        return True
    first_to_close = min(each.closes for number, _ in left for each in steps[number][done[number] :])
    for number, step in left:
        if step.opens > first_to_close:
            continue  # it comes after one that must have been taken before it may be
        for after in apply(step, state, _is_settled(step, steps, done), rules):
            done[number] += 1
            found = _is_explained(steps, done, after, rules)
            done[number] -= 1
            if found:
                return True
    return False


def _is_settled(step: Step, steps: list[list[Step]], done: list[int]) -> bool:
    return step.does != "leave" or not any(
        each.does in ("publish", "fail") and each.what == step.what
        for number, i in enumerate(done)
        for each in steps[number][i:]
    )


KINDS = ("lead", "ask", "get", "set", "add", "invalidate", "delete", "pop", "refresh", "clear")


def random_history(choices: random.Random) -> Iterator[Operation]:
    """Make up a history of two or three threads, some of whose answers are likely and some are not."""
    names = ["f0", "f1", "s0", "s1"]
    marks = iter(choices.sample(range(1, 100), 60))
    for thread in range(choices.choice((2, 2, 3))):
        at = 0
        for number in range(choices.choice((1, 2, 2))):
            times = sorted(next(marks) + at for _ in range(4))
            at = times[3]
            kind = choices.choice(
                ["lead", "ask", "get", "set", "add", "invalidate", "delete", "pop", "refresh", "clear"]
            )
            name = f"{'f' if kind in ('lead', 'refresh') else 's'}{thread}.{number}"
            names.append(name)
            if kind in ("lead", "refresh"):
                fails = choices.random() < 0.2
                kind = "ask" if kind == "lead" else kind
                yield led(thread, times[0], (times[1], times[2]), times[3], name, kind, fails)
            else:
                yield _make_up(choices, thread, kind, times, name, names)


def _make_up(
    choices: random.Random, thread: int, kind: str, times: list[int], name: str, names: list[str]
) -> Operation:
    value = choices.choice([ABSENT, *names[4:]])
    if kind in ("set", "add"):
        return op(thread, kind, times[0], times[3], kind == "set" or choices.random() < 0.5, name)
    if kind in ("invalidate", "delete"):
        return op(thread, kind, times[0], times[3], choices.random() < 0.5)
    if kind == "clear":
        return op(thread, kind, times[0], times[3], None)
    if kind == "ask":
        value = Raised(value) if choices.random() < 0.2 else value  # type: ignore[assignment]
    return op(thread, kind, times[0], times[3], value)


@pytest.mark.parametrize("rules", [Rules(), BOUNDED, Rules(gets_join=True, clears=3)])
def test_the_search_says_what_trying_every_order_says(rules: Rules) -> None:
    """On small histories that are made up; enough of them must be good, and enough bad."""
    choices = random.Random(5)
    said = {True: 0, False: 0}
    for number in range(1_500):
        operations = list(random_history(choices))
        expected = is_explained(operations, rules)
        assert (check_key(operations, rules) == "") is expected, (number, check_key(operations, rules))
        said[expected] += 1
    assert min(said.values()) > 150, said
