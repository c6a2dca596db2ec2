"""The examples in the documentation run as they stand, and the commands that it names are there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from .support import run_python

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path.name: path.read_text() for path in DOCUMENTS}

ASSUMED = """
class Loaded:
    def close(self): pass

def load_user(key): return Loaded()
def ask_the_bank(currency, day): return currency, day
def fetch_page(url): return b"page"
def load(key): return b"value"
def load_price(key): return 1.0

from areole import Storage
storage = Storage()
"""
"""What the examples take for granted: functions of the reader's."""


def examples_in(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", TEXTS[name], re.DOTALL)


@pytest.mark.parametrize("name", [name for name in TEXTS if examples_in(name)])
def test_the_examples_run_one_after_the_other(name: str) -> None:
    run_python(ASSUMED + "\n".join(examples_in(name)))


def test_the_values_that_an_example_shows() -> None:
    """docs/async.md: what was invalidated had been there, and 4 was never loaded."""
    shown = run_python(ASSUMED + examples_in("async.md")[0]).splitlines()
    assert shown == ["user 1", "{1: 'user 1', 2: 'user 2', 3: 'user 3'}", "user 1", "None True True"]


@pytest.mark.parametrize("name", TEXTS)
def test_the_commands_and_files_that_it_names_are_there(name: str) -> None:
    for module in set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", TEXTS[name])):
        assert find_spec(module) is not None, module
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"[`\n]make ([a-z]+)", TEXTS[name])) <= set(targets)
    here = ROOT if name == "README.md" else ROOT / "docs"
    linked = re.findall(r"\]\(([\w./-]+\.\w+)\)", TEXTS[name])
    assert [path for path in linked if not (here / path).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_the_sections_that_it_links_to_are_there(name: str) -> None:
    for document, section in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", TEXTS[name]):
        headings = re.findall(r"^#+ (.*)$", TEXTS[Path(document).name or name], re.MULTILINE)
        assert section in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
