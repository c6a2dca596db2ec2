"""A hook of mkdocs: the pictures of benchmarks/results are in the site too, where the documentation shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    for path in sorted(RESULTS.glob("*.png")):
        files.append(File.generated(config, f"results/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In the repository a picture is beside docs/, in the site in it."""
    return markdown.replace("](../benchmarks/results/", "](results/")
