"""URLs of Redis servers, as what a Redis backend needs to connect. No message quotes what may be a password."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import SettingsError
from .redis_commands import Address
from .redis_servers import PLAIN_PORT, SENTINEL_PORT, Servers, own_settings, parameters, without_address

__all__ = ["servers_of_url"]

OF_SENTINELS: Final = frozenset({"sentinel_username", "sentinel_password"})
OF_TIME: Final = frozenset({"socket_timeout", "socket_connect_timeout", "timeout"})


def servers_of_url(redis: Any, call: str, url: str) -> Servers:
    """Read a URL; valkey:// is redis://. SettingsError: it cannot be used; the message names `call`."""
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.lower().replace("valkey", "redis").partition("+")
    read = SCHEMES.get((base, kind))
    if read is None or "://" not in url:
        raise SettingsError(
            f"{call}: this is no URL of a Redis server: it must begin with redis://, rediss://, unix://, "
            "redis+cluster://, sentinel:// or valkey://"
        )
    try:
        return read(redis, base, rest)
    except SettingsError as error:
        raise SettingsError(f"{call}: the {scheme}:// URL cannot be used: {error}") from None
    except ValueError:  # its text may quote a part of a password, as what is no port
        raise SettingsError(
            f"{call}: the {scheme}:// URL cannot be read: its port must be a number up to 65535, and special "
            "characters in its password percent-encoded"
        ) from None


def _one(redis: Any, base: str, rest: str) -> Servers:
    return Servers("one", *_read(redis, f"{base}://{rest}"))


def _unix(redis: Any, base: str, rest: str) -> Servers:
    return _one(redis, "unix", rest)


def _cluster(redis: Any, base: str, rest: str) -> Servers:
    user, addresses, path, query = _split(rest, PLAIN_PORT)
    make, kwargs = _read(redis, f"{base}://{user}host{path}{query}")
    if kwargs.pop("db", 0):
        raise SettingsError("a cluster has database 0 only")
    return Servers("cluster", make, without_address(kwargs), addresses=addresses)


def _sentinel(redis: Any, base: str, rest: str) -> Servers:
    user, addresses, path, query = _split(rest, SENTINEL_PORT)
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise SettingsError("it names no service, as sentinel://host:26379/service/0 does")
    make, kwargs = _read(redis, f"redis://{user}host/{database}{query}", OF_SENTINELS)
    asked = {name.removeprefix("sentinel_"): kwargs.pop(name) for name in OF_SENTINELS & kwargs.keys()}
    kwargs = without_address(kwargs)
    return Servers("sentinel", make, kwargs, addresses=addresses, service=unquote(service), ask=make, ask_kwargs=asked)


SCHEMES: Final = {
    ("redis", ""): _one,
    ("rediss", ""): _one,
    ("unix", ""): _one,
    ("redis", "unix"): _unix,
    ("redis", "cluster"): _cluster,
    ("rediss", "cluster"): _cluster,
    ("sentinel", ""): _sentinel,
}


def _split(rest: str, port: int) -> tuple[str, tuple[Address, ...], str, str]:
    """Split what follows "://" into the user with its "@", the addresses, the path, and the query with its "?"."""
    rest, mark, query = rest.partition("?")
    hosts, slash, path = rest.partition("/")
    user, at, hosts = hosts.rpartition("@")
    parts = [urlsplit("//" + host) for host in hosts.split(",")]
    addresses = tuple((part.hostname or "localhost", part.port or port) for part in parts)
    return user + at, addresses, slash + path, mark + query


def _read(redis: Any, url: str, also: frozenset[str] = frozenset()) -> tuple[Any, dict[str, Any]]:
    """Read a URL as redis-py does, but refuse what it would pass over, or notice only when it connects."""
    parts = urlsplit(url)
    asked = parse_qs(parts.query, keep_blank_values=True)
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise SettingsError("its path is not the number of a database")
    if parts.scheme == "unix" and not parts.path:
        raise SettingsError("it has no path, as unix:///run/redis.sock does")
    if ours := sorted(OF_TIME & asked.keys()):
        raise SettingsError(f"it has the parameter {ours[0]}: use the argument `timeout` instead")
    pool = redis.ConnectionPool.from_url(url)
    if unknown := sorted(asked.keys() - parameters(pool.connection_class) - also):
        raise SettingsError(f"it has a parameter that is not known: {unknown[0]}")
    return pool.connection_class, own_settings(pool.connection_kwargs)
