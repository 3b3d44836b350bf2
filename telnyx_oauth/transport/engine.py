"""One call from end to end: credentials, sending, replacing a refused token, retries."""

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


async def asked_again(
    send: Send, request: Request, *, clock: Clock = _SYSTEM, jitter: Callable[[], float] = random.random
) -> Response:
    """The answer to a request that changes nothing, sent once more where the first answer broke off.

    It pauses as any other call does, and both attempts together have the time of one. An answer that broke off again is
    given as it is.
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


PATIENCE: Final = 30.0
"""Seconds, over all attempts, for a call that may take longer."""


async def patiently(
    ask: Ask, total: float | None, *, max_retries: int, clock: Clock, request: RequestInfo, sent: bool
) -> Token:
    """The token, asked for again where a connection error or a 5xx was in the way.

    `total` is what the call's `timeout` allows, in seconds. Of that 30 s are waited at most over all attempts; `None` is no
    limit. A wait that ends without a token is not begun anew, since it would be for the same renewal: it raises
    `TokenWaitTimeoutError`, which says of the `request` whether it had been `sent` before.

    Nobody sleeps here. The manager's back-off spaces the attempts, for all who wait as one; where it is longer than the
    seconds left, they are told what failed.
    """
    left = limit = None if total is None else min(total, PATIENCE)
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
            # Whole tenths of a second, because those who wait equally long share a timer.
            left = ceil(max(0.0, began + limit - clock.boot()) * 10) / 10
    raise failure


_T = TypeVar("_T")

# Telnyx documents the slash form, and serves the underscore form; which one a deployment knows is learnt by asking.
ALIASES: Final = {"/oauth/clients": "/oauth_clients", "/oauth/grants": "/oauth_grants"}
_UNKNOWN: Final = (404, 405)
"""The statuses of a path that a server does not have, or has for other methods alone."""


@attrs.frozen(slots=False)
class Answer:
    """What came of a call: the last request, its response, and how many attempts went before."""

    request: Request
    response: Response
    retries_taken: int = 0


@attrs.define
class Shared:
    """What a client and its copies learn together: the form of each resource's path that the server knows."""

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
        """What `read` makes of the call's answer. Raises an `APIError` or a `TokenError`, for any status but success too."""
        if self.closed:
            raise ClientClosedError
        resource, forms = call.resource, self.shared.forms
        form = forms.get(resource, resource)
        answer = await self._answered(call if form == resource else _under(call, form), extras)
        if resource and resource not in forms:
            answer = await self._other_form(call, extras, answer)
        status = answer.response.status_code
        if status < 300 or (call.redirects and status < 400):
            return read(answer)
        raise self._error(call, extras, answer)

    async def _other_form(self, call: Call, extras: Extras, first: Answer) -> Answer:
        """After an answer that does not know the documented form: one try of the other. A form that works is remembered."""
        if first.response.status_code in _UNKNOWN:
            form = ALIASES[call.resource]
            second = await self._answered(_under(call, form), extras)
            if second.response.status_code < 300:
                self.shared.forms[call.resource] = form
            return max(first, second, key=_telling)
        if first.response.status_code < 300:
            self.shared.forms[call.resource] = call.resource
        return first

    async def _answered(self, call: Call, extras: Extras) -> Answer:
        """The answer after as many attempts as the rules allow; a token that is refused is replaced, once."""
        whole: Timeout | None = None
        credentials = self.credentials
        signed_by = signer(call, extras, credentials, own_header=self._own_authorization)
        tokens = credentials.tokens if signed_by is Signer.TOKEN else None
        if tokens is None:
            request, token = self._signed(call, extras, signed_by), None
        elif token := tokens.peek():
            request = prepare(call, self.defaults, extras, Secret(token.authorization))
        else:
            token, request, whole = await self._waited(tokens.get, call, extras, sent=False)
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
                request = await self._next(request, attempt, wait, whole)
                continue
            if isinstance(reply, APIConnectionError):
                raise reply
            again = await self._replaced(tokens, token, reply, call, extras)
            if again is None:
                return Answer(request, reply, attempt)
            request, whole = again
            token, attempt = None, 0

    async def _replaced(
        self, tokens: Tokens | None, token: Token | None, reply: Response, call: Call, extras: Extras
    ) -> tuple[Request, Timeout] | None:
        """The request with another token, and how long its later attempts may take; None where no other token would help."""
        if tokens is None or token is None or not tokens.renewable or not _token_is_at_fault(reply):
            return None
        replace = partial(tokens.replace, token, response=reply)
        replacement, request, whole = await self._waited(replace, call, extras, sent=True)
        return None if replacement.authorization == token.authorization else (request, whole)

    async def _next(self, request: Request, attempt: int, wait: float, whole: Timeout | None) -> Request:
        """The request once more, after a pause, and with the `whole` time where the one before had less."""
        logger.info("%s: attempt %d in %.2f s", request.info, attempt + 1, wait)
        await self._clock.sleep(wait)
        return request if whole is None else attrs.evolve(request, timeout=whole)

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

    async def _waited(self, ask: Ask, call: Call, extras: Extras, *, sent: bool) -> tuple[Token, Request, Timeout]:
        """A token that has to be waited for, the request that carries it, and how long its later attempts may take.

        The wait is part of the first attempt, which has what is left of its time.
        """
        bare = prepare(call, self.defaults, extras, None)  # first: what cannot be sent needs no token
        whole, began = bare.timeout, self._clock.boot()
        token = await patiently(
            ask,
            whole.total,
            max_retries=self._most_retries(extras),
            clock=self._clock,
            request=bare.info,
            sent=sent,
        )
        request = prepare(call, self.defaults, extras, Secret(token.authorization))
        if whole.total is None:
            return token, request, whole
        left = whole.total - (self._clock.boot() - began)
        if left <= 0:
            raise TokenWaitTimeoutError(whole.total, request=bare.info, sent=sent)
        return token, attrs.evolve(request, timeout=attrs.evolve(whole, total=left)), whole

    def _error(self, call: Call, extras: Extras, answer: Answer) -> APIStatusError:
        return error_from(
            answer.response,
            token_endpoint=call.auth is Auth.TOKEN,
            secrets=secrets_of(call, extras, answer.request),
            now=self._clock.wall(),
        )


def _telling(answer: Answer) -> tuple[bool, bool, bool]:
    """How much an answer says of a thing, and not only of the form of its path. Between equals the first counts."""
    status = answer.response.status_code
    errors = (json_object(answer.response) or {}).get("errors")
    return status not in _UNKNOWN, bool(errors), status == 404


def _under(call: Call, form: str) -> Call:
    return attrs.evolve(call, path=form + call.path.removeprefix(call.resource))


def _token_is_at_fault(response: Response) -> bool:
    return response.status_code == 401 and another_token_helps(response.headers.getall("WWW-Authenticate", ()))
