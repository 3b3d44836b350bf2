"""Members of a class that can be looked at on the class: there they are the class of what they give.

`unittest.mock.create_autospec` and `patch(..., autospec=True)` make their mocks from what a class shows of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    member = property
    part = cached_property
else:

    class member(property):  # noqa: N801 - it is used as `property` is
        """A property. On the class it is the class that its getter is said to return."""

        def __get__(self, whole: object, owner: type | None = None) -> Any:
            """What the getter gives, or its class."""
            return get_type_hints(self.fget)["return"] if whole is None else super().__get__(whole, owner)

    class part(cached_property):  # noqa: N801 - it is used as `cached_property` is
        """A property that is made once, as `cached_property` does. On the class it is the class that is made."""

        def __get__(self, whole: object, owner: type | None = None) -> Any:
            """What was made, or its class."""
            return get_type_hints(self.func)["return"] if whole is None else super().__get__(whole, owner)


def rows_in(kind: type, row: type) -> Iterator[tuple[str, Any]]:
    """The rows that a class has, its own and its bases', where nothing has taken their place. With their names."""
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        found.update(vars(base))
    return ((name, value) for name, value in found.items() if isinstance(value, row))


def said_to_return(method: Callable[..., object]) -> Any:
    """What a method's annotation says that it returns."""
    only = SimpleNamespace(
        __annotations__={"return": method.__annotations__["return"]}
    )  # the others need not exist yet
    return get_type_hints(only, method.__globals__)["return"]


def returning(method: Callable[..., object], kind: object) -> Callable[..., object]:
    """A stand-in for a method that is said to return another kind, for `functools.wraps`. It is not for calling.

    `inspect` and `typing` make a signature of it when someone looks, so that none has to be made before.
    """
    assert isinstance(method, FunctionType)
    twin = FunctionType(method.__code__, method.__globals__, method.__name__, method.__defaults__, method.__closure__)
    twin.__kwdefaults__ = method.__kwdefaults__
    twin.__annotations__ = {**method.__annotations__, "return": kind}
    twin.__doc__, twin.__module__, twin.__qualname__ = method.__doc__, method.__module__, method.__qualname__
    return twin


def filled(generic: Any, *kinds: object) -> Any:
    """A generic class with these kinds in it, for an annotation that is made at run time."""
    return generic[kinds]


def put(owner: type, name: str, function: FunctionType, rows: str) -> None:
    """Make a function a method of a class: mocks, `help` and debuggers know what that is. `rows` is the class of its row."""
    function.__qualname__ = f"{rows}.{name}"
    function.__module__ = owner.__module__
    setattr(owner, name, function)
