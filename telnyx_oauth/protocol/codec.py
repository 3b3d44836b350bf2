"""From an answer's bytes to what it means, with a path to every problem."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from types import NoneType
from typing import Any, Final, TypeVar, cast
from urllib.parse import urljoin

from ..errors import APIConnectionError, APIResponseValidationError
from ..messages import Request, Response
from ..types import OAuthRetrieveAuthorizeResponse
from .charsets import as_utf8
from .failures import broken
from .hooks import RefusedError, hook_for, is_readable
from .secret import Secret

_T = TypeVar("_T")
_MOST_PROBLEMS: Final = 20
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9.+\-]{1,40}/[A-Za-z0-9.+\-]{1,80}")
_NO_JSON: Final = object()


def decode(response: Response, kind: type[_T], *, asked: Request | None = None) -> _T:
    """The answer's body as a `kind`: a model, a list of them, `object` for any JSON, `str`, `bytes`, `Response`, `None`'s type.

    `asked` is the request. Raises `APIResponseValidationError` with a path for each problem, and `APIConnectionError` where
    the connection broke inside the body.
    """
    special = _SPECIAL.get(kind)
    if special is not None:
        return cast("_T", special(response, Secret("" if asked is None else asked.url)))
    value = _parsed(_whole(response))
    if value is _NO_JSON:
        raise APIResponseValidationError((_no_json(response),), response=response)
    hashable: Any = kind
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
    raise ValueError(f"{name} is not JSON")  # RFC 8259 section 6, which Python does not hold by itself


_from_text: Final = json.JSONDecoder(parse_constant=_no_number).decode


def plain_loads(content: bytes) -> object:
    """JSON with Python's own parser. Raises `ValueError`, or `RecursionError` where it is nested too deep."""
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
    """The consent page, or where the server points to (RFC 6749 section 4.1)."""
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
    named = kind if _MEDIA_TYPE.fullmatch(kind) else "no content type"
    return f"$: expected JSON, found {len(response.content)} bytes of something else ({named})"


def check_kind(kind: object) -> None:
    """Raise `TypeError` for what no answer can be read as, before anything is sent for it."""
    if kind not in _SPECIAL and not is_readable(kind):
        raise TypeError(f"cast_to cannot be {kind!r}: give a class of telnyx_oauth.types, `object`, `str` or `bytes`")
