"""The cache of a remote JWKS, and the verifier of issued tokens."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, Literal, assert_never

import attrs

from ..errors import (
    APIError,
    InvalidTokenError,
    KeysUnavailableError,
    TokenVerificationError,
    ValidationUnavailableError,
)
from ..messages import Request, Response, Send, Timeout
from ..protocol.arguments import TRANSPORT, expect, expect_a, expect_flags, expect_function, expect_numbers
from ..protocol.jwk import VerificationKey
from ..protocol.jwks_refresh import (
    NEVER,
    Answer,
    Fetch,
    FetchPolicy,
    FetchState,
    Refuse,
    Unavailable,
    Use,
    decide,
    failed,
    may_be_replaced,
    missed,
    read_answer,
    replaced,
    succeeded,
)
from ..protocol.jws import parse_object, split_compact
from ..protocol.jwt import numeric_date
from ..protocol.metadata import same_issuer
from ..protocol.requests import as_timeout
from ..protocol.retry import retry_after
from ..protocol.secret import Secret, Uncopied
from ..protocol.urls import check_endpoint
from ..transport.clock import CLOCK, CLOCK_METHODS, Clock, SystemClock
from ..transport.engine import send_with_retry
from ..transport.http import HttpTransport
from ..transport.log import logger
from ..transport.single_flight import SingleFlight
from .keys import KeySource, SigningKeys

_KEYS: Final = "keys"


@attrs.frozen
class JWKSEvent:
    """The end of one attempt to fetch the keys. `error` describes a failure; `None`: the keys are fresh."""

    generation: int
    keys: int
    skipped: tuple[str, ...]
    error: str | None = None
    next_attempt: float = 0.0


@attrs.frozen
class JWKSHealth:
    """The state of the keys. `age` and `next_attempt` are seconds; `skipped` names unusable keys, with reasons.

    `failing`: the last attempt failed; `stale`: due for a fetch; `empty`: no key may be used, since none was ever fetched
    or all are too old.
    """

    state: Literal["fresh", "stale", "failing", "empty"]
    age: float | None
    keys: int
    skipped: tuple[str, ...]
    generation: int
    fetches: int
    last_error: str | None
    next_attempt: float


class JWKSCache(Uncopied):
    """The keys at a JWKS address, kept as its answers and the policy allow. Safe for any tasks, loops and threads.

    `uri` is https; `allow_insecure_loopback` admits http to this machine. `send` is the transport; without one the cache has
    its own connections. `timeout` and `connect_timeout` are seconds for one fetch (`None`: no limit), `max_bytes` bounds the
    decoded answer. `on_event` is called after every attempt; its exceptions are logged. The address comes from
    configuration, never from a token.
    """

    def __init__(
        self,
        uri: str,
        *,
        send: Send | None = None,
        policy: FetchPolicy | None = None,
        connect_timeout: float | None = 2.0,
        timeout: float | None = 5.0,
        max_bytes: int = 65536,
        allow_insecure_loopback: bool = False,
        on_event: Callable[[JWKSEvent], None] | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        expect_flags(allow_insecure_loopback=allow_insecure_loopback)
        expect_numbers(max_bytes=max_bytes)
        if policy is not None:
            expect_a(policy, "policy", "a FetchPolicy, such as FetchPolicy(ttl=...)", FetchPolicy)
        if send is not None:
            expect_function(send, "send", TRANSPORT)
        if on_event is not None:
            expect_function(on_event, "on_event", "a function of an event")
        if clock is not None:
            expect(clock, "clock", CLOCK, *CLOCK_METHODS)
        check_endpoint(uri, "uri", allow_insecure_loopback=allow_insecure_loopback)
        self._request = Request(
            "GET",
            uri,
            headers={"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"},
            timeout=Timeout(as_timeout(timeout).total, as_timeout(connect_timeout, "connect_timeout").total),
            max_bytes=max_bytes,
        )
        self._own: HttpTransport | None = None
        if send is None:
            send = self._own = HttpTransport()
        self._send = send
        self._policy = policy or FetchPolicy()
        self._on_event = on_event
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._state = FetchState()  # replaced as a whole, by one assignment
        self._flights: SingleFlight[None] = SingleFlight()
        self.generation = 0
        self.fetches = 0

    async def select(self, *, alg: str, kid: str | None, issued: bool = False) -> VerificationKey:
        """The one key for this header, fetched if it must be. `issued`: for a token that this client was just granted.

        Raises `InvalidTokenError` if there is none, and `KeysUnavailableError` if that cannot be known.
        """
        fetches, joined = self.fetches, False
        while True:
            now = self._clock.boot()
            decision = decide(
                self._policy, self._state, algorithm=alg, kid=kid, now=now, attempts=fetches, issued=issued
            )
            if isinstance(decision, Refuse | Unavailable) and not joined and _KEYS in self._flights:
                joined = True  # the fetch in flight may bring the key
                await self._flights.join(_KEYS, self._fetch)
                continue
            match decision:
                case Use(key, refresh):
                    if refresh:
                        self._flights.start(_KEYS, self._fetch)
                    return key
                case Fetch(miss):
                    await self._flights.join(_KEYS, partial(self._fetch, miss))
                case Refuse(reason):
                    raise InvalidTokenError(reason)
                case Unavailable(seconds):
                    raise KeysUnavailableError(retry_after=seconds)
                case _:
                    assert_never(decision)

    async def fetch_again(self, fetches: int, *, issued: bool = False) -> None:
        """Fetch the keys once more, for a signature that its key did not make, unless the policy forbids it.

        `fetches` is the number of fetches when that key was selected; `issued` is as for `select`. A failing fetch is no
        error: the signature is then as bad as it was.
        """
        for _ in range(2):  # the first may join a fetch that began before the token came
            if _KEYS not in self._flights:
                now = self._clock.boot()
                if not may_be_replaced(self._state, now, attempts=fetches, issued=issued):
                    break
                if not issued:
                    self._state = replaced(self._policy, self._state, now)
            await self._flights.join(_KEYS, self._fetch)

    def contains(self, key: VerificationKey) -> bool:
        """Return whether the key is still published, as far as is known."""
        return key in self._state.keys.keys

    async def refresh(self, *, force: bool = False) -> bool:
        """Fetch the keys if they are due and no back-off forbids it, or at once with `force`. Return whether they are fresh."""
        now = self._clock.boot()
        if force or now >= max(self._state.ahead_at, self._state.retry_at):
            await self._flights.join(_KEYS, self._fetch)
        return not self._state.failures and self._clock.boot() < self._state.expires_at

    async def warm(self) -> None:
        """Fetch the keys before the first token comes. A failing fetch shows in `health`, and is tried again."""
        await self.refresh()

    @property
    def health(self) -> JWKSHealth:
        """The state of the keys, for a health check or a page of metrics."""
        state, now = self._state, self._clock.boot()
        name: Literal["fresh", "stale", "failing", "empty"] = "fresh" if now < state.expires_at else "stale"
        if now >= state.usable_until:
            name = "empty"
        elif state.failures:
            name = "failing"
        return JWKSHealth(
            state=name,
            age=None if state.fetched_at == NEVER else now - state.fetched_at,
            keys=len(state.keys.keys),
            skipped=state.keys.skipped,
            generation=state.generation,
            fetches=self.fetches,
            last_error=state.last_error,
            next_attempt=max(0.0, max(state.ahead_at, state.retry_at) - now),
        )

    async def aclose(self) -> None:
        """End a fetch in flight, and the connections if they are the cache's own."""
        await self._flights.aclose()
        if self._own is not None:
            await self._own.aclose()

    async def _fetch(self, miss: str | None = None) -> None:
        """Fetch the keys once. Success and failure go into the state; nothing is raised."""
        self.fetches = sequence = self.fetches + 1
        sent_at = self._clock.boot()
        if miss is not None:
            self._state = missed(self._policy, self._state, sent_at)
        response, problem = await self._ask()
        answer = problem if response is None else read_answer(self._policy, self._state, response)
        now, jitter = self._clock.boot(), self._jitter()
        if isinstance(answer, Answer):
            self._state = succeeded(
                self._policy,
                self._state,
                answer,
                sequence=sequence,
                sent_at=sent_at,
                now=now,
                jitter=jitter,
                miss=miss,
            )
        else:
            wait = None if response is None else retry_after(response.headers, self._clock.wall())
            self._state = failed(
                self._policy, self._state, sequence=sequence, error=answer, retry_after=wait, now=now, jitter=jitter
            )
        self.generation = self._state.generation
        self._report(now)

    async def _ask(self) -> tuple[Response | None, str]:
        request, state = self._request, self._state
        if state.etag is not None and state.keys.keys:
            request = attrs.evolve(request, headers={**request.headers, "If-None-Match": state.etag})
        try:
            return await send_with_retry(self._send, request, clock=self._clock, jitter=self._jitter), ""
        except APIError as error:
            return None, error.message
        except Exception as error:  # noqa: BLE001 - a user's transport may raise anything; it is an outage
            return None, f"the transport raised {type(error).__name__}"

    def _report(self, now: float) -> None:
        state = self._state
        wait = max(0.0, state.retry_at - now)
        if state.last_error is not None:
            where = self._request.info.url
            logger.warning("Keys at %s: %s; next attempt in %.0f s.", where, state.last_error, wait)
        if self._on_event is None:
            return
        event = JWKSEvent(state.generation, len(state.keys.keys), state.keys.skipped, state.last_error, wait)
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - an error in a listener is no reason to refuse tokens
            logger.exception("on_event raised")


_LEEWAY = 60.0


class IssuedTokenVerifier:
    """Checks issued JWTs against the server's keys. The token's issuer must be `issuer`, unless that is `None`."""

    def __init__(self, keys: KeySource, *, issuer: str | None = None, clock: Clock | None = None) -> None:
        self._keys = keys
        self._signing = SigningKeys(keys, issued=True)
        self._issuer = issuer
        self._wall = (clock or SystemClock()).wall
        self._warned = False

    async def prepare(self) -> None:
        """Fetch the keys while the token request is in flight. A failure shows when a token is checked."""
        with suppress(ValidationUnavailableError, ImportError):
            await self._keys.warm()

    async def __call__(self, access_token: str, /) -> str | None:
        """`None` for a verified token, else the reason why it cannot be checked. Raises `TokenVerificationError` for one that
        is wrong.
        """
        verdict = self.verify_at(access_token, server_time=None)
        del access_token
        return await verdict

    async def verify_at(self, access_token: str, /, *, server_time: float | None) -> str | None:
        """The same, for a token from a response that was sent at `server_time`: Unix seconds, `None` if it had no date.

        The token's times are by the server's clock. Compared with this machine's clock only, a good token would look expired
        where that clock is wrong.
        """
        parts = Secret(split_compact(access_token) or (None, None, None, b""))
        del access_token
        header, payload, signature = parts.plain[:3]
        head = None if header is None else parse_object(header)
        claims = None if payload is None else parse_object(payload)
        if head is None or claims is None or signature is None:
            return "it is opaque"
        signing_input = Secret(parts.plain[3])
        algorithm, kid = head.get("alg"), head.get("kid")
        if not isinstance(algorithm, str) or not isinstance(kid, str | None):
            return "its header is unusual"
        try:
            key = await self._signing.find(algorithm, kid, signing_input, signature)
        except InvalidTokenError as error:
            return f"its key is not among the published ones ({error.reason})"
        except ValidationUnavailableError:
            reason = self._keys.health.last_error if isinstance(self._keys, JWKSCache) else None
            return (
                f"the keys could not be fetched ({reason.rstrip('.')})" if reason else "the keys could not be fetched"
            )
        except ImportError as error:  # a subinterpreter loads no `cryptography`
            return f"what checks signatures cannot be loaded in this interpreter ({error})"
        if key is None:
            raise TokenVerificationError("The issued token's signature is not by the key that it names.")
        if self._issuer is not None and not same_issuer(claims.get("iss"), self._issuer):
            raise TokenVerificationError("The issued token names another issuer than the one configured.")
        return self._check_expiry(_expiry(claims), server_time)

    def _check_expiry(self, expiry: float, server_time: float | None) -> str | None:
        """The reason why the times cannot be checked, if the clocks disagree. Raises `TokenVerificationError` for an expired
        token.
        """
        end, here = expiry + _LEEWAY, self._wall()
        if server_time is None and end < here:
            raise TokenVerificationError(
                "The issued token has expired already by this machine's clock, and the server does not say what time it is: "
                "check this machine's clock."
            )
        if server_time is not None and end < server_time:
            raise TokenVerificationError("The issued token has expired already, by the server's own clock.")
        if server_time is None or here <= end:
            return None
        reason = f"this machine's clock is {here - server_time:.0f} s ahead of the server's"
        if not self._warned:
            self._warned = True
            logger.warning("%s: set it, or good tokens will look expired.", reason[0].upper() + reason[1:])
        return reason


def _expiry(claims: Mapping[str, object]) -> float:
    """The token's `exp`, infinite where it has none. Raises `TokenVerificationError` for one that is no date."""
    try:
        expiry = numeric_date(claims, "exp")
    except InvalidTokenError:
        pass
    else:
        return math.inf if expiry is None else expiry
    raise TokenVerificationError("The issued token's `exp` is no date, so it counts as expired.")
