"""Backends by URL, and those of the environment: what is wrong is refused by name, and no password is shown."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import areole.backends
from areole import Storage
from areole.backends import (
    AsyncBackend,
    Backend,
    DjangoBackend,
    MemoryBackend,
    NullBackend,
    SQLiteBackend,
    backend_from_url,
    default_backend,
    set_default_backend,
)
from areole.errors import SettingsError

SECRET = "s3cr3t/&pass"
MANY_SECRETS = ("s3cr3t", "s3cr3t%2F%26pass")


class Made(tuple[Any, ...]):
    """What a stand-in for an engine was called with."""

    __slots__ = ()


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put stand-ins in place of the engines that need a file or a server."""
    for name, kind in (("redis", "RedisBackend"), ("sqlite", "SQLiteBackend")):
        made = SimpleNamespace(**{kind: lambda *args, kind=kind, **options: Made((kind, *args, options))})
        monkeypatch.setitem(sys.modules, f"areole.backends.{name}", made)


@pytest.fixture(autouse=True)
def no_default() -> Iterator[None]:
    yield
    set_default_backend(None)


# ---- URLs


def test_memory() -> None:
    one, two = backend_from_url("memory://"), backend_from_url("MEMORY://")
    assert isinstance(one, MemoryBackend)
    one.set("k", b"v")
    assert two.get("k") is None, "each is one of its own"


def test_memory_has_limits() -> None:
    backend = backend_from_url("memory://?max-items=1&max-bytes=5000")
    backend.set("a", b"1")
    backend.set("b", b"2")
    assert backend.get_many(["a", "b"]) == [None, b"2"]
    assert backend.set("c", b"x" * 4000) is False


@pytest.mark.parametrize("url", ["null://", "dummy://"])
def test_null(url: str) -> None:
    assert isinstance(backend_from_url(url), NullBackend)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///c.db", "c.db"),
        ("sqlite:///var/c.db", "var/c.db"),
        ("sqlite:////var/c.db", "/var/c.db"),
        ("sqlite:///a%20b%25%3F%23.db", "a b%?#.db"),
        ("sqlite:////v%C3%A4r/c.db", "/vär/c.db"),
        ("SQLite:///C.db", "C.db"),
    ],
)
def test_sqlite_paths_are_relative_after_three_slashes_and_absolute_after_four(
    stand_ins: None, url: str, path: str
) -> None:
    assert backend_from_url(url, timeout=3) == ("SQLiteBackend", path, {"timeout": 3})
    made = backend_from_url(f"{url}?max-bytes=100000")
    assert made == ("SQLiteBackend", path, {"timeout": 0.25, "max_bytes": 100000})


def test_sqlite_opens_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url, name in (("sqlite:///re%20l.db", "re l.db"), (f"sqlite:///{tmp_path}/abs.db?max-bytes=2000000", "abs.db")):
        with backend_from_url(url) as backend:
            assert isinstance(backend, SQLiteBackend)
            backend.set("k", b"v")
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("sqlite:///:memory:", "in memory there is MemoryBackend"),
        ("sqlite:///file:c.db", "must be a plain path, not a URI"),
        ("sqlite:///a%00b.db", "must name a file"),
        ("sqlite:///c.db?max-bytes=1", "max_bytes must be an int of at least"),
    ],
)
def test_what_its_backend_refuses_is_a_settings_error(url: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match) as caught:
        backend_from_url(url)
    assert str(caught.value).startswith("backend_from_url: the sqlite:// URL: ")


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://user:pass@host:1/2?a=b%23c",
        "rediss://host",
        "unix:///run/r.sock",
        "redis+unix:///run/r.sock",
        "redis+cluster://host",
        "sentinel://host/service/0",
        "valkey://host",
        "Redis://host",
    ],
)
def test_urls_of_redis_are_read_by_its_backend(stand_ins: None, url: str) -> None:
    assert backend_from_url(url, timeout=1.5) == ("RedisBackend", url, {"timeout": 1.5})


def test_django() -> None:
    backend = backend_from_url("django://some%20cache")
    assert isinstance(backend, DjangoBackend)
    assert backend._alias == "some cache"


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("", "the URL has no scheme"),
        ("cache", "the URL has no scheme"),
        ("redis:/host", "the URL has no scheme"),
        (f"user:{SECRET}@host", "the URL has no scheme"),
        (f"{SECRET}://host", "the URL has no scheme"),
        (f"redsi://:{SECRET}@host", "'redsi' is no scheme of a backend: did you mean 'redis'?"),
        ("redis://:s3cr3t#x@host", "the redis:// URL has a #: write %23"),
        ("rediss://:s3cr3t%x@host", "the rediss:// URL has a % that begins no escape: write %25"),
        ("memroy://", "did you mean 'memory'?"),
        ("http://host", "'http' is no scheme of a backend: there are memory, null, dummy, sqlite, django, redis,"),
        ("memory://host", "a memory:// URL has nothing after its slashes"),
        ("memory://?max_items=3", "a memory:// URL has no parameter 'max_items': did you mean 'max-items'?"),
        ("memory://?ttl=3", "a memory:// URL has no parameter 'ttl': it takes max-bytes, max-items"),
        ("memory://?max-items=x", "max-items of the memory:// URL must be a whole number above 0, not 'x'"),
        ("memory://?max-items=", "max-items of the memory:// URL must be a whole number above 0, not ''"),
        ("memory://?max-items=-1", "must be a whole number above 0, not '-1'"),
        ("memory://?max-items=0", "the memory:// URL: max_items must be an int of at least 1, not 0"),
        ("memory://?max-bytes=10", "the memory:// URL: max_bytes must be an int of at least 4096, not 10"),
        ("memory://?max-items=3&max-items=3", "has the parameter max-items twice"),
        ("null://host", "a null:// URL has nothing after its slashes"),
        ("dummy://?a=b", "a dummy:// URL has no parameter 'a': it takes none"),
        ("sqlite://", "the sqlite:// URL has no path: write sqlite:///relative/path or sqlite:////absolute/path"),
        ("sqlite:///", "the sqlite:// URL has no path"),
        ("sqlite:///?max-bytes=100000", "the sqlite:// URL has no path"),
        ("sqlite://var/c.db", "the sqlite:// URL names a host: write sqlite:///relative/path"),
        ("sqlite://c.db", "the sqlite:// URL names a host"),
        ("sqlite:///a%.db", "has a % that begins no escape: write %25"),
        ("sqlite:///a%2", "has a % that begins no escape"),
        ("sqlite:///a#b.db", "has a #: write %23"),
        ("sqlite:///%ff.db", "the sqlite:// URL: 'utf-8' codec can't decode"),
        ("sqlite:///c.db?maxbytes=3", "no parameter 'maxbytes': did you mean 'max-bytes'?"),
        ("sqlite:///c.db?mode=ro", "a sqlite:// URL has no parameter 'mode': it takes max-bytes"),
        ("django://", "the django:// URL names no cache: write django://default"),
        ("django:///", "the django:// URL names no cache"),
        ("django://default?timeout=3", "a django:// URL has no parameter 'timeout': it takes none"),
    ],
)
def test_what_is_wrong_is_refused_by_name(stand_ins: None, url: str, match: str) -> None:
    with pytest.raises(SettingsError) as caught:
        backend_from_url(url)
    assert str(caught.value).startswith("backend_from_url: ")
    assert match in str(caught.value)
    assert not any(secret in str(caught.value) for secret in MANY_SECRETS)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("redis://:s3cr3t@host:port/0", "port"),
        ("redis://:s3cr3t@host:99999/0", "port"),
        ("redis://:s3cr3t@host/x", "the number of a database"),
        ("redis://:s3cr3t@host?s3cr3t=1", "parameter"),
        ("redis+cluster://:s3cr3t@host/3", "database 0"),
        ("sentinel://:s3cr3t@host", "no service"),
        ("unix://", "no path"),
    ],
)
def test_what_is_wrong_in_a_url_of_redis_is_refused_by_its_backend(url: str, match: str) -> None:
    pytest.importorskip("redis")
    with pytest.raises(SettingsError, match=match) as caught:
        backend_from_url(url)
    assert "s3cr3t@" not in str(caught.value)


@pytest.mark.parametrize("url", [7, b"memory://", object])
def test_what_is_no_text_is_a_type_error(url: Any) -> None:
    with pytest.raises(TypeError, match="url must be a str or None, not"):
        backend_from_url(url)


# ---- the environment


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"REDIS_URL": "redis://a:1/2"}, "redis://a:1/2"),
        ({"REDIS_URL": "redis://a", "REDIS_HOST": "", "REDIS_PASSWORD": ""}, "redis://a"),
        ({"REDIS_HOST": "cache"}, "redis://cache:6379/0"),
        ({"REDIS_HOST": "cache", "REDIS_URL": ""}, "redis://cache:6379/0"),
        ({"REDIS_HOST": "10.0.0.1", "REDIS_PORT": "6380", "REDIS_DB": "3"}, "redis://10.0.0.1:6380/3"),
        ({"REDIS_HOST": "::1"}, "redis://[::1]:6379/0"),
        ({"REDIS_HOST": "a_b.c-d", "REDIS_PASSWORD": SECRET}, "redis://:s3cr3t%2F%26pass@a_b.c-d:6379/0"),
        ({"REDIS_HOST": "a", "REDIS_PASSWORD": "p@:#?% é"}, "redis://:p%40%3A%23%3F%25%20%C3%A9@a:6379/0"),
    ],
)
def test_the_environment_names_a_server(stand_ins: None, environ: dict[str, str], url: str) -> None:
    assert backend_from_url(timeout=2, environ=environ) == ("RedisBackend", url, {"timeout": 2})


@pytest.mark.parametrize(
    ("environ", "match"),
    [
        ({}, "no URL is given, and the environment has neither REDIS_URL nor REDIS_HOST: pass a URL, or set REDIS_URL"),
        ({"REDIS_URL": ""}, "has neither REDIS_URL nor REDIS_HOST"),
        ({"REDIS_PORT": "1"}, "has REDIS_PORT without REDIS_HOST"),
        ({"REDIS_DB": "1", "REDIS_PASSWORD": SECRET}, "has REDIS_DB and REDIS_PASSWORD without REDIS_HOST"),
        ({"REDIS_URL": "redis://a", "REDIS_HOST": "a"}, "has REDIS_URL and REDIS_HOST: keep the URL or its parts"),
        ({"REDIS_URL": "redis://a", "REDIS_PASSWORD": SECRET}, "has REDIS_URL and REDIS_PASSWORD: keep"),
        ({"REDIS_HOST": "a:6379"}, "REDIS_HOST must be the name or the address of a host, without a port"),
        ({"REDIS_HOST": f"x:{SECRET}@a"}, "REDIS_HOST must be the name or the address of a host"),
        ({"REDIS_HOST": "redis://a"}, "REDIS_HOST must be the name or the address of a host"),
        ({"REDIS_HOST": "a b"}, "REDIS_HOST must be"),
        ({"REDIS_HOST": "a", "REDIS_PORT": "0"}, "REDIS_PORT must be a number from 1 to 65535, not '0'"),
        ({"REDIS_HOST": "a", "REDIS_PORT": "65536"}, "REDIS_PORT must be a number from 1 to 65535"),
        ({"REDIS_HOST": "a", "REDIS_PORT": "tcp://10.0.0.1:6379"}, "REDIS_PORT must be a number from 1 to 65535"),
        ({"REDIS_HOST": "a", "REDIS_DB": "-1"}, "REDIS_DB must be the number of a database, not '-1'"),
        ({"REDIS_URL": f"redsi://:{SECRET}@a"}, "backend_from_url: REDIS_URL of the environment: 'redsi' is no scheme"),
        ({"REDIS_URL": SECRET}, "REDIS_URL of the environment: the URL has no scheme"),
    ],
)
def test_an_environment_that_names_none_or_two_is_refused(stand_ins: None, environ: dict[str, str], match: str) -> None:
    with pytest.raises(SettingsError) as caught:
        backend_from_url(environ=environ)
    assert match in str(caught.value)
    assert not any(secret in str(caught.value) for secret in MANY_SECRETS)


def test_the_environment_is_that_of_the_process(stand_ins: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDIS_URL", "redis://there")
    assert backend_from_url() == ("RedisBackend", "redis://there", {"timeout": 0.25})
    assert default_backend(timeout=3) == ("RedisBackend", "redis://there", {"timeout": 3})


# ---- the default


def test_the_default_is_the_one_that_was_registered_else_that_of_the_environment(
    stand_ins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://there")
    backend = MemoryBackend()
    set_default_backend(backend)
    assert default_backend() is backend
    assert backend_from_url()[0] == "RedisBackend", "a URL is what it says"  # type: ignore[index]
    set_default_backend(None)
    assert default_backend()[0] == "RedisBackend"


def test_a_default_may_be_asynchronous() -> None:
    aio = MemoryBackend().aio
    set_default_backend(aio)
    assert default_backend() is aio
    assert isinstance(aio, AsyncBackend)


@pytest.mark.parametrize("wrong", ["memory://", Storage(), 7])
def test_what_is_no_backend_cannot_be_the_default(wrong: Any) -> None:
    with pytest.raises(TypeError, match="set_default_backend: backend must be a backend or None, not"):
        set_default_backend(wrong)


def test_a_shared_cache_without_a_store_uses_the_default() -> None:
    backend = MemoryBackend()
    set_default_backend(backend)
    cache: Any = areole.SharedCache(namespace="test-urls")
    cache["k"] = 1

    async def read() -> Any:
        return await cache.aio.get("k")

    assert asyncio.run(read()) == 1
    assert len(backend._storage) == 2, "the value, and the version of its namespace"


# ---- the package


def test_all_names_are_there_and_sorted() -> None:
    names = areole.backends.__all__
    assert sorted(names, key=lambda name: (not name[0].isupper(), name)) == names
    assert all(hasattr(areole.backends, name) for name in names)
    assert set(names) <= set(dir(areole.backends))
    assert issubclass(NullBackend, areole.backends.BaseBackend)
    assert isinstance(MemoryBackend(), Backend)
    with pytest.raises(AttributeError, match="has no attribute 'RedsiBackend'"):
        areole.backends.RedsiBackend  # noqa: B018
