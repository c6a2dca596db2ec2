"""Versions: random bytes under which values are stored, of the namespace and of each tag; others make them old.

A value lists each of its tags with the version that the tag had before its fill began; it is a miss where one of them
is not the tag's version any more, or the tag has none: see S1 in `operations`. Nobody's clock is asked, and a version
that the store has evicted makes values old, never valid again.

  T1. No value of a fill that began before a tag of it was invalidated is read after that, in any process.

      1. A's fill reads its source                     3. A reads the tag's version, and stores what is old under it:
      2. B changes the source, invalidates the tag        valid. So a version is read before the fill begins.

  T2. That holds for tags that a fill has brought. Their versions are read after it, so there is a count for all tags of
      the namespace: it is changed before the versions are, and read after them. A value is stored only if the count is
      what it was before the fill began. So the two need no step in common, and may lie on two servers.

A missing version is made under a token of its key, as by a fill, and is reported to nobody: it changes nothing that is
kept.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Any, Final

from ..errors import BackendError
from .envelope import VERSION_BYTES, Tags
from .shared_state import SharedState
from .steps import Steps

__all__ = ["COUNT", "Versions"]

COUNT: Final = ""
"""Stands for the count among tags: no tag has this name."""


class Versions:
    """The versions of a namespace, over a state, for one mode; `envelope` is that of its values."""

    def __init__(self, state: SharedState, mode: Any, envelope: Any) -> None:
        self.state = state
        self.mode = mode
        self.envelope = envelope
        self.backend = mode.backend
        self.call = mode.call

    # ---- what could not be sent: see `outbox`

    def settle(self, *names: str) -> Steps[None]:
        """Send first what is queued of these keys."""
        yield from self.state.outbox.settle((*names, self.state.keys.version_key), self.mode)

    def change(self, steps: Steps[Any], *names: str) -> Steps[Any]:
        """Do what changes these keys; queue them if it fails, or is stopped."""
        try:
            if self.state.outbox.queued:
                yield from self.settle(*names)
            return (yield from steps)
        except BaseException as error:
            if isinstance(error, BackendError) or not isinstance(error, Exception):
                self.state.outbox.put(names, self.state)
            raise

    # ---- versions

    def read_version(self) -> Steps[bytes | None]:
        """Return the namespace's version, or None."""
        return (yield self.call(self.backend.get, self.state.keys.version_key)) if self.state.has_versions else None

    def current_version(self, version: bytes | None = None) -> Steps[bytes]:
        """Return the namespace's version, which may be known; make one if there is none."""
        if not self.state.has_versions:
            return b""
        if version is None:
            version = yield from self.read_version()
        return (yield from self._make(self.state.keys.version_key)) if version is None else version

    def current_versions(self, tags: Collection[str], version: bytes | None = None) -> Steps[tuple[bytes, Tags]]:
        """Return the namespace's version, and each of `tags` with its own; make those that are missing."""
        if not tags:
            return (yield from self.current_version(version)), ()
        names = [self.state.keys.version_key, *[self.state.keys.tag_prefix + tag for tag in tags]]
        found = yield from self._read(names)
        for i, name in enumerate(names):
            if found[i] is None:
                found[i] = yield from self._make(name)
        return found[0], list(zip(tags, found[1:], strict=True))  # type: ignore[return-value, arg-type]

    def _read(self, names: list[str]) -> Steps[list[bytes | None]]:
        if self.state.outbox.queued:
            yield from self.settle(self.state.keys.tag_prefix + COUNT, *names)
        return list((yield self.call(self.backend.get_many, names)))

    def _make(self, key: str) -> Steps[bytes]:
        while True:
            found, token = yield self.call(self.backend.take, key, os.urandom(16), self.state.lease)
            if found is not None:
                return found  # type: ignore[no-any-return]
            made = os.urandom(VERSION_BYTES)
            if (yield self.call(self.backend.store_if_mine, key, made, token)):
                return made  # not looked up again: the backend may have evicted it, or store nothing

    def standing(self, tags: Iterable[tuple[str, bytes]]) -> Steps[set[tuple[str, bytes]]]:
        """Return those of `tags` whose version is the one in the store; one request for all."""
        pairs, prefix = list(dict.fromkeys(tags)), self.state.keys.tag_prefix
        found = (yield from self._read([prefix + tag for tag, _ in pairs])) if pairs else []
        return {pair for pair, version in zip(pairs, found, strict=True) if pair[1] == version}

    def have_changed(self, tags: Tags) -> Steps[bool]:
        """Say whether one of `tags` has another version now, or none."""
        return bool(tags) and not (yield from self.standing(tags)).issuperset(tags)

    def change_tags(self, names: Collection[str]) -> Steps[bool]:
        """Give another version to each tag that has its version under one of `names`, and to COUNT before: see T2."""
        count = self.state.keys.tag_prefix + COUNT
        return (yield from self.change(self._change_tags(count, names), count, *names))  # type: ignore[no-any-return]

    def _change_tags(self, count: str, names: Collection[str]) -> Steps[bool]:
        yield self.call(self.backend.set, count, os.urandom(VERSION_BYTES))
        yield self.call(self.backend.set_many, {name: os.urandom(VERSION_BYTES) for name in names})
        return True
