"""Compiles src/areole/_core/hit.c, the accelerator, where that can be done; where not, areole is pure Python.

    pip install .               hatchling calls the hook: the compiled file goes into the wheel
    pip install --editable .    it goes beside hit.c, one for each interpreter that shares the folder
    python hatch_build.py       the same, without pip; with the name of a folder: into that folder
    AREOLE_PURE=1               before these: it is left out, and one that stands there is removed

The compiler and its flags are those that this Python was built with; `CC`, `CFLAGS`, `LDFLAGS` and `ARCHFLAGS` count.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "src" / "areole" / "_core" / "hit.c"
NAME = f"_hit{sysconfig.get_config_var('EXT_SUFFIX')}"


def build(folder: Path, source: Path = SOURCE) -> str:
    """Compile `source` into `folder`, and say why not, or "". An older file is gone in any case."""
    target = folder / NAME
    try:
        target.unlink(missing_ok=True)
        return _why_not(source) or _compile([*_command(), str(source)], target)
    except OSError as error:  # no compiler, or a folder that cannot be written
        return str(error)


def _why_not(source: Path) -> str:
    if os.environ.get("AREOLE_PURE", "0") not in ("", "0"):
        return "AREOLE_PURE is set"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sys.version_info < (3, 12):
        return "it needs Python 3.12"
    if not source.exists():
        return f"there is no {source}"
    return "" if _flags("CC") and _flags("LDSHARED") else "this Python names no compiler"  # as on Windows


def _command() -> list[str]:
    """Return the compiler and its flags, without files. LDSHARED is the compiler CC with the flags of a module."""
    compiler = shlex.split(os.environ.get("CC", "")) or _flags("CC")
    flags = [*_flags("LDSHARED")[len(_flags("CC")) :], *_flags("CFLAGS"), *_flags("CCSHARED")]
    given = [flag for name in ("CFLAGS", "LDFLAGS", "ARCHFLAGS") for flag in shlex.split(os.environ.get(name, ""))]
    return [*compiler, *flags, f"-I{sysconfig.get_path('include')}", *given]


def _flags(name: str) -> list[str]:
    return shlex.split(sysconfig.get_config_var(name) or "")


def _compile(command: list[str], target: Path) -> str:
    """Run the compiler; `target` appears in one step, as another process may import it."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".hit-") as folder:
        made = Path(folder) / target.name
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, errors="replace")
        if done.returncode != 0:
            return f"{shlex.join(done.args)}\n{done.stdout}{done.stderr}"
        made.replace(target)
    return ""


def describe(reason: str) -> str:
    return f"areole is built as pure Python: {reason}" if reason else "areole is built with its accelerator"


def get_build_hook() -> type:
    """Return the hook: hatchling calls this. Without it this module needs nothing but Python."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class AcceleratorHook(BuildHookInterface):  # type: ignore[misc]
        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if self.target_name != "wheel":
                return
            if version == "editable":
                self.app.display_info(describe(build(SOURCE.parent)))
                return
            self.folder = tempfile.TemporaryDirectory(prefix="areole-")
            reason = build(Path(self.folder.name))
            self.app.display_info(describe(reason))
            if not reason:
                build_data["force_include"][os.path.join(self.folder.name, NAME)] = f"areole/_core/{NAME}"
                build_data |= {"pure_python": False, "infer_tag": True}

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
            if hasattr(self, "folder"):
                self.folder.cleanup()

    return AcceleratorHook


if __name__ == "__main__":
    print(describe(build(Path(sys.argv[1]) if sys.argv[1:] else SOURCE.parent)))
