"""Calls to paths that have no method of their own: `get`, `post`, `put`, `patch`, `delete`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, TypeVar

from ..messages import Timeout
from ..protocol.converter import check_kind
from ..protocol.requests import Call, Extras, HeaderValues, Omit, QueryValues, as_retries, omit
from ..protocol.secret import Secret
from .resource import Resource

_T = TypeVar("_T")


class RequestOptions(TypedDict, total=False):
    """Options of one such call. `timeout` is in seconds, `max_retries` counts attempts after the first."""

    headers: HeaderValues
    params: QueryValues
    extra_json: Mapping[str, object]
    timeout: float | Timeout | None
    max_retries: int


class AsyncUndocumented(Resource):
    """The HTTP verbs, sent with the client's credentials, retries and errors.

    `path` is under `base_url`. `cast_to` is the type to read the answer as: a class of `telnyx_oauth.types` or a list of one,
    `object` for any JSON, `str`, `bytes`, `Response`, or `type(None)`. `body` is sent as JSON, `bytes` as they are.
    """

    async def get(self, path: str, *, cast_to: type[_T], options: RequestOptions | None = None) -> _T:
        """`GET` a path."""
        request = Secret(("GET", path, omit, options))
        del path, options
        return await self._request(request, cast_to)

    async def post(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`POST` to a path. It is retried like any other call: set `max_retries` to 0 for what must not happen twice."""
        request = Secret(("POST", path, body, options))
        del path, body, options
        return await self._request(request, cast_to)

    async def put(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`PUT` to a path."""
        request = Secret(("PUT", path, body, options))
        del path, body, options
        return await self._request(request, cast_to)

    async def patch(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`PATCH` a path."""
        request = Secret(("PATCH", path, body, options))
        del path, body, options
        return await self._request(request, cast_to)

    async def delete(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`DELETE` a path."""
        request = Secret(("DELETE", path, body, options))
        del path, body, options
        return await self._request(request, cast_to)

    async def _request(self, request: Secret[tuple[str, str, object, RequestOptions | None]], cast_to: type[_T]) -> _T:
        check_kind(cast_to)
        options: Secret[RequestOptions] = Secret(request.plain[3] or RequestOptions())
        retries = options.plain.get("max_retries", omit)
        extras = Extras(
            options.plain.get("headers"),
            options.plain.get("params"),
            options.plain.get("extra_json"),
            options.plain.get("timeout", omit),
            None if isinstance(retries, Omit) else as_retries(retries),
        )
        call = Call(request.plain[0], request.plain[1], body=request.plain[2])
        return await self._send(call, cast_to, extras)
