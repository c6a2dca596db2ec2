"""What the wheel and the source distribution hold; `make lint` checks how they are built and described."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
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


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and a source distribution. They are built with what is installed: it needs no network."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


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
    """The files below a folder, relative to it, without what Python has compiled."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: list[str]) -> None:
    info = f"areole-{areole.__version__}.dist-info"
    about = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
    assert set(wheel) == about | {f"areole/{name}" for name in files_in(PACKAGE)}
    assert "areole/py.typed" in wheel


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
    unwanted = {"__pycache__", "dist", "traces"}
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
    extras = {"django", "json", "msgpack", "pydantic", "redis", "zstd"}
    assert set(metadata.get_all("Provides-Extra", [])) == extras | {"all", "contenders", "dev", "test"}
    required: dict[str, set[str]] = {extra: set() for extra in metadata.get_all("Provides-Extra", [])}
    for each in metadata.get_all("Requires-Dist", []):
        name, _, extra = each.partition("extra == ")
        required.get(extra.strip("'"), set()).add(re.match(r"[\w.]+", name)[0])
    assert required["all"] == set().union(*(required[extra] for extra in extras)) and "redis" in required["all"]


def test_the_metadata_name_no_address_and_no_person(built: Path) -> None:
    """There is no public host for the project: what names one would be made up."""
    fields = set(metadata_of(built).keys())
    assert not fields & {"Author", "Author-email", "Maintainer", "Maintainer-email", "Home-page", "Project-URL"}
