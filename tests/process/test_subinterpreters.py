"""areole in a subinterpreter: it works, or it says at import that it does not."""

from __future__ import annotations

import pytest

from ..kit import run_python

RUN = """
import sys
code = f'''
import sys
sys.path[:] = {sys.path!r}
try:
    from areole import AtomicCache
    print("works", AtomicCache.memoize(lambda n: n + 1)(1), flush=True)
except ImportError as error:
    print("ImportError:", error, flush=True)
'''
if sys.version_info >= (3, 13):
    import _interpreters
    interpreter = _interpreters.create("KIND")
    failed = _interpreters.exec(interpreter, code)
    assert not failed, failed
else:
    import _xxsubinterpreters as _interpreters
    interpreter = _interpreters.create(isolated="KIND" == "isolated")
    _interpreters.run_string(interpreter, code)
"""


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_it_works_or_says_that_it_does_not(kind: str) -> None:
    printed = run_python(RUN.replace("KIND", kind))
    if "works 2" not in printed:
        assert "ImportError: areole cannot be used in this interpreter" in printed
        assert "does not support loading in subinterpreters" in printed
        assert "use areole in the main interpreter" in printed
