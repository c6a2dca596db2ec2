"""What each process of a run is given: a file of JSON in the run's folder."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

__all__ = ["KEYS", "MARK", "NAMESPACE", "READS_AT_ONCE", "Settings", "end_with_parent", "make_cache"]

NAMESPACE = "stress"
KEYS = [*(f"k{i}" for i in range(10)), "#hash", "{braces}", "with space", "ключ", "long" * 60, "a:b%", "k[0]*?"]
"""Those that stand in the store as they are, and those of which a digest does."""
TAGS = 4
READS_AT_ONCE = 50
"""So many are counted at once, where they are cheap."""
MARK = "mark:"
"""Begins what the writer says after an invalidation, where readers are to know which one they have heard."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`on_error`, `timeout` and `lease` are the cache's; `clock_off` are seconds that this process's clocks are off."""

    folder: str
    url: str
    place: int  # which part of the ledger's counts is this process's
    seed: str
    threads: int = 3
    tasks: int = 0
    timeout: float = 5.0
    on_error: str = "raise"
    lease: float | None = None
    clock_off: float = 0.0
    forks: bool = False
    sets: bool = True
    pause: float = 0.004  # seconds between two invalidations, at most
    tags: bool = False  # values have tags, and are invalidated by them too
    is_resilient: bool = False
    keeps: bool = False  # whether the shared cache itself keeps what it reads
    program: str = "reader"  # a module of this package
    marks: str = ""  # where the writer sends them: a URL of Redis, or a file of SQLite
    options: dict[str, Any] = field(default_factory=dict)

    def save(self) -> str:
        path = Path(self.folder) / f"settings-{self.place}.json"
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return str(path)

    @classmethod
    def load(cls, path: str) -> Self:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def tags_of(self, number: int) -> list[str]:
        """Return the tags of a key, by its number. The keys of a tag have one writer."""
        return [f"tag {number % TAGS}"] if self.tags else []

    def but(self, **changes: Any) -> Settings:
        return replace(self, **changes)


def put_clocks_off(seconds: float) -> None:
    """Let all that this process reads of clocks be off by so much; called before the library is imported."""
    for name in ("time", "monotonic"):
        setattr(time, name, _shifted(getattr(time, name), seconds))
        setattr(time, f"{name}_ns", _shifted(getattr(time, f"{name}_ns"), int(seconds * 1e9)))


def _shifted(clock: Any, by: Any) -> Any:
    return lambda: clock() + by


def make_cache(settings: Settings) -> Any:
    from areole import SharedCache, Storage

    options: dict[str, Any] = dict(settings.options)
    if settings.keeps:
        options["local"] = Storage(max_items=1000)
    if settings.lease is not None:
        options["lease"] = settings.lease
    return SharedCache(
        settings.url,
        namespace=NAMESPACE,
        ttl=600,
        timeout=settings.timeout,
        on_error=settings.on_error,
        **options,
    )


def end_with_parent() -> None:
    """Let this process end once its parent is gone, however that has ended."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(3)

    threading.Thread(target=watch, daemon=True, name="watches the parent").start()


def report(settings: Settings, text: str) -> None:
    """Say what was found, at once: this process may be killed."""
    with open(Path(settings.folder) / f"found-{settings.place}", "a", encoding="utf-8") as file:
        file.write(json.dumps(text) + "\n")
    if os.environ.get("AREOLE_STRESS_VERBOSE"):
        print(text, file=sys.stderr)
