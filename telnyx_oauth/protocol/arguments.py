"""Checks of arguments: the wrong thing is refused where it is given, with the right one named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar, cast

from ..messages import check_number

_F = TypeVar("_F")
AS_TEXT: Final = ", such as str(url)"
"""What to give instead of an address that is an object."""
TRANSPORT: Final = "a transport, such as HttpTransport() or an async function"
"""What sends requests."""
_BLOCKING: Final = ("telnyx_oauth.blocking", "telnyx_oauth.sync")


def expect(value: object, parameter: str, wanted: str, *methods: str) -> None:
    """Raises `TypeError` unless `value` has these methods, and is neither a class nor of the blocking client."""
    odd = isinstance(value, type) or type(value).__module__.startswith(_BLOCKING)
    if odd or not all(callable(getattr(value, name, None)) for name in methods):
        raise TypeError(_refusal(value, parameter, wanted))


def expect_a(value: object, parameter: str, wanted: str, *kinds: type) -> None:
    """Raises `TypeError` unless `value` is of one of these kinds. A truth value is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(_refusal(value, parameter, wanted))


def expect_flags(**given: object) -> None:
    """Raises `TypeError` for a value that is neither `True` nor `False`: the text "false" would count as true."""
    for parameter, value in given.items():
        expect_a(value, parameter, "True or False", bool)


def expect_numbers(**given: object) -> None:
    """Raises `TypeError` for what is no number, and `ValueError` for one below 0."""
    for parameter, value in given.items():
        check_number(value, parameter, "a number")
        if not cast("float", value) >= 0:
            raise ValueError(f"`{parameter}` must be 0 or more.")


def expect_function(value: object, parameter: str, wanted: str) -> None:
    """Raises `TypeError` unless `value` can be called, and is no class."""
    expect(value, parameter, wanted, "__call__")


def expect_functions(functions: Iterable[_F], parameter: str) -> tuple[_F, ...]:
    """The functions. Raises `TypeError` for what is no list of functions."""
    wanted = "a list of functions or objects that are called with an event, such as [print]"
    if callable(functions) or isinstance(functions, (str, bytes)):
        raise TypeError(_refusal(functions, parameter, wanted))
    expect(functions, parameter, wanted, "__iter__")
    found = tuple(functions)
    for each in found:
        expect_function(each, parameter, wanted)
    return found


def expect_kind(kind: type, parameter: str, wanted: str, *kinds: type) -> None:
    """As `expect_a`, for `kind`, the type of what was given."""
    if not issubclass(kind, kinds):
        raise TypeError(_refusal_of(kind, parameter, wanted))


def expect_text(kind: type, parameter: str, instead: str = "") -> None:
    """Raises `TypeError` unless `kind`, the type of what was given, is a text's."""
    expect_kind(kind, parameter, f"a str{instead}", str)


def expect_texts(values: str | Iterable[str], parameter: str) -> tuple[str, ...]:
    """The texts in `values`, which is one or several. Raises `TypeError` for anything else."""
    if isinstance(values, str):
        return (values,)
    wanted = "a str or a list of them"
    expect_a(values, parameter, wanted, Iterable)
    found = tuple(values)
    for each in found:
        expect_a(each, parameter, wanted, str)
    return found


def expect_mapping(kind: type, parameter: str) -> None:
    """Raises `TypeError` unless `kind`, the type of what was given, is a mapping's."""
    expect_kind(kind, parameter, "a mapping of names to values", Mapping)


def _refusal(value: object, parameter: str, wanted: str) -> str:
    if isinstance(value, type):
        return _sentence(parameter, wanted, f"the class {value.__name__}, which has to be made first")
    return _refusal_of(type(value), parameter, wanted)


def _refusal_of(kind: type, parameter: str, wanted: str) -> str:
    if kind.__module__.startswith(_BLOCKING):
        return _sentence(parameter, wanted, f"the blocking {kind.__name__}")
    return _sentence(parameter, wanted, "None" if kind is type(None) else f"of type {kind.__name__}")


def _sentence(parameter: str, wanted: str, given: str) -> str:
    named = f"`{parameter}`" if parameter.isidentifier() else parameter
    return f"{named} must be {wanted}; what was given is {given}."
