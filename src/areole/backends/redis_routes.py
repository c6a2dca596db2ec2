"""Where a command goes: to the one server, or to the one of a cluster that has its slot; and what is sent again.

A route's generators yield a list of `Batch`es and are sent the answers to each: bytes, numbers, lists, None, or errors
that a server has answered. What cannot be sent at all is raised into them. Or they yield seconds to be waited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from .redis_commands import MOST_KEYS, Address, Request, Route, Steps
from .redis_errors import code_of, redirection
from .redis_keys import SLOT_COUNT, slot_of
from .redis_servers import Servers, import_redis

__all__ = ["Batch", "ClusterRoute", "InTurn", "OneServerRoute", "route_to"]

TURNS: Final = 8
"""How often a command is sent again, since its slot has moved or is being moved."""
PAUSE: Final = 0.03
"""Seconds before that, where a slot is being moved. A command on a value and its token is refused for this long unless
both are still on the old server: neither server has both."""
ASKING: Final = Request(b"", (b"ASKING",))
SLOTS: Final = Request(b"", (b"CLUSTER", b"SLOTS"))


class Batch(NamedTuple):
    """What is sent to one server, at once; None: to the only one, or to the primary that a Sentinel names."""

    address: Address | None
    requests: list[Request]


class OneServerRoute:
    """Everything goes to one server."""

    answers_in_turn = True

    def exchange(self, requests: list[Request]) -> Steps[list[Any]]:
        if not requests:
            return []
        (answers,) = yield [Batch(None, requests)]
        again = [
            i for i, answer in enumerate(answers) if isinstance(answer, Exception) and code_of(answer) == "NOSCRIPT"
        ]
        if again:
            (more,) = yield [Batch(None, [requests[i].with_text() for i in again])]
            for i, answer in zip(again, more, strict=True):
                answers[i] = answer
        return checked(answers)

    def primaries(self) -> Steps[list[Address | None]]:
        yield from ()
        return [None]

    def grouped(self, keys: Sequence[bytes]) -> list[Sequence[int]]:
        return [range(i, min(i + MOST_KEYS, len(keys))) for i in range(0, len(keys), MOST_KEYS)]


class ClusterRoute:
    """A command goes to the server that has its key's slot, and to where that one says if the slot has moved.

    Under concurrency: the table of slots is never changed, but replaced; two threads may both ask for a new one.
    """

    answers_in_turn = False

    def __init__(
        self,
        seeds: Sequence[Address],
        failures: tuple[type[Exception], ...],
        remap: Callable[[Address], Address] | None = None,
    ) -> None:
        self._nodes = InTurn(seeds)
        self._remap = remap or (lambda address: address)
        self._failures = failures
        self._table: list[Address | None] | None = None

    def exchange(self, requests: list[Request]) -> Steps[list[Any]]:
        answers: list[Any] = [None] * len(requests)
        todo = list(enumerate(requests))
        for _ in range(TURNS):
            todo = yield from self._turn(todo, answers)
            if not todo:
                break
        return checked(answers)

    def primaries(self) -> Steps[list[Address | None]]:
        table = yield from self._get_table()
        return [*dict.fromkeys(address for address in table if address is not None)]

    def grouped(self, keys: Sequence[bytes]) -> list[Sequence[int]]:
        slots: dict[int, list[int]] = {}
        for i, key in enumerate(keys):
            slots.setdefault(slot_of(key), []).append(i)
        groups = slots.values()
        return [group[i : i + MOST_KEYS] for group in groups for i in range(0, len(group), MOST_KEYS)]

    def _turn(self, todo: list[tuple[int, Request]], answers: list[Any]) -> Steps[list[tuple[int, Request]]]:
        """Send what is to be sent, note the answers, return what is to be sent again."""
        batches = yield from self._batched(todo)
        try:
            got = yield [Batch(address, [request for _, request in some]) for address, some in batches.items()]
        except BaseException:  # one that was cancelled or timed out, too: a server that is gone may say nothing
            self._table = None
            raise
        again: list[tuple[int, Request]] = []
        for (address, some), their in zip(batches.items(), got, strict=True):
            for (i, request), answer in zip(some, their, strict=True):
                if i is not None:  # else it was ASKING
                    answers[i] = answer
                    again += [(i, other) for other in self._other(request, answer, address)]
        if any(code_of(answers[i]) == "TRYAGAIN" for i, _ in again):
            yield PAUSE
        return again

    def _batched(self, todo: list[tuple[int, Request]]) -> Steps[dict[Address, list[tuple[int | None, Request]]]]:
        table = yield from self._get_table()
        batches: dict[Address, list[tuple[int | None, Request]]] = {}
        for i, request in todo:
            address = request.address or table[slot_of(request.key)] or self._nodes.order[0]
            if request.is_asking:
                batches.setdefault(address, []).append((None, ASKING))
            batches.setdefault(address, []).append((i, request))
        return batches

    def _other(self, request: Request, answer: Any, asked: Address) -> list[Request]:
        """Return what is to be sent in place of a request, if something is."""
        if not isinstance(answer, Exception):
            return []
        code, address = code_of(answer), redirection(answer)
        if code == "NOSCRIPT" and request.script:
            return [request.with_text()]
        if code == "TRYAGAIN":
            return [request]
        if address is None:
            return []
        if code == "MOVED":
            self._table = None
        return [replace(request, address=self._remap((address[0] or asked[0], address[1])), is_asking=code == "ASK")]

    def _get_table(self) -> Steps[list[Address | None]]:
        """Return the address of each slot; if it is not known, ask one server after the other."""
        if (table := self._table) is not None:
            return table
        failed: Exception | None = None
        for asked in self._nodes:
            try:
                answers = yield [Batch(asked, [SLOTS])]
            except self._failures as error:
                failed = error
            else:
                self._table = table = self._read(checked(answers[0])[0], asked)
                return table
        raise failed or LookupError("a cluster has at least one server")

    def _read(self, ranges: list[Any], asked: Address) -> list[Address | None]:
        table: list[Address | None] = [None] * SLOT_COUNT
        for first, last, (host, port, *_), *_replicas in ranges:
            address = self._remap((host.decode() if host else asked[0], port))
            table[first : last + 1] = [address] * (last + 1 - first)
        self._nodes.answered(asked, [address for address in set(table) if address is not None])
        return table


class InTurn:
    """Addresses that are asked one after the other, beginning with the one that answered last.

    One is moved to the end before it is asked: whatever ends that call, the next one asks another.
    """

    def __init__(self, addresses: Iterable[Address]) -> None:
        self.order = list(addresses)

    def __iter__(self) -> Iterator[Address]:
        for _ in range(len(self.order)):
            asked, *others = self.order
            self.order = [*others, asked]
            yield asked

    def answered(self, address: Address, others: Iterable[Address] = ()) -> None:
        self.order = [address, *sorted({*self.order, *others} - {address})]


def route_to(servers: Servers) -> Route:
    if servers.kind != "cluster":
        return OneServerRoute()
    errors = import_redis().exceptions
    return ClusterRoute(servers.addresses, (errors.RedisError, OSError), servers.remap)


def checked(answers: list[Any]) -> list[Any]:
    """Raise the first error among the answers."""
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers
