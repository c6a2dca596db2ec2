"""Where Redis servers are, and how they are connected to.

The connections are our own: with our time limit, no retries, protocol 2, and answers as bytes. A client's own may wait
for ever, try again, decode, or be closed by its owner.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Final, Literal

from .redis_commands import Address, pack
from .redis_parser import Parser

__all__ = [
    "NOT_REDIS",
    "PLAIN_PORT",
    "SENTINEL_PORT",
    "UNASKED",
    "Servers",
    "import_redis",
    "own_settings",
    "parameters",
    "without_address",
]

PLAIN_PORT: Final = 6379
SENTINEL_PORT: Final = 26379

OURS: Final = frozenset({"protocol", "socket_connect_timeout", "socket_timeout"})
CLIENTS_OWN: Final = re.compile(
    "cache|cache_config|command_packer|connection_pool|decode_responses|driver_info|encoder_class|event_dispatcher"
    "|health_check_interval|himport_registry|legacy_responses|lib_name|lib_version|parser_class"
    "|retry|retry_on_error|retry_on_timeout"
    # what redis-py 7 and later does about maintenance that was announced: it raises time limits
    "|(maint|orig|oss_cluster)_.*"
)
"""Settings of a connection that belong to the client that has them, or say what it does with answers and failures."""
CLASSES: Final = ("Connection", "SSLConnection", "UnixDomainSocketConnection")

NOT_REDIS: Final = "what came is no answer of a Redis server"
UNASKED: Final = "the server, or what is between, answers more than was asked"


def import_redis() -> Any:
    """Import redis-py, which takes long, when it is used."""
    try:
        import redis
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "RedisBackend needs redis-py, which is not installed: pip install 'areole[redis]'", name=error.name
        ) from error
    return redis


@dataclass(frozen=True)
class Servers:
    """Where the servers are, and how one is connected to.

    Attributes:
        kind: "one" server, "sentinel": the primary of `service` as Sentinels name it, or "cluster".
        make: a class of redis-py's connections, with `kwargs` for each.
        is_async: the class is one of redis.asyncio.
        addresses: of the Sentinels, or of some of a cluster's servers.
        ask: the class of connections to Sentinels, with `ask_kwargs`.
        remap: makes the address at which we reach a cluster's server of the one that it gives.
    """

    kind: Literal["one", "sentinel", "cluster"]
    make: Any
    kwargs: dict[str, Any]
    is_async: bool = False
    addresses: tuple[Address, ...] = ()
    service: str = ""
    ask: Any = None
    ask_kwargs: dict[str, Any] = field(default_factory=dict)
    remap: Callable[[Address], Address] | None = None

    @property
    def where(self) -> str:
        """Say which servers, for messages and `repr`: without a password."""
        some = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        if self.kind == "cluster":
            return f"cluster at {some}"
        if self.kind == "sentinel":
            return f"{self.service} of the Sentinel at {some}"
        path: str | None = self.kwargs.get("path")
        return path or f"{self.kwargs.get('host', 'localhost')}:{self.kwargs.get('port', PLAIN_PORT)}"

    @property
    def has_tls(self) -> bool:
        """Say whether connections are encrypted: nobody adds answers to those, and there may be more to be read."""
        redis = import_redis()
        return issubclass(self.make, (redis.SSLConnection, redis.asyncio.SSLConnection))

    @property
    def question(self) -> bytes:
        """Ask a Sentinel where the primary is."""
        return pack((b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self.service.encode()))

    @property
    def secrets(self) -> list[str]:
        return [str(kwargs["password"]) for kwargs in (self.kwargs, self.ask_kwargs) if kwargs.get("password")]

    def connection(self, address: Address | None, timeout: float | None, most: float | None = None) -> Any:
        """Make a connection, which is not connected yet; with an address, to that server. `most`: of each read."""
        return _connection(self.make, self.kwargs, address, timeout, most)

    def connection_to_sentinel(self, address: Address, timeout: float | None) -> Any:
        return _connection(self.ask, self.ask_kwargs, address, timeout)

    def for_loops(self) -> Servers:
        """Return the same servers for event loops. TypeError: the connections are of a class of the user's own."""
        if self.is_async:
            return self
        make, kwargs = _for_loops(self.make, self.kwargs)
        ask, ask_kwargs = _for_loops(self.ask, self.ask_kwargs) if self.ask else (None, {})
        return replace(self, make=make, kwargs=kwargs, ask=ask, ask_kwargs=ask_kwargs, is_async=True)

    def for_threads(self) -> Servers:
        """Return the same servers for threads; these, if such connections, or their settings, are for loops alone."""
        redis = import_redis()
        twins = {getattr(redis.asyncio, name): getattr(redis, name) for name in CLASSES}
        if not self.is_async or self.make not in twins or not (self.ask is None or self.ask in twins):
            return self
        make, ask = twins[self.make], twins.get(self.ask)
        kwargs, ask_kwargs = _known(make, self.kwargs), _known(ask, self.ask_kwargs) if ask else {}
        if kwargs is None or ask_kwargs is None:
            return self
        return replace(self, make=make, kwargs=kwargs, ask=ask, ask_kwargs=ask_kwargs, is_async=False)


def _known(make: Any, kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the settings that a class of connections for threads takes; None if another one is set."""
    known = parameters(make) - {"redis_connect_func"}
    if any(value for name, value in kwargs.items() if name not in known):
        return None
    return {name: value for name, value in kwargs.items() if name in known}


def _connection(
    make: Any, kwargs: dict[str, Any], address: Address | None, timeout: float | None, most: float | None = None
) -> Any:
    to = {} if address is None else {"host": address[0], "port": address[1]}
    shortest = timeout if most is None or timeout is None else min(timeout, most)
    longest = timeout if most is None else min(timeout or 1.0, 1.0)
    of_ours = {**_nameless(make), **_parser(make), "protocol": 2}
    made = make(**kwargs, **to, socket_timeout=shortest, socket_connect_timeout=longest, **of_ours)
    made.socket_timeout = shortest  # redis-py 5.0 forgets the one of a Unix socket
    return made


@cache
def _nameless(make: Any) -> dict[str, None]:
    """Return what keeps a connection from saying its library's name: two waits more for the server as it connects."""
    known = parameters(make)
    names = ["driver_info"] if "driver_info" in known else ["lib_name", "lib_version"]
    return dict.fromkeys(name for name in names if name in known)


@cache
def _parser(make: Any) -> dict[str, Any]:
    """Return what has a connection for threads read with our parser, if it is redis-py's own, and has none in C."""
    redis = import_redis()
    is_ours = make in [getattr(redis, name) for name in CLASSES] and not redis.utils.HIREDIS_AVAILABLE
    return {"parser_class": partial(Parser, redis)} if is_ours else {}


def own_settings(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return those of a client's settings with which we make connections of our own."""
    return {name: value for name, value in kwargs.items() if name not in OURS and not CLIENTS_OWN.fullmatch(name)}


def without_address(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in ("host", "port")}


def parameters(made: Any) -> frozenset[str]:
    """Return the names of what a class of connections can be given."""
    return frozenset(name for each in made.__mro__ for name in inspect.signature(each.__init__).parameters)


def _for_loops(make: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    redis = import_redis()
    twins = [getattr(redis.asyncio, name) for name in CLASSES if make is getattr(redis, name)]
    if not twins:
        raise TypeError(
            f"RedisBackend.aio: connections of a class of your own ({make.__name__}) have no twin for event loops: "
            "give an AsyncRedisBackend a redis.asyncio client"
        )
    known = parameters(twins[0]) - {"redis_connect_func"}
    unset = {name for name, value in kwargs.items() if not value} | {"redis_connect_func"}
    return twins[0], {name: value for name, value in kwargs.items() if name in known or name not in unset}
