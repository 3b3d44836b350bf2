from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qsl, urlencode, urlsplit

import attrs
import pytest

from telnyx_oauth.errors import (
    AccessDeniedError,
    APIConnectionError,
    AuthorizationCodeLostError,
    AuthorizationError,
    AuthorizationExpiredError,
    AuthorizationResponseError,
    DiscoveryError,
    InternalServerError,
    InvalidCallbackError,
    InvalidClientError,
    InvalidGrantError,
    IssuerMismatchError,
    MissingCredentialsError,
    RateLimitError,
    ReauthenticationRequiredError,
    StateMismatchError,
    TokenVerificationError,
)
from telnyx_oauth.messages import Request, RequestInfo, Response
from telnyx_oauth.protocol.authorization_code import PendingAuthorization
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.tokens.authorization_code import AuthorizationFlow, discover, discover_resource
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.stores.memory import MemoryStore
from tests.wire import FakeClock, refused

REDIRECT = "https://example.com/callback"


@pytest.fixture
def telnyx() -> Sandbox:
    return Sandbox()


@pytest.fixture
def made(telnyx):
    """Makes flows of the sandbox's own client. Without a socket, unless told otherwise."""

    def make(**options) -> AuthorizationFlow:
        own = {"client_id": telnyx.client_id, "client_secret": telnyx.client_secret, "base_url": telnyx.base_url}
        return AuthorizationFlow(**({"send": telnyx.send} | own | options))

    return make


@pytest.fixture
def flow(made) -> AuthorizationFlow:
    return made()


def codes_sent(telnyx) -> int:
    return len([one for one in telnyx.requests.find("/oauth/token") if one.form["grant_type"] == "authorization_code"])


def changed(url: str, **parameters: str | None) -> str:
    given = dict(parse_qsl(urlsplit(url).query)) | parameters
    return f"{REDIRECT}?{urlencode({name: value for name, value in given.items() if value is not None})}"


async def begun(flow, telnyx, **options) -> tuple[PendingAuthorization, str]:
    pending = await flow.begin_authorization(redirect_uri=REDIRECT, **options)
    return pending, telnyx.approve(pending.url)


# --- from beginning to end


async def test_a_person_who_signs_in_has_tokens_that_stay_fresh(flow, telnyx):
    pending, callback = await begun(flow, telnyx, scopes=["numbers.read", "fax.read"])
    manager = await flow.complete_authorization(callback, pending=pending)
    token = await manager.get()
    assert token.scopes == {"numbers.read", "fax.read"}
    assert telnyx.state.access_tokens[token.access_token].claims["sub"] == telnyx.state.user_id
    telnyx.revoke(token.access_token)
    renewed = await manager.replace(token)
    assert renewed.access_token != token.access_token
    assert renewed.scopes == token.scopes
    assert telnyx.requests[-1].form["grant_type"] == "refresh_token"


async def test_the_code_goes_with_its_verifier_its_redirect_uri_and_the_clients_credentials(flow, telnyx):
    resource = f"{telnyx.base_url}/mcp"
    pending, callback = await begun(flow, telnyx, resource=resource)
    await flow.complete_authorization(callback, pending=pending)
    sent = telnyx.requests.find("/oauth/token")[0]
    assert sent.headers["Authorization"].startswith("Basic ")
    assert sent.form == {
        "grant_type": "authorization_code",
        "code": dict(parse_qsl(urlsplit(callback).query))["code"],
        "redirect_uri": REDIRECT,
        "code_verifier": pending.code_verifier,
        "resource": resource,
    }


async def test_a_resource_is_asked_for_again_at_each_renewal(made, telnyx):
    resource = f"{telnyx.base_url}/mcp"
    flow = made(resource=resource)
    pending, callback = await begun(flow, telnyx)
    manager = await flow.complete_authorization(callback, pending=pending)
    await manager.replace(await manager.get())
    assert [one.form["resource"] for one in telnyx.requests.find("/oauth/token")] == [resource, resource]


async def test_a_program_for_one_person_need_not_hold_the_pending_sign_in(flow, telnyx):
    _, callback = await begun(flow, telnyx)
    assert await (await flow.complete_authorization(callback)).get()


async def test_a_web_application_keeps_the_pending_sign_in_in_its_session(made, telnyx):
    pending, callback = await begun(made(), telnyx)
    session = {"pending": pending.to_json()}
    other_process = made()
    manager = await other_process.complete_authorization(
        callback, pending=PendingAuthorization.from_json(session["pending"]), account="alice"
    )
    assert await manager.get()


async def test_each_account_has_a_grant_of_its_own_that_a_later_process_finds(made, telnyx):
    store = MemoryStore()
    first = made(store=store)
    granted = {}
    for account in ("alice", "bob"):
        pending, callback = await begun(first, telnyx)
        granted[account] = await (await first.complete_authorization(callback, pending=pending, account=account)).get()
    later = made(store=store)
    for account, token in granted.items():
        assert (await later.tokens(account=account).get()).access_token == token.access_token
    assert granted["alice"].access_token != granted["bob"].access_token
    with pytest.raises(ReauthenticationRequiredError, match="no_refresh_token"):
        await later.tokens(account="carol").get()


async def test_a_close_that_was_cancelled_is_finished_by_the_next(flow, telnyx, monkeypatch):
    manager = flow.tokens(account="ann")
    begun = []

    async def stuck(*_, **__):
        begun.append(1)
        if len(begun) == 1:
            await asyncio.Event().wait()

    monkeypatch.setattr(TokenManager, "aclose", stuck)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flow.aclose(), 0.01)
    await flow.aclose()
    assert len(begun) == 2
    monkeypatch.undo()
    await manager.aclose()


async def test_the_same_account_gets_the_same_manager(flow):
    assert flow.tokens(account="alice") is flow.tokens(account="alice")
    assert flow.tokens(account="alice") is not flow.tokens(account="bob")


async def test_managers_of_many_accounts_do_not_pile_up_and_lose_nothing(made, telnyx, monkeypatch):
    monkeypatch.setattr("telnyx_oauth.tokens.authorization_code._MOST_MANAGERS", 2)
    flow = made()
    pending, callback = await begun(flow, telnyx)
    manager = await flow.complete_authorization(callback, pending=pending, account="alice")
    for account in "bcd":
        flow.tokens(account=account)
    assert len(flow._managers) == 2
    again = flow.tokens(account="alice")
    assert again is not manager
    assert (await again.get()).access_token == (await manager.get()).access_token


async def test_a_grant_that_could_not_be_stored_is_not_among_those_that_are_let_go(made, telnyx, monkeypatch):
    class Full(MemoryStore):
        async def compare_and_swap(self, key, expected, new):
            raise OSError("no space left")

    monkeypatch.setattr("telnyx_oauth.tokens.authorization_code._MOST_MANAGERS", 1)
    flow = made(store=Full())
    _, callback = await begun(flow, telnyx)
    manager = await flow.complete_authorization(callback, account="alice")
    assert not manager.status().durable
    for account in "bc":
        flow.tokens(account=account)
    assert flow.tokens(account="alice") is manager
    await flow.aclose()


async def test_signing_in_again_takes_the_place_of_the_grant_before(flow, telnyx):
    tokens = []
    for _ in range(2):
        _, callback = await begun(flow, telnyx)
        tokens.append((await (await flow.complete_authorization(callback)).get()).access_token)
    assert tokens[0] != tokens[1] == flow.tokens().peek().access_token


async def test_the_scopes_are_those_asked_for_when_the_answer_names_none(made, telnyx):
    async def silent(request):
        response = await telnyx.send(request)
        return attrs.evolve(response, content=response.content.replace(b'"scope"', b'"scopf"'))

    flow = made(send=silent)
    _, callback = await begun(flow, telnyx, scopes="fax.read")
    assert (await (await flow.complete_authorization(callback)).get()).scopes == {"fax.read"}


async def test_the_lifetime_counts_from_before_the_code_was_sent(made, telnyx):
    clock = FakeClock()

    async def slow(request):
        if request.url.endswith("/token"):
            clock.now += 30
        return await telnyx.send(request)

    flow = made(send=slow, clock=clock)
    _, callback = await begun(flow, telnyx)
    manager = await flow.complete_authorization(callback)
    assert manager.status().expires_in == 1770


async def test_without_a_transport_the_flow_has_connections_that_end_with_it(telnyx):
    async with telnyx, AuthorizationFlow(client_id="client_id", base_url=telnyx.base_url) as flow:
        pending = await flow.begin_authorization(redirect_uri="https://example.com")
        manager = await flow.complete_authorization(telnyx.approve(pending.url))
        assert (await manager.get()).access_token
        assert telnyx.requests.find("/oauth/token")[0].form["client_id"] == "client_id"
    assert not flow._own.is_open


# --- answers that are not to be believed


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"state": "x" * 43}, StateMismatchError),
        ({"state": None}, StateMismatchError),
        ({"code": None}, InvalidCallbackError),
        ({"code": "wrong"}, InvalidGrantError),
        ({"iss": "https://evil.example"}, IssuerMismatchError),
        ({"error": "access_denied"}, AccessDeniedError),
        ({"error": "server_error"}, AuthorizationResponseError),
    ],
)
async def test_a_wrong_answer_explains_itself_and_leaves_what_is_stored_untouched(flow, telnyx, changes, error):
    _, callback = await begun(flow, telnyx)
    before = await (await flow.complete_authorization(callback)).get()
    records = flow._store.records
    _, callback = await begun(flow, telnyx)
    sent = codes_sent(telnyx)
    with pytest.raises(error) as caught:
        await flow.complete_authorization(changed(callback, **changes))
    assert str(caught.value)
    assert flow.tokens().peek() is before
    assert flow._store.records == records
    assert codes_sent(telnyx) == sent + (error is InvalidGrantError)


async def test_a_denial_is_told_as_one(flow, telnyx):
    pending = await flow.begin_authorization(redirect_uri=REDIRECT)
    with pytest.raises(AccessDeniedError, match="The person denied the request"):
        await flow.complete_authorization(telnyx.deny(pending.url))


async def test_a_scope_that_the_client_may_not_have_is_told_as_such(flow, telnyx):
    pending = await flow.begin_authorization(redirect_uri=REDIRECT, scopes="no.such.scope")
    request = Request("GET", pending.url, RequestInfo("GET", pending.url))
    callback = (await telnyx.send(request)).headers["Location"]
    with pytest.raises(AuthorizationResponseError, match="may not ask for this scope") as caught:
        await flow.complete_authorization(callback)
    assert caught.value.code == "invalid_scope"


async def test_an_answer_counts_once(flow, telnyx):
    pending, callback = await begun(flow, telnyx)
    await flow.complete_authorization(callback, pending=pending)
    with pytest.raises(StateMismatchError, match="answered already"):
        await flow.complete_authorization(callback, pending=pending)
    assert codes_sent(telnyx) == 1


async def test_of_two_that_complete_the_same_answer_at_once_one_does(flow, telnyx):
    pending, callback = await begun(flow, telnyx)
    outcomes = await asyncio.gather(
        *(flow.complete_authorization(callback, pending=pending) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [*["StateMismatchError"] * 4, "TokenManager"]
    assert codes_sent(telnyx) == 1


async def test_a_denied_sign_in_cannot_be_allowed_afterwards(flow, telnyx):
    pending, callback = await begun(flow, telnyx)
    with pytest.raises(AccessDeniedError):
        await flow.complete_authorization(changed(callback, error="access_denied"), pending=pending)
    with pytest.raises(StateMismatchError, match="answered already"):
        await flow.complete_authorization(callback, pending=pending)


async def test_an_answer_with_a_wrong_state_does_not_end_the_sign_in_that_it_is_not_for(flow, telnyx):
    pending, callback = await begun(flow, telnyx)
    with pytest.raises(StateMismatchError):
        await flow.complete_authorization(changed(callback, state="other"), pending=pending)
    assert await flow.complete_authorization(callback, pending=pending)


async def test_an_answer_counts_for_ten_minutes(made, telnyx):
    clock = FakeClock()
    flow = made(clock=clock)
    for wait, good in ((599, True), (600, False)):
        _, callback = await begun(flow, telnyx)
        clock.now += wait
        if good:
            assert await flow.complete_authorization(callback)
            continue
        with pytest.raises(AuthorizationExpiredError):
            await flow.complete_authorization(callback)
    assert codes_sent(telnyx) == 1


async def test_states_that_were_used_are_forgotten_when_they_no_longer_could_be(made, telnyx):
    clock = FakeClock()
    flow = made(clock=clock)
    for _ in range(3):
        _, callback = await begun(flow, telnyx)
        await flow.complete_authorization(callback)
        clock.now += 601
    assert len(flow._used) == 1


async def test_an_answer_with_nothing_begun_or_to_another_clients_sign_in_is_refused(made, telnyx):
    pending, callback = await begun(made(), telnyx)
    with pytest.raises(StateMismatchError, match="No sign-in has begun"):
        await made().complete_authorization(callback)
    for other in (made(client_id="client_id"), made(issuer="https://other.example")):
        with pytest.raises(StateMismatchError, match="another server or client"):
            await other.complete_authorization(callback, pending=pending)


async def test_only_the_one_who_began_can_complete(made, telnyx):
    victims, attackers = made(), made()
    victim, _ = await begun(victims, telnyx)
    _, callback = await begun(attackers, telnyx)
    with pytest.raises(StateMismatchError):
        await victims.complete_authorization(callback, pending=victim)


# --- iss


async def test_a_server_that_promises_to_name_itself_is_held_to_it(made, telnyx):
    telnyx.issuer_in_redirect = True
    flow = made()
    _, callback = await begun(flow, telnyx)
    assert "iss=" in callback
    with pytest.raises(IssuerMismatchError, match="always does"):
        await flow.complete_authorization(changed(callback, iss=None))
    _, callback = await begun(flow, telnyx)
    assert await flow.complete_authorization(callback)


async def test_the_metadata_is_asked_once_an_hour_and_need_not_be_there(made, telnyx):
    clock = FakeClock()
    flow = made(clock=clock)
    telnyx.faults.add("/.well-known/*", kind="status", status=404)
    for wait in (0, 3599, 1):
        clock.now += wait
        _, callback = await begun(flow, telnyx)
        assert await flow.complete_authorization(callback)
    assert len(telnyx.requests.find("/.well-known/*")) == 2


async def test_metadata_of_another_issuer_ends_it_before_anyone_is_sent_anywhere(made, telnyx):
    with pytest.raises(DiscoveryError, match="another issuer"):
        await made(issuer="https://api.telnyx.com").begin_authorization(redirect_uri=REDIRECT)


async def test_no_network_is_told_before_the_browser_opens(made):
    async def nothing(request):
        raise refused(sent=False)

    with pytest.raises(APIConnectionError):
        await made(send=nothing).begin_authorization(redirect_uri=REDIRECT)


# --- the code is sent exactly once


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset", "processed": True},
        {"kind": "reset"},
        {"kind": "truncate"},
        {"kind": "malformed"},
        {"kind": "status", "status": 500, "processed": True},
        {"kind": "status", "status": 503},
    ],
)
async def test_a_lost_answer_is_told_as_lost_and_the_code_is_not_sent_again(flow, telnyx, fault):
    pending, callback = await begun(flow, telnyx)
    telnyx.faults.add("/oauth/token", **fault)
    with pytest.raises(AuthorizationCodeLostError, match="not sent twice: sign in again") as caught:
        await flow.complete_authorization(callback, pending=pending)
    assert caught.value.__cause__ is not None
    with pytest.raises(StateMismatchError):
        await flow.complete_authorization(callback, pending=pending)
    assert codes_sent(telnyx) == 1
    assert flow._store.records == {}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429}, RateLimitError),
        ({"status": 503, "headers": {"Retry-After": "1"}}, InternalServerError),
        ({"status": 401, "body": b'{"error": "invalid_client"}'}, InvalidClientError),
    ],
)
async def test_a_refusal_says_that_nobody_is_signed_in_and_is_not_tried_again(flow, telnyx, fault, error):
    _, callback = await begun(flow, telnyx)
    telnyx.faults.add("/oauth/token", kind="status", **fault)
    with pytest.raises(error) as caught:
        await flow.complete_authorization(callback)
    assert any("Begin another" in note for note in caught.value.__notes__)
    assert codes_sent(telnyx) == 1


async def test_a_code_that_never_left_may_be_completed_once_more(made, telnyx):
    down = [True]

    async def send(request):
        if request.url.endswith("/token") and down.pop():
            down.append(False)
            raise refused(sent=False)
        return await telnyx.send(request)

    flow = made(send=send)
    _, callback = await begun(flow, telnyx)
    with pytest.raises(APIConnectionError):
        await flow.complete_authorization(callback)
    assert await flow.complete_authorization(callback)
    assert codes_sent(telnyx) == 1


# --- what is issued is proven


class Verifier:
    def __init__(self, verdict: str | Exception | None) -> None:
        self.verdict = verdict
        self.prepared = 0

    async def prepare(self) -> None:
        self.prepared += 1

    async def __call__(self, access_token: str, /) -> str | None:
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.mark.parametrize("verdict", [TokenVerificationError("forged"), "it is opaque"])
async def test_a_token_that_is_not_proven_takes_no_good_grants_place(made, telnyx, verdict):
    verifier = Verifier(None)
    flow = made(verifier=verifier, demand_proof=True)
    _, callback = await begun(flow, telnyx)
    before = await (await flow.complete_authorization(callback)).get()
    records = flow._store.records
    verifier.verdict = verdict
    _, callback = await begun(flow, telnyx)
    with pytest.raises(TokenVerificationError):
        await flow.complete_authorization(callback)
    assert flow.tokens().peek() is before
    assert flow._store.records == records
    assert verifier.prepared == 2


async def test_a_token_that_cannot_be_proven_will_do_where_no_proof_is_demanded(made, telnyx):
    flow = made(verifier=Verifier("it is opaque"))
    _, callback = await begun(flow, telnyx)
    assert await (await flow.complete_authorization(callback)).get()


# --- clients and servers that are not known yet


async def test_a_program_without_a_client_registers_one(telnyx):
    flow = AuthorizationFlow(send=telnyx.send, base_url=telnyx.base_url)
    with pytest.raises(MissingCredentialsError, match="client_id"):
        await flow.begin_authorization(redirect_uri=REDIRECT)
    client = await flow.register(redirect_uris=["http://127.0.0.1/callback"], client_name="Tool", scopes="fax.read")
    assert (client.client_id, client.client_secret) == (flow.client_id, None)
    pending = await flow.begin_authorization(redirect_uri="http://127.0.0.1:4321/callback", scopes="fax.read")
    manager = await flow.complete_authorization(telnyx.approve(pending.url))
    assert (await manager.replace(await manager.get())).scopes == {"fax.read"}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_registered_client_with_a_secret_shows_it_as_registered(telnyx, method):
    flow = AuthorizationFlow(send=telnyx.send, base_url=telnyx.base_url)
    client = await flow.register(redirect_uris=[REDIRECT], client_name="Web", auth_method=method)
    _, callback = await begun(flow, telnyx)
    await flow.complete_authorization(callback)
    sent = telnyx.requests.find("/oauth/token")[0]
    assert ("client_secret" in sent.form) is (method == "client_secret_post")
    assert client.client_secret
    assert client.client_secret not in repr(client)


@pytest.mark.parametrize(
    ("supported", "asked", "used"),
    [
        ([], "none", "client_secret_basic"),
        (["client_secret_post"], "client_secret_post", "client_secret_post"),
        (["client_secret_post", "none"], "none", "client_secret_post"),
    ],
)
async def test_a_secret_that_a_registration_gave_is_used_whatever_was_asked_for(telnyx, supported, asked, used):
    async with telnyx:
        server = attrs.evolve(
            await discover(telnyx.send, telnyx.root_url), token_endpoint_auth_methods_supported=frozenset(supported)
        )
    asked_for = []

    async def send(request):
        if not request.url.endswith("/oauth/register"):
            return await telnyx.send(request)
        asked_for.append(json.loads(request.content))
        issued = {"client_id": telnyx.client_id, "client_secret": telnyx.client_secret, "client_secret_expires_at": 0}
        return Response(201, content=json.dumps(issued).encode())

    flow = AuthorizationFlow(send=send, server=server)
    client = await flow.register(redirect_uris=[REDIRECT], client_name="Web", metadata={"software_id": "w"})
    _, callback = await begun(flow, telnyx)
    await flow.complete_authorization(callback)
    assert [(one["token_endpoint_auth_method"], one["software_id"]) for one in asked_for] == [(asked, "w")]
    assert client.auth_method == used
    assert ("client_secret" in telnyx.requests.find("/oauth/token")[0].form) is (used == "client_secret_post")


async def test_a_registration_is_sent_once(telnyx):
    flow = AuthorizationFlow(send=telnyx.send, base_url=telnyx.base_url)
    telnyx.faults.add("/oauth/register", kind="status", status=503)
    with pytest.raises(InternalServerError):
        await flow.register(redirect_uris=[REDIRECT], client_name="Web")
    assert len(telnyx.requests.find("/oauth/register")) == 1
    assert flow.client_id is None


async def test_a_server_that_registers_nobody_is_told(telnyx):
    async with telnyx:
        server = attrs.evolve(await discover(telnyx.send, telnyx.root_url), registration_endpoint=None)
    with pytest.raises(DiscoveryError, match="registers no clients"):
        await AuthorizationFlow(server=server, send=telnyx.send).register(redirect_uris=[REDIRECT], client_name="Web")


async def test_a_401_leads_to_the_server_and_from_there_to_a_token(telnyx):
    async with telnyx:
        mcp = f"{telnyx.base_url}/mcp"
        challenge = f'Bearer resource_metadata="{telnyx.root_url}/.well-known/oauth-protected-resource/v2/mcp"'
        resource = await discover_resource(telnyx.send, mcp, [challenge])
        assert await discover_resource(telnyx.send, mcp) == resource
        server = await discover(telnyx.send, resource.authorization_servers[0])
        async with AuthorizationFlow(server=server, resource=resource.resource) as flow:
            await flow.register(redirect_uris=[REDIRECT], client_name="Agent")
            _, callback = await begun(flow, telnyx)
            token = await (await flow.complete_authorization(callback)).get()
        claims = telnyx.state.access_tokens[token.access_token].claims
        assert claims["aud"] == mcp


@pytest.mark.parametrize(
    ("supported", "given", "in_form"),
    [
        (["client_secret_post"], None, True),
        (["private_key_jwt", "client_secret_post"], None, True),
        (["client_secret_post", "client_secret_basic"], None, False),
        ([], None, False),
        (["client_secret_post"], "client_secret_basic", False),
    ],
)
async def test_each_request_of_a_client_authenticates_as_the_metadata_says(made, telnyx, supported, given, in_form):
    async with telnyx:
        server = attrs.evolve(
            await discover(telnyx.send, telnyx.root_url), token_endpoint_auth_methods_supported=supported
        )
        flow = made(server=server, auth_method=given)
        _, callback = await begun(flow, telnyx)
        manager = await flow.complete_authorization(callback)
        await manager.replace(await manager.get())
    sent = telnyx.requests.find("/oauth/token")
    assert [one.form["grant_type"] for one in sent] == ["authorization_code", "refresh_token"]
    assert [("client_secret" in one.form, "Authorization" in one.headers) for one in sent] == [
        (in_form, not in_form)
    ] * 2


async def test_a_flow_without_discovery_authenticates_as_the_metadata_says_too(made, telnyx):
    async def send(request):
        response = await telnyx.send(request)
        if "/.well-known/" in request.url:
            said = response.json() | {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
            return attrs.evolve(response, content=json.dumps(said).encode())
        return response

    flow = made(send=send)
    _, callback = await begun(flow, telnyx)
    await flow.complete_authorization(callback)
    assert "client_secret" in telnyx.requests.find("/oauth/token")[0].form


async def test_a_server_that_this_client_cannot_authenticate_to_is_told_before_anyone_signs_in(made, telnyx):
    async with telnyx:
        server = attrs.evolve(
            await discover(telnyx.send, telnyx.root_url),
            token_endpoint_auth_methods_supported=frozenset({"private_key_jwt"}),
        )
    with pytest.raises(DiscoveryError, match="private_key_jwt"):
        made(server=server)
    assert made(server=server, auth_method="client_secret_post")
    assert made(server=server, client_secret=None), "a list says nothing of clients without a secret"


async def test_a_flow_with_a_discovered_server_asks_for_its_metadata_no_more(telnyx):
    async with telnyx:
        server = await discover(telnyx.send, telnyx.root_url)
        flow = AuthorizationFlow(client_id="client_id", server=server, send=telnyx.send)
        await flow.begin_authorization(redirect_uri="https://example.com")
    assert len(telnyx.requests.find("/.well-known/*")) == 1


# --- secrets


async def test_no_error_and_no_log_tells_a_secret(made, telnyx, secrets):
    async def echo(request):
        if request.url.endswith("/token"):
            return Response(400, content=b'{"error": "invalid_grant", "error_description": "' + request.content + b'"}')
        return await telnyx.send(request)

    flow = made(send=echo, client_secret=secrets.client_secret)
    pending, callback = await begun(flow, telnyx)
    pending = attrs.evolve(pending, code_verifier=secrets.code_verifier)
    for address in (changed(callback, code=secrets.code), changed(callback, state="x", code=secrets.code)):
        with pytest.raises((InvalidGrantError, AuthorizationError)) as caught:
            await flow.complete_authorization(address, pending=pending)
        assert secrets.found_in(caught.value, flow, pending) == []
        assert pending.state not in repr(caught.value.__dict__)
