"""Redis is killed in mid-run: what is in the process goes on, and nobody waits for what is gone.

Proves: a tier that is away is a miss and a counter, never a hang and never a wrong value.

Hunts:
    1. A reads through Redis                       3. A's reply, read late, answers B's request: another key's value
    2. Redis is killed; A gives up                 4. or A waits for a reply that nobody will send

Allowed: a fill where Redis would have had the value; an error that says that Redis is away.

Not written yet: there is no backend to write it against.
"""

from __future__ import annotations

from ..child import ChildScenario

__all__ = ["RedisKilled"]


class RedisKilled(ChildScenario):
    variants = ("redis",)

    @classmethod
    def why_skipped(cls) -> str:
        return "areole has no Redis backend yet"
