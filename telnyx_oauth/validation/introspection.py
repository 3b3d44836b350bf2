"""Asking the authorization server whether a token is active (RFC 7662), as rarely as can be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Final

import attrs

from ..errors import APIError, IntrospectionUnavailableError, Reason
from ..messages import Response, Send, Timeout
from ..protocol.endpoints import check_endpoint
from ..protocol.grants import ClientAuthentication, authenticated_request
from ..protocol.jose import parse_object
from ..protocol.retry import retry_after
from ..protocol.secret import Secret
from ..transport.clock import Clock, SystemClock
from ..transport.flight import Flights
from ..transport.http import HttpTransport
from ..transport.log import logger

_LARGEST_ANSWER: Final = 65536
_LONGEST_HOLD: Final = 60.0
_DEFAULT_HOLD: Final = 10.0
_SOON: Final = 1.0


@attrs.frozen(eq=False)
class IntrospectionResult:
    """What the server said of a token. `claims` is its whole answer but for what it left null; empty when inactive."""

    active: bool
    claims: Mapping[str, object] = attrs.field(repr=False, factory=dict[str, object])


class IntrospectionCache:
    """The introspection endpoint's verdicts, kept for a while. Safe for any number of tasks, loops and threads.

    A verdict on an active token is kept for `ttl` seconds (0: always ask) or until its `exp`, one on an inactive token
    for `negative_ttl`, each kind in bounds of its own, so that a flood of garbage drives out nothing good. One question
    per token is under way at a time and `max_concurrency` in all; Telnyx answers 5 a minute to each client. `endpoint`
    is https, or http to this machine with `allow_insecure_loopback`.
    """

    def __init__(
        self,
        endpoint: str,
        auth: ClientAuthentication,
        *,
        send: Send | None = None,
        ttl: float = 60.0,
        negative_ttl: float = 15.0,
        max_positive: int = 4096,
        max_negative: int = 1024,
        max_concurrency: int = 32,
        timeout: float = 5.0,
        allow_insecure_loopback: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._endpoint = check_endpoint(endpoint, "endpoint", allow_insecure_loopback=allow_insecure_loopback)
        self._auth = auth
        self._timeout = Timeout(timeout, min(timeout, 2.0))
        self._own: HttpTransport | None = None
        if send is None:
            send = self._own = HttpTransport()
        self._send = send
        self._clock = clock or SystemClock()
        self._max_concurrency = max_concurrency
        self._active = _Verdicts(ttl, max_positive)
        self._inactive = _Verdicts(negative_ttl, max_negative)
        self._flights: Flights[IntrospectionResult] = Flights()
        self._hold = (float("-inf"), Reason.INTROSPECTION_UNAVAILABLE)

    async def introspect(self, token: str, /, *, fresh: bool = False) -> IntrospectionResult:
        """What the server says of the token, or said lately unless `fresh`.

        Raises `IntrospectionUnavailableError` when it does not say: that is no verdict, and is not remembered as one.
        """
        presented = Secret(token)
        del token
        known = None if fresh else self.cached(presented.reveal())
        if known is not None:
            return known
        # A fresh answer is one that was asked for after the call: it shares nobody's flight.
        key: object = object() if fresh else _digest(presented.reveal())
        if key not in self._flights:
            self._check_limits()
        return await self._flights.join(key, partial(self._ask, presented))

    def cached(self, token: str, /) -> IntrospectionResult | None:
        """The verdict at hand, if one is. Never waits."""
        digest, boot, wall = _digest(token), self._clock.boot(), self._clock.wall()
        return self._active.get(digest, boot, wall) or self._inactive.get(digest, boot, wall)

    def forget(self, token: str, /) -> None:
        """Ask anew next time: the token has been revoked, or given more scopes."""
        digest = _digest(token)
        self._active.pop(digest)
        self._inactive.pop(digest)

    async def aclose(self) -> None:
        """End the questions under way, forget all verdicts, and close the connections if they are the cache's own."""
        await self._flights.aclose()
        self._active.clear()
        self._inactive.clear()
        if self._own is not None:
            await self._own.aclose()

    def _check_limits(self) -> None:
        held_until, reason = self._hold
        wait = held_until - self._clock.boot()
        if wait > 0:
            raise IntrospectionUnavailableError(reason, retry_after=wait)
        if len(self._flights) >= self._max_concurrency:
            raise IntrospectionUnavailableError(Reason.INTROSPECTION_SATURATED, retry_after=_SOON)

    async def _ask(self, token: Secret[str]) -> IntrospectionResult:
        form = Secret((("token", token.reveal()),))
        request = authenticated_request(
            self._endpoint, form, self._auth, timeout=self._timeout, max_bytes=_LARGEST_ANSWER
        )
        response = None
        try:
            response = await self._send(request)
        except APIError as error:
            logger.warning("Introspection: %s", error.message)
        except Exception as error:  # noqa: BLE001 - a transport of someone's own may raise anything; it is an outage
            logger.warning("Introspection: the transport raised %s", type(error).__name__)
        if response is None:
            raise IntrospectionUnavailableError(Reason.INTROSPECTION_UNAVAILABLE, retry_after=_SOON)
        result = self._read(response)
        verdicts = self._active if result.active else self._inactive
        self.forget(token.reveal())
        verdicts.put(_digest(token.reveal()), result, self._clock.boot())
        return result

    def _read(self, response: Response) -> IntrospectionResult:
        if response.status_code != 200:
            raise self._refused(response)
        answer = Secret(parse_object(response.content) or {})
        active = answer.reveal().get("active")
        if not isinstance(active, bool):  # "true" is a text, and true for everyone who is careless
            raise IntrospectionUnavailableError(Reason.INTROSPECTION_ANSWER_INVALID, retry_after=_SOON)
        return IntrospectionResult(
            active, MappingProxyType({k: v for k, v in answer.reveal().items() if active and v is not None})
        )

    def _refused(self, response: Response) -> IntrospectionUnavailableError:
        """The error for an answer that is none, and a pause where asking again at once would only make it worse."""
        status = response.status_code
        asked = retry_after(response.headers, self._clock.wall())
        wait = min(_DEFAULT_HOLD if asked is None else asked, _LONGEST_HOLD)
        reason = Reason.INTROSPECTION_UNAVAILABLE
        if status in (401, 403):
            # Our own credentials are wrong: that says nothing about the token, which may be perfectly good.
            reason = Reason.INTROSPECTION_REFUSED_US
            logger.error("Introspection: %s refused this service's own credentials (%d).", self._endpoint, status)
        elif status == 429:
            reason = Reason.INTROSPECTION_RATE_LIMITED
        elif asked is None:
            wait = _SOON
        if reason is not Reason.INTROSPECTION_UNAVAILABLE or asked is not None:
            self._hold = (self._clock.boot() + wait, reason)
        return IntrospectionUnavailableError(reason, retry_after=wait)


def _digest(token: str) -> bytes:
    # Python's own error for half a character would hold the token.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


class _Verdicts:
    """Results by the token's hash, the least recently used going first. `ttl` is in seconds."""

    def __init__(self, ttl: float, most: int) -> None:
        self._ttl = ttl
        self._most = most
        self._kept: OrderedDict[bytes, tuple[IntrospectionResult, float]] = OrderedDict()

    def get(self, digest: bytes, boot: float, wall: float) -> IntrospectionResult | None:
        result, until = self._kept.get(digest, (None, 0.0))
        if result is None:
            return None
        expires_at = result.claims.get("exp")
        if boot >= until or (isinstance(expires_at, int | float) and wall >= expires_at):
            self._kept.pop(digest, None)
            return None
        try:
            self._kept.move_to_end(digest)
        except KeyError:  # another thread has dropped it meanwhile
            return None
        return result

    def put(self, digest: bytes, result: IntrospectionResult, boot: float) -> None:
        self._kept[digest] = (result, boot + self._ttl)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def pop(self, digest: bytes) -> None:
        self._kept.pop(digest, None)

    def clear(self) -> None:
        self._kept.clear()
