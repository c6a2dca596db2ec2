"""What a shared cache does, as steps that threads and tasks run alike; see `steps` and `modes`.

Fills are in `fills`. Invariants:

  S1. No value of a fill that began before a set, delete or clear of its key had returned is stored after it, by any
      process: a fill takes the key's token before it begins, a change of the key makes the token void in the step that
      changes it, and only a token that stands stores. A clear changes the namespace's version, under which values are
      packed: that of the moment before the fill began. Values of another version are misses. So it is with tags: see
      `versions`.
  S2. What is read is of the key and version that were asked for, or it is a miss: see `envelope`.
  S3. A call is as others would see it at one moment between its beginning and its end. Where it takes two steps, as
      the version is read in one and the value changed in another, that moment is the one of the step before a clear.
      Then a set may also remove, unseen itself, what was stored under the new version: as if that had been evicted. A
      clear that reclaims memory removes twice: by the version, and key by key. It is the same for a set or a fill of
      which a tag is invalidated meanwhile. A lookup reads a value, and then the versions of its tags: it may find
      nothing where in between that was replaced, and a tag of it invalidated after that. So may a delete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from .._core.entry import Empty
from .._core.sentinels import CACHE_MISS
from .._core.sources import note_source, note_sources
from ..backends.protocol import ALL_THAT_BEGIN
from ..errors import BackendError, SerializationError
from .bypass import passed_by
from .envelope import EXTRAS, NO_EXTRAS, NO_TAGS, TAGS, VERSION_BYTES, Tags
from .modes import LARGE
from .steps import Steps, run
from .versions import Versions

__all__ = ["Operations"]


class Operations(Versions):
    """The operations of a shared cache, over a state, for one mode, with one serializer."""

    local: Any = None
    """The LocalTier in front of the store."""

    def tiers(self) -> tuple[Any, bool]:
        """Return the local tier that this lookup asks, or None, and whether it asks the store."""
        passed = passed_by(self.state.keys)
        return (None if "local" in passed else self.local), "shared" not in passed

    # ---- look

    def look(self, name: str, takes_stale: bool = False) -> Steps[tuple[Any, bytes | None, bytes | None]]:
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
            value = yield from self._look_closer(raw, name, version, takes_stale)
        return value, raw, version

    def _look_closer(self, raw: bytes, name: str, version: bytes | None, takes_stale: bool) -> Steps[Any]:
        """Return the value that is stored, if its tags have not changed, and it is fresh; else Empty."""
        value = yield from self.open(raw, name, version)
        if raw[EXTRAS] != NO_EXTRAS and version is not None and value is not Empty:
            if raw[TAGS] != NO_TAGS and (yield from self.have_changed(self.envelope.tags_of(raw))):
                value = Empty
            elif not takes_stale and self.envelope.stale_of(raw):
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
        try:
            return self.envelope.open(raw, name, version)
        except (SerializationError, ValueError, TypeError, EOFError, LookupError):
            self.state.counters.rejected.increment_and_get()
            return Empty

    def pack(
        self, value: Any, name: str, version: bytes, seconds: float | None, tags: Tags = (), stale: float = 0.0
    ) -> Steps[bytes]:
        what = value, name, version, seconds, tags, stale
        if self.mode.offload is not None and _may_be_large(value):
            return (yield self.mode.offload(self.envelope.pack, *what))  # type: ignore[no-any-return]
        return self.envelope.pack(*what)  # type: ignore[no-any-return]

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
                value = run(self._look_closer(raw, name, version, False))
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
                values, _, _ = yield from self.look_many(names)
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
        self, names: list[str], takes_stale: bool = False
    ) -> Steps[tuple[list[Any], list[bytes | None], bytes | None]]:
        """Return the value of each or Empty, what is stored of each, and the namespace's version."""
        raws, version = yield from self.read_many(names)
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
        return values, raws, version

    def _old_among(self, tagged: dict[Any, Tags]) -> Steps[set[Any]]:
        """Return the keys of which a tag has another version now, or none."""
        standing = yield from self.standing(tag for tags in tagged.values() for tag in tags)
        return {key for key, tags in tagged.items() if not standing.issuperset(tags)}

    def _left(self, name: str) -> Steps[Any]:
        return (yield self.call(self.backend.ttl_of, name))

    def lefts(self, names: list[str]) -> Steps[list[Any]]:
        """Return what `ttl_of` of the store says of each; CACHE_MISS where it fails."""
        try:
            if len(names) > 1 and hasattr(self.backend, "ttl_of_many"):
                return (yield self.call(self.backend.ttl_of_many, names))  # type: ignore[no-any-return]
            lefts = []
            for name in names:
                lefts.append((yield self.call(self.backend.ttl_of, name)))
        except BackendError:
            return [CACHE_MISS] * len(names)
        return lefts

    def read_many(self, names: list[str]) -> Steps[tuple[list[bytes | None], bytes | None]]:
        if not names:
            return [], None
        if self.state.outbox.queued:
            yield from self.settle(*names)
        if not self.state.has_versions:
            return (yield self.call(self.backend.get_many, names)), None
        *raws, version = yield self.call(self.backend.get_many, [*names, self.state.keys.version_key])
        return raws, version

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

    # ---- change

    def set(
        self, key: Any, value: Any, ttl: Any, only_if_absent: bool = False, tags: Iterable[str] = ()
    ) -> Steps[bool]:
        state = self.state
        name, seconds, of_tags = state.keys.name(key), state.seconds_of(ttl), state.tag_names(tags)
        if only_if_absent:
            store = self.store_if_absent(name, value, seconds, of_tags)
        else:
            store = self.change(self.store(name, value, seconds, of_tags), name)
        try:
            is_stored = yield from self.forgive(store, False)
        finally:  # also where the store failed: it may have been stored
            state.detach_fill(name)
        if is_stored and state.item_limit is not None:
            yield from self.evict(state.item_limit.note(name))
        return is_stored  # type: ignore[no-any-return]

    def store(self, name: str, value: Any, seconds: float | None, tags: Sequence[str] = ()) -> Steps[bool]:
        version, tagged = yield from self.current_versions(tags)
        raw = yield from self.pack(value, name, version, seconds, tagged)
        if seconds == 0:
            yield self.call(self.backend.kill, name)
        else:
            yield self.call(self.backend.set, name, raw, seconds)
        return True

    def store_if_absent(self, name: str, value: Any, seconds: float | None, tags: Sequence[str] = ()) -> Steps[bool]:
        """Store `value` unless there is one.

        What an old version has left counts as absent: it is replaced under a token, which a change would make void.
        The key is looked at with the version. With the version alone

        1. A's add reads the version, under which there is a value      3. B deletes what is left: "none"
        2. B clears                                                     4. A stores, unseen, and says that it did.

        The tags' versions are read after it: then what others have done since is before this one, or changes the key.
        """
        store: Any = self._store_first
        while True:
            found, seen, version = yield from self.look(name)
            if found is not Empty:
                return False
            if seconds == 0:
                return True
            version = yield from self.current_version(version)
            _, tagged = yield from self.current_versions(tags, version)
            raw = yield from self.pack(value, name, version, seconds, tagged)
            if (yield from store(name, raw, seconds, seen)):
                return True
            store = self._store_over

    def _store_first(self, name: str, raw: bytes, seconds: float | None, seen: bytes | None) -> Steps[bool]:
        """Store `raw` by one step, if nothing is there at all."""
        if seen is not None:
            return (yield from self._store_over(name, raw, seconds, seen))
        return (yield self.call(self.backend.set, name, raw, seconds, True))  # type: ignore[no-any-return]

    def _store_over(self, name: str, raw: bytes, seconds: float | None, seen: bytes | None) -> Steps[bool]:
        """Store `raw` if nothing is there but what was seen; say whether it was stored."""
        unseen, token = yield self.call(self.backend.take, name, os.urandom(16), self.state.lease, seen)
        if unseen is not None:
            return False
        return (yield self.call(self.backend.store_if_mine, name, raw, token, seconds))  # type: ignore[no-any-return]

    def set_many(self, items: list[tuple[Any, Any]], ttl: Any, tags: Iterable[str] = ()) -> Steps[int]:
        """Store all, or none where a value is refused; return how many."""
        state = self.state
        seconds, of_tags = state.seconds_of(ttl), state.tag_names(tags)
        named = [(state.keys.name(key), value) for key, value in items]
        try:
            names = [name for name, _ in named]
            is_stored = yield from self.forgive(self.change(self._store_many(named, seconds, of_tags), *names), False)
        finally:
            for name, _ in named:
                state.detach_fill(name)
        if is_stored and state.item_limit is not None:
            for name, _ in named:
                yield from self.evict(state.item_limit.note(name))
        return len(named) if is_stored else 0

    def _store_many(self, named: list[tuple[str, Any]], seconds: float | None, tags: Sequence[str]) -> Steps[bool]:
        version, tagged = yield from self.current_versions(tags)
        raws = {}
        for name, value in named:
            raws[name] = yield from self.pack(value, name, version, seconds, tagged)
        if seconds == 0:
            yield self.call(self.backend.kill_many, list(raws))
        elif raws:
            yield self.call(self.backend.set_many, raws, seconds)
        return True

    def evict(self, names: Iterable[str]) -> Steps[None]:
        for name in names:
            self.state.counters.evictions.increment_and_get()
            yield from self.forgive(self._kill(name), None)

    def _kill(self, name: str) -> Steps[None]:
        yield self.call(self.backend.kill, name)

    def delete(self, key: Any) -> Steps[bool]:
        return bool((yield from self.delete_many([key])))

    def delete_many(self, keys: Iterable[Any]) -> Steps[int]:
        names = [self.state.keys.name(key) for key in keys]
        count = yield from self.forgive(self._kill_many(names), 0)
        if self.state.item_limit is not None:
            self.state.item_limit.forget(names)
        return count  # type: ignore[no-any-return]

    def _kill_many(self, names: list[str]) -> Steps[int]:
        """Remove the values, and make their tokens void; return how many stood.

        The version is read before. If it were only read after,

        1. A's delete removes the value      3. C clears
        2. B looks, and finds none           4. A reads the version, and takes what it has removed for old: "none".

        What is of another version is old, or was stored under one that came between.
        """
        if not names:
            return 0
        try:
            before, heads = yield from self.change(self._kill_all(names), *names)
        finally:
            for name in names:
                self.state.detach_fill(name)
        stood = [self.envelope.is_stored(head, before) for head in heads]
        if any(head is not None for head, did in zip(heads, stood, strict=True) if not did):
            after = yield from self.read_version()
            stood = [did or self.envelope.is_stored(head, after) for head, did in zip(heads, stood, strict=True)]
        tagged = {i: self.envelope.tags_of(head) for i, head in enumerate(heads) if stood[i]}
        count: int = sum(stood) - len((yield from self._old_among(tagged)))
        return count

    def _kill_all(self, names: list[str]) -> Steps[tuple[bytes | None, list[bytes | None]]]:
        before = yield from self.read_version()
        return before, (yield self.call(self.backend.kill_many, names))

    def expire(self, key: Any, seconds: float | None) -> Steps[bool]:
        name = self.state.keys.name(key)
        try:
            return (yield from self.forgive(self._expire(name, seconds), False))  # type: ignore[no-any-return]
        finally:
            self.state.drop_kept(name)

    def _expire(self, name: str, seconds: float | None) -> Steps[bool]:
        if seconds == 0:
            return bool((yield from self._kill_many([name])))
        value, raw, _ = yield from self.look(name)
        if value is Empty:
            return False
        if not self.envelope.is_signed:
            kept = None if seconds is None else seconds + self.envelope.stale_of(raw)
            return (yield self.call(self.backend.expire, name, kept))  # type: ignore[no-any-return]
        return (yield from self._sign_again(name, raw, seconds))

    def _sign_again(self, name: str, raw: bytes | None, seconds: float | None) -> Steps[bool]:
        """Store a signed value with its new end, which is signed with it, unless it was changed meanwhile.

        It is read under the token that it is stored under:

        1. A looks: there is a value      3. A takes a token, as there is nothing new
        2. B deletes, and returns         4. A stores what it had read: it is back.
        """
        while True:
            own = os.urandom(16)  # another one each time: a fill may have joined the last one, before a change
            unseen, token = yield self.call(self.backend.take, name, own, self.state.lease, raw)
            value, raw, version = yield from self.look(name)
            if value is Empty:
                if token == own:
                    yield self.call(self.backend.store_if_mine, name, None, own)
                return False
            if unseen is None:
                tags = self.envelope.tags_of(raw)  # with the versions that they had
                packed = yield from self.pack(value, name, version, seconds, tags)  # type: ignore[arg-type]
                if (yield self.call(self.backend.store_if_mine, name, packed, token, seconds)):
                    return True

    def clear(self, reclaim: bool | None) -> Steps[None]:
        """Let no value that is there be found again; `reclaim` their memory too."""
        state = self.state
        if reclaim is None:
            reclaim = self.backend.clears_cheaply
        yield from self.forgive(self._clear(reclaim or not state.has_versions), None)

    def _clear(self, reclaims: bool) -> Steps[None]:
        state = self.state
        try:
            yield from self.change(self._clear_all(reclaims), state.outbox.everything)
        finally:
            state.flights.clear()
            state.drop_kept(state.keys.version_key)
            if state.item_limit is not None:
                state.item_limit.clear()

    def _clear_all(self, reclaims: bool) -> Steps[None]:
        if self.state.has_versions:
            yield self.call(self.backend.set, self.state.keys.version_key, os.urandom(VERSION_BYTES))
        if reclaims:
            yield self.call(self.backend.clear, self.state.keys.prefix)

    def invalidate_tags(self, tags: Iterable[str]) -> Steps[bool]:
        """Let no value of one of these tags be found again; say whether the store has done that."""
        state = self.state
        names = [state.keys.tag_prefix + tag for tag in state.tag_names(tags)]
        try:
            return not names or (yield from self.forgive(self.change_tags(names), False))
        finally:
            for name in names:
                state.drop_kept(name)

    def clear_keys(self, beginning: str) -> Steps[None]:
        """Remove all keys that begin like this, and have no fill of theirs stored that is running in any process.

        A walk may miss a fill that began before it:

        1. the walk has passed the place of a key      2. the key's fill stores      3. the walk comes to its token

        After it no token from before stands, so the second walk finds all values of fills that began before the first.
        """
        yield from self.forgive(self._clear_keys(self.state.keys.prefix + beginning), None)

    def _clear_keys(self, prefix: str) -> Steps[None]:
        flights = self.state.flights
        try:
            yield from self.change(self._clear_twice(prefix), prefix + ALL_THAT_BEGIN)
        finally:
            for entry in flights.index.snapshot():
                if entry.key.startswith(prefix):
                    self.state.detach_fill(entry.key)
            self.state.drop_kept(prefix + ALL_THAT_BEGIN)

    def _clear_twice(self, prefix: str) -> Steps[None]:
        for _ in range(2):
            yield self.call(self.backend.clear, prefix)


def _may_be_large(value: Any) -> bool:
    """Guess whether packing `value` takes long: what is short, or a number, does not."""
    if value is None or isinstance(value, bool | int | float):
        return False
    return not isinstance(value, str | bytes) or len(value) > LARGE
