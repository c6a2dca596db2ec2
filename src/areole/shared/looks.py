"""Looks: what a shared cache does without changing a key: it reads values, of the versions that stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .._core.entry import Empty
from .._core.sentinels import CACHE_MISS
from .._core.sources import note_source, note_sources
from ..errors import BackendError, SerializationError
from .bypass import passed_by
from .envelope import EXTRAS, NO_EXTRAS, NO_TAGS, TAGS, Tags
from .modes import LARGE
from .steps import Steps, run
from .versions import Versions

__all__ = ["Looks"]


class Looks(Versions):
    """Lookups, over a state, for one mode, with one serializer; see S2 and S3 in `operations`."""

    local: Any = None
    """The LocalTier in front of the store."""

    def tiers(self) -> tuple[Any, bool]:
        """Return the local tier that this lookup asks, or None, and whether it asks the store."""
        passed = passed_by(self.state.keys)
        return (None if "local" in passed else self.local), "shared" not in passed

    # ---- look

    def look(self, name: str) -> Steps[tuple[Any, bytes | None, bytes | None]]:
        """Return the value of `name` or Empty, what is stored, and the namespace's version."""
        state = self.state
        if state.outbox.queued:
            yield from self.settle(name)
        if state.has_versions:
            raw, version = yield self.call(self.backend.get_many, (name, state.keys.version_key))
        else:
            raw, version = (yield self.call(self.backend.get, name)), None
        if raw is None:
            return Empty, None, version
        value = self.open_plain(raw, name, version)
        if value is Empty:
            value = yield from self._look_closer(raw, name, version)
        return value, raw, version

    def _look_closer(self, raw: bytes, name: str, version: bytes | None) -> Steps[Any]:
        """Return the value that is stored, if its tags have not changed, and it is fresh; else Empty."""
        value = yield from self.open(raw, name, version)
        if raw[EXTRAS] != NO_EXTRAS and version is not None and value is not Empty:
            if raw[TAGS] != NO_TAGS and (yield from self.have_changed(self.envelope.tags_of(raw))):
                value = Empty
            elif self.envelope.stale_of(raw):
                value = yield from self.fresh(name, raw, value)
        return value

    def open_plain(self, raw: bytes, name: str, version: bytes | None) -> Any:
        """Return the value, if that is the whole of it, and may be decoded here; else Empty: `open` is to see it."""
        if self.mode.offload is not None and len(raw) > LARGE:
            return Empty
        try:
            return self.envelope.open_plain(raw, name, version)
        except Exception:  # of the engine that decodes
            return Empty

    def fresh(self, name: str, raw: bytes, value: Any) -> Steps[Any]:
        """Return `value`, which has a stale time; Empty if that has begun. Of what is replaced meanwhile, either."""
        left = yield self.call(self.backend.ttl_of, name)
        return value if left is None or (left is not CACHE_MISS and left > self.envelope.stale_of(raw)) else Empty

    def open(self, raw: bytes, name: str, version: bytes | None) -> Steps[Any]:
        """Return the value that is stored, or Empty; a large one is decoded off an event loop, if it is to be."""
        if self.mode.offload is not None and len(raw) > LARGE:
            return (yield self.mode.offload(self.open_here, raw, name, version))
        return self.open_here(raw, name, version)

    def open_here(self, raw: bytes, name: str, version: bytes | None) -> Any:
        """Return the value that is stored, or Empty; count what is none."""
        return self._opened(self.envelope.open, raw, name, version)

    def open_again(self, raw: bytes) -> Any:
        """Do so for what this process has kept."""
        return self._opened(self.envelope.open_again, raw)

    def _opened(self, open_one: Callable[..., Any], *args: Any) -> Any:
        try:
            return open_one(*args)
        except (SerializationError, ValueError, TypeError, EOFError, LookupError):
            self.state.counters.rejected.increment_and_get()
            return Empty

    def get(self, key: Any, default: Any) -> Steps[Any]:
        name, local, is_asked = self.state.keys.name(key), *self.tiers()
        if local is not None and (value := local.find_kept(self, name)) is not Empty:
            return value
        value = Empty
        try:
            if is_asked:
                value = (yield from (self.look(name) if local is None else local.look(self, [name])))[0]
        except BackendError:
            if self.state.raises:
                raise
        if value is not Empty and self.state.item_limit is not None:
            yield from self.evict(self.state.item_limit.note(name))
        return self._counted(key, value, default)

    def get_now(self, key: Any, default: Any) -> Any:
        """Do what `get` does, for threads; without generators, where nothing is in front of the store."""
        state = self.state
        if self.local is not None or state.item_limit is not None or state.outbox.queued or passed_by(state.keys):
            return run(self.get(key, default))
        name, version, value = state.keys.name(key), None, Empty
        try:
            if state.has_versions:
                raw, version = self.call(self.backend.get_many, (name, state.keys.version_key))
            else:
                raw = self.call(self.backend.get, name)
            if raw is not None and (value := self.open_plain(raw, name, version)) is Empty:
                value = run(self._look_closer(raw, name, version))
        except BackendError:
            if state.raises:
                raise
        return self._counted(key, value, default)

    def _counted(self, key: Any, value: Any, default: Any) -> Any:
        if value is Empty:
            self.state.counters.misses.increment_and_get()
            return default
        self.state.counters.hits.increment_and_get()
        note_source(self.state.name, key, "shared")
        return value

    def get_many(self, keys: list[Any]) -> Steps[dict[Any, Any]]:
        """Return those that have a value, in the order asked."""
        names, (local, is_asked) = self.state.keys.names(keys), self.tiers()
        if local is None:
            found = values = yield from self._find_many(names, None, is_asked)
        else:
            values = [local.find_kept(self, name) for name in names]
            missing = [at for at, value in enumerate(values) if value is Empty]
            of_missing = (yield from self._find_many([names[at] for at in missing], local, is_asked)) if missing else []
            found = [Empty] * len(keys)
            for at, value in zip(missing, of_missing, strict=True):
                found[at] = values[at] = value
        seen = (key for key, value in zip(keys, found, strict=True) if value is not Empty)
        note_sources(self.state.name, seen, "shared")
        return {key: value for key, value in zip(keys, values, strict=True) if value is not Empty}

    def _find_many(self, names: list[str], local: Any, is_asked: bool) -> Steps[list[Any]]:
        """Return the value of each in the store, or Empty."""
        state, values = self.state, [Empty] * len(names)
        try:
            if is_asked and local is not None:
                values = yield from local.look(self, names)
            elif is_asked:
                values, *_ = yield from self.look_many(names)
        except BackendError:
            if state.raises:
                raise
        hits = sum([value is not Empty for value in values])
        state.counters.hits += hits  # one atomic step each
        state.counters.misses += len(names) - hits
        if state.item_limit is not None:
            for name, value in zip(names, values, strict=True):
                if value is not Empty:
                    yield from self.evict(state.item_limit.note(name))
        return values

    def look_many(
        self, names: list[str], timed: Sequence[str] = (), takes_stale: bool = False
    ) -> Steps[tuple[list[Any], list[bytes | None], bytes | None, list[Any]]]:
        """Return the value of each or Empty, what is stored of each, the namespace's version, and the times left."""
        raws, version, lefts = yield from self.read_many(names, timed)
        values = [
            Empty if raw is None else self.open_plain(raw, name, version) for name, raw in zip(names, raws, strict=True)
        ]
        tagged: dict[int, Tags] = {}
        for at, raw in enumerate(raws):
            if raw is None or values[at] is not Empty:
                continue
            value = yield from self.open(raw, names[at], version)
            if raw[EXTRAS] != NO_EXTRAS and version is not None and value is not Empty:
                if raw[TAGS] != NO_TAGS:
                    tagged[at] = self.envelope.tags_of(raw)
                if not takes_stale and self.envelope.stale_of(raw):
                    value = yield from self.fresh(names[at], raw, value)
            values[at] = value
        for at in (yield from self._old_among(tagged)) if tagged else ():
            values[at] = Empty
        return values, raws, version, lefts

    def _old_among(self, tagged: dict[Any, Tags]) -> Steps[set[Any]]:
        """Return the keys of which a tag has another version now, or none."""
        standing = yield from self.standing(tag for tags in tagged.values() for tag in tags)
        return {key for key, tags in tagged.items() if not standing.issuperset(tags)}

    def _left(self, name: str) -> Steps[Any]:
        return (yield self.call(self.backend.ttl_of, name))

    def read_many(
        self, names: list[str], timed: Sequence[str] = ()
    ) -> Steps[tuple[list[bytes | None], bytes | None, list[Any]]]:
        """Return what is stored of each, the namespace's version, and what `ttl_of` says of those in `timed`.

        That is asked before. Asked after it, it may be a newer value's time:

        1. A reads the old value, which expires then     2. B fills, which nobody need hear     3. A gets its time.
        """
        if not names:
            return [], None, []
        if self.state.outbox.queued:
            yield from self.settle(*names)
        wanted, lefts = ([*names, self.state.keys.version_key] if self.state.has_versions else names), []
        both = getattr(self.backend, "get_many_timed", None)  # a user's backend need not have it
        if timed and both is not None:
            raws, lefts = yield self.call(both, wanted, timed)
        else:
            for name in timed:
                lefts.append((yield self.call(self.backend.ttl_of, name)))
            raws = yield self.call(self.backend.get_many, wanted)
        return raws[: len(names)], raws[-1] if self.state.has_versions else None, lefts

    def contains(self, key: Any) -> Steps[bool]:
        name = self.state.keys.name(key)
        return (yield from self.forgive(self.is_live(name), False))  # type: ignore[no-any-return]

    def is_live(self, name: str) -> Steps[bool]:
        return (yield from self.look(name))[0] is not Empty

    def ttl_of(self, key: Any) -> Steps[Any]:
        return (yield from self.forgive(self._ttl_of(self.state.keys.name(key)), CACHE_MISS))

    def _ttl_of(self, name: str) -> Steps[Any]:
        value, raw, _ = yield from self.look(name)
        left = CACHE_MISS if value is Empty else (yield self.call(self.backend.ttl_of, name))
        if left is None or left is CACHE_MISS:
            return left
        return max(0.0, left - self.envelope.stale_of(raw))

    def forgive(self, steps: Steps[Any], instead: Any) -> Steps[Any]:
        """Return what `steps` give, or `instead` if the store fails and that is to be a miss."""
        try:
            return (yield from steps)
        except BackendError:
            if self.state.raises:
                raise
            return instead

    def evict(self, names: Iterable[str]) -> Steps[None]:
        for name in names:
            self.state.counters.evictions.increment_and_get()
            yield from self.forgive(self._kill(name), None)

    def _kill(self, name: str) -> Steps[None]:
        yield self.call(self.backend.kill, name)
