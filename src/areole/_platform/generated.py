"""Generated functions: compiled once per text, with globals of their own, and with their lines in tracebacks."""

from __future__ import annotations

import functools
import itertools
import linecache
from collections import deque
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType, MappingProxyType
from typing import Any, Final

__all__ = ["FILE", "define"]

FILE: Final = "<areole.generated"
"""What the file names of generated code begin with."""

MAX_SOURCES: Final = 1024
"""How many texts are kept, compiled and for tracebacks: functions of the same signature and options share one."""

_serial = itertools.count(1)
_files: deque[str] = deque()


def define(source: str, names: Mapping[str, Any], attributes: Mapping[str, str] = MappingProxyType({})) -> FunctionType:
    """Run `source`, which defines one function, and return it. Its globals are those of `names` that it uses.

    `attributes` are names of attributes in `source` that stand for others, which need be no identifiers.
    """
    code = _compile(source)
    if attributes:
        code = _rename(code, attributes)
    # The keys are the bytecode's own string objects, and only those that it uses: they are found by identity alone.
    namespace = {each: names[each] for each in _names_in(code) if each in names}
    defined: dict[str, FunctionType] = {}
    exec(code, namespace, defined)
    return defined.popitem()[1]


@functools.lru_cache(MAX_SOURCES)
def _compile(source: str) -> CodeType:
    """Compile; what `replace` makes is immortal on 3.13t, while what `compile` makes is fought over by all callers."""
    return _rename(compile(source, _register(source), "exec"), {})


def _register(source: str) -> str:
    """Have tracebacks show the lines of `source`; return its file name. The oldest text goes when there are too many.

    An entry of `linecache` without a time is never looked for on disk, nor dropped by `checkcache`.
    """
    file = f"{FILE} {next(_serial)}>"
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    _files.append(file)
    if len(_files) > MAX_SOURCES:
        linecache.cache.pop(_files.popleft(), None)
    return file


def _rename(code: CodeType, names: Mapping[str, str]) -> CodeType:
    consts = tuple(_rename(const, names) if isinstance(const, CodeType) else const for const in code.co_consts)
    return code.replace(co_names=tuple(names.get(each, each) for each in code.co_names), co_consts=consts)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names_in(const)
