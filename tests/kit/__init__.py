"""What the tests share: threads, loops and processes, caches as a test sees them, checks, parameters.

Which module has what is in its first line.
"""

from areole.testing import ManualClock, assert_valid

from .fills import Fill, unhashable_list
from .garbage import collect
from .loops import LOOPS, AsyncGate, assert_no_complaints, run, until
from .parameters import every_index, every_pair, every_policy, pairwise, repr_without_address
from .processes import is_free_threaded, run_python
from .stores import (
    Told,
    assert_filing_sound,
    check_books,
    count_items,
    deadlines_of,
    make_store,
    make_weighed,
    policy_entries,
    weight_of,
)
from .subjects import SUBJECTS, Numbered, Subject, every_subject, settle
from .threads import PATIENCE, Gate, run_threads, start_threads, wait_until_settled, wait_until_waiting

__all__ = [
    "LOOPS",
    "PATIENCE",
    "SUBJECTS",
    "AsyncGate",
    "Fill",
    "Gate",
    "ManualClock",
    "Numbered",
    "Subject",
    "Told",
    "assert_filing_sound",
    "assert_no_complaints",
    "assert_valid",
    "check_books",
    "collect",
    "count_items",
    "deadlines_of",
    "every_index",
    "every_pair",
    "every_policy",
    "every_subject",
    "is_free_threaded",
    "make_store",
    "make_weighed",
    "pairwise",
    "policy_entries",
    "repr_without_address",
    "run",
    "run_python",
    "run_threads",
    "settle",
    "start_threads",
    "unhashable_list",
    "until",
    "wait_until_settled",
    "wait_until_waiting",
    "weight_of",
]
