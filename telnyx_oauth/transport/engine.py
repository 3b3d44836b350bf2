"""One call from end to end: credentials, sending, replacing a rejected token, retries."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from ..errors import (
    APIConnectionError,
    APIStatusError,
    ClientClosedError,
    TokenBackoffError,
    TokenWaitTimeoutError,
)
from ..messages import NO_HEADERS, Request, RequestInfo, Response, Send, Timeout
from ..protocol.auth_headers import another_token_helps, basic_credentials, bearer
from ..protocol.credentials import Ask, Credentials, Signer, Tokens, signer
from ..protocol.error_responses import broken, error_from
from ..protocol.json_body import json_object
from ..protocol.requests import Auth, Call, Defaults, Extras, prepare, secrets_of
from ..protocol.retry import delay
from ..protocol.secret import Secret
from .clock import Clock, SystemClock
from .log import logger

if TYPE_CHECKING:
    from ..protocol.token import Token


_SYSTEM: Final = SystemClock()


async def send_with_retry(
    send: Send, request: Request, *, clock: Clock = _SYSTEM, jitter: Callable[[], float] = random.random
) -> Response:
    """Send a request that changes nothing, and once more if the response broke off.

    The pause is that of any other retry, and both attempts together have the time of one. A second response that broke off
    is returned as it is.
    """
    began = clock.boot()
    first = await send(request)
    if broken(first) is None:
        return first
    wait = delay(0, first.headers, attempt=0, max_retries=1, jitter=jitter(), now=clock.wall())
    if wait is None:
        return first
    if request.timeout.total is not None:
        left = request.timeout.total - (clock.boot() - began) - wait
        if left <= 0:
            return first
        request = attrs.evolve(request, timeout=attrs.evolve(request.timeout, total=left))
    await clock.sleep(wait)
    return await send(request)


LONGEST_WAIT: Final = 30.0
"""The most seconds that one call waits for its token, over all attempts."""


async def wait_for_token(
    ask: Ask, total: float | None, *, max_retries: int, clock: Clock, request: RequestInfo, sent: bool
) -> Token:
    """Wait for a token, and ask again after a connection error or a 5xx.

    `total` is the call's `timeout` in seconds. The wait takes at most 30 s of it over all attempts; `None` is no limit. A wait
    that times out is not repeated, since it would be for the same refresh: it raises `TokenWaitTimeoutError`, which tells
    whether the `request` had been `sent` before.

    This function does not sleep. The manager's back-off, which all waiting callers share, spaces the attempts. If it is longer
    than the time left, the error of the last attempt is raised.
    """
    left = limit = None if total is None else min(total, LONGEST_WAIT)
    began = clock.boot()
    failure: APIConnectionError | APIStatusError | None = None
    attempt = 0
    while True:
        try:
            return await ask(timeout=left)
        except TokenBackoffError:
            if failure is None:
                raise
            break
        except TokenWaitTimeoutError as exc:
            raise TokenWaitTimeoutError(limit or exc.timeout, request=request, sent=sent) from failure
        except (APIConnectionError, APIStatusError) as exc:
            failure = exc
        if isinstance(failure, APIConnectionError):
            status, headers = 0, NO_HEADERS
        else:
            status, headers = failure.status_code, failure.response.headers
        # No jitter: the manager's back-off does the waiting.
        if delay(status, headers, attempt=attempt, max_retries=max_retries, jitter=0.0, now=clock.wall()) is None:
            break
        attempt += 1
        if limit is not None:
            # Whole tenths of a second, because the manager has one timer for all equal timeouts.
            left = ceil(max(0.0, began + limit - clock.boot()) * 10) / 10
    raise failure


_T = TypeVar("_T")

# Telnyx documents the slash form, and serves the underscore form. The engine tries both, and remembers the one that works.
ALIASES: Final = {"/oauth/clients": "/oauth_clients", "/oauth/grants": "/oauth_grants"}
_UNKNOWN: Final = (404, 405)
"""The statuses for a path that a server does not know, or knows for other methods only."""


@attrs.frozen(slots=False)
class Answer:
    """The outcome of a call: the last request, its response, and the number of earlier attempts."""

    request: Request
    response: Response
    retries_taken: int = 0


@attrs.define
class Shared:
    """State that a client shares with its copies: the form of each resource's path that the server knows."""

    forms: dict[str, str] = attrs.field(factory=dict[str, str])


class Engine:
    """Sends calls for one client."""

    def __init__(
        self,
        send: Send,
        defaults: Defaults,
        credentials: Credentials,
        *,
        shared: Shared | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.defaults = defaults
        self.credentials = credentials
        self.shared = shared or Shared()
        self.closed = False
        self._send = send
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._own_authorization = "Authorization" in defaults.headers
        self._authorizations: dict[Signer, Secret[str]] = {}
        if credentials.client_id and credentials.client_secret:
            secret = Secret(credentials.client_secret)
            self._authorizations[Signer.BASIC] = basic_credentials(credentials.client_id, secret)
        elif credentials.api_key:
            self._authorizations[Signer.KEY] = bearer(Secret(credentials.api_key), spaced=True)

    async def exchange(self, call: Call, extras: Extras, read: Callable[[Answer], _T]) -> _T:
        """Make a call and return `read(answer)`. Raises an `APIError` or a `TokenError`, also for every status but success."""
        if self.closed:
            raise ClientClosedError
        resource, forms = call.resource, self.shared.forms
        form = forms.get(resource, resource)
        answer = await self._send_with_retries(call if form == resource else _with_form(call, form), extras)
        if resource and resource not in forms:
            answer = await self._try_other_form(call, extras, answer)
        status = answer.response.status_code
        if status < 300 or (call.redirects and status < 400):
            return read(answer)
        raise self._error(call, extras, answer)

    async def _try_other_form(self, call: Call, extras: Extras, first: Answer) -> Answer:
        """Try the other form of a path once if the server does not know the documented one. Remember a form that works."""
        if first.response.status_code in _UNKNOWN:
            form = ALIASES[call.resource]
            second = await self._send_with_retries(_with_form(call, form), extras)
            if second.response.status_code < 300:
                self.shared.forms[call.resource] = form
            return max(first, second, key=_relevance)
        if first.response.status_code < 300:
            self.shared.forms[call.resource] = call.resource
        return first

    async def _send_with_retries(self, call: Call, extras: Extras) -> Answer:
        """Send a call, with as many retries as the rules allow. A token that the server rejects is replaced, once."""
        full: Timeout | None = None
        credentials = self.credentials
        signed_by = signer(call, extras, credentials, own_header=self._own_authorization)
        tokens = credentials.tokens if signed_by is Signer.TOKEN else None
        if tokens is None:
            request, token = self._signed(call, extras, signed_by), None
        elif token := tokens.peek():
            request = prepare(call, self.defaults, extras, Secret(token.authorization))
        else:
            token, request, full = await self._wait_for_token(tokens.get, call, extras, sent=False)
        attempt = 0
        while True:
            reply: Response | APIConnectionError
            try:
                reply = await self._send(request)
            except APIConnectionError as exc:
                reply = exc
            else:
                if reply.status_code < 400 and not reply.fault:
                    return Answer(request, reply, attempt)
            wait = self._delay(reply, attempt, call, extras)
            if wait is not None:
                attempt += 1
                request = await self._pause(request, attempt, wait, full)
                continue
            if isinstance(reply, APIConnectionError):
                raise reply
            again = await self._replaced(tokens, token, reply, call, extras)
            if again is None:
                return Answer(request, reply, attempt)
            request, full = again
            # The new token gets all retries, but is not replaced in its turn.
            token, attempt = None, 0

    async def _replaced(
        self, tokens: Tokens | None, token: Token | None, reply: Response, call: Call, extras: Extras
    ) -> tuple[Request, Timeout] | None:
        """The request with another token, and the timeout of its retries. `None` if no other token would help."""
        if tokens is None or token is None or not tokens.renewable or reply.status_code != 401:
            return None
        if not another_token_helps(reply.headers.getall("WWW-Authenticate", ())):
            return None
        replace = partial(tokens.replace, token, response=reply)
        replacement, request, full = await self._wait_for_token(replace, call, extras, sent=True)
        return None if replacement.authorization == token.authorization else (request, full)

    async def _pause(self, request: Request, attempt: int, wait: float, full: Timeout | None) -> Request:
        """Wait before a retry, and return its request, with the `full` timeout: the first attempt's was shorter if it waited."""
        logger.info("%s: attempt %d in %.2f s", request.info, attempt + 1, wait)
        await self._clock.sleep(wait)
        return request if full is None else attrs.evolve(request, timeout=full)

    def _delay(self, reply: Response | APIConnectionError, attempt: int, call: Call, extras: Extras) -> float | None:
        if isinstance(reply, APIConnectionError):
            status, headers, sent = 0, NO_HEADERS, reply.sent
        else:
            # A body that broke off is a connection that broke, whatever the status before it.
            status, headers, sent = 0 if broken(reply) else reply.status_code, reply.headers, True
        return delay(
            status,
            headers,
            attempt=attempt,
            max_retries=self._most_retries(extras),
            jitter=self._jitter(),
            now=self._clock.wall(),
            sent=sent,
            once=call.once,
        )

    def _most_retries(self, extras: Extras) -> int:
        return self.defaults.max_retries if extras.max_retries is None else extras.max_retries

    def _signed(self, call: Call, extras: Extras, signed_by: Signer) -> Request:
        """Return the request of a call that carries no token of the manager."""
        client_id = self.credentials.client_id
        if signed_by is Signer.CLIENT_ID and call.form is not None and client_id is not None:
            call = attrs.evolve(call, form={"client_id": client_id, **call.form})
        return prepare(call, self.defaults, extras, self._authorizations.get(signed_by))

    async def _wait_for_token(
        self, ask: Ask, call: Call, extras: Extras, *, sent: bool
    ) -> tuple[Token, Request, Timeout]:
        """Wait for a token. Returns it, the request that carries it, and the timeout of that request's retries.

        The wait is part of the first attempt, whose timeout is therefore the time left.
        """
        bare = prepare(call, self.defaults, extras, None)  # first, since a call that cannot be sent needs no token
        full, began = bare.timeout, self._clock.boot()
        token = await wait_for_token(
            ask,
            full.total,
            max_retries=self._most_retries(extras),
            clock=self._clock,
            request=bare.info,
            sent=sent,
        )
        request = prepare(call, self.defaults, extras, Secret(token.authorization))
        if full.total is None:
            return token, request, full
        left = full.total - (self._clock.boot() - began)
        if left <= 0:
            raise TokenWaitTimeoutError(full.total, request=bare.info, sent=sent)
        return token, attrs.evolve(request, timeout=attrs.evolve(full, total=left)), full

    def _error(self, call: Call, extras: Extras, answer: Answer) -> APIStatusError:
        return error_from(
            answer.response,
            token_endpoint=call.auth is Auth.TOKEN,
            secrets=secrets_of(call, extras, answer.request),
            now=self._clock.wall(),
        )


def _relevance(answer: Answer) -> tuple[bool, bool, bool]:
    """The rank of an error response: how much it says about the resource, and not only about the form of its path."""
    status = answer.response.status_code
    errors = (json_object(answer.response) or {}).get("errors")
    return status not in _UNKNOWN, bool(errors), status == 404


def _with_form(call: Call, form: str) -> Call:
    return attrs.evolve(call, path=form + call.path.removeprefix(call.resource))
