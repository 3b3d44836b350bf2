"""From an answer's bytes to typed values: the one converter, strict, with a path to every problem.

cattrs by itself would turn `"false"` into True, None into "None" and 12.9 into 12; in introspection that would let
people in. So each kind of value has a hook of its own here, and an error never quotes what it found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from urllib.parse import urljoin

import attrs
from cattrs import Converter

from ..errors import APIResponseValidationError
from ..messages import Response
from ..types import BaseModel, OAuthRetrieveAuthorizeResponse

_T = TypeVar("_T")
_Hook: TypeAlias = Callable[[Any, Any], Any]
_MOST_PROBLEMS: Final = 20
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9.+\-]{1,40}/[A-Za-z0-9.+\-]{1,80}")
_ABSENT: Final = object()


class _RefusedError(ValueError):
    """Problems of one value, each with its path below that value."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems


def decode(response: Response, kind: type[_T], *, url: str = "") -> _T:
    """The answer's body as a `kind`: a model, a list of them, `object` for any JSON, `str`, `bytes`, `Response`, `None`'s type.

    `url` is the address that was asked. Raises `APIResponseValidationError` with a path for each problem.
    """
    special = _SPECIAL.get(kind)
    if special is not None:
        return cast("_T", special(response, url))
    value = _parsed(_whole(response))
    if value is _ABSENT:
        raise APIResponseValidationError((_no_json(response),), response=response)
    return from_json(value, kind, response)


def _parsed(response: Response) -> object:
    try:
        return _from_text(response.content.decode().removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return _ABSENT


def check_kind(kind: object) -> None:
    """Raise `TypeError` for what no answer can be read as, before anything is sent for it."""
    if kind in _SPECIAL or kind in (str, bool, int, datetime, object, NoneType) or _is_model(kind) or _is_dict(kind):
        return
    if not (_is_list(kind) or _is_union(kind)):
        raise TypeError(f"cast_to cannot be {kind!r}: give a class of telnyx_oauth.types, `object`, `str` or `bytes`")
    for part in get_args(kind):
        check_kind(part)


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not JSON")  # RFC 8259 section 6, which Python does not hold by itself


_from_text: Final = json.JSONDecoder(parse_constant=_no_number).decode


def _whole(response: Response) -> Response:
    if response.fault:
        raise APIResponseValidationError((f"$: {response.fault}",), response=response)
    return response


def _authorize_response(response: Response, url: str) -> OAuthRetrieveAuthorizeResponse:
    """The consent page, or where the server points to (RFC 6749 section 4.1)."""
    if response.status_code < 300:
        return OAuthRetrieveAuthorizeResponse(url=url, html=_whole(response).text())
    location = response.headers.get("Location")
    target = _joined(url, location) if location else None
    if target is None:
        raise APIResponseValidationError(
            ("$: the redirect has no Location header, or no URL in it",), response=response
        )
    return OAuthRetrieveAuthorizeResponse(url=target)


def _joined(url: str, location: str) -> str | None:
    try:
        return urljoin(url, location)
    except ValueError:
        return None


_SPECIAL: Final[dict[object, Callable[[Response, str], object]]] = {
    NoneType: lambda response, url: None,  # noqa: ARG005 - the shape of all entries
    Response: lambda response, url: _whole(response),  # noqa: ARG005
    bytes: lambda response, url: _whole(response).content,  # noqa: ARG005
    str: lambda response, url: _whole(response).text(),  # noqa: ARG005
    OAuthRetrieveAuthorizeResponse: _authorize_response,
}


def from_json(value: object, kind: type[_T], response: Response) -> _T:
    """A decoded JSON value as a `kind`; `response` is what an error will speak of."""
    try:
        return cast("_T", _hook(cast("Any", kind))(value, kind))
    except _RefusedError as refused:
        problems = [f"${problem}" for problem in refused.problems]
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"and {len(problems) - _MOST_PROBLEMS} more"]
    raise APIResponseValidationError(tuple(problems), response=response)


def _no_json(response: Response) -> str:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    named = kind if _MEDIA_TYPE.fullmatch(kind) else "no content type"
    return f"$: expected JSON, found {len(response.content)} bytes of something else ({named})"


@attrs.frozen
class _Member:
    """One member of a model. Values of the exact types in `kept` stay as the parser made them; others go through `hook`."""

    name: str
    kind: Any
    hook: _Hook
    kept: frozenset[type]
    required: bool

    def read(self, value: object) -> object:
        if value is _ABSENT:
            raise _RefusedError(": is missing")
        return value if type(value) in self.kept else self.hook(value, self.kind)


def _members(kind: Any) -> list[_Member]:
    hints = get_type_hints(kind)
    fields = [field for field in attrs.fields(kind) if field.name not in ("model_extra", "_absent")]
    return [_member(field.name, hints[field.name], required=field.default is attrs.NOTHING) for field in fields]


def _member(name: str, hint: Any, *, required: bool) -> _Member:
    kept = _kept(hint)
    # Where None is kept, the hook sees the `T` of `T | None` alone.
    kind = _not_none(hint) if NoneType in kept else hint
    return _Member(name, kind, _hook(kind), kept, required)


def _model_hook(kind: Any) -> _Hook:
    """Structure one attrs class straight into its instance's dictionary: `__init__` would cost as much as the parsing."""
    members = _members(kind)
    steps = [(member.name, member.kept, member) for member in members]
    blank = {member.name: _ABSENT for member in members}
    size = len(blank)
    new = kind.__new__
    set_attribute = object.__setattr__

    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise _RefusedError(f": expected an object, found {_named(value)}")
        fields: dict[str, Any] = blank | value
        absent: tuple[str, ...] = ()
        try:
            for name, kept, member in steps:
                if type(item := fields[name]) in kept:
                    continue
                if item is _ABSENT and not member.required:
                    absent += (name,)
                    fields[name] = None
                else:
                    fields[name] = member.hook(item, member.kind)
        except _RefusedError:
            raise _RefusedError(*_problems_of_members(value, members)) from None
        extra = {} if len(fields) == size else {name: fields.pop(name) for name in value if name not in blank}
        fields["model_extra"] = extra
        fields["_absent"] = absent
        instance = new(kind)
        # The dictionary becomes the instance's own: nothing is copied, nor set name by name.
        set_attribute(instance, "__dict__", fields)
        return instance

    return structure


def _problems_of_members(value: dict[str, object], members: list[_Member]) -> list[str]:
    problems: list[str] = []
    for member in members:
        if member.name in value or member.required:
            try:
                member.read(value.get(member.name, _ABSENT))
            except _RefusedError as refused:
                problems.extend(f".{member.name}{problem}" for problem in refused.problems)
    return problems


def _kept(kind: Any) -> frozenset[type]:
    """The exact types of JSON values that a field of this kind takes unchanged."""
    if kind in (str, bool, int, NoneType):
        return frozenset({kind})
    if _is_union(kind):
        return frozenset[type]().union(*map(_kept, get_args(kind)))
    return frozenset()


def _not_none(kind: Any) -> Any:
    """The `T` of `T | None`."""
    parts = [each for each in get_args(kind) if each is not NoneType] if _is_union(kind) else ()
    return parts[0] if len(parts) == 1 else kind


def _list_hook(kind: Any) -> _Hook:
    (item_kind,) = get_args(kind)
    hook = _hook(item_kind)
    all_kept = _kept(item_kind).issuperset

    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is not list:
            raise _RefusedError(f": expected an array, found {_named(value)}")
        if all_kept(map(type, value)):
            return value
        try:
            return [hook(item, item_kind) for item in value]
        except _RefusedError:
            raise _RefusedError(*_problems_of_items(value, hook, item_kind)) from None

    return structure


def _problems_of_items(value: list[object], hook: _Hook, kind: object) -> list[str]:
    problems: list[str] = []
    for index, item in enumerate(value):
        try:
            hook(item, kind)
        except _RefusedError as refused:
            problems.extend(f"[{index}]{problem}" for problem in refused.problems)
    return problems


def _union_hook(kind: Any) -> _Hook:
    """`T | None`, and `str | list[str]`: the first hook that takes the value wins."""
    hooks = [(_hook(each), each) for each in get_args(kind) if each is not NoneType]
    if len(hooks) == 1:
        (hook, only), nothing = hooks[0], NoneType in get_args(kind)
        return lambda value, _: None if value is None and nothing else hook(value, only)
    first, first_kind = hooks[0]
    others = hooks[1:]
    nullable = NoneType in get_args(kind)

    def structure(value: Any, _: Any) -> Any:
        if value is None and nullable:
            return None
        for hook, each in others:
            try:
                return hook(value, each)
            except _RefusedError:
                continue
        return first(value, first_kind)

    return structure


def _str(value: Any, _: Any) -> str:
    if type(value) is str:
        return value
    raise _RefusedError(f": expected a string, found {_named(value)}")


def _bool(value: Any, _: Any) -> bool:
    if value is True or value is False:
        return value
    raise _RefusedError(f": expected true or false, found {_named(value)}")


def _int(value: Any, _: Any) -> int:
    # Digits in a string are tolerated: servers send `expires_in` that way.
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise _RefusedError(f": expected an integer, found {_named(value)}")


def _datetime(value: Any, _: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        time = None
    if time is None:
        raise _RefusedError(f": expected a date and time, found {_named(value)}")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _as_it_is(value: Any, _: Any) -> Any:
    return value


def _object(value: Any, _: Any) -> dict[str, object]:
    if type(value) is dict:
        return cast("dict[str, object]", value)
    raise _RefusedError(f": expected an object, found {_named(value)}")


_JSON_NAMES: Final[dict[type, str]] = {
    NoneType: "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def _named(value: object) -> str:
    return _JSON_NAMES.get(type(value), "something else")


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_list(kind: Any) -> bool:
    return _origin(kind) is list


def _is_dict(kind: Any) -> bool:
    return kind is dict or _origin(kind) is dict


def _is_union(kind: Any) -> bool:
    return _origin(kind) is Union or _origin(kind) is UnionType


def _origin(kind: Any) -> object:
    return get_origin(kind)


_converter = Converter()
for _kind, _plain_hook in {str: _str, bool: _bool, int: _int, datetime: _datetime}.items():
    _converter.register_structure_hook(_kind, _plain_hook)
_converter.register_structure_hook_func(lambda kind: kind is object, _as_it_is)
_converter.register_structure_hook_func(_is_dict, _object)
_converter.register_structure_hook_factory(_is_model, _model_hook)
_converter.register_structure_hook_factory(_is_list, _list_hook)
_converter.register_structure_hook_factory(_is_union, _union_hook)


@cache
def _hook(kind: Any) -> _Hook:
    return _converter.get_structure_hook(kind)
