"""Says clearly, at import, where this interpreter cannot run areole.

cereggii goes on without its extension module where that cannot be loaded, and then areole would fail later, by an error
about something else.
"""

from __future__ import annotations

import warnings

__all__: list[str] = []

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # its own warnings say the same, six times
    import cereggii  # noqa: F401

try:
    from cereggii import _cereggii  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"areole cannot be used in this interpreter, as cereggii's extension module cannot be loaded: {error}. If this "
        "is a subinterpreter, such as those of an InterpreterPoolExecutor, use areole in the main interpreter",
        name="areole",
    ) from error
