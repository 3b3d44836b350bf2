"""Values that cannot be copied: two of them would share connections, locks or secrets."""

from __future__ import annotations

from typing import ClassVar, NoReturn


class Uncopied:
    """Refuses `copy` and `pickle` in words. A base class."""

    __slots__ = ()
    _instead: ClassVar[str] = "Make another one where it is needed."

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled: it holds connections, locks or secrets. {self._instead}"
        )
