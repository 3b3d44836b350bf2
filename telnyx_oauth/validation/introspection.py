"""Token introspection (RFC 7662): the authorization server's verdict on a token, cached, and within the server's limit."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from ..errors import APIError, IntrospectionUnavailableError, Reason
from ..messages import Response, Send, Timeout
from ..protocol.arguments import TRANSPORT, expect, expect_flags, expect_function, expect_kind, expect_numbers
from ..protocol.error_responses import broken
from ..protocol.json_body import as_utf8
from ..protocol.jws import parse_document
from ..protocol.quota import NEVER, Quota, answered, asked, refused
from ..protocol.requests import as_timeout
from ..protocol.retry import retry_after
from ..protocol.secret import Secret, Uncopied
from ..protocol.token_endpoint import ClientAuthentication, authenticated_request
from ..protocol.urls import check_endpoint
from ..transport.clock import CLOCK, CLOCK_METHODS, Clock, SystemClock
from ..transport.http import HttpTransport
from ..transport.log import logger
from ..transport.single_flight import SingleFlight
from .verdicts import LRU, IntrospectionResult, Verdicts

_LARGEST_ANSWER: Final = 65536
_LONGEST_COOL_DOWN: Final = 60.0
_DEFAULT_COOL_DOWN: Final = 10.0
_SOON: Final = 1.0
_SHORTEST: Final = 0.05
_EMPTY: Final[tuple[object, ...]] = ("", (), {})
_LIMITS: Final = (Reason.INTROSPECTION_RATE_LIMITED, Reason.INTROSPECTION_SATURATED)
# Of ten requests that the server's limit allows, tokens that may be garbage and verdicts that have time leave the first number
# to others. Any unknown token leaves up to the second number to verdicts in use that end within two windows.
_LAST_SHARE: Final = 6
_RESERVE: Final = 4
_URGENT: Final = 2.0


class IntrospectionCache(Uncopied):
    """The introspection endpoint's verdicts, kept for a while. Safe for any number of tasks, loops and threads.

    A verdict on an active token is kept for `ttl` seconds (0: always ask) or until its `exp`, one on an inactive token
    for `negative_ttl`, each kind within its own bound, so that a flood of garbage drives out nothing good. One request
    per token is in flight at a time and `max_concurrency` in all. `endpoint` is https, or http to this machine with
    `allow_insecure_loopback`.

    Telnyx answers 5 requests a minute to each client. The limit is learned from the server's 429. Once it is reached, a
    verdict serves for up to `stale` seconds beyond its `ttl`, so that a revoked token is refused after `ttl + stale`
    seconds at the latest (`stale=0` or `ttl=0`: never beyond). Verdicts that are about to end, and tokens whose signature
    is good, go first; a validator's callers wait up to `max_wait` seconds for their turn before they get an error.
    """

    def __init__(
        self,
        endpoint: str,
        auth: ClientAuthentication,
        *,
        send: Send | None = None,
        ttl: float = 60.0,
        negative_ttl: float = 15.0,
        stale: float = 300.0,
        max_wait: float = 65.0,
        max_positive: int = 4096,
        max_negative: int = 1024,
        max_concurrency: int = 32,
        timeout: float | None = 5.0,
        allow_insecure_loopback: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._auth = Secret(auth).plain
        del auth  # a value of another type may hold a secret in clear text
        kind = "a ClientAuthentication, such as ClientAuthentication(id, secret)"
        expect_kind(type(self._auth), "auth", kind, ClientAuthentication)
        expect_flags(allow_insecure_loopback=allow_insecure_loopback)
        expect_numbers(ttl=ttl, negative_ttl=negative_ttl, stale=stale, max_wait=max_wait)
        expect_numbers(max_positive=max_positive, max_negative=max_negative, max_concurrency=max_concurrency)
        if send is not None:
            expect_function(send, "send", TRANSPORT)
        if clock is not None:
            expect(clock, "clock", CLOCK, *CLOCK_METHODS)
        self._endpoint = check_endpoint(endpoint, "endpoint", allow_insecure_loopback=allow_insecure_loopback)
        total = as_timeout(timeout).total
        self._timeout = Timeout(total, 2.0 if total is None else min(total, 2.0))
        self._own: HttpTransport | None = None
        if send is None:
            send = self._own = HttpTransport()
        self._send = send
        self._clock = clock or SystemClock()
        self._max_concurrency = max_concurrency
        self.max_wait = max_wait
        self._active = Verdicts(ttl, max_positive, stale if ttl > 0 else 0.0)
        self._inactive = Verdicts(negative_ttl, max_negative)
        self._flights: SingleFlight[IntrospectionResult] = SingleFlight()
        self._cool_down = (NEVER, Reason.INTROSPECTION_UNAVAILABLE)
        self._quota = Quota()
        # Tokens that met the limit, by hash. A good one comes again, while garbage is new each time.
        self._returning: LRU[bytes, None] = LRU(max_positive)
        self._garbage_at = NEVER
        self._ending = (NEVER, 0)
        self._waiting: dict[bool, set[object]] = {True: set(), False: set()}

    async def introspect(
        self, token: str, /, *, fresh: bool = False, proven: bool = False, max_wait: float = 0.0
    ) -> IntrospectionResult:
        """The server's verdict on the token, from the cache unless `fresh`.

        `proven`: its signature is good, so it goes before others when the server's limit is reached. Then the call waits
        for its turn for up to `max_wait` seconds. Raises `IntrospectionUnavailableError` when there is no answer: that is
        no verdict, and is not cached as one.
        """
        presented = Secret(token)
        del token
        digest = _digest(presented.plain)
        while True:
            now, stale = self._clock.boot(), None
            if not fresh:
                wall = self._clock.wall()
                verdict = self._active.get(digest, now, wall) or self._inactive.get(digest, now, wall)
                if verdict is not None:
                    return verdict
                stale = self._active.get(digest, now, wall, stale=True)
            result = await self._request(presented, digest, now, fresh=fresh, proven=proven, stale=stale is not None)
            if isinstance(result, IntrospectionResult):
                return result
            if result.reason in _LIMITS and stale is not None:
                return stale
            pause = await self._wait_for_turn(digest, result, max_wait, proven=proven)
            if pause is None:
                raise result
            max_wait -= pause

    def cached(self, token: str, /) -> IntrospectionResult | None:
        """The verdict at hand, if any: a fresh one, or a stale one while the server's limit is reached. Never waits."""
        digest, now, wall = _digest(token), self._clock.boot(), self._clock.wall()
        verdict = self._active.get(digest, now, wall) or self._inactive.get(digest, now, wall)
        if verdict is not None or self._quota.limit is None:
            return verdict
        stale = self._active.get(digest, now, wall, stale=True)
        if stale is None or self._quota.wait(now, keep=self._others(digest, now, proven=False, stale=True)) <= 0:
            return None
        return stale

    def forget(self, token: str, /) -> None:
        """Drop the verdict, so that the next call asks the server: the token was revoked, or got more scopes."""
        digest = _digest(token)
        self._active.pop(digest)
        self._inactive.pop(digest)

    async def aclose(self) -> None:
        """End the requests in flight, forget all verdicts, and close the connections if they are the cache's own."""
        await self._flights.aclose()
        self._active.clear()
        self._inactive.clear()
        if self._own is not None:
            await self._own.aclose()

    async def _request(
        self, token: Secret[str], digest: bytes, now: float, *, fresh: bool, proven: bool, stale: bool
    ) -> IntrospectionResult | IntrospectionUnavailableError:
        """Ask the server, unless a request for the token is in flight. The error is returned if there is no answer."""
        # A fresh answer belongs to a request that was sent after the call, so it shares no request in flight.
        key: object = object() if fresh else digest
        if key not in self._flights:
            keep = self._others(digest, now, proven=proven or fresh, stale=stale)
            problem = self._limited(now, keep)
            if problem is not None:
                return problem
            # Counted here: the request is sent later, and other tokens may come before that.
            self._quota = asked(self._quota, now)
        try:
            return await self._flights.join(key, partial(self._ask, token, now))
        except IntrospectionUnavailableError as error:
            return error

    def _limited(self, now: float, keep: int) -> IntrospectionUnavailableError | None:
        """The error, if no request may be sent now that leaves `keep` requests to other tokens."""
        until, reason = self._cool_down
        if until > now:
            return IntrospectionUnavailableError(reason, retry_after=until - now)
        wait = self._quota.wait(now, keep=keep)
        if wait > 0:
            return IntrospectionUnavailableError(Reason.INTROSPECTION_RATE_LIMITED, retry_after=wait)
        if len(self._flights) >= self._max_concurrency:
            return IntrospectionUnavailableError(Reason.INTROSPECTION_SATURATED, retry_after=_SOON)
        return None

    def _others(self, digest: bytes, now: float, *, proven: bool, stale: bool) -> int:
        """The number of requests that this token must leave to others that go before it."""
        limit = self._quota.allowed(now)
        if limit is None:
            return 0
        most = _LAST_SHARE * limit // 10
        if stale:
            return 0 if self._active.ends_within(_URGENT * self._quota.window, digest, now) else most
        if not proven and self._is_stranger(digest) and self._sees_garbage(now):
            return most
        return min(self._urgent(now), _RESERVE * limit // 10)

    def _is_stranger(self, digest: bytes) -> bool:
        """Return whether the token was not active lately, and is not known to have come again after it met the limit."""
        return digest not in self._active and (digest not in self._returning or digest in self._inactive)

    def _sees_garbage(self, now: float) -> bool:
        return now < self._garbage_at + _URGENT * self._quota.window

    def _urgent(self, now: float) -> int:
        """The number of verdicts in use that end soon. Counted once a second at most, since a flood of tokens needs it."""
        at, count = self._ending
        if not at <= now < at + 1.0:
            count = self._active.count_ending(_URGENT * self._quota.window, now)
            self._ending = (now, count)
        return count

    async def _wait_for_turn(
        self, digest: bytes, problem: IntrospectionUnavailableError, max_wait: float, *, proven: bool
    ) -> float | None:
        """Wait for the turn of a token that met the limit. Return the seconds, or `None` if the turn is after `max_wait`."""
        if problem.reason is not Reason.INTROSPECTION_RATE_LIMITED:
            return None
        now, first = self._clock.boot(), proven or digest in self._active
        limit, places = self._quota.allowed(now), self._waiting[first]
        garbage = not proven and self._is_stranger(digest) and self._sees_garbage(now)
        self._returning.put(digest, None)
        # As many may wait as the server answers at once; none for a limit that lets none through.
        if garbage or limit is None or len(places) >= limit:
            return None
        wait = max(self._quota.wait(now, keep=self._others(digest, now, proven=proven, stale=False)), _SHORTEST)
        if wait > max_wait:
            return None
        place = object()
        places.add(place)
        try:
            await self._clock.sleep(wait)
        finally:
            places.discard(place)
        return wait

    async def _ask(self, token: Secret[str], sent_at: float) -> IntrospectionResult:
        form = Secret((("token", token.plain),))
        request = authenticated_request(
            self._endpoint, form, self._auth, timeout=self._timeout, max_bytes=_LARGEST_ANSWER
        )
        response = None
        try:
            response = await self._send(request)
        except APIError as error:
            logger.warning("Introspection: %s", error.message)
        except Exception as error:  # noqa: BLE001 - a user's transport may raise anything; it is an outage
            logger.warning("Introspection: the transport raised %s", type(error).__name__)
        if response is None or response.status_code != 429:
            self._quota = answered(self._quota, self._clock.boot(), sent_at=sent_at)
        if response is None:
            raise IntrospectionUnavailableError(Reason.INTROSPECTION_UNAVAILABLE, retry_after=_SOON)
        result = self._read(response, sent_at)
        digest, now = _digest(token.plain), self._clock.boot()
        self.forget(token.plain)
        self._returning.pop(digest, None)
        (self._active if result.active else self._inactive).put(digest, result, now)
        if not result.active:
            self._garbage_at = now
        return result

    def _read(self, response: Response, sent_at: float) -> IntrospectionResult:
        if response.status_code != 200:
            raise self._refused(response, sent_at)
        if broken(response):
            raise IntrospectionUnavailableError(Reason.INTROSPECTION_UNAVAILABLE, retry_after=_SOON)
        answer = Secret(parse_document(as_utf8(response)) or {})  # a server may repeat the token
        active = answer.plain.get("active")
        if not isinstance(active, bool):  # the text "false" would count as true
            raise IntrospectionUnavailableError(Reason.INTROSPECTION_ANSWER_INVALID, retry_after=_SOON)
        claims = {name: value for name, value in answer.plain.items() if active and _says_something(name, value)}
        if claims.get("scope") in _EMPTY:
            claims["scope"] = ""
        return IntrospectionResult(active, MappingProxyType(claims), self._clock.wall())

    def _refused(self, response: Response, sent_at: float) -> IntrospectionUnavailableError:
        """Make the error for a response that is no verdict, and begin a cool-down where another request would not help."""
        status = response.status_code
        stated = retry_after(response.headers, self._clock.wall())
        wait = min(_DEFAULT_COOL_DOWN if stated is None else stated, _LONGEST_COOL_DOWN)
        reason, now = Reason.INTROSPECTION_UNAVAILABLE, self._clock.boot()
        if status == 429:
            self._quota = refused(
                self._quota, now, sent_at=sent_at, wait=wait, stated=stated is not None, headers=response.headers
            )
            return IntrospectionUnavailableError(Reason.INTROSPECTION_RATE_LIMITED, retry_after=wait)
        if status in (401, 403):
            # This service's own credentials are wrong. The token may be good.
            reason = Reason.INTROSPECTION_REFUSED_US
            logger.error("Introspection: %s refused this service's own credentials (%d).", self._endpoint, status)
        elif stated is None:
            wait = _SOON
        if reason is not Reason.INTROSPECTION_UNAVAILABLE or stated is not None:
            self._cool_down = (now + wait, reason)
        return IntrospectionUnavailableError(reason, retry_after=wait)


def _says_something(name: str, value: object) -> bool:
    """Return whether a member of the answer carries a statement. An empty `scope` does (no scopes), and so does any `cnf`."""
    return value is not None and (name in ("scope", "cnf") or value not in _EMPTY)


def _digest(token: str) -> bytes:
    # Python's own error for half a character would hold the token.
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
