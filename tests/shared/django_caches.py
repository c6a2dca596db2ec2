"""Django's caches for tests: configured once for the process, each test with an empty one of a name of its own."""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest

__all__ = ["add_cache", "close_all", "configure", "create_table", "pool_class"]

_numbers = itertools.count()


@functools.cache
def configure() -> tempfile.TemporaryDirectory[str]:
    """Configure Django; the folder that is returned, which has its database, is there until the process ends."""
    pytest.importorskip("django")
    import django
    from django.conf import settings
    from django.utils.functional import empty

    folder = tempfile.TemporaryDirectory(prefix="areole-django-")
    settings._wrapped = empty  # a benchmark that was tried in this process may have configured it
    settings.configure(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(folder.name) / "db.sqlite3"),
                "OPTIONS": {"timeout": 20, "init_command": "PRAGMA synchronous=OFF"},
            }
        },
        LOGGING_CONFIG=None,
        USE_TZ=True,
    )
    django.setup()
    return folder


def add_cache(backend: str, location: str, **options: Any) -> str:
    """Add an empty cache to CACHES; return its name."""
    configure()
    from django.core.cache import caches

    name = f"cache{next(_numbers)}"
    caches.settings[name] = {
        "BACKEND": f"django.core.cache.backends.{backend}",
        "LOCATION": location or name,
        "KEY_PREFIX": "prefix",
        **options,
    }
    return name


def create_table() -> str:
    configure()
    from django.core.management import call_command

    name = f"table{next(_numbers)}"
    call_command("createcachetable", name, verbosity=0)
    return name


_pools: list[Any] = []


@functools.cache
def pool_class() -> Any:
    """Return a class of redis-py's pools that `close_all` closes: Django leaves them to be collected."""
    from redis import ConnectionPool

    class Pool(ConnectionPool):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            _pools.append(self)

    return Pool


def close_all() -> None:
    from django.db import connections

    connections.close_all()
    while _pools:
        _pools.pop().disconnect()
