"""The package from outside: its names, its metadata, and what importing it does."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import areole
import areole.errors
import areole.serializers
import areole.testing
import areole.typing
from areole import AtomicCache

from .kit import is_free_threaded

ROOT = Path(__file__).parent.parent
PUBLIC = [  # constants, classes, functions, as ruff sorts them
    "CACHE_MISS",
    "DEFAULT_TTL",
    "NOT_MODIFIED",
    "AreoleError",
    "AsyncAtomicCache",
    "AtomicCache",
    "BackendError",
    "Cache",
    "CacheClosedError",
    "CacheInfo",
    "CacheMissSentinel",
    "DefaultTTLSentinel",
    "Deserializer",
    "FillDeadlockError",
    "FillTimeout",
    "Filled",
    "RecursiveFillError",
    "RemovalCause",
    "Resilience",
    "SerializationError",
    "Serializer",
    "SettingsError",
    "SharedCache",
    "Storage",
    "accelerated",
    "cached",
    "sources",
]


def run(code: str, **environment: str) -> str:
    """Run `code` in a new interpreter and return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    path = os.pathsep.join([str(Path(areole.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=inherited | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_public_names_are_these() -> None:
    assert areole.__all__ == PUBLIC
    assert len(set(PUBLIC)) == len(PUBLIC)


def test_nothing_else_is_public() -> None:
    named = [name for name in dir(areole) if not name.startswith("_")]
    public = {name for name in named if not inspect.ismodule(getattr(areole, name))}
    assert public == set(PUBLIC)


@pytest.mark.parametrize(
    "module", [areole.errors, areole.serializers, areole.testing, areole.typing], ids=lambda module: module.__name__
)
def test_every_public_module_lists_its_names(module: Any) -> None:
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(areole, name)
    assert (value.__doc__ or "").strip()
    own_methods = [
        getattr(value, each)
        for each in dir(value)
        if not each.startswith("_") and inspect.isroutine(getattr(value, each))
    ]
    undocumented = [each.__qualname__ for each in own_methods if not inspect.getdoc(each)]
    assert undocumented == []


def test_errors_are_what_they_are_documented_to_be() -> None:
    assert issubclass(areole.RecursiveFillError, RuntimeError)
    assert issubclass(areole.FillDeadlockError, RuntimeError)
    assert issubclass(areole.CacheClosedError, RuntimeError)
    assert issubclass(areole.FillTimeout, TimeoutError)


def test_the_version_is_three_numbers() -> None:
    assert [part.isdigit() for part in areole.__version__.split(".")] == [True] * 3


def test_the_metadata_say_what_the_package_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "Programming Language :: Python :: Free Threading :: 3 - Stable" in project["classifiers"]
    assert project["dependencies"] == ["cereggii>=1.0"]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "MIT"


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(areole.__file__).parent / "py.typed").exists()


def test_importing_loads_nothing_but_the_standard_library_and_cereggii() -> None:
    code = """
import sys
before = set(sys.modules)  # what `site` loads is not ours
from areole import *
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names)))
"""
    loaded = set(run(code).split())
    assert {"areole", "cereggii"} <= loaded
    assert loaded <= {"areole", "cereggii", "_cereggii"}


def test_importing_loads_only_what_says_where_areole_cannot_be_used() -> None:
    """Issue 13: at most 1.6 times what cereggii alone takes. So all but that waits for its first use."""
    code = "import sys, cereggii, importlib; has = set(sys.modules); import areole; print(*set(sys.modules) - has)"
    loaded = set(run(code).split())
    assert {name for name in loaded if name.startswith("areole")} == {
        "areole",
        "areole._platform",
        "areole._platform.requirements",
    }
    assert not {"decimal", "fractions", "hashlib", "logging", "pathlib", "pickle", "urllib.parse", "uuid"} & loaded


def test_first_use_loads_no_slow_part_of_the_standard_library_that_it_does_not_need() -> None:
    unneeded = {"asyncio", "concurrent.futures", "multiprocessing", "unittest", "sqlite3", "http.client", "json"}
    code = "import sys, cereggii; has = set(sys.modules); from areole import AtomicCache, Cache, Storage, cached; "
    code += "AtomicCache(str)[1]; print(*set(sys.modules) - has)"
    assert not unneeded & set(run(code).split())


def test_modules_of_public_names_are_there_without_an_import_of_their_own() -> None:
    code = "import areole; print(areole.errors.AreoleError is areole.AreoleError, areole.serializers.JsonSerializer, "
    code += "areole.typing.CacheInfo is areole.CacheInfo, set(areole.__all__) <= set(dir(areole)))"
    assert run(code).split()[0] == "True" and run(code).split()[-2:] == ["True", "True"]


def test_threads_that_first_use_a_name_at_once_get_one_object() -> None:
    code = """
import threading, areole
gate, got = threading.Barrier(8), []
def ask():
    gate.wait()
    got.append(areole.Storage)
threads = [threading.Thread(target=ask) for _ in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(len(got), len(set(map(id, got))))
"""
    assert run(code) == "8 1"


@pytest.mark.skipif(is_free_threaded(), reason="free-threaded builds reach the C API through ctypes")
def test_importing_does_not_load_ctypes_where_there_is_a_gil() -> None:
    code = "import sys, cereggii; had = 'ctypes' in sys.modules; from areole import AtomicCache, Storage, cached; "
    code += "print(not had and 'ctypes' in sys.modules)"
    assert run(code) == "False"


@pytest.mark.skipif(not is_free_threaded(), reason="there is a GIL")
def test_importing_leaves_the_gil_off() -> None:
    """With PYTHON_GIL unset: an extension that is not marked as safe would turn it on, with a warning."""
    code = "import sys, areole; cache = areole.AtomicCache(str, index='atomic'); cache[1]; print(sys._is_gil_enabled())"
    assert run(code) == "False"


def test_the_package_works_without_ctypes_and_under_optimisation() -> None:
    code = "import sys; sys.modules['ctypes'] = None; import areole; print(areole.AtomicCache(str)[1])"
    assert run(code) == "1"
    assert run("import areole; print(areole.AtomicCache.memoize(str)(1))", PYTHONOPTIMIZE="2") == "1"


def test_star_import_gives_the_public_names() -> None:
    namespace: dict[str, Any] = {}
    exec("from areole import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(PUBLIC)


def test_the_class_of_a_cache_under_a_ttl_is_chosen_before_it_is_made() -> None:
    """Known fault A11: `self.__class__ = ...` stops all threads on free-threaded builds of 3.14 and later."""
    made = {id(cache): type(cache) for cache in (AtomicCache(str, 1), AtomicCache(str, ttl=1), AtomicCache(str))}
    kinds = list(made.values())
    if areole.accelerated:  # one class for all, whose hits are looked up in C
        assert set(kinds) == {AtomicCache, type(AtomicCache(str, stats=True))}
        return
    assert kinds[0] is kinds[1] is not AtomicCache and kinds[2] is AtomicCache
    assert kinds[0].__name__ == "AtomicCache" and issubclass(kinds[0], AtomicCache)
    counting = type(AtomicCache(str, 1, stats=True))
    assert counting is type(AtomicCache(str, stats=True)) and counting not in kinds
    assert counting.__name__ == "AtomicCache" and issubclass(counting, AtomicCache)
    assert type(AtomicCache(str, 1, max_items=2)) is type(AtomicCache(str, max_items=2, stats=True)) is AtomicCache

    class Own(AtomicCache[Any, Any]):
        def __init__(self, one: int, two: int, three: int) -> None:
            super().__init__(str, ttl=one + two + three)

    assert type(Own(1, 2, 3)) is Own and Own(1, 2, 3)[5] == "5"
    source = Path(inspect.getfile(AtomicCache)).parent
    assert not [path for path in source.rglob("*.py") if ".__class__ = " in path.read_text(encoding="utf-8")]
