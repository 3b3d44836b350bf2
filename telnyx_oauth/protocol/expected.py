"""Refusing the wrong thing where it is given, with the right one named."""

from __future__ import annotations

from typing import Final

_BLOCKING: Final = ("telnyx_oauth.blocking", "telnyx_oauth.sync")


def expect(value: object, parameter: str, wanted: str, *methods: str) -> None:
    """Raises `TypeError` unless `value` has these methods, and is neither a class nor of the blocking client.

    The message holds the type of what was given, and never its value.
    """
    kind = type(value)
    if isinstance(value, type):
        given = f"the class {value.__name__}, which has to be made first"
    elif kind.__module__.startswith(_BLOCKING):
        given = f"the blocking {kind.__name__}"
    elif all(callable(getattr(value, name, None)) for name in methods):
        return
    else:
        given = "None" if value is None else f"of type {kind.__name__}"
    raise TypeError(f"`{parameter}` must be {wanted}; what was given is {given}.")
