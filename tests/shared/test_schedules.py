"""Whatever the interleaving of the operations of two processes, some order of them explains what all of them say.

Known faults of this protocol, each of which was in the code or was planted in it:

    a fill is stored without a look at its token, or after it     a clear by another process, and a fill that is joined
    a fill is joined by a caller that came after a change         a delete, or an add, that looks at the wrong version
    a token is removed after the value, by a step of its own      a refresh that is answered by what is there
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import combinations_with_replacement
from typing import Any

import pytest

from areole.errors import BackendError
from areole.serializers import SignedPickle
from areole.shared import fills

from .schedules import Fault, Run, explore, sample
from .stepped import STARTS, World

CHANGES = ("set", "add", "delete", "expire", "expire_now", "clear", "reclaim")
FILLS = ("ask", "wait", "refresh")
OPERATIONS = ("get", "get_many", "contains", "ttl_of", *CHANGES, *FILLS)

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch) -> MakeWorld:
    def make(**options: Any) -> World:
        world = World(**options)
        for name, value in world.patched().items():
            monkeypatch.setattr(fills, name, value)
        return world

    return make


def check(runs: Iterable[Run]) -> int:
    """Check all runs; return the most steps that a thread took in one."""
    steps = 0
    for run in runs:
        assert not (wrong := run.explain()), wrong
        steps = max(steps, *run.steps)
    return steps


@pytest.mark.parametrize("start", STARTS)
def test_two_operations_in_every_interleaving(make_world: MakeWorld, start: str) -> None:
    world = make_world()
    for one, other in combinations_with_replacement(OPERATIONS, 2):
        for process in (0, 1):
            check(explore(world, start, [[(one, 0)], [(other, process)]], preemptions=3 if start == "new" else None))


@pytest.mark.parametrize("one", ["ask", "wait", "refresh", "set", "add", "delete", "expire", "ttl_of"])
def test_an_operation_beside_a_change_and_what_comes_after_it(make_world: MakeWorld, one: str) -> None:
    """Every interleaving with two preemptions; where a fill makes them many, of a third of the programs."""
    world, choices = make_world(), random.Random(one)
    for change in CHANGES:
        for after in ("get", "add", "delete", "expire", "ask", "refresh", "ask fails"):
            starts = ["absent", "live", "old"]
            for start in [choices.choice(starts)] if one in FILLS or after in FILLS else starts:
                where, there = choices.choices((0, 1), k=2)
                check(explore(world, start, [[(one, 0)], [(change, where), (after, there)]], preemptions=2))


@pytest.mark.parametrize("change", ["set", "delete", "clear"])
def test_an_operation_beside_a_look_and_a_change(make_world: MakeWorld, change: str) -> None:
    world = make_world()
    for one in ("set", "add", "delete", "expire", "ask"):
        for look in ("get", "ttl_of", "ask"):
            check(explore(world, "live", [[(one, 0)], [(look, 1), (change, 1)]], preemptions=2))


@pytest.mark.parametrize("change", ["set", "add", "delete", "clear"])
def test_a_fill_beside_a_change_by_another_process_and_a_caller_after_it(make_world: MakeWorld, change: str) -> None:
    """Also between a step and what is done with its result: what has stood may have fallen meanwhile."""
    world = make_world()
    for one, after in (("ask", "ask"), ("ask", "refresh"), ("refresh", "ask")):
        check(explore(world, "absent", [[(one, 0)], [(change, 1), (after, 0)]], preemptions=2, is_fine=True))


SIGNED = {"serializer": SignedPickle(keys=[b"a secret of 16 b"])}


@pytest.mark.parametrize("options", [SIGNED, {"envelope": False}], ids=["signed", "bare"])
def test_signed_values_and_bare_ones(make_world: MakeWorld, options: dict[str, Any]) -> None:
    """A signed value is stored again where its end changes; bare ones have no version."""
    world, choices = make_world(**options), random.Random(1)
    for start in ("absent", "live", "token"):
        for one, other in combinations_with_replacement(OPERATIONS[3:], 2):
            if one != "reclaim" and (options is SIGNED or "clear" not in (one, other)):
                check(explore(world, start, [[(one, 0)], [(other, choices.choice((0, 1)))]], preemptions=2))
    for change in CHANGES:
        for after in ("expire", "get", "ask"):
            where, there = choices.choices((0, 1), k=2)
            check(explore(world, "live", [[("expire", 0)], [(change, where), (after, there)]], preemptions=2))
    check(explore(world, "live", [[("expire", 0)], [("refresh", 1)], [("set", 1)]], preemptions=3))


TAGGED = ("tagged_set", "tagged_add", "tagged_ask", "tagged_wait", "tagged_refresh", "untag")


@pytest.mark.parametrize("one", TAGGED)
def test_an_operation_with_a_tag_beside_another_one(make_world: MakeWorld, one: str) -> None:
    world, choices = make_world(), random.Random(one)
    for other in (*OPERATIONS, *TAGGED):
        start = choices.choice(("absent", "tagged", "untagged"))
        check(explore(world, start, [[(one, 0)], [(other, choices.choice((0, 1)))]], preemptions=2))


@pytest.mark.parametrize("one", ["get", "add", "delete", "expire", "ask", "refresh", *TAGGED[:-1]])
def test_an_operation_beside_an_invalidation_of_its_tag_and_what_comes_after_it(
    make_world: MakeWorld, one: str
) -> None:
    world, choices = make_world(), random.Random(one)
    for after in ("get", "delete", "ask", "tagged_ask", "tagged_set", "tagged_refresh"):
        where, there = choices.choices((0, 1), k=2)
        start = choices.choice(("absent", "tagged"))
        check(explore(world, start, [[(one, 0)], [("untag", where), (after, there)]], preemptions=2))


@pytest.mark.parametrize("seed", range(3))
def test_three_threads(make_world: MakeWorld, seed: int) -> None:
    """Random programs, and random interleavings, in which others also come between a step and its result."""
    world, choices = make_world(), random.Random(seed)
    for _ in range(60):
        program = [
            [
                (choices.choice((*OPERATIONS, *FILLS, *TAGGED, "ask fails")), choices.choice((0, 0, 1)))
                for _ in range(length)
            ]
            for length in choices.choice(((1, 1, 1), (1, 1, 2), (1, 2, 2)))
        ]
        check(
            sample(
                world,
                choices.choice((*STARTS, "tagged", "untagged")),
                program,
                20,
                seed,
                is_fine=choices.random() < 0.7,
            )
        )


@pytest.mark.parametrize("error", [BackendError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("on_error", ["raise", "miss"])
def test_an_operation_that_is_stopped_at_each_of_its_steps(
    make_world: MakeWorld, error: type[BaseException], on_error: str
) -> None:
    """By a call of the store that fails, before it has done anything or after it; by an interrupt; by `close`.

    What others do meanwhile and after it is right, and nothing is left behind.
    """
    world, choices = make_world(on_error=on_error), random.Random(f"{error} {on_error}")
    for one in OPERATIONS:
        for is_after in (False, True):
            at, steps = 0, 1
            while at < steps:
                other, where, start = choices.choice(OPERATIONS), choices.choice((0, 1)), choices.choice(STARTS)
                fault = Fault(0, at, error, is_after)
                program = [[(one, 0)], [(other, where), ("ask", where)]]
                steps = check(explore(world, start, program, fault, preemptions=1))
                at += 1


@pytest.mark.parametrize("on_error", ["raise", "miss"])
@pytest.mark.parametrize("change", ["set", "delete", "clear"])
def test_a_fill_of_which_a_call_fails_beside_a_change_and_a_caller_after_it(
    make_world: MakeWorld, on_error: str, change: str
) -> None:
    world = make_world(on_error=on_error)
    for at in range(4):
        program = [[("ask", 0)], [(change, 1), ("ask", 0)]]
        check(explore(world, "absent", program, Fault(0, at, BackendError), preemptions=2))
