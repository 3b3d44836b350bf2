"""Values whose `repr` hides them, and values that refuse to be copied."""

from __future__ import annotations

from typing import ClassVar, Final, Generic, NoReturn, TypeVar, cast

T_co = TypeVar("T_co", covariant=True)


class Secret(Generic[T_co]):
    """A text, bytes or mapping that holds a secret. Its `repr` and `str` hide it; only `plain` returns it.

    Crash reporters and debuggers show the local variables of every frame that an error passes. A secret in this type stays
    hidden there. Read `plain` in the expression that needs the value, and do not bind that to a name.
    """

    # Not an attrs class: tools that print values look into those.
    __slots__ = ("plain",)

    def __init__(self, value: T_co) -> None:
        self.plain: Final = value
        """The plain value. An attribute, since a method call would cost time in each request."""

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
    """Base class of objects that refuse `copy` and `pickle` with an explanation."""

    __slots__ = ()
    _instead: ClassVar[str] = "Make another one where it is needed."

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled: it holds connections, locks or secrets. {self._instead}"
        )
