"""DjangoBackend: values in one of Django's caches, which have no compare-and-set, no ttl to be asked, and no walk.

A key K has up to three records:

    s:K   the *stamp*: 16 random bytes, which are never written again once they are gone
    v:K   a frame: the stamp under which the value was written, when it ends, and the value
    t:K   a frame too: the stamp under which a token was taken, when its lease ends, and the token

A frame counts only if its stamp is the one that stands. So one step makes a value and its token void, the removal of
the stamp; and a write that comes late does no harm:

    1. A misses, takes stamp x, reads the source      3. A finds that x stands; B's removal of x comes here
    2. B changes the source, and removes x            4. A stores its old value under x: no reader takes it

A stamp is written by `add` where there is none, or by a `set`, which has removed the one before. It is prolonged by
`touch`, which cannot bring it back. Whichever of the records are lost, or overwritten by a call that lost a race, the
outcome is a miss.

A `set` removes the stamp, then writes the frame, and the new stamp last: a fill that takes its token in between takes
it under another stamp, and cannot replace the value that was set. (The removal is there since Django's database cache
does not say when it has failed to write.)
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from .._core.sentinels import CACHE_MISS, CacheMissSentinel
from .._platform import fork
from ..errors import BackendError, BackendTimeout, CacheClosedError, SettingsError
from .base import BaseBackend, is_unseen
from .django_records import STAMP_BYTES, content_of, frame, name_of, timeout_of, value_in

__all__ = ["DjangoBackend"]

CLAIM_SECONDS: Final = 10.0


class DjangoBackend(BaseBackend):
    """Keeps bytes in one of Django's caches.

    Args:
        cache: a name in CACHES, or a cache of Django's. By name each thread gets a cache of its own, as Django has it.

    What is weaker than in the other backends, since Django's caches cannot compare and set:
        - Only the removal of a key is one step. Of calls for one key at the same time one may be lost, also a `set`
          that has returned: the next lookup misses. No lookup gets a value older than a change that has returned.
        - `only_if_absent` looks, then stores. Of several such calls one stores, if the cache's `add` is one step (that
          of Django's file-based cache is not); a fill that ends between may be replaced.
        - `delete` and `delete_many` look, then remove: two at the same time may both count a key.
        - `set` cannot always tell that a cache has dropped a value, such as one too large for memcached.
        - `clear` is refused: a cache cannot be asked for its keys. SharedCache needs it with `envelope=False` alone.
        - What a transaction of the cache's database has changed, others see once it is committed.
        - The promises are void if a cache reads from replicas (Django's RedisCache with several servers is refused),
          hides its errors, or goes back to a server whose removals it has missed, as some clients of memcached do.

    A hit is one `get_many`, a miss about seven calls, a `set` three. A stamp takes about 80 bytes beside its value, and
    lives as long. Ttls go by this process's wall clock; where that is wrong, by the engine's, to three seconds.

    Raises:
        ImportError: if Django is not installed.
        SettingsError: at the first call, if Django's settings have no such cache.
        BackendError: whatever the cache raises, chained. Its time limits are those in CACHES.
    """

    is_shared = True
    clears_cheaply = False

    def __init__(self, cache: Any = "default") -> None:
        _check_installed()
        alias: Any = (
            cache if isinstance(cache, str) else getattr(cache, "_alias", None)
        )  # django.core.cache.cache has one
        if alias is None and not (hasattr(cache, "get_many") and hasattr(cache, "touch")):
            raise TypeError(
                f"DjangoBackend: cache must be a name in CACHES or a cache of Django's, not {type(cache).__name__}"
            )
        self._alias = alias
        self._given = None if alias is not None else _checked(cache)
        self._of_thread = threading.local()
        self._is_closed = False

    # ---- values

    def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        names = [name_of(key) for key in keys]
        found = self._find("vs", names)
        return [value_in(found, name)[0] for name in names]

    def get(self, key: str, /) -> bytes | None:
        return self.get_many([key])[0]

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        name = name_of(key)
        value, ends = value_in(self._find("vs", [name]), name)
        return CACHE_MISS if value is None else None if ends == math.inf else max(0.0, ends - time.time())

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        name = name_of(key)
        if not only_if_absent:
            self._ask("delete", f"s:{name}")
        elif not self._may_add(name):
            return False
        return not self._write({name: value}, ttl)

    def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        by_name = {name_of(key): value for key, value in items.items()}
        self._ask("delete_many", [f"s:{name}" for name in by_name])
        self._write(by_name, ttl)

    def _write(self, items: Mapping[str, bytes], ttl: float | None) -> Any:
        """Store values by their names, then their stamps; return the records that the cache says it has not stored."""
        stamps = {name: os.urandom(STAMP_BYTES) for name in items}
        frames = {f"v:{name}": frame(stamps[name], ttl, value) for name, value in items.items()}
        lost = self._ask("set_many", frames, timeout_of(ttl))
        return self._ask("set_many", {f"s:{name}": stamp for name, stamp in stamps.items()}, timeout_of(ttl)) or lost

    def _may_add(self, name: str) -> bool:
        """Say whether there is no value, and this call is the one that may replace the stamp that stands.

        The stamp is not removed first, as by `set`: another call would find none, and claim its own.

        1. A and B find no value     2. A claims the stamp, and stores     3. B claims A's new stamp, and looks again
        """
        found = self._find("vs", [name])
        if value_in(found, name)[0] is not None:
            return False
        stamp = found.get(f"s:{name}") or self._make_stamp(name, CLAIM_SECONDS)
        if not self._ask("add", f"c:{stamp.hex()}", b"", timeout_of(CLAIM_SECONDS)):
            return False
        return value_in(self._find("vs", [name]), name)[0] is None

    def expire(self, key: str, ttl: float | None, /) -> bool:
        name = name_of(key)
        found = self._find("vs", [name])
        value, _ = value_in(found, name)
        if value is None:
            return False
        if ttl == 0:
            self._ask("delete", f"v:{name}")
            return True
        self._ask("touch", f"s:{name}", timeout_of(ttl))
        self._ask("set", f"v:{name}", frame(found[f"s:{name}"], ttl, value), timeout_of(ttl))
        return True

    def kill(self, key: str, /) -> bytes | None:
        return self.kill_many([key])[0]

    def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        names = [name_of(key) for key in keys]
        found = self._find("vs", names)
        self._ask("delete_many", [f"{kind}:{name}" for kind in "svt" for name in names])
        return [value_in(found, name)[0] for name in names]

    def clear(self, prefix: str, /) -> NoReturn:
        self._check_open()
        raise NotImplementedError(
            "DjangoBackend.clear: Django's caches cannot be asked for their keys. SharedCache.clear does without, "
            "unless it has envelope=False or is called with reclaim=True; the clear of Django's cache empties all of it"
        )

    # ---- the fence

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        name = name_of(key)
        found = self._find("vst", [name])
        value, ends = value_in(found, name)
        if is_unseen(value, seen):
            return value, None
        stamp: Any = found.get(f"s:{name}")
        if stamp is None:
            stamp = self._make_stamp(name, lease)
        else:
            self._prolong(name, ends, lease)
        return None, self._join(name, stamp, token, lease, found.get(f"t:{name}"))

    def _make_stamp(self, name: str, lasts: float) -> bytes:
        stamp = os.urandom(STAMP_BYTES)
        if self._ask("add", f"s:{name}", stamp, timeout_of(lasts)):
            return stamp
        return self._ask("get", f"s:{name}") or stamp

    def _prolong(self, name: str, ends: float, lease: float) -> None:
        """Let the stamp that stands live as long as its value and a lease."""
        self._ask("touch", f"s:{name}", timeout_of(None if ends == math.inf else max(ends - time.time(), lease)))

    def _join(self, name: str, stamp: bytes, token: bytes, lease: float, held: Any) -> bytes:
        """Return the token that stands under `stamp`, which is `token` if none does."""
        mine = frame(stamp, lease, token)
        if held is None:
            if self._ask("add", f"t:{name}", mine, timeout_of(lease)):
                return token
            held = self._ask("get", f"t:{name}")
        standing, _ = content_of(held, stamp)
        if standing is not None:
            return standing
        self._ask("set", f"t:{name}", mine, timeout_of(lease))
        return token

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        name = name_of(key)
        found = self._find("vst", [name])
        stamp: Any = found.get(f"s:{name}")
        if content_of(found.get(f"t:{name}"), stamp)[0] != token:
            return False
        self._prolong(name, value_in(found, name)[1], lease)
        self._ask("set", f"t:{name}", frame(stamp, lease, token), timeout_of(lease))
        return True

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        name = name_of(key)
        found = self._find("st", [name])
        stamp: Any = found.get(f"s:{name}")
        if content_of(found.get(f"t:{name}"), stamp)[0] != token:
            return False
        if value is not None:
            self._ask("set", f"v:{name}", frame(stamp, ttl, value), timeout_of(ttl))
            self._ask("touch", f"s:{name}", timeout_of(ttl))
        self._ask("delete", f"t:{name}")
        return True

    # ---- Django's cache

    def _find(self, kinds: str, names: Sequence[str]) -> dict[str, Any]:
        if not names:
            self._check_open()
            return {}  # Django's RedisCache refuses to look for nothing
        found: dict[str, Any] = self._ask("get_many", [f"{kind}:{name}" for name in names for kind in kinds])
        return found

    def _ask(self, method: str, *args: Any) -> Any:
        self._check_open()
        cache = self._cache()
        try:
            return getattr(cache, method)(*args)
        except Exception as error:
            is_timeout = any(kind.__name__ == "TimeoutError" for kind in type(error).__mro__)  # redis-py has its own
            failure = BackendTimeout if is_timeout else BackendError
            raise failure(f"DjangoBackend: {method} of {self._shown()} raised {type(error).__name__}") from error

    def _cache(self) -> Any:
        if self._given is not None:
            return self._given
        mine = self._of_thread
        if getattr(mine, "epoch", 0) != fork.epoch:
            mine.cache, mine.epoch = _connect(self._alias), fork.epoch
        return mine.cache

    def _shown(self) -> str:
        return f"the cache {self._alias!r}" if self._given is None else type(self._given).__name__

    def release_thread(self) -> None:
        """Close this thread's connections to databases as Django does after a request; `InExecutor` calls this."""
        if self._given is not None or hasattr(self._of_thread, "cache"):
            from django.db import close_old_connections

            close_old_connections()

    def close(self) -> None:
        if not self._is_closed and hasattr(self._of_thread, "cache"):
            self._of_thread.cache.close()
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise CacheClosedError("DjangoBackend is closed: make another one")


def _check_installed() -> None:
    try:
        import django  # noqa: F401
    except ImportError as error:
        raise ImportError("DjangoBackend needs Django: pip install 'areole[django]'", name="django") from error


def _connect(alias: str) -> Any:
    """Make the cache of this name: `caches[alias]` would give one for each call of an executor with another context."""
    from django.core.cache import caches
    from django.core.exceptions import ImproperlyConfigured

    try:
        names = list(caches)
    except (ImproperlyConfigured, ImportError) as error:
        hint = "set DJANGO_SETTINGS_MODULE, or call django.conf.settings.configure(), before the first call"
        raise SettingsError(f"DjangoBackend: Django's settings cannot be used: {hint}") from error
    if alias not in names:
        raise SettingsError(f"DjangoBackend: CACHES has no {alias!r}; it has {', '.join(map(repr, names))}")
    try:
        return _checked(caches.create_connection(alias))
    except ImproperlyConfigured as error:
        raise SettingsError(f"DjangoBackend: CACHES[{alias!r}] cannot be used: {error}") from error


def _checked(cache: Any) -> Any:
    """Refuse a cache that reads from replicas, which may not have heard of a removal."""
    if type(cache).__module__ == "django.core.cache.backends.redis" and len(cache._servers) > 1:
        raise SettingsError(
            "DjangoBackend: RedisCache with several servers reads from replicas, which may be behind: name one server"
        )
    return cache
