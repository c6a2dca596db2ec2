"""The plots of `python -m benchmarks --plots`: matplotlib is imported only here, and only to draw.

Each has a white background of its own, so that it is read on a dark page too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["draw", "import_pyplot"]

_SHAPES: Final = ("f(k)", "f(k, 1, 2)", "f(k, b=1, c=2)", "cache[k]")


def import_pyplot() -> Any:
    """Return matplotlib's pyplot, which needs no screen; None if it is not installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(parts: Mapping[str, Any], folder: Path, label: str) -> list[Path]:
    """Draw what was measured into `folder`, and return the files; without matplotlib there are none."""
    pyplot = import_pyplot()
    if pyplot is None:
        return []
    paths = []
    if hits := parts.get("hits"):
        paths.append(_save(pyplot, *_hits(pyplot, hits), folder / f"hits-{label}.png"))
    if scaling := parts.get("scaling"):
        paths.append(_save(pyplot, *_scaling(pyplot, scaling), folder / f"scaling-{label}.png"))
    if mixes := parts.get("mixes"):
        paths.append(_save(pyplot, *_mixes(pyplot, mixes), folder / f"mixes-{label}.png"))
    return paths


def _save(pyplot: Any, figure: Any, title: str, path: Path) -> Path:
    figure.suptitle(title)
    figure.savefig(path, dpi=110, facecolor="white")
    pyplot.close(figure)
    return path


def _scaling(pyplot: Any, found: Mapping[str, Any]) -> tuple[Any, str]:
    """Draw measured points, and the curves beyond them, dashed."""
    curves = next(value for name, value in found.items() if name.startswith("curves"))
    by_keys: dict[str, list[Any]] = {}
    for curve in curves:
        by_keys.setdefault(curve["keys"], []).append(curve)
    figure, panels = pyplot.subplots(1, len(by_keys), figsize=(13, 6), sharey=True, layout="constrained", squeeze=False)
    for panel, (keys, each) in zip(panels.flat, by_keys.items(), strict=True):
        for curve in each:
            _draw_curve(panel, curve)
        panel.set(title=keys, xscale="log", xlabel="threads", ylabel="times the throughput of one thread")
        panel.grid(alpha=0.3)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5)
    return figure, "Hits over threads: points are measured, dashed is a PROJECTION"


def _draw_curve(panel: Any, curve: Mapping[str, Any]) -> None:
    measured = {int(n): times for n, times in curve["measured"].items()}
    beyond = {int(n): times for n, times in curve["projection"].items() if int(n) > max(measured)}
    line = panel.plot(list(measured), list(measured.values()), marker="o", label=curve["case"])[0]
    last = max(measured)
    xs, ys = [last, *beyond], [measured[last], *beyond.values()]
    panel.plot(xs, ys, linestyle="--", alpha=0.6, color=line.get_color())


def _hits(pyplot: Any, found: Mapping[str, Any]) -> tuple[Any, str]:
    """Draw a panel for each shape, and in it a bar for each contender: its median on one thread."""
    figure, panels = pyplot.subplots(1, len(_SHAPES), figsize=(13, 4.5), layout="constrained")
    for panel, shape in zip(panels.flat, _SHAPES, strict=True):
        medians = {
            case.removesuffix(f" {shape}"): statistics.median(samples["1"])
            for case, samples in found["hits"].items()
            if case.endswith(f" {shape}")
        }
        names = sorted(medians, key=medians.__getitem__, reverse=True)
        colors = ["tab:orange" if name.startswith("areole") else "tab:blue" for name in names]
        panel.barh(names, [medians[name] for name in names], color=colors)
        panel.set(title=shape, xscale="log", xlabel="nanoseconds")
        panel.minorticks_off()
        panel.set_xlim(right=1.3 * max(medians.values()))
        panel.grid(axis="x", alpha=0.3)
    return figure, "A hit on one thread (less is better; the loop around it is included)"


def _mixes(pyplot: Any, found: Mapping[str, Any]) -> tuple[Any, str]:
    """Draw a bar for each store and mix: the median on one thread."""
    medians = {case: sorted(by_threads["1"])[len(by_threads["1"]) // 2] for case, by_threads in found["mixes"].items()}
    figure, panel = pyplot.subplots(figsize=(10, 6), layout="constrained")
    names = sorted(medians, key=lambda case: (case.rpartition(" ")[2], medians[case]), reverse=True)
    panel.barh(names, [medians[name] for name in names])
    panel.set_xlabel("nanoseconds an operation, one thread (less is better)")
    panel.grid(axis="x", alpha=0.3)
    return figure, "Mixes of get and set on full stores"
