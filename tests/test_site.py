"""The site of the documentation: `make docs` builds it, and this checks what that would find, without mkdocs."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from pkgutil import resolve_name

import pytest

import areole

ROOT = Path(__file__).parent.parent
CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def pages_of_nav() -> list[str]:
    nav = CONFIG.split("\nnav:\n")[1].split("\n\n")[0]
    return re.findall(r"^ +- .*: (\S+\.md)$", nav, re.MULTILINE)


def test_each_page_is_in_nav_once_and_each_entry_of_nav_is_a_page() -> None:
    """If this fails: add or remove the line of the page in mkdocs.yml, under "nav"."""
    assert sorted(pages_of_nav()) == PAGES


def prose_of(page: str) -> str:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_its_links_work_in_the_site_and_in_the_repository(page: str) -> None:
    """A page links to pages beside it, or to the pictures that benchmarks/site_pictures.py takes into the site."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose_of(page)):
        is_picture = target.startswith("../benchmarks/results/") and target.endswith(".png")
        assert target in PAGES or target.startswith("https://") or is_picture, target


def test_the_reference_has_each_public_name_and_no_private_one() -> None:
    pages = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES if page.startswith("api"))
    names = re.findall(r"^::: (\S+)$", pages, re.MULTILINE)
    assert len(names) == len(set(names)) and not [name for name in names if "._" in name]
    of_modules = [getattr(resolve_name(name), "__all__", [name.removeprefix("areole.")]) for name in names]
    in_tables = re.findall(r"^\| `(\w+)`", pages, re.MULTILINE)
    assert set(areole.__all__) <= {*chain.from_iterable(of_modules), *in_tables}
