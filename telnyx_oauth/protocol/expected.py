"""Refusing the wrong thing where it is given, with the right one named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

_F = TypeVar("_F")
TRANSPORT: Final = "a transport, such as HttpTransport() or an async function"
"""What sends requests."""
_BLOCKING: Final = ("telnyx_oauth.blocking", "telnyx_oauth.sync")


def expect(value: object, parameter: str, wanted: str, *methods: str) -> None:
    """Raises `TypeError` unless `value` has these methods, and is neither a class nor of the blocking client.

    The message holds the type of what was given, and never its value.
    """
    foreign = isinstance(value, type) or type(value).__module__.startswith(_BLOCKING)
    if foreign or not all(callable(getattr(value, name, None)) for name in methods):
        raise TypeError(f"`{parameter}` must be {wanted}; what was given is {_given(value)}.")


def expect_a(kind: type[object], value: object, parameter: str) -> None:
    """Raises `TypeError` unless `value` is a `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"`{parameter}` must be of type {kind.__name__}; what was given is {_given(value)}.")


def _given(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}, which has to be made first"
    kind = type(value)
    if kind.__module__.startswith(_BLOCKING):
        return f"the blocking {kind.__name__}"
    return "None" if value is None else f"of type {kind.__name__}"


def expect_text(kind: type[object], parameter: str, instead: str = "") -> None:
    """Raises `TypeError` unless `kind`, the type of what was given, is a text's.

    It is the type that is given, so that no frame here holds the value.
    """
    if not issubclass(kind, str):
        raise TypeError(f"{parameter} must be a str{instead}, and no {kind.__name__}")


AS_TEXT: Final = ", such as str(url)"
"""What to give instead of an address that is an object."""


def texts(values: str | Iterable[str], parameter: str) -> tuple[str, ...]:
    """The texts that were given: one, or several. Raises `TypeError` for anything else."""
    if isinstance(values, str):
        return (values,)
    found = tuple(values) if isinstance(values, Iterable) else (values,)  # pyright: ignore[reportUnnecessaryIsInstance]  # not every caller is type-checked
    for kind in map(type, found):
        if not issubclass(kind, str):
            raise TypeError(f"`{parameter}` must be a str or a list of them, and no {kind.__name__}")
    return found


def expect_mapping(values: object, parameter: str) -> None:
    """Raises `TypeError` for what is no mapping."""
    if not isinstance(values, Mapping):
        raise TypeError(f"`{parameter}` must be a mapping of names to values, and no {type(values).__name__}")


def expect_functions(functions: Iterable[_F], parameter: str) -> tuple[_F, ...]:
    """The functions. Raises `TypeError` for what is no list of functions."""
    if callable(functions) or not isinstance(functions, Iterable) or isinstance(functions, (str, bytes)):  # pyright: ignore[reportUnnecessaryIsInstance]  # by whom its type is ignored
        raise TypeError(
            f"`{parameter}` must be a list of functions, such as [print]; what was given is {type(functions).__name__}."
        )
    found = tuple(functions)
    for each in found:
        expect(each, parameter, "a list of functions or objects that are called with an event", "__call__")
    return found
