"""JSON to typed values and back. Structure functions are compiled once per class."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from math import inf
from types import NoneType, UnionType
from typing import Any, Final, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from urllib.parse import urljoin

import attrs
from cattrs import Converter

from ..errors import APIConnectionError, APIResponseValidationError
from ..messages import Request, Response
from ..types import BaseModel, OAuthRetrieveAuthorizeResponse
from .error_responses import broken
from .json_body import as_utf8
from .secret import Secret

Hook: TypeAlias = Callable[[Any, Any], Any]
_ABSENT: Final = object()
_64_BITS: Final = 2.0**63
_join: Final = "".join


class RefusedError(ValueError):
    """Problems of one value, each with its path below that value."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems


def is_readable(kind: Any) -> bool:
    """Return whether there is a hook for a kind of value."""
    if _is_list(kind) or _is_union(kind):
        return all(map(is_readable, get_args(kind)))
    return kind in (str, bool, int, datetime, object, NoneType) or _is_model(kind) or _is_dict(kind)


@attrs.frozen
class _Member:
    """One member of a model. Values of the exact types in `kept` stay as the parser made them; others go through `hook`."""

    name: str
    kind: Any
    hook: Hook
    kept: frozenset[type]
    required: bool

    def read(self, value: object) -> object:
        if value is _ABSENT:
            raise RefusedError(": is missing")
        return value if type(value) in self.kept else self.hook(value, self.kind)


def _members(kind: Any) -> list[_Member]:
    hints = get_type_hints(kind)
    fields = [field for field in attrs.fields(kind) if field.name not in ("model_extra", "_absent")]
    return [_member(field.name, hints[field.name], required=field.default is attrs.NOTHING) for field in fields]


def _member(name: str, hint: Any, *, required: bool) -> _Member:
    kept = _kept(hint)
    # Where None is kept, the hook sees the `T` of `T | None` alone.
    kind = _not_none(hint) if NoneType in kept else hint
    return _Member(name, kind, hook_for(kind), kept, required)


def _model_hook(kind: Any) -> Hook:
    """Make the structure function of one model. It fills the instance's dictionary itself: `__init__` costs as much as parsing.

    The function is compiled from text, as attrs compiles `__init__`: a loop over the members takes half as long again.
    """
    members = _members(kind)
    names: dict[str, Any] = {
        "ABSENT": _ABSENT,
        "NoneType": NoneType,
        "Refused": RefusedError,
        "blank": {member.name: _ABSENT for member in members},
        "kind": kind,
        "members": members,
        "name_of": _name_of,
        "new": kind.__new__,
        "problems": _problems_of_members,
        "set_attribute": object.__setattr__,
        "without_empties": _without_empties,
    }
    statements: list[str] = []
    for number, member in enumerate(members):
        names |= {f"hook_{number}": member.hook, f"kind_{number}": member.kind}
        names |= {each.__name__: each for each in member.kept}
        statements.append(_statement(member, number))
    body = "".join(statements) or "        pass\n"
    text = compile(_STRUCTURE.replace("        ...\n", body), f"<telnyx_oauth reads {kind.__name__}>", "exec")
    exec(text, names)  # noqa: S102 - the text holds nothing but this file's code and the names of members
    return cast("Hook", names["structure"])


# `blank | value` has a mark for each absent member, in the order of the class: one look-up per member finds its value or the
# mark. Members that the class does not know come after these, so the lengths tell whether there are any.
_STRUCTURE: Final = """
def structure(value, _):
    if value.__class__ is not dict:
        raise Refused(f": expected an object, found {name_of(value)}")
    fields = blank | value
    absent = ()
    try:
        ...
    except Refused:
        cleaned = without_empties(value, members)
        if cleaned is None:
            raise Refused(*problems(value, members)) from None
        return structure(cleaned, _)
    fields["model_extra"] = {} if len(fields) == len(blank) else {
        name: fields.pop(name) for name in value if name not in blank
    }
    fields["_absent"] = absent
    instance = new(kind)
    # The dictionary becomes the instance's own: nothing is copied, nor set name by name.
    set_attribute(instance, "__dict__", fields)
    return instance
"""


def _statement(member: _Member, number: int) -> str:
    """The code that reads one member: a value of a kept type stays, an absent member is noted, others go through the hook."""
    name = member.name
    rarest_last = sorted(member.kept, key=lambda each: each is NoneType)  # the likeliest class is compared first
    unless = [f"item.__class__ is not {each.__name__}" for each in rarest_last]
    read = f"fields[{name!r}] = hook_{number}(item, kind_{number})"
    if not member.required:
        read = f"""if item is ABSENT:
                absent += ({name!r},)
                fields[{name!r}] = None
            else:
                {read}"""
    return f"""        item = fields[{name!r}]
        if {" and ".join(unless) or "True"}:
            {read}
"""


def _problems_of_members(value: dict[str, object], members: list[_Member]) -> list[str]:
    problems: list[str] = []
    for member in members:
        if member.name in value or member.required:
            try:
                member.read(value.get(member.name, _ABSENT))
            except RefusedError as refused:
                problems.extend(f".{member.name}{problem}" for problem in refused.problems)
    return problems


def _without_empties(value: dict[str, object], members: list[_Member]) -> dict[str, object] | None:
    """The value with null for each nullable member that is an empty value of another kind: some serialisers write absent
    members that way. `None` if there is no such member.
    """
    cleaned = dict(value)
    for member in members:
        if NoneType in member.kept and value.get(member.name) in ("", [], {}):
            try:
                member.read(value[member.name])
            except RefusedError:
                cleaned[member.name] = None
    return None if cleaned == value else cleaned


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


def _list_hook(kind: Any) -> Hook:
    (item_kind,) = get_args(kind)
    hook = hook_for(item_kind)

    def structure(value: Any, _: Any) -> Any:
        if value.__class__ is not list:
            raise RefusedError(f": expected an array, found {_name_of(value)}")
        if item_kind is str:
            try:
                _join(value)  # the fastest check of all items: it fails at one that is not a text
            except TypeError:
                pass
            else:
                return value
        try:
            return [hook(item, item_kind) for item in value]
        except RefusedError:
            raise RefusedError(*_problems_of_items(value, hook, item_kind)) from None

    return structure


def _problems_of_items(value: list[object], hook: Hook, kind: object) -> list[str]:
    problems: list[str] = []
    for index, item in enumerate(value):
        try:
            hook(item, kind)
        except RefusedError as refused:
            problems.extend(f"[{index}]{problem}" for problem in refused.problems)
    return problems


def _union_hook(kind: Any) -> Hook:
    """Hook of `T | None` and `str | list[str]`: the first that accepts the value wins."""
    (first, first_kind), *others = [(hook_for(each), each) for each in get_args(kind) if each is not NoneType]
    nullable = NoneType in get_args(kind)

    def structure(value: Any, _: Any) -> Any:
        if value is None and nullable:
            return None
        for hook, each in others:
            try:
                return hook(value, each)
            except RefusedError:
                continue
        return first(value, first_kind)

    return structure


def _str(value: Any, _: Any) -> str:
    if type(value) is str:
        return value
    raise RefusedError(f": expected a string, found {_name_of(value)}")


def _bool(value: Any, _: Any) -> bool:
    if value is True or value is False:
        return value
    raise RefusedError(f": expected true or false, found {_name_of(value)}")


def _int(value: Any, _: Any) -> int:
    # Digits in a string are accepted: servers send `expires_in` that way.
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    # orjson reads an integer of more than 64 bits as a float. Servers send such for tokens that never expire.
    if type(value) is float and _64_BITS <= abs(value) < inf:
        return int(value)
    raise RefusedError(f": expected an integer, found {_name_of(value)}")


def _datetime(value: Any, _: Any) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        pass
    else:
        return time if time.tzinfo else time.replace(tzinfo=UTC)
    raise RefusedError(f": expected a date and time, found {_name_of(value)}")


def _unchanged(value: Any, _: Any) -> Any:
    return value


def _object(value: Any, _: Any) -> dict[str, object]:
    if type(value) is dict:
        return cast("dict[str, object]", value)
    raise RefusedError(f": expected an object, found {_name_of(value)}")


_JSON_NAMES: Final[dict[type, str]] = {
    NoneType: "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def _name_of(value: object) -> str:
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
_converter.register_structure_hook_func(lambda kind: kind is object, _unchanged)
_converter.register_structure_hook_func(_is_dict, _object)
_converter.register_structure_hook_factory(_is_model, _model_hook)
_converter.register_structure_hook_factory(_is_list, _list_hook)
_converter.register_structure_hook_factory(_is_union, _union_hook)


@cache
def hook_for(kind: Any) -> Hook:
    """The function that turns a JSON value into this kind of value, or raises `RefusedError`."""
    return _converter.get_structure_hook(kind)


_T = TypeVar("_T")
_MOST_PROBLEMS: Final = 20
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9.+\-]{1,40}/[A-Za-z0-9.+\-]{1,80}")
_NO_JSON: Final = object()


def decode(response: Response, kind: type[_T], *, asked: Request | None = None) -> _T:
    """Read a body as a `kind`: a model, a list of them, `object` for any JSON, `str`, `bytes`, `Response`, `None`'s type.

    `asked` is the request. Raises `APIResponseValidationError` with a path for each problem, and `APIConnectionError` if the
    connection broke inside the body.
    """
    special = _SPECIAL.get(kind)
    if special is not None:
        return cast("_T", special(response, Secret("" if asked is None else asked.url)))
    value = _parsed(_whole(response))
    if value is _NO_JSON:
        raise APIResponseValidationError((_no_json(response),), response=response)
    hashable: Any = kind  # type checkers know no hash of a type variable's class
    try:
        typed: _T = hook_for(hashable)(value, kind)
    except RefusedError as refused:
        problems = [f"${problem}" for problem in refused.problems]
    else:
        return typed
    del value  # it may hold a secret, and a traceback would show it
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"and {len(problems) - _MOST_PROBLEMS} more"]
    raise APIResponseValidationError(tuple(problems), response=response)


def _parsed(response: Response) -> object:
    try:
        return loads(response.content.removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        pass
    try:
        return loads(as_utf8(response).removeprefix(codecs.BOM_UTF8))
    except (ValueError, RecursionError):
        return _NO_JSON


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is not JSON")  # RFC 8259 section 6; Python accepts NaN and Infinity by default


_from_text: Final = json.JSONDecoder(parse_constant=_no_number).decode


def plain_loads(content: bytes) -> object:
    """Parse JSON with Python's own parser. Raises `ValueError`, or `RecursionError` if it is nested too deep."""
    return _from_text(content.decode())


loads: Callable[[bytes], object]
try:
    from orjson import loads  # the extra `speedups`: four times as fast
except ImportError:
    loads = plain_loads


def _whole(response: Response) -> Response:
    if response.fault:
        raise _unread(response)
    return response


def _unread(response: Response) -> APIConnectionError | APIResponseValidationError:
    return broken(response) or APIResponseValidationError((f"$: {response.fault}",), response=response)


def _authorize_response(response: Response, url: Secret[str]) -> OAuthRetrieveAuthorizeResponse:
    """The consent page, or the address that the server redirects to (RFC 6749 section 4.1)."""
    if response.status_code < 300:
        return OAuthRetrieveAuthorizeResponse(url=url.plain, html=_whole(response).text())
    target = Secret(_joined(url.plain, response.headers.get("Location")))
    if target.plain is None:
        raise APIResponseValidationError(
            ("$: the redirect has no Location header, or no URL in it",), response=response
        )
    return OAuthRetrieveAuthorizeResponse(url=target.plain or "")


def _joined(url: str, location: str | None) -> str | None:
    try:
        return urljoin(url, location) if location else None
    except ValueError:
        return None


_SPECIAL: Final[dict[object, Callable[[Response, Secret[str]], object]]] = {
    NoneType: lambda _response, _url: None,
    Response: lambda response, _url: _whole(response),
    bytes: lambda response, _url: _whole(response).content,
    str: lambda response, _url: _whole(response).text(),
    OAuthRetrieveAuthorizeResponse: _authorize_response,
}


def _no_json(response: Response) -> str:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
    label = kind if _MEDIA_TYPE.fullmatch(kind) else "no content type"
    return f"$: expected JSON, found {len(response.content)} bytes of something else ({label})"


def check_kind(kind: object) -> None:
    """Raise `TypeError` for a `cast_to` that no response can be read as. To be called before anything is sent."""
    if kind not in _SPECIAL and not is_readable(kind):
        raise TypeError(f"cast_to cannot be {kind!r}: give a class of telnyx_oauth.types, `object`, `str` or `bytes`")
