"""Steps of many keys that run side by side, with one call of the fill for all that come to it.

Those of each key run until they come to the fill, then the call is made, then those of each key run to their end. What
fails for one key fails for no other. What the backend can be asked for many keys by one request, they ask for, and wait
until the others have come so far.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

from .._core.entry import Empty
from .._fill.outcomes import Failed, outcomes_of
from ..errors import BackendError
from .fill_call import FillCall
from .steps import Steps

__all__ = ["Asking", "FillMany", "side_by_side"]

FillMany: TypeAlias = Callable[[list[Any]], Any]
GoOns: TypeAlias = dict[FillCall, Callable[[], Any]]

MANY: Final = {"take": "take_many", "store_if_mine": "store_many_if_mine", "get_many": "get_many"}
"""Methods of a backend, and those that do the same for many keys by one request, where it has them."""

AT_ITS_FILL: Final = Empty
"""What the steps of a key give when they have come to the fill."""


class Asked:
    """A call of the backend for one key, which `many` can do for many."""

    __slots__ = ("args", "many", "method")

    def __init__(self, method: Callable[..., Any], many: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.method = method
        self.many = many
        self.args = args


class Asking:
    """A mode whose steps ask for such a call, and wait until it is done."""

    def __init__(self, mode: Any) -> None:
        self._mode = mode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mode, name)

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        many = getattr(self._mode.backend, MANY.get(method.__name__, ""), None)
        return self._mode.call(method, *args) if many is None else Asked(method, many, args)


def side_by_side(
    mode: Any,
    calls: list[FillCall],
    begin: Callable[[FillCall], Steps[Any]],
    fill_many: FillMany,
) -> Steps[list[Any]]:
    """Run the steps of each call, with one call of the fill for those that come to it; return what they give."""
    all_steps = {call: begin(call) for call in calls}
    try:
        results = yield from _go_on_all(mode, all_steps, {call: steps.__next__ for call, steps in all_steps.items()})
        waiting = [call for call in calls if results[call] is AT_ITS_FILL]
        if waiting:
            results |= yield from _fill(mode, {call: all_steps[call] for call in waiting}, fill_many)
        return [results[call] for call in calls]
    finally:
        for steps in all_steps.values():
            steps.close()


def _fill(mode: Any, waiting: dict[FillCall, Steps[Any]], fill_many: FillMany) -> Steps[dict[FillCall, Any]]:
    """Call the fill for the keys of these calls, whose steps wait for that, and run those to their end."""
    keys = [call.key for call in waiting]
    try:
        filled = outcomes_of(keys, (yield mode.call_fill(fill_many, list(keys))))
    except GeneratorExit:  # as in `fills`
        raise
    except BaseException as error:
        thrown: GoOns = {call: partial(steps.throw, error) for call, steps in waiting.items()}
        results = yield from _go_on_all(mode, waiting, thrown, error)
        if not isinstance(error, Exception):
            raise
        return results
    go_ons: GoOns = {
        call: partial(steps.throw, outcome.error) if type(outcome) is Failed else partial(steps.send, outcome)
        for (call, steps), outcome in zip(waiting.items(), filled, strict=True)
    }
    return (yield from _go_on_all(mode, waiting, go_ons))


def _go_on_all(
    mode: Any,
    all_steps: dict[FillCall, Steps[Any]],
    go_ons: GoOns,
    thrown: BaseException | None = None,
) -> Steps[dict[FillCall, Any]]:
    """Run the steps of each call as `_go_on` does; what they ask of the store meanwhile is asked for all at once.

    `thrown` was thrown into all of them: it ends none of the others.
    """
    results: dict[FillCall, Any] = {}
    while go_ons:
        for call, go_on in go_ons.items():
            try:
                results[call] = yield from _go_on(call, all_steps[call], go_on)
            except BaseException as raised:
                if raised is not thrown:
                    raise
                results.pop(call, None)
        asked = {call: results[call] for call in go_ons if type(results.get(call)) is Asked}
        go_ons = yield from _ask(mode, all_steps, asked)
    return results


def _ask(mode: Any, all_steps: dict[FillCall, Steps[Any]], asked: dict[FillCall, Asked]) -> Steps[GoOns]:
    """Ask the store, by one request for each method; return how the steps go on."""
    go_ons: GoOns = {}
    for many in dict.fromkeys(each.many for each in asked.values()):
        those = {call: each for call, each in asked.items() if each.many == many}
        try:
            answers = yield from _ask_together(mode, many, list(those.values()))
        except BackendError:  # which one key may have brought upon the others
            for call, each in those.items():
                go_ons[call] = yield from _ask_alone(mode, call, all_steps[call], each)
        else:
            go_ons |= {call: partial(all_steps[call].send, answer) for call, answer in zip(those, answers, strict=True)}
    return go_ons


def _ask_together(mode: Any, many: Callable[..., Any], asked: list[Asked]) -> Steps[list[Any]]:
    """Return the answer to each. Reads of many names each, as of versions, become one read of all these names."""
    if many != asked[0].method:
        return (yield mode.call(many, [each.args for each in asked]))  # type: ignore[no-any-return]
    names = list(dict.fromkeys(name for each in asked for name in each.args[0]))
    found = dict(zip(names, (yield mode.call(many, names)), strict=True))
    return [[found[name] for name in each.args[0]] for each in asked]


def _ask_alone(mode: Any, call: FillCall, steps: Steps[Any], asked: Asked) -> Steps[Callable[[], Any]]:
    """Ask for one key what was asked for many in vain; for another token, as a late server may do that yet:

    1. A asks for its tokens, and gets no answer     3. B deletes the key: the token is void
    2. A asks for each alone, and fills              4. the server does what 1 has asked: the token stands again,
                                                        and A stores what it has read before 3.
    """
    (what, *more), own = asked.args, call.own
    is_token = more[:1] == [own]
    try:
        if is_token:
            more[0] = call.take_another_token()
        answer = yield mode.call(asked.method, what, *more)
    except BackendError as error:
        return partial(steps.throw, error)
    if is_token and own in answer:  # that was done already, and is not done again
        call.own = own
    return partial(steps.send, answer)


def _go_on(call: FillCall, steps: Steps[Any], go_on: Callable[[], Any]) -> Steps[Any]:
    """Run the steps of a call until they come to the fill, or to their end; return what they give, or Failed.

    Or what they ask of the store, if it can be asked that for many keys at once.
    """
    try:
        step = go_on()
        while step is not call:
            if type(step) is Asked:
                return step
            try:
                result = yield step
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value
    except Exception as error:
        return Failed(error)
    return AT_ITS_FILL
