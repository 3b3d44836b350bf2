"""Calls to endpoints that this package has no method for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, TypeVar

from ..messages import Timeout
from ..protocol.calls import Call, Extras, HeaderValues, QueryValues, as_retries, omit
from ..protocol.codec import check_kind
from .resource import Resource

_T = TypeVar("_T")


class RequestOptions(TypedDict, total=False):
    """What may be set for one such call. `timeout` is in seconds, `max_retries` counts attempts after the first."""

    headers: HeaderValues
    params: QueryValues
    extra_json: Mapping[str, object]
    timeout: float | Timeout | None
    max_retries: int


class AsyncUndocumented(Resource):
    """The HTTP verbs, sent with the client's credentials, retries and errors.

    `path` is under `base_url`. `cast_to` is what the answer is read as: a class of `telnyx_oauth.types` or a list of one,
    `object` for any JSON, `str`, `bytes`, `Response`, or `type(None)`. `body` is sent as JSON, `bytes` as they are.
    """

    async def get(self, path: str, *, cast_to: type[_T], options: RequestOptions | None = None) -> _T:
        """`GET` a path."""
        return await self._request("GET", path, cast_to, omit, options)

    async def post(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`POST` to a path. It is retried like any other call: let `max_retries` be 0 for what must not happen twice."""
        return await self._request("POST", path, cast_to, body, options)

    async def put(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`PUT` to a path."""
        return await self._request("PUT", path, cast_to, body, options)

    async def patch(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`PATCH` a path."""
        return await self._request("PATCH", path, cast_to, body, options)

    async def delete(
        self, path: str, *, cast_to: type[_T], body: object = omit, options: RequestOptions | None = None
    ) -> _T:
        """`DELETE` a path."""
        return await self._request("DELETE", path, cast_to, body, options)

    async def _request(
        self, method: str, path: str, cast_to: type[_T], body: object, options: RequestOptions | None
    ) -> _T:
        check_kind(cast_to)
        chosen = options or {}
        extras = Extras(
            chosen.get("headers"),
            chosen.get("params"),
            chosen.get("extra_json"),
            chosen.get("timeout", omit),
            as_retries(chosen["max_retries"]) if "max_retries" in chosen else None,
        )
        return await self._send(Call(method, path, body=body), cast_to, extras)
