"""Backends by URL, those that the environment names, and the one that was registered as the default.

No message quotes more of a URL than its scheme and the names of its parameters: elsewhere there may be a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv6Address
from typing import Any, Final
from urllib.parse import quote, unquote

from .._platform.arguments import hint_for, without_name
from ..errors import SettingsError
from .django import DjangoBackend
from .memory import MemoryBackend
from .null import NullBackend
from .protocol import AsyncBackend, Backend

__all__ = ["backend_from_url", "default_backend", "registered_backend", "set_default_backend"]

_SCHEME: Final = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_BAD_ESCAPE: Final = re.compile("%(?![0-9A-Fa-f]{2})")
_PARAMETERS: Final[Mapping[str, Mapping[str, str]]] = {
    "memory": {"max-bytes": "max_bytes", "max-items": "max_items"},
    "sqlite": {"max-bytes": "max_bytes"},
}
"""The parameters of our own engines, and the arguments that they are; a Redis URL is read by RedisBackend."""
_PARTS: Final = ("REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD")


def backend_from_url(
    url: str | None = None, *, timeout: float = 0.25, environ: Mapping[str, str] = os.environ
) -> Backend:
    """Make the backend that a URL names, or, with none, the one that the environment names.

    Args:
        url: one of
            memory://                                       parameters max-items, max-bytes
            null://, dummy://                               stores nothing
            sqlite:///a/path, sqlite:////an/absolute/path   parameter max-bytes
            redis://[[user]:password@]host:6379/0, rediss://, unix:///path, redis+unix:///path, redis+cluster://,
            rediss+cluster://, sentinel://host:26379/service/0, and valkey:// in place of redis://
            django://default                                a name in CACHES
            With None: REDIS_URL, or REDIS_HOST with REDIS_PORT, REDIS_DB and REDIS_PASSWORD where they are set.
        timeout: seconds, the limit of each call over Redis, and of waiting for a lock over SQLite.
        environ: where the environment is looked up.

    Raises:
        SettingsError: for a URL or an environment that names no backend: the message says which part is wrong, and
            shows no password.
        ImportError: if a library is missing; the message says which.
    """
    if url is None:
        return _from_environment(environ, timeout)
    if not isinstance(url, str):
        raise TypeError(f"backend_from_url: url must be a str or None, not {type(url).__name__}")
    scheme, mark, rest = url.partition("://")
    if not (mark and _SCHEME.fullmatch(scheme)):
        raise _error('the URL has no scheme: it must begin as "redis://" or "sqlite://" does')
    scheme = scheme.lower()
    if scheme not in _SCHEMES and scheme not in _REDIS:
        raise _error(f"{scheme!r} is no scheme of a backend: {hint_for(scheme, [*_SCHEMES, *_REDIS], 'there are')}")
    if "#" in rest:  # what follows it would be passed over
        raise _error(f"the {scheme}:// URL has a #: write %23")
    if _BAD_ESCAPE.search(rest):
        raise _error(f"the {scheme}:// URL has a % that begins no escape: write %25")
    if scheme in _REDIS:
        from .redis import RedisBackend

        return RedisBackend(url, timeout=timeout)
    where, _, query = rest.partition("?")
    options = _options_in(scheme, query)
    try:
        return _SCHEMES[scheme](where, timeout, options)
    except ValueError as error:
        if isinstance(error, SettingsError):
            raise
        raise _error(f"the {scheme}:// URL: {without_name(error)}") from error


def _memory(where: str, timeout: float, options: dict[str, Any]) -> Backend:
    _refuse_place("memory", where)
    return MemoryBackend(**options)


def _null(where: str, timeout: float, options: dict[str, Any]) -> Backend:
    _refuse_place("null", where)
    return NullBackend()


def _refuse_place(scheme: str, where: str) -> None:
    if where.strip("/"):
        raise _error(f"a {scheme}:// URL has nothing after its slashes but parameters")


def _sqlite(where: str, timeout: float, options: dict[str, Any]) -> Backend:
    host, _, path = where.partition("/")
    path = unquote(path, errors="strict")
    if host or not path:
        problem = "names a host" if host else "has no path"
        raise _error(f"the sqlite:// URL {problem}: write sqlite:///relative/path or sqlite:////absolute/path")
    from .sqlite import SQLiteBackend

    return SQLiteBackend(path, timeout=timeout, **options)


def _django(where: str, timeout: float, options: dict[str, Any]) -> Backend:
    alias = unquote(where.strip("/"), errors="strict")
    if not alias:
        raise _error("the django:// URL names no cache: write django://default")
    return DjangoBackend(alias)


_SCHEMES: Final[Mapping[str, Callable[[str, float, dict[str, Any]], Backend]]] = {
    "memory": _memory,
    "null": _null,
    "dummy": _null,
    "sqlite": _sqlite,
    "django": _django,
}
_REDIS: Final = (
    "redis",
    "rediss",
    "unix",
    "redis+unix",
    "redis+cluster",
    "rediss+cluster",
    "sentinel",
    "valkey",
    "valkeys",
    "valkey+unix",
    "valkey+cluster",
    "valkeys+cluster",
)


def _options_in(scheme: str, query: str) -> dict[str, Any]:
    """Return the arguments that the parameters of a URL are."""
    options: dict[str, Any] = {}
    known = _PARAMETERS.get(scheme, {})
    for each in query.split("&") if query else ():
        name, _, value = each.partition("=")
        if name not in known:
            hint = hint_for(name, known, "it takes") if known else "it takes none"
            raise _error(f"a {scheme}:// URL has no parameter {name!r}: {hint}")
        if not re.fullmatch("[0-9]{1,18}", value):
            raise _error(f"the parameter {name} of the {scheme}:// URL must be a whole number above 0, not {value!r}")
        if known[name] in options:
            raise _error(f"the {scheme}:// URL has the parameter {name} twice")
        options[known[name]] = int(value)
    return options


# ---- the environment


def _from_environment(environ: Mapping[str, str], timeout: float) -> Backend:
    url = environ.get("REDIS_URL", "")
    parts = {name: environ[name] for name in _PARTS if environ.get(name)}
    given = " and ".join(parts)
    if url and parts:
        raise _error(f"the environment has REDIS_URL and {given}: keep the URL or its parts")
    if not url and "REDIS_HOST" not in parts:
        has = f"has {given} without REDIS_HOST" if parts else "has neither REDIS_URL nor REDIS_HOST"
        raise _error(f"no URL is given, and the environment {has}: pass a URL, or set REDIS_URL or REDIS_HOST")
    made = url or _url_of(parts)
    try:
        return backend_from_url(made, timeout=timeout)
    except SettingsError as error:
        text = str(error).removeprefix("backend_from_url: ")
        raise _error(f"{'REDIS_URL' if url else given} of the environment: {text}") from error


def _url_of(parts: Mapping[str, str]) -> str:
    port, database = parts.get("REDIS_PORT", "6379"), parts.get("REDIS_DB", "0")
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536):
        raise _error(f"REDIS_PORT must be a number from 1 to 65535, not {port!r}")
    if not re.fullmatch("[0-9]{1,9}", database):
        raise _error(f"REDIS_DB must be the number of a database, not {database!r}")
    password = parts.get("REDIS_PASSWORD")
    user = "" if password is None else f":{quote(password, safe='')}@"
    return f"redis://{user}{_host_of(parts['REDIS_HOST'])}:{port}/{database}"


def _host_of(host: str) -> str:
    if ":" in host:
        with suppress(ValueError):
            return f"[{IPv6Address(host)}]"
    elif re.fullmatch("[A-Za-z0-9._-]+", host):
        return host
    raise _error("REDIS_HOST must be the name or the address of a host, without a port: that is REDIS_PORT")


# ---- the default

_default: Any = None


def set_default_backend(backend: Backend | AsyncBackend | None) -> None:
    """Register the backend of every SharedCache that is made from now on without a store; None: no longer.

    Raises:
        TypeError: if it is no backend.
    """
    global _default
    if not (backend is None or isinstance(backend, Backend | AsyncBackend)):
        raise TypeError(f"set_default_backend: backend must be a backend or None, not {type(backend).__name__}")
    _default = backend


def registered_backend() -> Any:
    """Return the backend that was registered, or None."""
    return _default


def default_backend(*, timeout: float = 0.25) -> Any:
    """Return the backend that was registered, else make the one that the environment names.

    `timeout`, and what is raised: as in `backend_from_url`.
    """
    return backend_from_url(timeout=timeout) if _default is None else _default


def _error(text: str) -> SettingsError:
    return SettingsError(f"backend_from_url: {text}")
