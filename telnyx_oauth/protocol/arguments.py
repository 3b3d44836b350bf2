"""Checks of arguments. Their errors name the parameter, what it must be, and what it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar, cast

from ..messages import check_number

_F = TypeVar("_F")
AS_TEXT: Final = ", such as str(url)"
"""A hint for callers that pass an address as an object."""
TRANSPORT: Final = "a transport, such as HttpTransport() or an async function"
"""The description of `send` in errors."""
_BLOCKING: Final = ("telnyx_oauth.blocking", "telnyx_oauth.sync")


def expect(value: object, parameter: str, expected: str, *methods: str) -> None:
    """Raise `TypeError` unless `value` has these methods, and is neither a class nor a part of the blocking client."""
    odd = isinstance(value, type) or type(value).__module__.startswith(_BLOCKING)
    if odd or not all(callable(getattr(value, name, None)) for name in methods):
        raise TypeError(_refusal(value, parameter, expected))


def expect_a(value: object, parameter: str, expected: str, *kinds: type) -> None:
    """Raise `TypeError` unless `value` is of one of these kinds. `True` and `False` are not numbers here."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(_refusal(value, parameter, expected))


def expect_flags(**values: object) -> None:
    """Raise `TypeError` for a value that is neither `True` nor `False`: the text "false" would count as true."""
    for parameter, value in values.items():
        expect_a(value, parameter, "True or False", bool)


def expect_numbers(**values: object) -> None:
    """Raise `TypeError` for a value that is not a number, and `ValueError` for one below 0."""
    for parameter, value in values.items():
        check_number(value, parameter, "a number")
        if not cast("float", value) >= 0:
            raise ValueError(f"`{parameter}` must be 0 or more.")


def expect_function(value: object, parameter: str, expected: str) -> None:
    """Raise `TypeError` unless `value` can be called, and is not a class."""
    expect(value, parameter, expected, "__call__")


def expect_functions(functions: Iterable[_F], parameter: str) -> tuple[_F, ...]:
    """The functions as a tuple. Raises `TypeError` unless they are a list of functions."""
    expected = "a list of functions or objects that are called with an event, such as [print]"
    if callable(functions) or isinstance(functions, (str, bytes)):
        raise TypeError(_refusal(functions, parameter, expected))
    expect(functions, parameter, expected, "__iter__")
    items = tuple(functions)
    for item in items:
        expect_function(item, parameter, expected)
    return items


def expect_kind(kind: type, parameter: str, expected: str, *kinds: type) -> None:
    """As `expect_a`, but for the type of a value, so that no frame of the error holds a secret value."""
    if not issubclass(kind, kinds):
        raise TypeError(_refusal_of(kind, parameter, expected))


def expect_text(kind: type, parameter: str, instead: str = "") -> None:
    """Raise `TypeError` unless `kind`, the type of an argument, is `str`."""
    expect_kind(kind, parameter, f"a str{instead}", str)


def expect_texts(values: str | Iterable[str], parameter: str) -> tuple[str, ...]:
    """The texts in `values`, which is one text or several. Raises `TypeError` for anything else."""
    if isinstance(values, str):
        return (values,)
    expected = "a str or a list of them"
    expect_a(values, parameter, expected, Iterable)
    items = tuple(values)
    for item in items:
        expect_a(item, parameter, expected, str)
    return items


def expect_mapping(kind: type, parameter: str) -> None:
    """Raise `TypeError` unless `kind`, the type of an argument, is a mapping's."""
    expect_kind(kind, parameter, "a mapping of names to values", Mapping)


def _refusal(value: object, parameter: str, expected: str) -> str:
    if isinstance(value, type):
        return _sentence(parameter, expected, f"the class {value.__name__}, which has to be made first")
    return _refusal_of(type(value), parameter, expected)


def _refusal_of(kind: type, parameter: str, expected: str) -> str:
    if kind.__module__.startswith(_BLOCKING):
        return _sentence(parameter, expected, f"the blocking {kind.__name__}")
    return _sentence(parameter, expected, "None" if kind is type(None) else f"of type {kind.__name__}")


def _sentence(parameter: str, expected: str, value: str) -> str:
    name = f"`{parameter}`" if parameter.isidentifier() else parameter
    return f"{name} must be {expected}; what was given is {value}."
