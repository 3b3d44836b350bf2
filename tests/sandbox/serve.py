"""The sandbox without a socket and without an event loop."""

from __future__ import annotations

from telnyx_oauth.messages import Request, Response
from telnyx_oauth.sandbox import Sandbox


def serve(sandbox: Sandbox, request: Request) -> Response:
    """Send a request that no fault delays."""
    try:
        sandbox.send(request).send(None)
    except StopIteration as end:
        response: Response = end.value
        return response
    raise AssertionError("the response waits for something")
