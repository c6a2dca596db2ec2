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
from .._platform.arguments import check_bool
from ..backends.protocol import ALL_THAT_BEGIN
from .envelope import VERSION_BYTES, Tags
from .looks import Looks
from .modes import LARGE
from .steps import Steps

__all__ = ["Operations"]


class Operations(Looks):
    """The operations of a shared cache, over a state, for one mode, with one serializer."""

    def pack(
        self, value: Any, name: str, version: bytes, seconds: float | None, tags: Tags = (), stale: float = 0.0
    ) -> Steps[bytes]:
        what = value, name, version, seconds, tags, stale
        if self.mode.offload is not None and _may_be_large(value):
            return (yield self.mode.offload(self.envelope.pack, *what))  # type: ignore[no-any-return]
        return self.envelope.pack(*what)  # type: ignore[no-any-return]

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
        else:
            check_bool("reclaim", reclaim)  # it is no pattern: everything is removed
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
