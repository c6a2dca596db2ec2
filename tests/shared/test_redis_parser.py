"""Parser: an answer is the same, however it comes. That connections use it, and what they make of it: test_redis."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

redis = pytest.importorskip("redis")

from areole.backends.redis_parser import Parser  # noqa: E402

ANSWERS: dict[bytes, Any] = {
    b"+OK\r\n": b"OK",
    b":-12\r\n": -12,
    b"$-1\r\n": None,
    b"*-1\r\n": None,
    b"$0\r\n\r\n": b"",
    b"$7\r\na\r\n$1\r\n\r\n": b"a\r\n$1\r\n",
    b"*0\r\n": [],
    b"*4\r\n$2\r\nab\r\n$-1\r\n$0\r\n\r\n$4\r\n\r\n\r\n\r\n": [b"ab", None, b"", b"\r\n\r\n"],
    b"*3\r\n*2\r\n:1\r\n$1\r\na\r\n+x\r\n*1\r\n*0\r\n": [[1, b"a"], b"x", [[]]],
}
NONE_AT_ALL = [
    b"\r\n",
    b"hello\r\n",
    b":x\r\n",
    b"$x\r\n",
    b"$-2\r\n",
    b"*-2\r\n",
    b"*1\r\n$-3\r\nabc\r\n",
    b"*1\r\n$x\r\n",
]


class Pieces:
    """A socket from which these pieces come, each by one call, and then the end."""

    def __init__(self, real: socket.socket, *pieces: bytes) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.fileno = real.fileno
        self.timeouts: list[float] = []
        self.settimeout = self.timeouts.append

    def recv(self, most: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


@pytest.fixture
def real() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def reader(sock: Any) -> Parser:
    parser = Parser(redis, 65536)
    parser.on_connect(SimpleNamespace(_sock=sock, socket_timeout=5.0))
    return parser


def test_an_answer_is_the_same_in_one_piece_and_cut_anywhere(real: socket.socket) -> None:
    for answer, value in ANSWERS.items():
        twice = answer + answer
        for cut in range(len(twice)):
            parser = reader(Pieces(real, twice[:cut], twice[cut:]))
            assert [parser.read_response(), parser.read_response()] == [value, value]
        parser = reader(Pieces(real, *(twice[i : i + 1] for i in range(len(twice)))))
        assert [parser.read_response(), parser.read_response()] == [value, value]
        with pytest.raises(redis.ConnectionError, match="closed"):
            parser.read_response()


@pytest.mark.parametrize("answer", NONE_AT_ALL)
def test_what_is_no_answer_is_refused(real: socket.socket, answer: bytes) -> None:
    with pytest.raises(ValueError):
        reader(Pieces(real, answer)).read_response()


def test_errors_are_returned_those_of_the_connection_raised(real: socket.socket) -> None:
    parser = reader(Pieces(real, b"*2\r\n-WRONGTYPE no\r\n-NOSCRIPT none\r\n-ERR max number of clients reached\r\n"))
    wrong, no_script = parser.read_response()
    assert type(wrong) is redis.ResponseError
    assert isinstance(no_script, redis.exceptions.NoScriptError)
    with pytest.raises(redis.ConnectionError, match="max number of clients"):
        parser.read_response()


def test_a_long_value_is_joined_once(real: socket.socket) -> None:
    value = bytes(range(256)) * 20_000
    answer = b"*2\r\n$%d\r\n%b\r\n$1\r\nx\r\n" % (len(value), value)
    parser = reader(Pieces(real, *(answer[i : i + 60_000] for i in range(0, len(answer), 60_000))))
    assert parser.read_response() == [value, b"x"]
    assert not parser.can_read(0)


@pytest.mark.parametrize("has_poll", [True, False])
def test_can_read_says_what_has_come_and_leaves_the_time_limit_as_it_was(
    has_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_poll:  # as on Windows
        monkeypatch.delattr(select, "poll", raising=False)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5.0)
        parser = reader(ours)
        assert not parser.can_read(0)
        assert not parser.can_read(0.001)
        theirs.sendall(b"+a\r\n+b\r\n")
        assert parser.can_read(0)
        assert parser.read_response() == b"a"
        assert parser.can_read(0)  # it has come with the first one
        assert parser.read_response() == b"b"
        assert ours.gettimeout() == 5.0
        theirs.close()
        with pytest.raises(redis.ConnectionError, match="closed"):
            parser.can_read(0)
        assert ours.gettimeout() == 5.0
