"""The service without a socket: which operation a request means, what it answers, what is remembered of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import TypeAlias
from urllib.parse import unquote

import attrs

from ..messages import Request, Response, headers
from . import authorization, clients, consent, grants, introspection, registration, tokens, well_known
from .answers import Refusal, not_found
from .calls import Call
from .faults import Faults, Served, spoiled
from .log import LoggedRequest, RequestLog
from .state import State

Handler: TypeAlias = Callable[[State, Call], Response]

_WELL_KNOWN: dict[tuple[str, str], Handler] = {
    ("GET", "/.well-known/oauth-authorization-server"): well_known.authorization_server,
    ("GET", "/.well-known/oauth-protected-resource"): well_known.protected_resource,
}
_OAUTH: dict[tuple[str, str], Handler] = {
    ("GET", "/oauth/authorize"): authorization.authorize,
    ("GET", "/oauth/consent/*"): authorization.show_consent,
    ("POST", "/oauth/grants"): authorization.create_grant,
    ("POST", "/oauth/introspect"): introspection.introspect,
    ("GET", "/oauth/jwks"): well_known.key_set,
    ("POST", "/oauth/register"): registration.register,
    ("POST", "/oauth/token"): tokens.exchange,
}
_RECORDS: dict[tuple[str, str], Handler] = {
    ("GET", "clients"): clients.list_clients,
    ("POST", "clients"): clients.create_client,
    ("GET", "clients/*"): clients.show_client,
    ("PUT", "clients/*"): clients.update_client,
    ("DELETE", "clients/*"): clients.delete_client,
    ("GET", "grants"): grants.list_grants,
    ("GET", "grants/*"): grants.show_grant,
    ("DELETE", "grants/*"): grants.revoke_grant,
}
_ROUTES: dict[tuple[str, str], Handler] = {
    # The official package looks for the well-known documents under /v2 when it is given a base URL.
    **_WELL_KNOWN,
    **{(method, f"/v2{path}"): handler for (method, path), handler in _WELL_KNOWN.items()},
    ("GET", "/.well-known/oauth-protected-resource/v2/*"): well_known.protected_resource,
    ("GET", "/consent"): consent.show_page,
    ("POST", "/consent"): consent.take_word,
    **{(method, f"/v2{path}"): handler for (method, path), handler in _OAUTH.items()},
}
_SLASH = {(method, f"/v2/oauth/{path}"): handler for (method, path), handler in _RECORDS.items()}
_UNDERSCORE = {(method, f"/v2/oauth_{path}"): handler for (method, path), handler in _RECORDS.items()}


@attrs.define
class Brain:
    """A local Telnyx as a function of its state: give it a request, get an answer."""

    state: State
    requests: RequestLog = attrs.field(factory=RequestLog)
    faults: Faults = attrs.field(factory=Faults)

    def serve(self, request: Request) -> Served:
        """Handle one request, write it down, and let it meet a fault."""
        call = Call.of(request)
        served = self._served(call)
        now = self.state.clock.now()
        self.requests.add(
            LoggedRequest(
                method=call.method,
                path=call.path,
                query=call.query,
                headers=call.headers,
                content=call.content,
                at=now,
                status=served.response.status_code if served.ending in ("whole", "truncated") else None,
            )
        )
        pairs = [("X-Request-Id", str(uuid.uuid4())), ("Date", formatdate(now, usegmt=True))]
        pairs = [pair for pair in pairs if pair[0] not in served.response.headers]
        response = attrs.evolve(
            served.response, headers=headers(*served.response.headers.items(), *pairs), request=request.info
        )
        return attrs.evolve(served, response=response)

    def _served(self, call: Call) -> Served:
        fault = self.faults.meeting(call)
        if fault is None:
            return Served(self._handle(call))
        return spoiled(fault, self._handle(call) if fault.processed else None)

    def _handle(self, call: Call) -> Response:
        try:
            handler, argument = self._route(call)
            return handler(self.state, attrs.evolve(call, argument=argument))
        except Refusal as refusal:
            return refusal.response

    def _route(self, call: Call) -> tuple[Handler, str]:
        settings = self.state.settings
        routes = _ROUTES | (_SLASH if settings.slash_paths else {}) | (_UNDERSCORE if settings.underscore_paths else {})
        parent, _, last = call.path.rpartition("/")
        exact = routes.get((call.method, call.path))
        if exact is not None and last != "*":
            return exact, ""
        open_ended = routes.get((call.method, f"{parent}/*"))
        if open_ended is None or not last:
            raise not_found()
        return open_ended, unquote(last)
