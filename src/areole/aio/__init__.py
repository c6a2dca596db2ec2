"""For event loops. Where to read, from the bottom up:

_flight          the future of a fill that runs in a task
_single_flight   how a task fills a miss, and how tasks wait
_blocking        asynchronous fills for threads
_cache           AsyncAtomicCache
"""

from ._cache import AsyncAtomicCache

__all__ = ["AsyncAtomicCache"]
