"""Copies of exceptions, for those who waited and for stored ones: their state, and what they lead to.

Known faults: copies are made by the constructor, which runs twice, and slots and fields in C are lost (areole 0.1.0);
a stored exception keeps the frames that raised it, and all their locals (matplotlib #25470, aio-libs/async-lru #594).
"""

from __future__ import annotations

import builtins
import gc
import subprocess
import traceback
import urllib.error
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import AreoleError
from areole._fill.exceptions import raise_unchanged, twin_of
from areole.errors import FillFailedError

from ..kit import is_free_threaded


def arguments_of(kind: type[BaseException]) -> tuple[Any, ...]:
    """Return arguments with which a built-in class sets as many fields as it can."""
    if issubclass(kind, BaseExceptionGroup):
        return "several", [ValueError(1), kind("inner", [KeyError(2)])]
    if issubclass(kind, UnicodeTranslateError):
        return "\udc80", 0, 1, "bad"
    if issubclass(kind, UnicodeDecodeError):
        return "utf-8", b"\xff", 0, 1, "bad"
    if issubclass(kind, UnicodeEncodeError):
        return "ascii", "\xff", 0, 1, "bad"
    if issubclass(kind, BlockingIOError):
        return 11, "again", 7
    if issubclass(kind, OSError):
        return 2, "text", "one", None, "two"
    if issubclass(kind, SyntaxError):
        return "bad", ("file", 1, 2, "text", 1, 3)
    return "text", 2


def keywords_of(kind: type[BaseException]) -> dict[str, Any]:
    if issubclass(kind, ImportError):
        return {"name": "module", "path": "path"}
    if issubclass(kind, AttributeError):
        return {"name": "name", "obj": object()}
    return {"name": "name"} if issubclass(kind, NameError) else {}


def builtin_types() -> list[type[BaseException]]:
    found = {each for each in vars(builtins).values() if isinstance(each, type) and issubclass(each, BaseException)}
    return sorted(found, key=lambda each: each.__name__)


def subclass_of(kind: type[BaseException]) -> type[BaseException]:
    """Make a subclass whose constructor may not be called again, with a slot, and attributes."""

    class Sub(kind):  # type: ignore[valid-type, misc]
        __slots__ = ("_Sub__hidden", "never_set", "slot")
        made = 0

        def __new__(cls, *args: Any, **keywords: Any) -> Any:
            cls.made += 1
            assert cls.made == 1, "it was constructed again"
            return super().__new__(cls, *args, **keywords)

        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **keywords)
            self.slot = self.__hidden = ["in a slot"]
            self.attribute = None

        def __copy__(self) -> Any:
            raise TypeError("no copy")

        __reduce_ex__ = __deepcopy__ = __copy__  # type: ignore[assignment]

    return Sub


def refers_to(error: BaseException) -> list[int]:
    """Return what the object refers to, fields in C too, by id; but for what each copy has of its own."""
    own = (id(vars(error)), id(error.__traceback__))
    return sorted(id(each) for each in gc.get_referents(error) if id(each) not in own)


def raised(error: BaseException) -> Any:
    try:
        raise error
    except BaseException as caught:
        return caught


def frames_of(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("of_subclass", [False, True], ids=["itself", "subclass"])
@pytest.mark.parametrize("kind", builtin_types(), ids=lambda kind: kind.__name__)
def test_a_copy_of_a_builtin_exception_has_all_that_it_refers_to(kind: type[BaseException], of_subclass: bool) -> None:
    """The collector sees what no attribute tells: a field in C that a later Python adds, or one that was never set."""
    error: Any = raised((subclass_of(kind) if of_subclass else kind)(*arguments_of(kind), **keywords_of(kind)))
    error.add_note("note")
    if kind in (StopIteration, SystemExit):
        error.__init__("value")
    vars(error)["more"] = []
    twin: Any = twin_of(error, keeps_frames=True)
    assert twin is not error and type(twin) is type(error)
    assert str(twin) == str(error) and repr(twin) == repr(error)
    assert frames_of(twin) == frames_of(error) == ["raised"]
    own = ("__notes__", "args", "exceptions", "__traceback__", "__reduce_ex__")
    names = [name for name in dir(error) if name not in own and not callable(getattr(error, name, None))]
    for name in names:
        if not name.startswith("__") or name in ("__cause__", "__context__", "__suppress_context__"):
            assert getattr(twin, name, "unset") is getattr(error, name, "unset"), name
    if issubclass(kind, BaseExceptionGroup):  # its members are copied too, in an `args` of its own
        assert [type(each) for each in twin.exceptions] == [type(each) for each in error.exceptions]
        assert twin.exceptions[0] is error.exceptions[0], "it was never raised"
    else:
        assert refers_to(twin) == refers_to(error)
    if of_subclass:
        assert type(error).made == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", builtin_types(), ids=lambda kind: kind.__name__)
def test_a_builtin_exception_whose_constructor_was_never_run_is_copied_too(kind: type[BaseException]) -> None:
    """As of a subclass that does not call it: its fields are empty, and `None` in them would be another thing."""
    arguments = arguments_of(kind) if issubclass(kind, BaseExceptionGroup) else ()
    error = kind.__new__(kind, *arguments)
    twin = twin_of(error, keeps_frames=True)  # type: ignore[arg-type]
    assert repr(twin) == repr(error) and str(twin) == str(error)
    if not arguments:
        assert refers_to(twin) == refers_to(error)


def test_real_exceptions_keep_their_fields() -> None:
    def attribute_error() -> None:
        (5).nothing  # type: ignore[attr-defined]  # noqa: B018

    def name_error() -> None:
        nothing  # type: ignore[name-defined]  # noqa: B018, F821

    def url_error() -> None:
        raise urllib.error.URLError("reason", "file name")

    def process_error() -> None:
        raise subprocess.CalledProcessError(1, ["command"], b"out", b"err")

    def twin_raised_by(function: Callable[[], None]) -> Any:
        try:
            function()
        except Exception as error:
            return twin_of(error, keeps_frames=True)

    assert (twin_raised_by(attribute_error).obj, twin_raised_by(attribute_error).name) == (5, "nothing")
    assert twin_raised_by(name_error).name == "nothing"
    assert twin_raised_by(url_error).filename == "file name"
    assert twin_raised_by(process_error).stderr == b"err"


def chain_of(length: int) -> Exception:
    error = raised(ValueError(0))
    for number in range(1, length):
        after = ValueError(number)
        after.__context__ = error
        error = raised(after)
    return error  # type: ignore[no-any-return]


def led_to(error: BaseException) -> Iterator[BaseException]:
    """All exceptions that `error` leads to, itself first."""
    met: dict[int, BaseException] = {}
    left: list[Any] = [error]
    while left:
        each = left.pop()
        if id(each) in met:
            continue
        met[id(each)] = each
        yield each
        held = [each.__cause__, each.__context__, *getattr(each, "exceptions", ()), *each.args, *vars(each).values()]
        held += [one for value in held if isinstance(value, list | tuple) for one in value]
        left += [one for one in held if isinstance(one, BaseException)]


def tangled() -> Exception:
    """Return an exception that leads to others in every way there is, and round again to itself."""
    inner = raised(OSError(1, "inner"))
    error: Any = urllib.error.URLError(inner)  # in `args`, and in an attribute
    error.__cause__ = raised(ExceptionGroup("several", [raised(KeyError(1)), ExceptionGroup("more", [raised(inner)])]))
    error.__context__ = chain_of(3)
    error.errors = [raised(ValueError("in a list")), "no error"]
    inner.__context__ = error
    return raised(error)  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [tangled, lambda: chain_of(20_000)], ids=["tangled", "long"])
def test_a_copy_without_frames_leads_to_none_and_leaves_the_original_alone(make: Callable[[], Exception]) -> None:
    error = make()
    before = [(each, each.__traceback__, each.__cause__, each.__context__, each.args) for each in led_to(error)]
    twin = twin_of(error, keeps_frames=False)
    assert [each.__traceback__ for each in led_to(twin)] == [None] * len(before)
    assert [type(each) for each in led_to(twin)] == [type(each) for each, *_ in before]
    after = [(each, each.__traceback__, each.__cause__, each.__context__, each.args) for each in led_to(error)]
    assert all(map(lambda these, those: all(map(is_same, these, those)), before, after))
    assert not {id(each) for each in led_to(error)} & {id(each) for each in led_to(twin)}
    while error.__context__:  # a chain of thousands is too long for the interpreter to free at once
        error.__context__, error = None, error.__context__  # type: ignore[assignment]


def is_same(this: object, that: object) -> bool:
    return this is that


def test_a_copy_of_a_copy_shares_no_exception_with_it() -> None:
    """Waiters copy what the leader has copied: no two threads meet at one object that was raised."""
    twin = twin_of(tangled(), keeps_frames=True)
    again = twin_of(twin, keeps_frames=True)
    assert not {id(each) for each in led_to(twin)} & {id(each) for each in led_to(again)}


class Closing(Exception):
    closed = 0

    def __del__(self) -> None:
        type(self).closed += 1


class Speechless(Closing):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("keeps_frames", [True, False])
def test_where_there_is_no_copy_the_object_is_shared_or_an_error_stands_for_it(keeps_frames: bool) -> None:
    error = raised(Closing("the text"))
    twin = twin_of(error, keeps_frames=keeps_frames)
    if not is_free_threaded():
        assert twin is error
        return
    assert type(twin) is FillFailedError and isinstance(twin, AreoleError)
    assert f"{__name__}.Closing: the text (" in str(twin) and "__del__" in str(twin)
    assert frames_of(twin) == (["raised"] if keeps_frames else [])
    assert "Speechless:  (" in str(twin_of(Speechless("text"), keeps_frames=keeps_frames))
    assert type(twin_of(twin, keeps_frames=keeps_frames)) is FillFailedError


def test_an_error_stands_for_what_a_stored_one_leads_to_and_cannot_be_copied() -> None:
    """Or it would keep that one's frames."""
    error = raised(ValueError("text"))
    error.__cause__ = raised(Closing("the cause"))
    stored, passing = twin_of(error, keeps_frames=False), twin_of(error, keeps_frames=True)
    assert type(stored.__cause__) is FillFailedError and "Closing: the cause" in str(stored.__cause__)
    assert stored.__cause__.__traceback__ is None
    assert (passing.__cause__ is error.__cause__) is not is_free_threaded()


def test_a_class_that_an_extension_module_lays_out_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state may lie where no descriptor shows it. Here, OSError passes for such a class."""
    monkeypatch.setattr(builtins, "OSError", None)

    class Foreign(TimeoutError):
        slots_or_not = 1

    monkeypatch.setattr(builtins, "TimeoutError", None)
    error = Foreign("text")
    assert (twin_of(error, keeps_frames=True) is error) is not is_free_threaded()


def test_an_exception_is_raised_with_the_context_that_it_has() -> None:
    error, context = ValueError(1), KeyError(2)
    error.__context__ = context
    try:
        raise LookupError("the caller handles this one")
    except LookupError:
        with pytest.raises(ValueError) as caught:
            raise_unchanged(error)
    assert caught.value is error
    assert error.__context__ is context
