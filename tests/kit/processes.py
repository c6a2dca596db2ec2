"""Interpreters of their own, and what this one is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import areole

from .threads import PATIENCE

__all__ = ["is_free_threaded", "run_python"]


def is_free_threaded() -> bool:
    return not getattr(sys, "_is_gil_enabled", lambda: True)()


def run_python(code: str, *, timeout: float = PATIENCE, without: str = "", folder: Path | None = None) -> str:
    """Run `code` in an interpreter of its own, with areole on its path; return what it printed.

    Fails with all its stacks if it hangs, and with its errors if it ends with another status than 0. `without` names an
    environment variable that it does not get, `folder` is where it runs.
    """
    source = os.path.dirname(os.path.dirname(areole.__file__))
    environment = {name: value for name, value in os.environ.items() if name != without}
    dump = f"import faulthandler; faulthandler.dump_traceback_later({timeout - 5}, exit=True)\n"
    ran = subprocess.run(
        [sys.executable, "-c", dump + textwrap.dedent(code)],
        env=environment | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=folder,
    )
    assert ran.returncode == 0, f"status {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
