"""Refusing the wrong thing where it is given, with the right one named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

_BLOCKING: Final = ("telnyx_oauth.blocking", "telnyx_oauth.sync")


def expect(value: object, parameter: str, wanted: str, *methods: str) -> None:
    """Raises `TypeError` unless `value` has these methods, and is neither a class nor of the blocking client.

    The message holds the type of what was given, and never its value.
    """
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
        expect_a(value, parameter, "a number", int, float)
        if not cast("float", value) >= 0:
            raise ValueError(f"`{parameter}` must be 0 or more.")


def expect_function(value: object, parameter: str, wanted: str) -> None:
    """Raises `TypeError` unless `value` can be called, and is no class."""
    expect(value, parameter, wanted, "__call__")


def expect_texts(value: object, parameter: str, wanted: str) -> tuple[str, ...]:
    """The texts in `value`, which is one or several. Raises `TypeError` for anything else."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Iterable) or isinstance(value, (bytes, bytearray)):
        raise TypeError(_refusal(value, parameter, wanted))
    found = tuple(cast("Iterable[object]", value))
    for each in found:
        expect_a(each, parameter, wanted, str)
    return cast("tuple[str, ...]", found)


def _refusal(value: object, parameter: str, wanted: str) -> str:
    kind = type(value)
    if isinstance(value, type):
        given = f"the class {value.__name__}, which has to be made first"
    elif kind.__module__.startswith(_BLOCKING):
        given = f"the blocking {kind.__name__}"
    else:
        given = "None" if value is None else f"of type {kind.__name__}"
    return f"`{parameter}` must be {wanted}; what was given is {given}."
