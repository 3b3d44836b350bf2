"""What all answers of the API have in common."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Literal, cast

import attrs

from .hints import nearest, refused


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class BaseModel:  # noqa: PLW1641 - what the service adds may be of any type, so no answer has a hash
    """What all answers have in common."""

    model_extra: dict[str, object] = attrs.field(factory=dict[str, object], repr=False)
    """Members of the answer that this package has no field for. They may hold secrets, so the repr leaves them out."""
    _absent: tuple[str, ...] = attrs.field(default=(), repr=False, eq=False, alias="_absent")

    # Here and not by attrs, which would write both anew for each answer: that is half of what loading them all costs.
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(
            getattr(self, field.name) == getattr(other, field.name) for field in attrs.fields(type(self)) if field.eq
        )

    def __repr__(self) -> str:
        shown = (field.name for field in attrs.fields(type(self)) if field.repr)
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def model_fields_set(self) -> set[str]:
        """The names that the answer really had, unknown ones included."""
        known = {field.name for field in attrs.fields(type(self))} - {"model_extra", "_absent"}
        return (known - self._unset()) | self.model_extra.keys()

    def _unset(self) -> set[str]:
        # A copy made with `attrs.evolve` may have a value where the answer had none.
        return {name for name in self._absent if getattr(self, name) is None}

    def to_dict(
        self, *, mode: Literal["python", "json"] = "python", exclude_unset: bool = True, exclude_none: bool = False
    ) -> dict[str, object]:
        """The answer as a dictionary with the API's own names, secrets included.

        `mode="json"` writes times as text. `exclude_unset=False` adds the fields that the answer did not have, as `None`.
        """
        left_out = {"model_extra", "_absent", *(self._unset() if exclude_unset else ())}
        names = [field.name for field in attrs.fields(type(self)) if field.name not in left_out]
        pairs = {name: getattr(self, name) for name in names} | self.model_extra
        return {
            name: _plain(value, mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none)
            for name, value in pairs.items()
            if not (exclude_none and value is None)
        }

    def to_json(self, *, indent: int | None = 2, exclude_unset: bool = True, exclude_none: bool = False) -> str:
        """The answer as JSON text, secrets included."""
        return json.dumps(
            self.to_dict(mode="json", exclude_unset=exclude_unset, exclude_none=exclude_none),
            indent=indent,
            ensure_ascii=False,
        )

    if not TYPE_CHECKING:  # pragma: no branch - type checkers alone take the other one

        def __getattr__(self, name: str) -> object:
            # Only reached for names that are no field. `__dict__` first: pickle and copy ask before there is any.
            # No protocol of Python's may be a stranger's word either, such as `__deepcopy__`.
            if not name.startswith("__") and name in (extra := self.__dict__.get("model_extra", ())):
                return extra[name]
            whole = f"{type(self).__name__!r} object has no attribute {name!r}"
            if name.startswith("_"):
                raise AttributeError(whole)
            if isinstance(inner := self.__dict__.get("data"), BaseModel) and hasattr(inner, name):
                raise AttributeError(f"{whole}. It is in `.data`: `.data.{name}`.", name=name)
            known = [field.name for field in attrs.fields(type(self)) if field.name not in ("model_extra", "_absent")]
            raise AttributeError(f"{whole}. {nearest(name, known)}", name=name)

        __getitem__ = refused("is no dict: its members are attributes, and `to_dict()` gives one.")


def _plain(value: object, *, mode: Literal["python", "json"], exclude_unset: bool, exclude_none: bool) -> object:
    if isinstance(value, BaseModel):
        return value.to_dict(mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none)
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_plain(each, mode=mode, exclude_unset=exclude_unset, exclude_none=exclude_none) for each in items]
    if isinstance(value, datetime) and mode == "json":
        text = value.isoformat()
        return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text
    return value
