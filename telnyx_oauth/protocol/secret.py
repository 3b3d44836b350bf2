"""A secret on its way to the wire: a value that prints nothing of itself."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar, cast

T_co = TypeVar("T_co", covariant=True)


class Secret(Generic[T_co]):
    """A text, bytes or mapping that holds a secret. Its `repr` and `str` hide it; only `reveal` gives it.

    Crash reporters and debuggers show the local variables of every frame that an error passes. A secret that travels in
    this type is not among them. Reveal it in the expression that needs the plain value, and bind that to no name.
    """

    # Not an attrs class: tools that print values look into those.
    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """The plain value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        # Spliced into a text by mistake, it would be sent or stored as `Secret('***')`.
        raise TypeError("A secret is not text: call `reveal()` where it leaves the program.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == cast("Secret[object]", other)._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled: call `reveal()` where it leaves the program.")

    def __copy__(self) -> Secret[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret[T_co]:
        return self
