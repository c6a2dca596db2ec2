"""What the wheel and the source distribution hold; `make lint` checks how they are built and described."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest

import areole

ROOT = Path(__file__).parent.parent
PACKAGE = Path(areole.__file__).parent

pytestmark = pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling is not installed: run `make`")


HIT = f"_hit{sysconfig.get_config_var('EXT_SUFFIX')}"
"""The compiled accelerator, for this interpreter."""


def build(folder: Path, *targets: str, **environment: str) -> Path:
    """Build what is named, or both, with what is installed: it needs no network."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *targets],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "Error" not in done.stderr, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution."""
    return build(tmp_path_factory.mktemp("dist"), AREOLE_PURE="")


@pytest.fixture(scope="module")
def wheel(built: Path) -> list[str]:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


@pytest.fixture(scope="module")
def sdist(built: Path) -> list[str]:
    """The names in it, without the folder that all of them are in."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def files_in(folder: Path) -> set[str]:
    """The files below a folder, relative to it, without what has been compiled."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts and not path.name.startswith("_hit.")}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: list[str]) -> None:
    info = f"areole-{areole.__version__}.dist-info"
    about = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    package = {f"areole/{name}" for name in files_in(PACKAGE) if not name.endswith(".c")}
    assert set(wheel) - {f"areole/_core/{HIT}"} == about | package
    assert "areole/py.typed" in wheel


def test_a_wheel_is_for_one_platform_if_it_has_the_accelerator_and_for_all_without(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl") is (f"areole/_core/{HIT}" not in zipfile.ZipFile(path).namelist())
    (pure,) = build(tmp_path, "-t", "wheel", AREOLE_PURE="1").glob("*.whl")
    assert pure.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(pure).namelist() if "_hit" in name]


def test_every_folder_of_the_package_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_sdist_holds_what_is_needed_to_test_and_build_it(sdist: list[str]) -> None:
    top = {PurePosixPath(name).parts[0] for name in sdist}
    assert top == {
        ".gitignore",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "PKG-INFO",
        "README.md",
        "SECURITY.md",
        "benchmarks",
        "docs",
        "examples",
        "hatch_build.py",
        "mkdocs.yml",
        "pyproject.toml",
        "src",
        "stress",
        "tests",
    }
    for folder in ("docs", "examples", "src", "stress", "tests"):
        assert files_in(ROOT / folder) == {
            name.removeprefix(f"{folder}/") for name in sdist if name.startswith(f"{folder}/")
        }


def test_neither_holds_what_a_checkout_happens_to_have(wheel: list[str], sdist: list[str]) -> None:
    unwanted = {"__pycache__", "dist", "traces"} | {path.name for path in PACKAGE.rglob("_hit.*")} - {HIT}
    assert not [name for name in sdist if "_hit." in name]
    parts = {part for name in wheel + sdist for part in PurePosixPath(name).parts}
    assert not parts & unwanted
    assert not {part for part in parts if part.startswith((".venv", ".mypy", ".pytest", ".ruff", ".git/", ".hypo"))}


def metadata_of(built: Path) -> Message:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return Parser().parsestr(archive.read(f"areole-{areole.__version__}.dist-info/METADATA").decode())


def test_the_metadata_are_those_of_the_project(built: Path) -> None:
    metadata = metadata_of(built)
    assert metadata["Name"] == "areole" and metadata["Version"] == areole.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["License-Expression"] == "MIT"
    required = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    assert required == ["cereggii>=1.0"]


def test_each_engine_and_serializer_is_an_extra_and_all_has_them_all(built: Path) -> None:
    metadata = metadata_of(built)
    extras = {"django", "json", "msgpack", "opentelemetry", "prometheus", "pydantic", "redis", "zstd"}
    assert set(metadata.get_all("Provides-Extra", [])) == extras | {"all", "bench", "contenders", "dev", "docs", "test"}
    required: dict[str, set[str]] = {extra: set() for extra in metadata.get_all("Provides-Extra", [])}
    for each in metadata.get_all("Requires-Dist", []):
        name, _, extra = each.partition("extra == ")
        required.get(extra.strip("'"), set()).add(re.match(r"[\w.]+", name)[0])
    assert required["all"] == set().union(*(required[extra] for extra in extras)) and "redis" in required["all"]


def test_the_metadata_name_no_address_and_no_person(built: Path) -> None:
    """There is no public host for the project: what names one would be made up."""
    fields = set(metadata_of(built).keys())
    assert not fields & {"Author", "Author-email", "Maintainer", "Maintainer-email", "Home-page", "Project-URL"}


CIBUILDWHEEL = {
    "": {"build", "build-frontend", "enable", "skip", "test-command", "test-skip"},
    "linux": {"archs", "before-all", "repair-wheel-command"},
    "macos": {"archs", "before-all", "repair-wheel-command"},
}
"""The options of cibuildwheel 3 that are of use here. It refuses a file with a name that it does not know."""


def test_cibuildwheel_knows_what_it_is_told_and_builds_each_python_that_the_classifiers_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = project["tool"]["cibuildwheel"]
    tables = {"": {name for name in settings if name not in CIBUILDWHEEL}}
    tables |= {name: set(settings[name]) for name in settings if name in CIBUILDWHEEL}
    assert [name for name, table in tables.items() if not table <= CIBUILDWHEEL[name]] == []
    assert settings["enable"] == ["cpython-freethreading"]  # 3.13t; of 3.14t it is no longer asked
    named = set(re.findall(r"Python :: 3\.(\d+)", " ".join(project["project"]["classifiers"]))) - {
        "11"
    }  # hit.c needs 3.12
    assert {each.removesuffix("-*") for each in settings["build"] if "t-" not in each} == {f"cp3{n}" for n in named}
