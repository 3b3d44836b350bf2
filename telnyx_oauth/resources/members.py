"""Members of a class that can be looked at on the class: there they are the class of what they give.

`unittest.mock.create_autospec` and `patch(..., autospec=True)` make their mocks from what a class shows of itself.
"""

from __future__ import annotations

from functools import cached_property
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
