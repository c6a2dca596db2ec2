"""What each method of a Redis backend asks of the server, for threads and for event loops alike.

A method is a generator: it yields what is to be sent, is sent the answers, and returns the result. It does so by way of
a `Route` (see `redis_routes`), which knows the servers. Keys become bytes here, and ttls milliseconds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from .._core.sentinels import CACHE_MISS, CacheMissSentinel
from . import redis_scripts as scripts
from .protocol import ALL_THAT_BEGIN, HEAD_BYTES, SEEN_BYTES
from .redis_keys import escaped, is_cleared, ms, token_of
from .redis_scripts import Script

__all__ = ["Address", "Commands", "Request", "Route", "Steps", "pack"]

Address: TypeAlias = tuple[str, int]
R = TypeVar("R")
Steps: TypeAlias = Generator[Any, Any, R]

MOST_KEYS: Final = 500
"""In one command, which nothing else on the server can interrupt."""
SCAN_COUNT: Final = b"1000"

_LENGTHS: Final = [b"$%d\r\n" % length for length in range(256)]
"""What stands before a word of so many bytes."""


@dataclass(slots=True)
class Request:
    """One command: where its keys are, its words, and the script that it runs by digest, if it does."""

    key: bytes
    words: tuple[bytes, ...]
    script: Script | None = None
    address: Address | None = None
    is_asking: bool = False

    def with_text(self) -> Request:
        """The same, for a server that does not know the script's digest."""
        assert self.script is not None
        return replace(self, words=(b"EVAL", self.script.text, *self.words[2:]), script=None)


def pack(words: Sequence[bytes]) -> bytes:
    """Write a command as the protocol has it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        length = len(word)
        parts += _LENGTHS[length] if length < len(_LENGTHS) else b"$%d\r\n" % length, word, b"\r\n"
    return b"".join(parts)


class Route(Protocol):
    """Knows the servers: which keys can go into one command, and where it goes."""

    answers_in_turn: bool

    def exchange(self, requests: list[Request]) -> Steps[list[Any]]:
        """Send the requests; return their answers."""

    def primaries(self) -> Steps[list[Address | None]]:
        """Return the address of each primary."""

    def grouped(self, keys: Sequence[bytes]) -> list[Sequence[int]]:
        """Return the positions of the keys of each command."""


def _options(ttl: float | None) -> tuple[bytes, ...]:
    return () if ttl is None else (b"PX", ms(ttl))


def _run(script: Script, keys: Sequence[bytes], *arguments: bytes) -> Request:
    """Run a script on the values and the tokens of `keys`."""
    tokens = [token_of(key) for key in keys]
    words = (b"EVALSHA", script.digest, b"%d" % (2 * len(keys)), *keys, *tokens, *arguments)
    return Request(keys[0], words, script)


def _take(key: str, token: bytes, lease: float, seen: bytes | None = None) -> Request:
    head = () if seen is None else (seen[:SEEN_BYTES], b"%d" % SEEN_BYTES)
    return _run(scripts.TAKE, [key.encode()], token, ms(lease), *head)


def _store(key: str, value: bytes | None, token: bytes, ttl: float | None = None) -> Request:
    words = () if value is None else (value, *_options(ttl))
    return _run(scripts.STORE, [key.encode()], token, *words)


# ---- commands


class Commands:
    """The methods of a backend, as generators."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def get(self, key: str) -> Steps[bytes | None]:
        return self._one(Request(name := key.encode(), (b"GET", name)))

    def get_many(self, keys: Sequence[str]) -> Steps[list[bytes | None]]:
        names = [key.encode() for key in keys]
        groups = self._route.grouped(names)
        return _values(groups, (yield from self._route.exchange(_reads(names, groups))), names)

    def get_many_timed(
        self, keys: Sequence[str], timed: Sequence[str]
    ) -> Steps[tuple[list[bytes | None], list[float | CacheMissSentinel | None]]]:
        """One server answers in turn. What a cluster redirects is answered later: so the times are asked for first."""
        names = [key.encode() for key in keys]
        groups = self._route.grouped(names)
        reads = _reads(names, groups)
        asks = [Request(name, (b"PTTL", name)) for name in map(str.encode, timed)]
        if self._route.answers_in_turn:
            answers = yield from self._route.exchange([*asks, *reads])
        else:
            answers = (yield from self._route.exchange(asks)) + (yield from self._route.exchange(reads))
        left, read = answers[: len(asks)], answers[len(asks) :]
        return _values(groups, read, names), [_seconds(each) for each in left]

    def ttl_of(self, key: str) -> Steps[float | CacheMissSentinel | None]:
        name = key.encode()
        return _seconds((yield from self._one(Request(name, (b"PTTL", name)))))

    def set(self, key: str, value: bytes, ttl: float | None, only_if_absent: bool) -> Steps[bool]:
        options = (*_options(ttl), b"NX") if only_if_absent else _options(ttl)
        stored: int = yield from self._one(_run(scripts.SET, [key.encode()], value, *options))
        return stored == 1

    def set_many(self, items: Mapping[str, bytes], ttl: float | None) -> Steps[None]:
        names = [key.encode() for key in items]
        values = list(items.values())
        yield from self._route.exchange(
            [
                _run(scripts.SET, [names[i] for i in group], *[values[i] for i in group], *_options(ttl))
                for group in self._route.grouped(names)
            ]
        )

    def expire(self, key: str, ttl: float | None) -> Steps[bool]:
        words = () if ttl is None else (b"0" if ttl <= 0 else ms(ttl),)
        existed: int = yield from self._one(_run(scripts.EXPIRE, [key.encode()], *words))
        return existed == 1

    # ---- the fence

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None
    ) -> Steps[tuple[bytes | None, bytes | None]]:
        return (yield from self.take_many([(key, token, lease, seen)]))[0]

    def take_many(self, asked: Sequence[tuple[Any, ...]]) -> Steps[list[tuple[bytes | None, bytes | None]]]:
        answers = yield from self._route.exchange([_take(*each) for each in asked])
        return [(value, stands) for value, stands in answers]

    def renew(self, key: str, token: bytes, lease: float) -> Steps[bool]:
        stood: int = yield from self._one(_run(scripts.RENEW, [key.encode()], token, ms(lease)))
        return stood == 1

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None) -> Steps[bool]:
        return (yield from self.store_many_if_mine([(key, value, token, ttl)]))[0]

    def store_many_if_mine(self, asked: Sequence[tuple[Any, ...]]) -> Steps[list[bool]]:
        return [stood == 1 for stood in (yield from self._route.exchange([_store(*each) for each in asked]))]

    def kill_many(self, keys: Sequence[str]) -> Steps[list[bytes | None]]:
        names = [key.encode() for key in keys]
        groups = self._route.grouped(names)
        requests = [_run(scripts.KILL, [names[i] for i in group], b"%d" % HEAD_BYTES) for group in groups]
        heads = yield from self._route.exchange(requests)
        return _in_order(groups, heads, len(names))

    def tell(self, name: str) -> Steps[None]:
        yield from self._one(Request(b"", (b"PUBLISH", scripts.CHANNEL, name.encode())))

    # ---- walks

    def clear(self, prefix: str) -> Steps[None]:
        """Remove tokens first: after that no fill that began before can store what the second walk does not find."""
        start = prefix.encode()
        addresses = yield from self._route.primaries()
        for pattern in (b"*%b*!token*", b"%b*"):
            for address in addresses:
                yield from self._clear(address, pattern % escaped(start), start)
        yield from self.tell(prefix + ALL_THAT_BEGIN)

    def _clear(self, address: Address | None, pattern: bytes, prefix: bytes) -> Steps[None]:
        cursor = b"0"
        while True:
            scan = Request(b"", (b"SCAN", cursor, b"MATCH", pattern, b"COUNT", SCAN_COUNT), None, address)
            cursor, found = yield from self._one(scan)
            names = [name for name in found if is_cleared(name, prefix)]
            groups = self._route.grouped(names)
            yield from self._route.exchange(
                [Request(names[group[0]], (b"UNLINK", *[names[i] for i in group])) for group in groups]
            )
            if cursor == b"0":
                return

    # ---- how

    def primaries(self) -> Steps[list[Address | None]]:
        return (yield from self._route.primaries())

    def _one(self, request: Request) -> Steps[Any]:
        (answer,) = yield from self._route.exchange([request])
        return answer


def _seconds(left: int) -> float | CacheMissSentinel | None:
    return {-1: None, -2: CACHE_MISS}.get(left, left / 1000)


def _reads(names: list[bytes], groups: list[Sequence[int]]) -> list[Request]:
    if len(groups) == 1:
        return [Request(names[0], (b"MGET", *names))]
    return [Request(names[group[0]], (b"MGET", *[names[index] for index in group])) for group in groups]


def _values(groups: list[Sequence[int]], answers: list[Any], names: list[bytes]) -> list[bytes | None]:
    return answers[0] if len(groups) == 1 else _in_order(groups, answers, len(names))


def _in_order(groups: list[Sequence[int]], answers: list[list[Any]], length: int) -> list[Any]:
    """Put what came in groups where the caller asked for it."""
    result: list[Any] = [None] * length
    for index, answer in _pairs(groups, answers):
        result[index] = answer
    return result


def _pairs(groups: list[Sequence[int]], answers: list[list[Any]]) -> Iterator[tuple[int, Any]]:
    for group, some in zip(groups, answers, strict=True):
        yield from zip(group, some, strict=True)
