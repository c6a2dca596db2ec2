"""Which interpreter, which machine, which versions: what results must be read with."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import sysconfig
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Build", "this_build"]


@dataclass(frozen=True, slots=True)
class Build:
    implementation: str
    version: tuple[int, ...]
    compiler: str
    free_threading_build: bool
    has_gil: bool
    defers_refcounts: bool
    cpus: int
    machine: str
    system: str
    load: float | None  # of the last minute, at the start: what else the machine did
    packages: dict[str, str]

    @property
    def is_free_threaded(self) -> bool:
        return not self.has_gil

    @property
    def label(self) -> str:
        """Name the build as file names do: 3.13, 3.13t, or 3.13t-gil for one that runs with the GIL on."""
        version = ".".join(map(str, self.version[:2]))
        if not self.free_threading_build:
            return version
        return version + ("t-gil" if self.has_gil else "t")

    def lines(self) -> list[str]:
        gil = "GIL on" if self.has_gil else "GIL off"
        kind = ", a free-threading build" if self.free_threading_build else ""
        version = ".".join(map(str, self.version))
        counts = "deferred reference counts" if self.defers_refcounts else "no deferred reference counts"
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        load = "" if self.load is None else f", load {self.load:.2f}"
        return [
            f"{self.implementation} {version}{kind}: {gil}, {counts}",
            packages,
            f"{self.cpus} CPUs, {self.machine}, {self.system}{load}",
        ]

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"label": self.label}


def this_build(packages: dict[str, str]) -> Build:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return Build(
        implementation=platform.python_implementation(),
        version=tuple(sys.version_info[:3]),
        compiler=platform.python_compiler(),
        free_threading_build=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        has_gil=has_gil,
        defers_refcounts=not has_gil and hasattr(ctypes.pythonapi, "PyUnstable_Object_EnableDeferredRefcount"),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        machine=_processor(),
        system=f"{platform.system()} {platform.release()}",
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        packages=packages,
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
