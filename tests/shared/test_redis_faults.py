"""What goes wrong between RedisBackend and its server: each call ends in time, says why, and harms no other call."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any

import pytest

from areole.backends import AsyncRedisBackend, RedisBackend
from areole.backends.protocol import HEAD_BYTES
from areole.errors import BackendError, BackendTimeout

from ..interleave.tracing import apart
from ..kit import collect, run, run_threads
from . import servers
from .proxy import Proxy, Scripted

pytestmark = pytest.mark.usefixtures("redis_py")

SOON = 10.0
"""Seconds: well below what redis-py's own defaults take, and above what a slow machine does."""


@pytest.fixture
def server(redis_single: servers.RedisServer) -> servers.RedisServer:
    redis_single.flush()
    return redis_single


@pytest.fixture
def proxy(server: servers.RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


def filled(url: str, timeout: float = 1.0) -> RedisBackend:
    with RedisBackend(url, timeout=SOON) as backend:
        backend.set_many({"a": b"of a", "b": b"of b"})
    return RedisBackend(url, timeout=timeout)


# ---- in time


@pytest.mark.parametrize("call", [lambda b: b.get("a"), lambda b: b.set("a", b"v"), lambda b: b.take("a", b"t", 9)])
def test_a_stalled_server_fails_in_time(call: Callable[[Any], Any]) -> None:
    with servers.redis_server() as server, filled(server.socket_url) as backend:
        began = time.monotonic()
        assert backend.get("a") == b"of a"
        server.pause()
        for _ in range(2):  # over the connection that there is, and over a new one
            with pytest.raises(BackendTimeout, match=r"no answer within 1 s.*raise timeout"):
                call(backend)
            with pytest.raises(BackendTimeout, match=r"no answer within 1 s"):
                run(lambda: call(backend.aio))
        assert time.monotonic() - began < SOON
        server.resume()
        assert backend.get("b") == b"of b"


def test_nobody_listens() -> None:
    backend = RedisBackend(f"redis://127.0.0.1:{servers.free_port()}")
    began = time.monotonic()
    for get in (backend.get, lambda key: run(lambda: backend.aio.get(key))):
        with pytest.raises(BackendError, match=r"Error 111 connecting|Connection refused") as caught:
            get("a")
        assert not isinstance(caught.value, BackendTimeout)
        assert "See whether the server runs" in str(caught.value)
        assert caught.value.__cause__ is not None
    assert time.monotonic() - began < SOON


def test_a_server_that_answers_slowly_is_waited_for(proxy: Proxy) -> None:
    with filled(proxy.url, timeout=SOON) as backend:
        proxy.delay(0.05)
        assert backend.get_many(["a", "b"]) == [b"of a", b"of b"]


# ---- no answer of a broken call is another call's


def test_a_late_answer_is_nobodys(proxy: Proxy) -> None:
    with filled(proxy.url) as backend:
        for _ in range(2):
            proxy.stall()
            with pytest.raises(BackendTimeout):
                backend.get("a")
            proxy.pass_through()
            assert backend.get("b") == b"of b"
            assert backend.get_many(["b", "a"]) == [b"of b", b"of a"]


def test_an_answer_that_comes_twice_is_taken_once(proxy: Proxy) -> None:
    with filled(proxy.url) as backend:
        for times in (2, 3, 2):
            assert backend.get("b") == b"of b"  # over a new connection: what that is greeted with comes once
            proxy.repeat(times)
            assert backend.get("a") == b"of a"
            proxy.pass_through()


def test_a_new_connection_that_says_more_than_it_was_asked_is_not_used(proxy: Proxy) -> None:
    filled(proxy.url).close()
    backend = RedisBackend(proxy.url.removesuffix("0") + "1", timeout=SOON)  # a database is asked for as it connects
    proxy.repeat()
    for call in (lambda: backend.get("a"), lambda: run(lambda: backend.aio.get("a"))):
        with pytest.raises(BackendError, match="answers more than was asked"):
            call()


def test_a_connection_is_cut_at_any_byte_of_an_answer(proxy: Proxy) -> None:
    with filled(proxy.url) as backend:
        answer = b"*2\r\n$4\r\nof a\r\n$4\r\nof b\r\n"
        for number_of_bytes in range(len(answer)):
            proxy.cut_after(number_of_bytes)
            with pytest.raises(BackendError):
                backend.get_many(["a", "b"])
            proxy.pass_through()
            assert backend.get("b") == b"of b"
        proxy.cut_after(len(answer))
        assert backend.get_many(["a", "b"]) == [b"of a", b"of b"]


def test_a_connection_that_was_cut_while_idle_is_made_again(proxy: Proxy) -> None:
    with filled(proxy.url) as backend:
        for _ in range(3):
            proxy.cut()
            servers.wait_until(lambda: not proxy._open, "the cut")
            assert backend.get("a") == b"of a", "no error: nothing had been sent"


def test_what_was_sent_is_not_sent_again(proxy: Proxy, server: servers.RedisServer) -> None:
    """It may have been done: a second `set` could undo what came between."""
    with filled(proxy.url) as backend:
        proxy.cut_after(0)
        with pytest.raises(BackendError):
            backend.set("a", b"new", only_if_absent=True)
        proxy.pass_through()
        before = int(server.cli("INFO", "commandstats").count("cmdstat_set"))
        assert server.cli("GET", "a") == "of a"
        assert int(server.cli("INFO", "commandstats").count("cmdstat_set")) == before


def interrupted_at(function: Callable[[], Any], line: int) -> bool:
    """Call `function`, and raise KeyboardInterrupt before line number `line` that runs; say whether it came to it."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if "redis" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        next(apart(function))
    except (KeyboardInterrupt, UnboundLocalError):  # a `finally` of redis-py 7 raises the latter instead
        pass
    finally:
        sys.settrace(before)
    return lines >= line  # in a finalizer it is printed, not raised


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of sockets of the standard library
@pytest.mark.parametrize("is_new", [False, True], ids=["idle", "new"])
def test_an_interrupt_between_any_two_lines_leaves_no_answer_to_others(
    server: servers.RedisServer, is_new: bool
) -> None:
    with filled(server.socket_url, timeout=SOON) as backend:
        line = 0
        while True:
            line += 1
            assert backend.get("b") == b"of b"
            if is_new:
                backend._links.close()
                backend._links.is_closed = False
            if not interrupted_at(lambda: backend.get_many(["a", "x"]), line):
                break
            assert backend.get("b") == b"of b", f"interrupted at line {line}"
        assert line > 50, "it was not traced"
        collect()


def test_an_interrupt_between_sending_and_reading_leaves_no_late_answer(proxy: Proxy) -> None:
    """1. `get("a")` is sent   2. an interrupt   3. `get("b")` looks: nothing is there   4. the answer to 1 comes."""
    with filled(proxy.url, timeout=SOON) as backend:
        assert backend.get("b") == b"of b"
        proxy.stall()

        def interrupt(connection: Any) -> Any:
            assert proxy.held.wait(SOON), "the answer is not on the way"
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(backend._links, "_read", interrupt)
            backend.get("a")
        later = threading.Timer(0.1, proxy.pass_through)
        later.start()
        assert backend.get("b") == b"of b"
        later.join()


# ---- the same on a loop


class Cancelling:
    """Awaits a coroutine, and cancels the task at its await number `number`, counted from 0."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], number: int) -> None:
        self.coroutine = coroutine
        self.number = number

    def __await__(self) -> Generator[Any, Any, None]:
        with suppress(StopIteration):
            waits = self.coroutine.send(None)
            for number in count():
                if number == self.number:
                    task = asyncio.current_task()
                    assert task is not None
                    task.cancel()
                try:
                    got = yield waits
                except BaseException as error:
                    waits = self.coroutine.throw(error)
                else:
                    waits = self.coroutine.send(got)


async def cancelled_at(coroutine: Coroutine[Any, Any, Any], number: int) -> bool:
    """Say whether it came to its await number `number`, at which it was cancelled."""

    async def main() -> None:
        await Cancelling(coroutine, number)

    try:
        await asyncio.ensure_future(main())
    except asyncio.CancelledError:
        return True
    return False


def test_a_cancellation_between_sending_and_reading_leaves_no_late_answer(proxy: Proxy, on_loop: Any) -> None:
    filled(proxy.url).close()
    aio = AsyncRedisBackend(proxy.url, timeout=SOON)

    async def main() -> None:
        assert await aio.get("b") == b"of b"
        proxy.stall()

        async def cancel(connection: Any) -> Any:
            assert await asyncio.to_thread(proxy.held.wait, SOON), "the answer is not on the way"
            raise asyncio.CancelledError

        with pytest.MonkeyPatch.context() as patch, pytest.raises(asyncio.CancelledError):
            patch.setattr(aio._links(), "_read", cancel)
            await aio.get("a")
        later = threading.Timer(0.1, proxy.pass_through)
        later.start()
        assert await aio.get("b") == b"of b"
        later.join()
        await aio.aclose()

    on_loop(main)


@pytest.mark.parametrize("is_new", [False, True], ids=["idle", "new"])
def test_a_cancellation_at_any_await_leaves_no_answer_to_others(
    server: servers.RedisServer, is_new: bool, on_loop: Any
) -> None:
    filled(server.url).close()
    aio = AsyncRedisBackend(server.url, timeout=SOON)

    async def main() -> None:
        for number in range(1000):
            assert await aio.get("b") == b"of b"
            if is_new:
                await aio.aclose()
            if not await cancelled_at(aio.get_many(["a", "x"]), number):
                assert number > 0
                break
            assert await aio.get("b") == b"of b", f"cancelled at await {number}"
        await aio.aclose()

    on_loop(main)


def test_a_late_answer_is_nobodys_on_a_loop(proxy: Proxy, on_loop: Any) -> None:
    filled(proxy.url).close()
    aio = AsyncRedisBackend(proxy.url, timeout=SOON)

    async def main() -> None:
        assert await aio.get("b") == b"of b"
        for how in ("cancelled", "timeout"):
            proxy.stall()
            task = asyncio.ensure_future(aio.get("a"))
            await asyncio.to_thread(proxy.held.wait, SOON)
            if how == "cancelled":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                task.cancel()
                aio.timeout = aio._links()._timeout = 0.2
                with pytest.raises(BackendTimeout):
                    await aio.get("a")
                aio._links()._timeout = SOON
            proxy.pass_through()
            assert await aio.get("b") == b"of b"
        await aio.aclose()

    on_loop(main)


def test_answers_that_come_twice_or_are_cut_on_a_loop(proxy: Proxy, on_loop: Any) -> None:
    filled(proxy.url).close()
    aio = AsyncRedisBackend(proxy.url, timeout=SOON)

    async def main() -> None:
        for times in (2, 3, 2):
            assert await aio.get("b") == b"of b"
            proxy.repeat(times)
            assert await aio.get("a") == b"of a"
            proxy.pass_through()
        for number_of_bytes in range(10):
            proxy.cut_after(number_of_bytes)
            with pytest.raises(BackendError):
                await aio.get("a")
            proxy.pass_through()
            assert await aio.get("b") == b"of b"
        await aio.aclose()

    on_loop(main)


# ---- what it says

ANSWERS = {
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n": "OOM|memory.*raise its maxmemory",
    b"-LOADING Redis is loading the dataset in memory\r\n": "loading.*try again",
    b"-READONLY You can't write against a read only replica.\r\n": "replica: name the primary",
    b"-MASTERDOWN Link with MASTER is down\r\n": "replica: name the primary",
    b"-NOAUTH Authentication required.\r\n": "Authentication required.*Give the user name and the password",
    b"-NOPERM this user has no permissions to run the 'get' command\r\n": "Let this user run",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n": "Another program keeps something else",
    b"-MOVED 3999 127.0.0.1:6381\r\n": r"write redis\+cluster://",
    b"-CLUSTERDOWN Hash slot not served\r\n": "some slots have no server",
    b"-MISCONF Redis is configured to save RDB snapshots\r\n": "cannot write to its disk",
    b"-ERR max number of clients reached\r\n": "max number of clients",
    b"-ERR unknown command 'get'\r\n": "the server refused",
    b"-WHAT is this\r\n": "WHAT is this",
    b"hello\r\n": "RedisBackend.get",
    b":abc\r\n": "RedisBackend.get",
    b"$-5\r\n": "RedisBackend.get",
    b"\r\n": "RedisBackend.get",
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "RedisBackend.get",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=[answer.decode().split("\r")[0][:12] for answer in ANSWERS])
def test_what_the_server_answers_becomes_a_backend_error(answer: bytes) -> None:
    with Scripted(answer) as server, RedisBackend(server.url, timeout=0.3) as backend:
        with pytest.raises(BackendError, match=ANSWERS[answer]) as caught:
            backend.get("a")
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        with pytest.raises(BackendError, match=ANSWERS[answer]):
            run(lambda: backend.aio.get("a"))


def test_no_message_has_the_password() -> None:
    secret = "s3cret-word"
    quoting = b"-ERR unknown command 'AUTH', with args beginning with: '%b'\r\n" % secret.encode()
    for answer in (quoting, b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"):
        with Scripted(answer) as server:
            url = server.url.replace("://", f"://user:{secret}@")
            backend = RedisBackend(url)
            for get in (backend.get, lambda key: run(lambda: backend.aio.get(key)), backend.listen):  # noqa: B023
                with pytest.raises(BackendError) as caught:
                    get("a")
                shown: BaseException | None = caught.value
                while shown is not None:
                    assert secret not in f"{shown!r} {shown}"
                    shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
            assert secret not in f"{backend!r} {backend.aio!r}"


def test_a_full_server_refuses_to_store_and_is_still_asked(proxy: Proxy) -> None:
    with (
        servers.redis_server(maxmemory="3mb", maxmemory_policy="noeviction") as server,
        RedisBackend(server.socket_url, timeout=SOON) as backend,
    ):
        backend.take("k", b"token", 60)
        with pytest.raises(BackendError, match="raise its maxmemory"):
            for number in range(100):
                backend.set(f"k{number}", b"x" * 100_000)
        with pytest.raises(BackendError, match="raise its maxmemory"):
            backend.store_if_mine("k", b"x" * 100_000, b"token")
        assert backend.get("k0") == b"x" * 100_000
        assert backend.kill("k0") == b"x" * HEAD_BYTES, "what makes room is not refused"


def test_a_password_is_needed(redis_single: servers.RedisServer) -> None:
    with servers.redis_server(requirepass="swordfish") as server:
        for url, says in (
            (server.url, "Authentication required.*Give the user name and the password"),
            (server.url.replace("://", "://:wrong@"), "Give the user name and the password"),
        ):
            with RedisBackend(url) as backend, pytest.raises(BackendError, match=says):
                backend.get("a")
        with RedisBackend(server.url.replace("://", "://:swordfish@")) as backend:
            assert backend.set("a", b"v")
        with RedisBackend(f"{server.socket_url}&password=swordfish") as backend:
            assert backend.get("a") == b"v"
            assert run(lambda: backend.aio.get("a")) == b"v"


# ---- restarts


def test_scripts_are_loaded_again_when_the_server_has_forgotten_them(on_loop: Any) -> None:
    with servers.redis_server() as server, RedisBackend(server.socket_url, timeout=SOON) as backend:
        for forget in (lambda: server.cli("SCRIPT", "FLUSH"), server.restart, lambda: server.cli("SCRIPT", "FLUSH")):
            assert backend.set("a", b"v")
            forget()
            assert backend.kill_many(["a", "x"]) in ([b"v", None], [None, None])
            assert backend.take("a", b"t", 60) == (None, b"t")
            server.cli("SCRIPT", "FLUSH")
            backend.set_many({f"k{number}": b"v" for number in range(1200)})
            server.cli("SCRIPT", "FLUSH")
            assert on_loop(lambda: backend.aio.store_if_mine("a", b"w", b"t"))


def test_a_server_that_was_killed_and_started_again_is_used_again() -> None:
    with servers.redis_server() as server, filled(server.socket_url, timeout=SOON) as backend:
        results = run_threads(*[lambda: backend.get("a")] * 8)
        assert results == [b"of a"] * 8
        server.kill()
        with pytest.raises(BackendError):
            backend.get("a")
        server.restart()
        assert backend.get("a") is None, "every idle connection was cut: none of them fails"
        assert backend.set("a", b"new")


def test_a_connection_of_a_parent_is_not_closed_by_its_child(server: servers.RedisServer) -> None:
    from ..kit import run_python

    printed = run_python(f"""
        import os
        from areole.backends import RedisBackend
        backend = RedisBackend({server.socket_url!r}, timeout=10)
        backend.set_many({{"a": b"of a", "b": b"of b"}})
        pids = []
        for number in range(4):
            pid = os.fork()
            if pid == 0:
                for _ in range(300):
                    assert backend.get("ab"[number % 2]) == b"of " + b"ab"[number % 2:][:1]
                backend.close()
                os._exit(0)
            pids.append(pid)
        for _ in range(300):
            assert backend.get_many(["b", "a"]) == [b"of b", b"of a"]
        print([os.waitpid(pid, 0)[1] for pid in pids], len(backend._links._idle[None]))
    """)
    assert printed.strip() == "[0, 0, 0, 0] 1"


def test_answers_are_not_mixed_up_between_threads(server: servers.RedisServer) -> None:
    with RedisBackend(server.socket_url, timeout=SOON) as backend:

        def work(number: int) -> int:
            key, value = f"k{number}", str(number).encode() * 50
            for _ in range(150):
                backend.set(key, value, 60)
                assert backend.get_many([key, "none", key]) == [value, None, value]
                assert backend.get(key) == value
            return number

        assert run_threads(*[lambda number=number: work(number) for number in range(8)]) == list(range(8))


def test_a_socket_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        backend = RedisBackend(url, timeout=0.2)
        began = time.monotonic()
        with pytest.raises(BackendTimeout):
            backend.get("a")
        with pytest.raises(BackendTimeout):
            run(lambda: backend.aio.get("a"))
        assert time.monotonic() - began < SOON
