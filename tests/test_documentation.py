"""The documentation: its examples run, what it names exists, and its figures are those that were measured."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.build import Build
from benchmarks.speed import figure, with_tables
from stress.contenders.outcome import Outcome
from stress.contenders.report import compact_markdown

from .kit import run_python

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted(ROOT.glob("docs/*.md"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS}

ASSUMED = """
class Loaded:
    def close(self): pass

def load_user(key): return Loaded()
def ask_the_bank(currency, day): return currency, day
def fetch_page(url): return b"page"
def load(key): return b"value"
def load_price(key): return 1.0
def load_menu(key): return ["tea", "cake"]
def ask_for_rate(currency): return 1.5, 30, False
def fetch_if_changed(url, etag): return "1", None if etag else b"page"
def ask_for_permissions(user_id, project): return user_id, project
def ask_for_members(project): return [project]
def render(path): return "page", ["Ada"]

from areole import Storage
storage = Storage()
"""
"""What the examples take for granted: functions of the reader's."""


def examples_in(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", TEXTS[name], re.DOTALL)


@pytest.mark.parametrize("name", [name for name in TEXTS if examples_in(name)])
def test_the_examples_run_one_after_the_other(name: str, tmp_path: Path) -> None:
    run_python(ASSUMED + "\n".join(examples_in(name)), folder=tmp_path)


def test_the_values_that_an_example_shows() -> None:
    """docs/async.md: what was invalidated had been there, and 4 was never loaded."""
    shown = run_python(ASSUMED + examples_in("async.md")[0]).splitlines()
    assert shown == ["user 1", "{1: 'user 1', 2: 'user 2', 3: 'user 3'}", "user 1", "None True True"]


@pytest.mark.parametrize("name", TEXTS)
def test_the_commands_and_files_that_it_names_are_there(name: str) -> None:
    for module in set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", TEXTS[name])) - {"pytest"}:
        assert find_spec(module) is not None, module
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"[`\n]make ([a-z]+)", TEXTS[name])) <= set(targets)
    named = re.findall(r"`((?:benchmarks|docs|src|stress|tests)/[\w./-]+)", TEXTS[name])
    named += [f"docs/{path}" for path in re.findall(r"\]\(([\w./-]+\.\w+)[)#]", TEXTS[name])]
    assert [path for path in named if not (ROOT / path).exists() and "NAME" not in path] == []


@pytest.mark.parametrize("name", TEXTS)
def test_the_sections_that_it_links_to_are_there(name: str) -> None:
    for document, section in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", TEXTS[name]):
        headings = re.findall(r"^#+ (.*)$", TEXTS[Path(document).name or name], re.MULTILINE)
        assert section in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_the_readme_has_no_link_that_works_in_the_repository_alone() -> None:
    """A package index shows it too. There is no public host of the repository that a link could name."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", TEXTS["README.md"], flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)]*)\)", prose)
    assert [target for target in targets if not target.startswith("https://")] == []


def test_the_readme_names_every_document() -> None:
    assert [f for f in (ROOT / "docs").iterdir() if f"`docs/{f.name}`" not in TEXTS["README.md"]] == []


def test_the_map_for_contributors_names_each_module_once_in_its_folder() -> None:
    """If this fails: add or remove the line of the module in docs/architecture.md, under "The folders"."""
    section = TEXTS["architecture.md"].split("\n## The folders\n")[1].split("\n## ")[0]
    mapped, folder = set(), ""
    for cell in re.findall(r"^\| (.*?) \|", section, re.MULTILINE):
        is_folder = cell.startswith("**")
        for name in re.findall(r"`(\w+)`", cell):
            folder = f"{name}/" if is_folder else "" if name in ("testing", "errors") else folder
            mapped |= set() if is_folder else {f"{folder}{name}.py"}
    package = ROOT / "src" / "areole"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("[!_]*.py")}
    missing, gone = sorted(modules - mapped), sorted(mapped - modules)
    assert not missing and not gone, f"docs/architecture.md lacks {missing}, and names {gone}, which are gone"


# ---- the rows of features


def rows_named(text: str) -> set[str]:
    """The rows of features that a text names, such as "C1, C27", "C18 to C24" or "test_c18_to_c24_all"."""
    found = set()
    for letter, first, last in re.findall(
        r"\b([A-E])(\d+)(?: to [A-E](\d+))?", text.replace("_", " ").upper().replace("TO", "to")
    ):
        found |= {f"{letter}{number}" for number in range(int(first), int(last or first) + 1)}
    return found


def test_each_row_of_the_features_of_others_is_in_the_tables_and_each_new_one_has_a_test() -> None:
    """Of atomic_lru and cereggii (A, B) those alone that are worth a word: tests/storage and tests/fills show them."""
    tables = {row for cell in rows_of("moving.md") for row in rows_named(cell)}
    rows = [
        f"{letter}{number}" for letter, last in {"C": 41, "D": 14, "E": 38}.items() for number in range(1, last + 1)
    ]
    assert [row for row in rows if row not in tables] == []
    text = (ROOT / "tests/shared/test_features.py").read_text()
    tested = {row for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE) for row in rows_named(name)}
    assert [row for row in rows if row not in tested and (row[0] != "D" or row == "D14")] == []


# ---- figures


def rows_of(name: str) -> dict[str, list[str]]:
    """The rows of all tables of a document, by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in TEXTS[name].splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows}


def test_the_tables_of_speed_are_those_of_the_samples() -> None:
    assert with_tables(TEXTS["speed.md"]) == TEXTS["speed.md"], "run `python -m benchmarks.speed`"


def test_the_table_of_stores_is_that_of_the_results() -> None:
    results = (ROOT / "benchmarks/results/storage.md").read_text()
    section = TEXTS["speed.md"].split("\n## Bounded stores")[1].split("\n## ")[0]
    figures = re.findall(r"\| ([\d,]+)(?= \|)", section)
    assert len(figures) == 15
    assert [each for each in figures if f" {each.replace(',', '')} " not in results] == []


def test_the_figures_of_the_readme_are_those_of_the_results() -> None:
    speed, readme = rows_of("speed.md"), rows_of("README.md")
    expected = {
        "areole, memoized": figure("3.13", "hits", "areole f(k)"),
        "`functools.lru_cache(maxsize=None)`": figure("3.13", "hits", "lru_cache f(k)"),
        "cereggii's `AtomicCache.memoize`": figure("3.13", "hits", "cereggii f(k)"),
        "areole, memoized, 1,000 items at most": speed['areole, memoized, `policy="s3fifo"`'][0],
        "`functools.lru_cache(1000)`": speed["`functools.lru_cache(1000)`, a call"][0],
        "`cachetools.TTLCache` under a lock": speed["`cachetools.TTLCache` under a lock"][0],
        "areole, `await` of a memoized `async def`": figure("aio-3.13", "hits", "areole memoize await f(k)"),
        "async-lru": figure("aio-3.13", "hits", "async-lru await f(k)"),
        "aiocache's `cached`, in memory": figure("aio-3.13", "hits", "aiocache cached await f(k)"),
    }
    assert {case: readme[case][-1] for case in expected} == expected


def test_the_comparison_is_the_one_that_was_made() -> None:
    saved = json.loads((ROOT / "stress/results/contenders-3.13.json").read_text())
    build = Build(**{name: value for name, value in saved["build"].items() if name != "label"})
    made = compact_markdown([Outcome.of_json(each) for each in saved["outcomes"]], build)
    assert made in TEXTS["comparison.md"]
    threads = [line.strip("| ").split(" | ")[1:] for line in made.split("\n\n")[0].splitlines()[2:]]
    answered = [column.count("yes") for column in zip(*threads, strict=True)]
    assert f"Of {len(threads)} questions about threads" in TEXTS["README.md"] and answered[0] == len(threads)
    assert f"the best of eight other caches answers {max(answered[1:])}" in " ".join(TEXTS["README.md"].split())
    assert len(answered) == 9
    shown = TEXTS["README.md"].split("<!-- comparison -->")[1].split("<!-- /comparison -->")[0]
    columns = zip(made.splitlines()[0].strip("| ").split(" | "), zip(*threads, strict=True), strict=True)
    for name, column in columns:
        yes, not_offered = column.count("yes"), column.count("-")
        assert f"| {name} | {yes} | {len(column) - yes - not_offered} | {not_offered} |" in shown
    (cold_key,) = [o for o in saved["outcomes"] if (o["row"], o["contender"]) == ("cold_key", "lru_cache")]
    assert cold_key["detail"] == "more than one call in 80 of 400 bursts, up to 16 of 16"
    assert "Of 400 times that 16 threads" in TEXTS["README.md"] and "than once in 80, up to 16" in TEXTS["README.md"]
