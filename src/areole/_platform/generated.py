"""Generated functions: compiled once per text, with globals of their own, and with their lines in tracebacks."""

from __future__ import annotations

import functools
import inspect
import itertools
import linecache
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MappingProxyType
from typing import Any, Final

from .refcount import is_free_threaded

__all__ = ["FILE", "define"]

FILE: Final = "<areole.generated"
"""What the file names of generated code begin with."""

MAX_SOURCES: Final = 1024
"""How many texts are kept, compiled and for tracebacks: functions of the same signature and options share one."""

_serial = itertools.count(1)
_files: deque[str] = deque()


def define(
    source: str,
    names: Mapping[str, Any],
    attributes: Mapping[str, str] = MappingProxyType({}),
    is_freed: bool = False,
) -> FunctionType:
    """Run `source`, which defines one function, and return it. Its globals are those of `names` that it uses.

    `attributes` are names of attributes in `source` that stand for others, which need be no identifiers. `is_freed`
    says that the function has to be freed on 3.13t too: there threads then contend for its reference count.
    """
    code = _compile(source, _FREED_ON_313T if is_freed else 0)
    _show_in_tracebacks(code.co_filename, source)
    if attributes:
        code = _rename(code, attributes)
    # The keys are the bytecode's own string objects, and only those that it uses: they are found by identity alone.
    namespace = {each: names[each] for each in _names_in(code) if each in names}
    defined: dict[str, FunctionType] = {}
    exec(code, namespace, defined)
    return defined.popitem()[1]


_FREED_ON_313T: Final = inspect.CO_NESTED if is_free_threaded() and sys.version_info < (3, 14) else 0
"""A flag of code: 3.13t makes functions immortal, once there are threads, unless they are nested."""


@functools.lru_cache(MAX_SOURCES)
def _compile(source: str, flags: int = 0) -> CodeType:
    """Compile; what `replace` makes is immortal on 3.13t, while what `compile` makes is fought over by all callers."""
    return _rename(compile(source, f"{FILE} {next(_serial)}>", "exec"), {}, flags)


def _show_in_tracebacks(file: str, source: str) -> None:
    """Have tracebacks show the lines of `source`. The oldest text goes when there are too many.

    An entry of `linecache` without a time is never looked for on disk, nor dropped by `checkcache`.
    """
    if file in linecache.cache:
        return
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    _files.append(file)
    if len(_files) > MAX_SOURCES:
        linecache.cache.pop(_files.popleft(), None)


def _rename(code: CodeType, names: Mapping[str, str], flags: int = 0) -> CodeType:
    consts = [_rename(each, names, flags) if isinstance(each, CodeType) else each for each in code.co_consts]
    renamed = tuple(names.get(each, each) for each in code.co_names)
    return code.replace(co_names=renamed, co_consts=tuple(consts), co_flags=code.co_flags | flags)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names_in(const)
