"""The sandbox's router, without I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import TypeAlias
from urllib.parse import unquote

import attrs

from ..messages import Request, Response, headers
from . import authorize, metadata, records, token_endpoint
from .faults import Delivery, Faults, apply_fault
from .requests import Call, ErrorResponse, LoggedRequest, RequestLog, not_found
from .state import State

Handler: TypeAlias = Callable[[State, Call], Response]

_WELL_KNOWN: dict[tuple[str, str], Handler] = {
    ("GET", "/.well-known/oauth-authorization-server"): metadata.authorization_server,
    ("GET", "/.well-known/oauth-protected-resource"): metadata.protected_resource,
}
_OAUTH: dict[tuple[str, str], Handler] = {
    ("GET", "/oauth/authorize"): authorize.authorize,
    ("GET", "/oauth/consent/*"): authorize.show_consent,
    ("POST", "/oauth/grants"): authorize.create_grant,
    ("POST", "/oauth/introspect"): token_endpoint.introspect,
    ("GET", "/oauth/jwks"): metadata.key_set,
    ("POST", "/oauth/register"): records.register,
    ("POST", "/oauth/token"): token_endpoint.exchange,
}
_RECORDS: dict[tuple[str, str], Handler] = {
    ("GET", "clients"): records.list_clients,
    ("POST", "clients"): records.create_client,
    ("GET", "clients/*"): records.show_client,
    ("PUT", "clients/*"): records.update_client,
    ("DELETE", "clients/*"): records.delete_client,
    ("GET", "grants"): records.list_grants,
    ("GET", "grants/*"): records.show_grant,
    ("DELETE", "grants/*"): records.revoke_grant,
}
_ROUTES: dict[tuple[str, str], Handler] = {
    # The official package requests the well-known documents under /v2 when it has a base URL.
    **_WELL_KNOWN,
    **{(method, f"/v2{path}"): handler for (method, path), handler in _WELL_KNOWN.items()},
    ("GET", "/.well-known/oauth-protected-resource/v2/*"): metadata.protected_resource,
    ("GET", "/consent"): authorize.show_consent_page,
    ("POST", "/consent"): authorize.submit_consent_page,
    **{(method, f"/v2{path}"): handler for (method, path), handler in _OAUTH.items()},
}
_SLASH = {(method, f"/v2/oauth/{path}"): handler for (method, path), handler in _RECORDS.items()}
_UNDERSCORE = {(method, f"/v2/oauth_{path}"): handler for (method, path), handler in _RECORDS.items()}


@attrs.define
class Service:
    """A local Telnyx without I/O: takes a request, changes its state, gives a response."""

    state: State
    requests: RequestLog = attrs.field(factory=RequestLog)
    faults: Faults = attrs.field(factory=Faults)

    def serve(self, request: Request) -> Delivery:
        """Handle a request, with a fault if one hits it, and log it."""
        call = Call.of(request)
        fault = self.faults.match(call)
        if fault is None:
            delivery = Delivery(self._handle(call))
        else:
            delivery = apply_fault(fault, self._handle(call) if fault.processed else None)
        now = self.state.clock.now()
        self.requests.add(
            LoggedRequest(
                method=call.method,
                path=call.path,
                query=call.query,
                headers=call.headers,
                content=call.content,
                at=now,
                status=delivery.response.status_code if delivery.ending in ("whole", "truncated") else None,
            ),
            self.state.settings.request_log_limit,
        )
        pairs = [("X-Request-Id", str(uuid.uuid4())), ("Date", formatdate(now, usegmt=True))]
        pairs = [pair for pair in pairs if pair[0] not in delivery.response.headers]
        response = attrs.evolve(
            delivery.response, headers=headers(*delivery.response.headers.items(), *pairs), request=request.info
        )
        return attrs.evolve(delivery, response=response)

    def _handle(self, call: Call) -> Response:
        try:
            handler, argument = self._route(call)
            return handler(self.state, attrs.evolve(call, argument=argument))
        except ErrorResponse as error:
            return error.response

    def _route(self, call: Call) -> tuple[Handler, str]:
        settings = self.state.settings
        routes = _ROUTES | (_SLASH if settings.slash_paths else {}) | (_UNDERSCORE if settings.underscore_paths else {})
        parent, _, last = call.path.rpartition("/")
        # The table's `*` is a pattern: a path that really ends in `/*` must not match that entry as it stands.
        exact = routes.get((call.method, call.path))
        if exact is not None and last != "*":
            return exact, ""
        handler = routes.get((call.method, f"{parent}/*"))
        if handler is None or not last:
            raise not_found()
        return handler, unquote(last)
