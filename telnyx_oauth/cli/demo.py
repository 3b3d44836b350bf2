"""`demo`: the main uses of the package, step by step, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import attrs

from ..errors import AuthenticationError, TelnyxError, TokenValidationError
from ..protocol.jws import looks_like_jwt
from .command import command
from .failures import Failure
from .output import Output
from .session import Session

if TYPE_CHECKING:
    from ..protocol.token import Token
    from ..sandbox import Sandbox
    from ..sync.client import Telnyx

LIFETIME: Final = 2
"""Seconds that a token lives in the last step. It is refreshed after half of them."""
PATIENCE: Final = 10
"""Seconds after which the last step fails."""


@attrs.define
class Steps:
    """The steps that were shown so far."""

    out: Output
    taken: list[dict[str, object]] = attrs.field(factory=list[dict[str, object]])

    def begin(self, title: str, code: str) -> None:
        """Print the title of the next step, and its line of Python."""
        self.taken.append({"step": title, "code": code})
        if not self.out.as_json:
            self.out.line(f"{len(self.taken)}. {title}", "bold")
            self.out.line(f"   {code}", "dim")

    def result(self, **facts: object) -> None:
        """Print the result of the step."""
        result = self.taken[-1]["found"] = {name.replace("_", " "): value for name, value in facts.items()}
        if not self.out.as_json:
            self.out.record(result, indent=3)
            self.out.line()

    def skip(self, why: str) -> None:
        """Print why the step is skipped."""
        self.taken[-1]["skipped"] = why
        if not self.out.as_json:
            self.out.line(f"   skipped: {why}\n", "yellow")


@command("demo")
def demo(session: Session) -> None:
    """See it work, step by step, against a local Telnyx.

    Metadata, tokens, clients, introspection, verification, a new key and refreshes, all over HTTP. It starts a local
    Telnyx, which holds nothing of yours. With --base-url it uses that service instead, with your credentials, and
    skips the steps that would change something.
    """
    steps = Steps(session.out)
    local: Sandbox | None = None
    with ExitStack() as stack:
        if session.base_url is None:
            from ..sandbox import Sandbox

            local = stack.enter_context(Sandbox())
            # A proxy cannot reach the ports of this machine.
            client = stack.enter_context(local.client(trust_env=False))
        else:
            client = stack.enter_context(session.client(audience=session.root, issuer=session.root))
        _tour(steps, client, local, session.token if local is None else client.tokens.get)
    if session.out.as_json:
        session.out.json({"base_url": client.base_url, "steps": steps.taken})
    else:
        session.out.line("Done: all of it over HTTP, and no secret was printed.", "green")


def _tour(steps: Steps, client: Telnyx, local: Sandbox | None, get: Callable[[], Token]) -> None:
    steps.begin("Discover the service", "client.well_known.retrieve_authorization_server_metadata()")
    metadata = client.well_known.retrieve_authorization_server_metadata()
    steps.result(
        issuer=metadata.issuer, token_endpoint=metadata.token_endpoint, grant_types=metadata.grant_types_supported
    )

    steps.begin("Get a token", "token = client.tokens.get()")
    token = get()
    is_token = token.key.grant != "api_key"
    if is_token:
        seconds = None if token.expires_at is None else round(token.remaining())
        steps.result(generation=token.generation, scopes=sorted(token.scopes), seconds_left=seconds)
    else:
        steps.skip("only an API key is configured, and calls use that")

    steps.begin("Call the API with it: list the OAuth clients", "client.oauth_clients.list()")
    page = client.oauth_clients.list()
    steps.result(
        clients=[each.name for each in page.data],
        in_all=page.meta.total_results if page.meta else None,
    )

    steps.begin("Create an OAuth client", "client.oauth_clients.create(name=..., ...)")
    if local is None:
        steps.skip("it would change something")
    else:
        _create(steps, client)

    steps.begin("Introspect the token", "client.oauth.introspect(token=token.access_token)")
    if is_token:
        _introspect(steps, client, token)
    else:
        steps.skip("an API key is not a token")

    steps.begin("Verify the token against the service's keys", "client.validator.validate(token.access_token)")
    _verify(steps, client, token)

    steps.begin("Replace the signing key, and verify a token of the new one", "sandbox.rotate_key()")
    if local is None:
        steps.skip("only the service can do it")
    else:
        kid = local.rotate_key()
        client.tokens.forget()
        fresh = client.tokens.get()
        verified = client.validator.validate(fresh.access_token)
        old = client.validator.validate(token.access_token)
        steps.result(new_key=kid, new_token_signed_by=verified.key_id, old_token_still_good=old.key_id != kid)

    steps.begin("Watch tokens being refreshed while calls go on", "client.oauth_clients.list()  # again and again")
    if local is None:
        steps.skip("the service's tokens live too long to wait for that")
    else:
        _refresh(steps, client, local)


def _create(steps: Steps, client: Telnyx) -> None:
    created = client.oauth_clients.create(
        name="Demo", client_type="confidential", allowed_grant_types=["client_credentials"], allowed_scopes=["admin"]
    ).data
    if created is None:
        raise Failure("The service created a client, but did not say which.")
    with client.with_options(client_id=created.client_id, client_secret=created.client_secret) as copy:
        page = copy.oauth_clients.list(filter_client_id=created.client_id)
    steps.result(
        client_id=created.client_id,
        client_secret="returned once, and not shown here",
        its_own_token_works=[each.client_id for each in page.data] == [created.client_id],
    )
    client.oauth_clients.delete(created.client_id)


def _introspect(steps: Steps, client: Telnyx, token: Token) -> None:
    try:
        answer = client.oauth.introspect(token=token.access_token)
    except AuthenticationError:
        steps.skip("the service answers OAuth clients alone, and these credentials are not a client's")
    else:
        steps.result(active=answer.active, client_id=answer.client_id, scope=answer.scope)


def _verify(steps: Steps, client: Telnyx, token: Token) -> None:
    if not looks_like_jwt(token.access_token):
        steps.skip("it is no JWT, so only introspection can check it")
        return
    try:
        access = client.validator.validate(token.access_token)
    except TokenValidationError as error:
        steps.result(accepted=False, reason=error.reason)
        return
    steps.result(
        accepted=True,
        issuer=access.issuer,
        audience=access.audience,
        subject=access.subject,
        signed_by=access.key_id,
        algorithm=access.algorithm,
    )


def _refresh(steps: Steps, client: Telnyx, local: Sandbox) -> None:
    local.token_lifetime = LIFETIME
    client.tokens.forget()
    first, calls, slowest, began = client.tokens.get().generation, 0, 0.0, time.monotonic()
    while (generation := client.tokens.get().generation) < first + 2:
        if time.monotonic() - began > PATIENCE:
            raise TelnyxError(f"The token was not refreshed within {PATIENCE} s.")
        before = time.monotonic()
        client.oauth_clients.list(page_size=1)
        slowest = max(slowest, time.monotonic() - before)
        calls += 1
        time.sleep(0.05)
    steps.result(
        token_lifetime=f"{LIFETIME} s",
        watched_for=f"{time.monotonic() - began:.1f} s",
        tokens=generation - first + 1,
        calls_meanwhile=f"{calls}, none refused, the slowest took {slowest * 1000:.0f} ms",
    )
