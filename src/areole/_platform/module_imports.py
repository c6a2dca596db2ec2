"""Which thread waits for a module that another one imports.

A thread that executes a module has the lock of that module. So a lookup at a module's top level may wait for ever:

    1. A imports m, which asks for a key           3. B's fill imports m, and waits for the lock that A has
    2. B is filling that key: A waits for B        -- and A waits for B.

importlib sees such cycles of modules only. What it knows is read here, without a lock: a thread that waits is in
`_blocking_on` until it has got the lock, and an `owner` that has reached this code keeps its lock until it returns. So
where the answer is yes, it stays so. These names are importlib's own, the same from 3.11 to 3.15; where one of them is
missing the answer is no, and only a `wait_timeout` helps.
"""

from __future__ import annotations

import importlib
from threading import get_ident
from typing import Any

__all__ = ["is_importing", "waits_for_my_imports"]

_bootstrap: Any = importlib._bootstrap
_module_locks: Any = getattr(_bootstrap, "_module_locks", {})  # names to weak references to the locks that are in use
_blocking_on: Any = getattr(_bootstrap, "_blocking_on", {})  # thread numbers to a lock (3.11), or to a list of them


def is_importing() -> bool:
    """Say whether this thread has the lock of a module: it executes one."""
    me = get_ident()
    return any(getattr(ref(), "owner", None) == me for ref in list(_module_locks.values()))


def waits_for_my_imports(ident: int) -> bool:
    """Say whether the thread of this number waits for a module that this thread imports, or for one that does."""
    me = get_ident()
    to_visit, met = [ident], {ident}
    for each in to_visit:
        locks = _blocking_on.get(each)
        for lock in list(locks) if isinstance(locks, list) else [locks]:
            owner = getattr(lock, "owner", None)
            if owner == me:
                return True
            if owner is not None and owner not in met:
                met.add(owner)
                to_visit.append(owner)
    return False
