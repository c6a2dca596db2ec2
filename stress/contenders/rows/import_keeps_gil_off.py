"""Importing it does not turn the GIL back on.

Asks: a free-threaded interpreter, without PYTHON_GIL, imports it.
Survives: the GIL is still off.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort


def run(contender: Contender, effort: Effort) -> str:
    if contender.module is None:
        raise NotOffered("an import: it comes with Python")
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise NotOffered("a build without a GIL to ask it on")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    code = f"import sys, {contender.module}; print(sys._is_gil_enabled())"
    reported = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True
    )
    if reported.stdout.strip() != "False":
        raise Wrong("the GIL is on" if reported.stdout.strip() == "True" else reported.stderr.strip()[-100:])
    return ""
