"""Values whose `repr` hides them, and values that refuse to be copied."""

from __future__ import annotations

from typing import ClassVar, Final, Generic, NoReturn, TypeVar, cast

T_co = TypeVar("T_co", covariant=True)


class Secret(Generic[T_co]):
    """A text, bytes or mapping that holds a secret. Its `repr` and `str` hide it; only `plain` gives it.

    Crash reporters and debuggers show the local variables of every frame that an error passes. A secret that travels in
    this type is not among them. Take it out in the expression that needs the plain value, and bind that to no name.
    """

    # Not an attrs class: tools that print values look into those.
    __slots__ = ("plain",)

    def __init__(self, value: T_co) -> None:
        self.plain: Final = value
        """The plain value. An attribute, since a call of a method would be felt on the way of each request."""

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        # Spliced into a text by mistake, it would be sent or stored as `Secret('***')`.
        raise TypeError("A secret is not text: take `.plain` where it leaves the program.")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.plain == cast("Secret[object]", other).plain

    def __hash__(self) -> int:
        return hash(self.plain)

    def __bool__(self) -> bool:
        return bool(self.plain)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled: take `.plain` where it leaves the program.")

    def __copy__(self) -> Secret[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret[T_co]:
        return self


class Uncopied:
    """Refuses `copy` and `pickle` in words. A base class."""

    __slots__ = ()
    _instead: ClassVar[str] = "Make another one where it is needed."

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled: it holds connections, locks or secrets. {self._instead}"
        )
