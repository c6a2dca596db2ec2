"""Planted faults: small patches of the library, as somebody might have written them; a file each, which is data.

    breaks       the invariant, by its number in the design, or the promise
    caught_by    what should find it: a scenario on a variant, or one of `planted.OTHERS`
    needs_gil    true: nothing is broken by it on builds without a GIL, and it is not looked for there
    [[patch]]    `old`, which is in `file` exactly once, becomes `new`

The library changes, and a patch that no longer fits must be rewritten, not dropped: `python -m stress faults --check`
says which; so does a test.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import areole

__all__ = ["Fault", "FaultMustBeRewritten", "load_faults", "plant"]


class FaultMustBeRewritten(Exception):
    """The library has changed where this fault is planted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """See the module. `patches` are of (file, old, new)."""

    name: str
    breaks: str
    caught_by: tuple[str, ...]
    patches: tuple[tuple[str, str, str], ...]
    needs_gil: bool = False

    @property
    def is_one_here(self) -> bool:
        """Say whether it breaks anything on this interpreter."""
        return not self.needs_gil or getattr(sys, "_is_gil_enabled", lambda: True)()


def load_faults() -> dict[str, Fault]:
    """Read all faults, by name."""
    return {path.stem: _load(path) for path in sorted(Path(__file__).parent.glob("*.toml"))}


def _load(path: Path) -> Fault:
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    patches = tuple((each["file"], each["old"], each["new"]) for each in data["patch"])
    return Fault(path.stem, data["breaks"], tuple(data["caught_by"]), patches, data.get("needs_gil", False))


def plant(fault: Fault, place: Path) -> None:
    """Put a copy of the library that has the fault into `place`. FaultMustBeRewritten: it does not fit."""
    package = place / "areole"
    shutil.copytree(Path(areole.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in fault.patches:
        text = (package / name).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise FaultMustBeRewritten(
                f"{fault.name}: its text is in areole/{name} {text.count(old)} times and must be there once; "
                f"rewrite stress/faults/{fault.name}.toml so that it breaks the same again:\n{old}"
            )
        (package / name).write_text(text.replace(old, new), encoding="utf-8")
