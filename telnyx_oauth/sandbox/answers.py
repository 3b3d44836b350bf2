"""What the service says: JSON answers and its two shapes of error."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..messages import Response, headers

_TITLES = {
    "10005": "Resource not found",
    "10009": "Authentication failed",
    "10010": "Authorization failed",
    "10011": "Too many requests",
    "10015": "Bad Request",
    "10027": "Unprocessable entity",
}
_DETAILS = {
    "10005": "The requested resource or URL could not be found.",
    "10009": "The required authentication headers were either invalid or not included in the request.",
    "10010": "You do not have permission to perform the requested action on the specified resource or resources.",
    "10011": "You have exceeded the maximum number of allowed requests.",
}


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """An answer that ends the handling of a request early."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def answer(body: object, status: int = 200, *pairs: tuple[str, str]) -> Response:
    """A JSON answer."""
    content = json.dumps(body, separators=(",", ":")).encode()
    return Response(status, headers(("Content-Type", "application/json; charset=utf-8"), *pairs), content)


def secret_answer(body: object, status: int = 200) -> Response:
    """A JSON answer that no cache may keep (RFC 6749 section 5.1)."""
    return answer(body, status, ("Cache-Control", "no-store"), ("Pragma", "no-cache"))


def fault(code: str, detail: str = "", source: Mapping[str, str] | None = None) -> dict[str, object]:
    """One entry of Telnyx's error list."""
    entry: dict[str, object] = {"code": code, "title": _TITLES[code], "detail": detail or _DETAILS[code]}
    if source:
        entry["source"] = dict(source)
    return entry | {"meta": {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"}}


def refused(status: int, *faults: Mapping[str, object], pairs: tuple[tuple[str, str], ...] = ()) -> Refusal:
    """An error in Telnyx's own shape."""
    return Refusal(answer({"errors": faults}, status, *pairs))


def not_found() -> Refusal:
    """There is no such thing, or no such address."""
    return refused(404, fault("10005"))


def oauth_refused(
    error: str, description: str, status: int = 400, *pairs: tuple[str, str], more: Mapping[str, object] | None = None
) -> Refusal:
    """An error in the shape of RFC 6749 section 5.2."""
    body = {"error": error, "error_description": description, **(more or {})}
    return Refusal(answer(body, status, ("Cache-Control", "no-store"), *pairs))
