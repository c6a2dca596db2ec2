"""Random lookups, failures, steps of time and removals against what may be returned: never anything too old.

Each value names the fill that made it, and the model knows when that fill began and ended. Whatever is returned must be
the key's own, no older than its ttl and stale_ttl by the clock, and of a fill that began after the key's last
invalidation; what `get` returns must be within its ttl.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from areole import Resilience

from ..kit import SUBJECTS, Subject

TTL, STALE = 8, 6

RESILIENCES: dict[str, dict[str, Any]] = {
    "at once": {"stale_ttl": STALE},
    "in need": {"stale_ttl": STALE, "fail_safe": True},
    "in need, timeouts": {"stale_ttl": STALE, "fail_safe": True, "soft_timeout": 60, "hard_timeout": 120},
    "ahead": {"refresh_ahead": 0.5},
    "all": {"stale_ttl": STALE, "refresh_ahead": "xfetch", "jitter": 0.4, "negative_ttl": 2},
}
MODELLED = ("cache", "cache-s3fifo", "function", "method", "get_or_fill", "get_or_fill-bounded")


class Failed(Exception):
    pass


class Model:
    """Drives one subject; `steps` gives numbers from 0 on, below 1."""

    def __init__(self, kind: type[Subject], resilience: dict[str, Any], draw: Any) -> None:
        self.draw = draw
        self.spare = resilience.get("stale_ttl", 0)
        self.subject = kind(TTL, Resilience(random=draw, **resilience))
        self.subject.fill = self.fill  # type: ignore[assignment]
        self.began: dict[Any, int] = {}  # by value: at which operation its fill began
        self.ended: dict[Any, float] = {}
        self.invalidated: dict[str, int] = {}  # by key: at which operation
        self.operation = 0
        self.served_stale = 0

    def fill(self, key: str) -> Any:
        value = key, len(self.began)
        self.began[value] = self.operation
        self.subject.clock.advance(int(self.draw() * 3))
        if self.draw() < 0.4:
            raise Failed
        self.ended[value] = self.subject.clock()
        return value

    def step(self) -> None:
        self.operation += 1
        key = "ab"[int(self.draw() * 2)]
        what = self.draw()
        if what < 0.5:
            self.look_up(key)
        elif what < 0.8:
            self.subject.clock.advance(int(self.draw() * 6))
        elif what < 0.9:
            self.check(key, self.subject.get(key), 0)
        elif what < 0.97:
            self.subject.invalidate(key)
            self.invalidated[key] = self.operation
        else:
            self.subject.cache.clear()
            self.invalidated = dict.fromkeys("ab", self.operation)
        self.subject.settle()

    def look_up(self, key: str) -> None:
        began = self.subject.clock()
        try:
            value = self.subject.look_up(key)
        except Failed:
            return
        self.check(key, value, self.spare, began)

    def check(self, key: str, value: Any, spare: float, now: float | None = None) -> None:
        """Compare with the clock as it was when the lookup began: a background fill may move it on meanwhile."""
        if value is None:
            return
        now = self.subject.clock() if now is None else now
        assert value[0] == key
        assert self.began[value] > self.invalidated.get(key, 0), "what was invalidated came back"
        age = now - self.ended[value]
        assert age < TTL + spare, f"a value of {age} s was returned"
        self.served_stale += age >= TTL


@pytest.mark.parametrize("resilience", RESILIENCES.values(), ids=RESILIENCES.keys())
@pytest.mark.parametrize("name", MODELLED)
def test_nothing_too_old_is_ever_returned(name: str, resilience: dict[str, Any]) -> None:
    served_stale = 0
    for seed in range(12):
        model = Model(make_kind(name), resilience, random.Random(seed).random)
        for _ in range(60):
            model.step()
        served_stale += model.served_stale
    assert (served_stale > 0) is ("stale_ttl" in resilience), "the model never came to what it is to check"


def test_nothing_too_old_is_returned_whatever_the_steps() -> None:
    pytest.importorskip("hypothesis")
    from hypothesis import given, settings
    from hypothesis import strategies as st

    draws = st.lists(st.floats(0, 1, exclude_max=True), min_size=20, max_size=200)

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(sorted(RESILIENCES)), st.sampled_from(MODELLED), draws)
    def run(resilience: str, name: str, numbers: list[float]) -> None:
        model = Model(make_kind(name), RESILIENCES[resilience], lambda: numbers.pop() if numbers else 0.0)
        while numbers:
            model.step()

    run()


def make_kind(name: str) -> type[Subject]:
    """Return the subject of that name, whose fill can be exchanged after it was made."""
    kind = SUBJECTS[name]

    class Indirect(kind):  # type: ignore[valid-type, misc]
        def make(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
            own = self.fill
            self.fill = lambda key: self.fill_now(key)
            super().make(ttl, resilience, **options)
            self.fill = own

        def fill_now(self, key: Any) -> Any:
            return self.fill(key)

    return Indirect
