"""`doctor`: checks of everything between this machine and the service, with advice."""

from __future__ import annotations

import os
import platform
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from .._version import __version__
from ..errors import Reason, TelnyxError, TokenValidationError
from ..protocol.jws import looks_like_jwt
from ..protocol.retry import http_date
from ..protocol.secret import Secret
from ..protocol.urls import is_loopback, origin
from ..transport.proxies import environment_proxy
from .command import command
from .failures import AuthenticationNeeded, Failure, failure_of
from .output import clean
from .session import Session

if TYPE_CHECKING:
    from ..sync.client import Telnyx
    from ..types import WellKnownRetrieveAuthorizationServerMetadataResponse as Metadata

Verdict: TypeAlias = Literal["ok", "warning", "failed", "skipped"]
STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
CONNECT: Final = 5.0
SKEW: Final = 30.0
"""Seconds by which clocks may differ before tokens are refused: the leeway of the default policy."""
EXPIRES_SOON: Final = 14 * 86400


@attrs.frozen
class Finding:
    """The result of one check. `advice` says what to do."""

    verdict: Verdict
    detail: str
    advice: str = ""
    authentication: bool = False


@attrs.define
class Visit:
    """One run of the checks, and their results so far. `reached` is False once the service cannot be reached."""

    session: Session
    client: Telnyx
    reached: bool = True
    metadata: Metadata | None = None
    date: str | None = None
    token: str | None = attrs.field(default=None, repr=False)


@command("doctor")
def doctor(session: Session) -> None:
    """Check all that your calls depend on, and say what to do.

    Environment, DNS and connection, TLS, metadata, clock, keys, a token and its verification. Changes nothing.
    """
    results: list[dict[str, object]] = []
    failures: list[Finding] = []
    with (
        # Without retries, so that a service that fails is reported at once. The copy ends with its original.
        session.client(public=True, audience=session.root, issuer=session.root) as retrying,
        retrying.with_options(max_retries=0) as client,
    ):
        visit = Visit(session, client)
        for name, check in CHECKS.items():
            finding = _examine(visit, check)
            if finding.verdict == "failed":
                failures.append(finding)
            results.append(
                {"check": name, "verdict": finding.verdict, "detail": finding.detail, "advice": finding.advice}
            )
            if not session.out.as_json:
                session.out.line(clean(f"{finding.verdict:8} {name:12} {finding.detail}"), STYLES[finding.verdict])
                if finding.advice:
                    session.out.line(clean(f"{'':21} {finding.advice}"))
    if session.out.as_json:
        session.out.json({"ok": not failures, "base_url": client.base_url, "checks": results})
    if failures:
        kind = AuthenticationNeeded if any(each.authentication for each in failures) else Failure
        raise kind(f"{len(failures)} of {len(CHECKS)} checks failed.", code="unhealthy")


def _examine(visit: Visit, check: Callable[[Visit], Finding]) -> Finding:
    if not visit.reached:
        return Finding("skipped", "the service cannot be reached")
    try:
        return check(visit)
    except (TelnyxError, ValueError) as error:
        failure = failure_of(error)
        needed = isinstance(failure, AuthenticationNeeded)
        return Finding("failed", failure.message, " ".join(failure.hints), authentication=needed)


def _environment(visit: Visit) -> Finding:
    names = ("TELNYX_API_KEY", "TELNYX_CLIENT_ID", "TELNYX_CLIENT_SECRET", "TELNYX_BASE_URL")
    variables = [name for name in names if os.environ.get(name)]
    detail = f"telnyx-oauth {__version__}, Python {platform.python_version()}; set: {', '.join(variables) or 'nothing'}"
    if visit.session.profile is not None:
        return Finding("ok", f"{detail}; profile {visit.session.profile.name}")
    if len({"TELNYX_CLIENT_ID", "TELNYX_CLIENT_SECRET"} & set(variables)) == 1:
        return Finding("warning", detail, "An OAuth client needs TELNYX_CLIENT_ID and TELNYX_CLIENT_SECRET, both.")
    return Finding("ok", detail)


def _connection(visit: Visit) -> Finding:
    _, host, port = origin(visit.client.base_url)
    proxy = _proxy(visit)
    if proxy:
        return Finding("skipped", f"calls go through the proxy {urlsplit(proxy.plain).hostname}")
    try:
        addresses = sorted({str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError:
        visit.reached = False
        return Finding("failed", f"{host} has no address", "Check --base-url, the network and its DNS server.")
    try:
        socket.create_connection((host, port), CONNECT).close()
    except OSError as error:
        visit.reached = False
        advice = "Check that the service runs there, and that no firewall blocks the way."
        return Finding("failed", f"{host}:{port} does not answer ({error.strerror or 'timeout'})", advice)
    return Finding("ok", f"{host} is {', '.join(addresses)}; port {port} answers")


def _encryption(visit: Visit) -> Finding:
    scheme, host, port = origin(visit.client.base_url)
    if scheme == "http" and is_loopback(host):
        return Finding("skipped", "plain http, on this machine alone")
    if scheme == "http":
        return Finding("failed", "plain http", "The network can read secrets and tokens: use an https base URL.")
    if _proxy(visit):
        return Finding("skipped", "calls go through a proxy")
    return _handshake(visit, host, port)


def _handshake(visit: Visit, host: str, port: int) -> Finding:
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), CONNECT) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            version, certificate = secured.version(), secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        visit.reached = False
        advice = "Check this machine's clock; if a proxy re-signs traffic, name its certificate in SSL_CERT_FILE."
        return Finding("failed", f"the certificate is not trusted: {error.verify_message}", advice)
    except OSError as error:
        visit.reached = False
        return Finding("failed", f"no TLS connection ({error.strerror or 'timeout'})", "Check --base-url and its port.")
    ends = str(certificate.get("notAfter", ""))
    if ends and ssl.cert_time_to_seconds(ends) - time.time() < EXPIRES_SOON:
        return Finding("warning", f"{version}; the certificate expires {ends}", "Tell the operator of the service.")
    return Finding("ok", f"{version}; the certificate is good until {ends}")


def _metadata(visit: Visit) -> Finding:
    response = visit.client.well_known.with_raw_response.retrieve_authorization_server_metadata()
    visit.date = response.headers.get("Date")
    visit.metadata = response.parse()
    issuer, root = visit.metadata.issuer, visit.session.root
    if issuer != root:
        advice = "RFC 8414 requires them to be equal. Check --base-url."
        return Finding("failed", f"the issuer is {issuer}, and the document is under {root}", advice)
    return Finding("ok", f"issuer {issuer}")


def _clock(visit: Visit) -> Finding:
    date = http_date(visit.date or "")
    if date is None:
        return Finding("skipped", "the service sent no Date")
    skew = time.time() - date
    detail = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service"
    if abs(skew) > SKEW:
        return Finding("failed", detail, "Valid tokens will seem expired or not yet valid: set this machine's clock.")
    return Finding("ok", f"within {SKEW:.0f} s of the service")


def _keys(visit: Visit) -> Finding:
    keys = visit.client.oauth.retrieve_jwks().keys or []
    if not keys:
        return Finding("failed", "the key set is empty", "No token can be verified: tell the operator of the service.")
    return Finding("ok", f"{len(keys)} published: {', '.join(sorted({each.alg or each.kty or '?' for each in keys}))}")


def _token(visit: Visit) -> Finding:
    token = visit.session.token()
    if token.key.grant == "api_key":
        visit.client.oauth_clients.list(page_size=1)
        return Finding("ok", "the API key is accepted")
    visit.token = token.access_token
    return Finding(
        "ok", f"issued, valid for {token.remaining():.0f} s, for {' '.join(sorted(token.scopes)) or 'no scope'}"
    )


def _verification(visit: Visit) -> Finding:
    if visit.token is None:
        return Finding("skipped", "there is no token to verify")
    if not looks_like_jwt(visit.token):
        return Finding("skipped", "the token is opaque: only introspection can check it")
    try:
        access = visit.client.validator.validate(visit.token)
    except TokenValidationError as error:
        if error.reason is Reason.AUD_MISMATCH:
            advice = "An API that accepts it has to name that audience (audience=)."
            return Finding("warning", "signed by the service, but for another audience", advice)
        return Finding("failed", f"{error.message} ({error.reason})", "Check the clock above, and --base-url.")
    return Finding("ok", f"signed by the service with {access.algorithm}, key {access.key_id}")


def _proxy(visit: Visit) -> Secret[str] | None:
    return environment_proxy(visit.client.base_url)


CHECKS: Final[dict[str, Callable[[Visit], Finding]]] = {
    "environment": _environment,
    "connection": _connection,
    "encryption": _encryption,
    "metadata": _metadata,
    "clock": _clock,
    "keys": _keys,
    "token": _token,
    "verification": _verification,
}
