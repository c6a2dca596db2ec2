"""A proxy between a client and a server, which breaks connections as networks do; a server with one answer to all.

    with Proxy(server.port) as proxy:
        RedisBackend(proxy.url)
        proxy.stall()                   # what the server answers is held back, until `pass_through()`
        proxy.cut_after(10)             # each connection is cut after so many more bytes of answers
        proxy.repeat()                  # all that the server answers comes twice
        proxy.swallow()                 # what the server says to those that have subscribed is lost
        proxy.hold()                    # what clients ask is held back
        proxy.delay(0.1)                # every piece of an answer comes so many seconds later
        proxy.pass_through()            # what was held back comes now
        proxy.cut()                     # all connections are cut now

Threads and sockets only: a stress program can use it in any process.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Proxy", "Scripted"]

HOST = "127.0.0.1"


class Listener:
    """Serves each connection in threads of its own, until it is closed."""

    def __init__(self) -> None:
        self._socket = socket.create_server((HOST, 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"redis://{HOST}:{self.port}/0"
        self.connections = 0
        """How many have been made."""
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._lock = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.cut()
        for thread in list(self._threads):
            thread.join(10)

    def cut(self) -> None:
        """Cut all connections."""
        with self._lock:
            for each in list(self._open):
                close(each)
            self._open.clear()

    def serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def run(self, function: Callable[..., object], *arguments: object) -> None:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def keep(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open.update(sockets)

    def drop(self, *sockets: socket.socket) -> None:
        with self._lock:
            self._open.difference_update(sockets)
            for each in sockets:
                close(each)

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self.keep(client)
            self.run(self.serve, client)


class Proxy(Listener):
    def __init__(self, port: int) -> None:
        super().__init__()
        self._server_port = port
        self._gate = threading.Event()
        self._may_ask = threading.Event()
        self._subscribers: set[socket.socket] = set()
        self.held = threading.Event()
        """Set once an answer is being held back."""
        self.pass_through()

    def pass_through(self) -> None:
        self._cut_after: int | None = None
        self._times = 1
        self._delay = 0.0
        self._swallows = False
        self.held.clear()
        self._gate.set()
        self._may_ask.set()

    def stall(self) -> None:
        self._gate.clear()

    def swallow(self) -> None:
        """Lose what comes for subscribers from now on: their connections are cut as more comes after this has ended."""
        self._swallows = True

    def hold(self) -> None:
        self._may_ask.clear()

    def cut_after(self, number_of_bytes: int) -> None:
        self._cut_after = number_of_bytes

    def repeat(self, times: int = 2) -> None:
        self._times = times

    def delay(self, seconds: float) -> None:
        self._delay = seconds

    def serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self._server_port), timeout=10)
        except OSError:
            self.drop(client)
            return
        server.settimeout(None)
        self.keep(server)
        self.run(self._ask, client, server)
        self._answer(client, server)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"SUBSCRIBE" in data:
                    self._subscribers.add(client)
                self._may_ask.wait(60)
                server.sendall(data)
        self._subscribers.discard(client)
        self.drop(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        has_lost = False
        with suppress(OSError):
            while data := server.recv(65536):
                if not self._gate.is_set():
                    self.held.set()
                    self._gate.wait(60)
                if self._swallows and client in self._subscribers:
                    has_lost = True
                    continue
                if has_lost:
                    break
                if self._delay:
                    time.sleep(self._delay)
                left = self._cut_after
                if left is not None and left < len(data):
                    client.sendall(data[:left])
                    break
                if left is not None:
                    self._cut_after = left - len(data)
                client.sendall(data * self._times)
        self.drop(client, server)


class Scripted(Listener):
    """Answers with these bytes whatever it is asked; what a client says of itself as it connects, with "+OK"."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[bytes] = []

    def serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.asked.append(data)
                for part in data.split(b"*")[1:]:
                    is_greeting = b"CLIENT" in part or b"SELECT" in part
                    client.sendall(b"+OK\r\n" if is_greeting else self.answer)
        self.drop(client)


def close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
