"""What type checkers know of both clients: each row keeps its parameters and its answer, in all three forms.

Each line with an ignore must fail, under both checkers: an ignore that hides nothing is an error to them.
"""

from __future__ import annotations

from typing import assert_type

import telnyx_oauth
from telnyx_oauth import (
    APIResponse,
    AsyncAPIResponse,
    AsyncPage,
    AsyncPaginator,
    AsyncTelnyx,
    Page,
    Response,
    Telnyx,
    Timeout,
    Token,
    omit,
)
from telnyx_oauth.types import (
    OAuthClient,
    OAuthClientCreateResponse,
    OAuthClientListResponse,
    OAuthGrant,
    OAuthGrantDeleteResponse,
    OAuthGrantsResponse,
    OAuthIntrospectResponse,
    OAuthRegisterResponse,
    OAuthRetrieveAuthorizeResponse,
    OAuthRetrieveJwksResponse,
    OAuthTokenResponse,
    WellKnownRetrieveAuthorizationServerMetadataResponse,
)


def answers(client: Telnyx) -> None:
    assert_type(
        client.well_known.retrieve_authorization_server_metadata(),
        WellKnownRetrieveAuthorizationServerMetadataResponse,
    )
    page = client.oauth.retrieve_authorize(client_id="c", redirect_uri="r", response_type="code", scope=omit)
    assert_type(page, OAuthRetrieveAuthorizeResponse)
    assert_type(page.url, str)
    assert_type(client.oauth.retrieve_jwks(timeout=None), OAuthRetrieveJwksResponse)
    assert_type(client.oauth.introspect(token="t", timeout=Timeout(1)), OAuthIntrospectResponse)
    assert_type(client.oauth.token(grant_type="client_credentials"), OAuthTokenResponse)
    assert_type(client.oauth.register(extra_headers={"X": omit}), OAuthRegisterResponse)
    assert_type(client.oauth.grants(allowed=True, consent_token="c"), OAuthGrantsResponse)
    created = client.oauth_clients.create(
        name="n", client_type="public", allowed_grant_types=["refresh_token"], allowed_scopes=("admin",)
    )
    assert_type(created, OAuthClientCreateResponse)
    client.oauth_clients.delete("id")  # gives nothing
    assert_type(client.oauth_grants.delete(id="id"), OAuthGrantDeleteResponse)


async def async_answers(client: AsyncTelnyx) -> None:
    assert_type(await client.oauth.token(grant_type="client_credentials"), OAuthTokenResponse)
    await client.oauth_clients.delete("id")  # gives nothing
    assert_type(await client.oauth_grants.delete("id"), OAuthGrantDeleteResponse)


def lists(client: Telnyx) -> None:
    page = client.oauth_clients.list(page_size=3, filter_verified=True)
    assert_type(page, Page[OAuthClient])
    assert_type(page.data, list[OAuthClient])
    assert_type(page.get_next_page(), Page[OAuthClient])
    for item in page:
        assert_type(item, OAuthClient)
    for following in client.oauth_grants.list().iter_pages():
        assert_type(following, Page[OAuthGrant])
    for item in page.concurrently(8):
        assert_type(item, OAuthClient)


async def async_lists(client: AsyncTelnyx) -> None:
    paginator = client.oauth_clients.list()
    assert_type(paginator, AsyncPaginator[OAuthClient])
    assert_type(await paginator, AsyncPage[OAuthClient])
    async for item in paginator:
        assert_type(item, OAuthClient)
    async for page in (await paginator).iter_pages():
        assert_type(page, AsyncPage[OAuthClient])
        async for item in page.concurrently(8):
            assert_type(item, OAuthClient)
    async for item in paginator.concurrently(8):
        assert_type(item, OAuthClient)


def raw(client: Telnyx) -> None:
    response = client.oauth.with_raw_response.token(grant_type="client_credentials")
    assert_type(response, APIResponse[OAuthTokenResponse])
    assert_type(response.parse(), OAuthTokenResponse)
    assert_type(client.oauth_grants.with_raw_response.list().parse(), Page[OAuthGrant])
    assert_type(client.oauth_clients.with_raw_response.delete("id"), APIResponse[None])


async def async_raw(client: AsyncTelnyx) -> None:
    response = await client.oauth.with_raw_response.token(grant_type="client_credentials")
    assert_type(response, AsyncAPIResponse[OAuthTokenResponse])
    assert_type(await response.parse(), OAuthTokenResponse)
    listed = await client.oauth_grants.with_raw_response.list()
    assert_type(await listed.parse(), AsyncPage[OAuthGrant])


def streams(client: Telnyx) -> None:
    with client.oauth.with_streaming_response.retrieve_jwks() as response:
        assert_type(response, APIResponse[OAuthRetrieveJwksResponse])
        for chunk in response.iter_bytes(10):
            assert_type(chunk, bytes)
        for line in response.iter_lines():
            assert_type(line, str)
    with client.oauth_clients.with_streaming_response.list(page_size=1) as listed:
        assert_type(listed.parse(), Page[OAuthClient])


async def async_streams(client: AsyncTelnyx) -> None:
    async with client.oauth.with_streaming_response.retrieve_jwks() as response:
        assert_type(response, AsyncAPIResponse[OAuthRetrieveJwksResponse])
        async for chunk in response.iter_bytes():
            assert_type(chunk, bytes)


def undocumented(client: Telnyx) -> None:
    assert_type(client.get("/x", cast_to=OAuthClientListResponse), OAuthClientListResponse)
    assert_type(client.get("/x", cast_to=Response, options={"timeout": 3, "params": {"q": ["1", "2"]}}), Response)
    assert_type(client.post("/x", cast_to=str, body={"a": 1}), str)


def itself(client: Telnyx, other: AsyncTelnyx) -> None:
    assert_type(client.with_options(timeout=3), Telnyx)
    assert_type(other.copy(max_retries=3), AsyncTelnyx)
    assert_type(client.api_key, str | None)
    assert_type(client.timeout, Timeout)
    assert_type(client.tokens.get(timeout=3.0), Token)
    assert_type(client.tokens.peek(), Token | None)
    with client as same:
        assert_type(same, Telnyx)


def what_must_fail(client: Telnyx, other: AsyncTelnyx) -> None:
    client.oauth.token()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.oauth.token(grant_type="password")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.oauth.with_raw_response.token(grant_type=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.oauth.with_streaming_response.token()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.oauth_clients.retrieve()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.oauth_clients.retrieve(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.oauth_clients.update("id", client_type="public")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.oauth_clients.list(page_sise=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.oauth_clients.list(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.oauth_clients.with_raw_response.list(page_size="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.oauth.grants(allowed="yes", consent_token="c")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.get("/x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Telnyx(apikey="KEY")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Telnyx(api_key=7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.with_options(retries=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.tokens.get(scope="a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with client.oauth.retrieve_jwks():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    assert_type(other.oauth_grants.list(), Page[OAuthGrant])  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]


async def guesses(client: Telnyx, other: AsyncTelnyx) -> None:
    """What is answered with a hint is as wrong to a type checker as what is not."""
    _ = telnyx_oauth.Client  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    client.get_token()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    _ = client.oauth.clients  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
    client.oauth_clients.list()[0]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    _ = (await client.oauth.retrieve_jwks()).keys  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType, reportUnknownVariableType]
    client.tokens.get()["access_token"]  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    "Bearer " + client.tokens.get()  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue, reportUnusedExpression]
    AsyncTelnyx(token="KEY")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with other:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    async with client:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
    for _ in other.oauth_clients.list():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        pass


class Mine(Telnyx):
    def hello(self) -> str:
        return "hello"


class AsyncMine(AsyncTelnyx):
    def hello(self) -> str:
        return "hello"


def subclasses(mine: Mine, other: AsyncMine) -> None:
    assert_type(mine.with_options(timeout=3), Mine)
    assert_type(mine.copy(max_retries=0).hello(), str)
    assert_type(other.with_options(timeout=3), AsyncMine)
    assert_type(other.copy(max_retries=0).hello(), str)
    with mine as entered:
        assert_type(entered, Mine)
