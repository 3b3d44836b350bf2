"""Asking servers what they are, over a real connection: which places are asked, and what of it is believed."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from telnyx_oauth.errors import DiscoveryError
from telnyx_oauth.tokens.authorization_code import discover, discover_resource
from telnyx_oauth.transport.http import HttpTransport

RFC8414 = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
RESOURCE = "/.well-known/oauth-protected-resource"


@asynccontextmanager
async def serving(places, nothing=404, nothing_type="text/plain"):
    """A transport and the address of a server that has these documents, and which paths it was asked for."""
    asked = []

    async def answer(request):
        asked.append(request.path)
        if request.path not in places:
            return web.Response(status=nothing, text="nothing", content_type=nothing_type)
        told = places[request.path]
        return told if isinstance(told, web.Response) else web.json_response(told(str(server.make_url(""))))

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    server, transport = TestServer(app), HttpTransport()
    async with server:
        yield transport, str(server.make_url("")).rstrip("/"), asked
        await transport.aclose()


def metadata(issuer: str):
    """A document whose issuer is this one, {} being the server's root without slash."""

    def made(root: str) -> dict[str, str]:
        root = root.rstrip("/")
        return {
            "issuer": issuer.format(root),
            "authorization_endpoint": f"{root}/authorize",
            "token_endpoint": f"{root}/token",
        }

    return made


def resource(name: str):
    return lambda root: {"resource": name.format(root.rstrip("/")), "authorization_servers": [root.rstrip("/")]}


@pytest.mark.parametrize("asked_for", ["{}", "{}/"])
@pytest.mark.parametrize("named", ["{}", "{}/"])
async def test_an_issuer_is_the_same_with_and_without_its_root_slash(asked_for, named):
    async with serving({RFC8414: metadata(named)}) as (send, root, _):
        assert (await discover(send, asked_for.format(root))).issuer == named.format(root)


@pytest.mark.parametrize("named", ["{}/x", "{}//", "{}x", "https://other.example", "https://other.example/", "", "/"])
async def test_another_issuer_is_refused_all_the_same(named):
    async with serving({RFC8414: metadata(named)}) as (send, root, _):
        for asked_for in (root, f"{root}/"):
            with pytest.raises(DiscoveryError, match="another issuer"):
                await discover(send, asked_for)


async def test_the_slash_of_a_path_that_is_not_empty_counts():
    async with serving({f"{RFC8414}/x": metadata("{}/x")}) as (send, root, _):
        assert (await discover(send, f"{root}/x")).issuer == f"{root}/x"
        with pytest.raises(DiscoveryError, match="another issuer"):
            await discover(send, f"{root}/x/")


@pytest.mark.parametrize("nothing", [404, 400, 401, 403, 405, 410])
@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("", [RFC8414, OPENID]),
        ("/realms/x", [f"{RFC8414}/realms/x", f"{OPENID}/realms/x", f"/realms/x{OPENID}"]),
    ],
)
async def test_a_server_with_openid_metadata_alone_is_found(path, places, nothing):
    for number, place in enumerate(places):
        async with serving({place: metadata("{}" + path)}, nothing) as (send, root, asked):
            assert (await discover(send, root + path)).token_endpoint == f"{root}/token"
            assert asked == places[: number + 1]


async def test_a_site_that_answers_every_path_with_its_start_page_has_no_document_there():
    async with serving({OPENID: metadata("{}")}, 200, "text/html") as (send, root, _):
        assert (await discover(send, root)).token_endpoint == f"{root}/token"


@pytest.mark.parametrize("nothing", [500, 503, 429, 302, 204])
async def test_a_place_that_may_have_the_document_is_not_passed_over(nothing):
    async with serving({OPENID: metadata("{}")}, nothing) as (send, root, asked):
        with pytest.raises(DiscoveryError, match=f"status {nothing}"):
            await discover(send, root)
        assert asked == [RFC8414]


async def test_a_document_of_another_issuer_is_not_passed_over():
    places = {RFC8414: metadata("https://other.example"), OPENID: metadata("{}")}
    async with serving(places) as (send, root, asked):
        with pytest.raises(DiscoveryError, match="another issuer"):
            await discover(send, root)
        assert asked == [RFC8414]


async def test_all_places_without_a_document_are_named():
    async with serving({}) as (send, root, _):
        with pytest.raises(DiscoveryError) as caught:
            await discover(send, f"{root}/x")
    for place in (f"{root}{RFC8414}/x", f"{root}{OPENID}/x", f"{root}/x{OPENID}", "status 404"):
        assert place in caught.value.message


async def test_resource_metadata_at_the_root_stands_for_a_path():
    async with serving({RESOURCE: resource("{}")}) as (send, root, asked):
        found = await discover_resource(send, f"{root}/mcp")
        assert (found.resource, found.authorization_servers) == (root, (root,))
        assert asked == [f"{RESOURCE}/mcp", RESOURCE]


async def test_the_resource_metadata_of_the_path_comes_first():
    places = {RESOURCE: resource("{}"), f"{RESOURCE}/mcp": resource("{}/mcp")}
    async with serving(places) as (send, root, asked):
        assert (await discover_resource(send, f"{root}/mcp")).resource == f"{root}/mcp"
        assert asked == [f"{RESOURCE}/mcp"]


async def test_resource_metadata_at_the_root_is_believed_of_what_it_covers_alone():
    for named in ("{}/other", "https://other.example"):
        async with serving({RESOURCE: resource(named)}) as (send, root, _):
            with pytest.raises(DiscoveryError, match="not of the resource"):
                await discover_resource(send, f"{root}/mcp")


async def test_a_resource_without_metadata_is_told_with_both_places():
    async with serving({}) as (send, root, _):
        with pytest.raises(DiscoveryError, match=f"{RESOURCE}/mcp .*status 404.* {root}{RESOURCE}"):
            await discover_resource(send, f"{root}/mcp")


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer resource_metadata={}/prm, error="invalid_token"',
        'Bearer error="invalid_token", resource_metadata={}/prm',
        'Bearer realm=my realm, resource_metadata="{}/prm"',
        'Basic realm="x", Bearer é, resource_metadata={}/prm',
    ],
)
async def test_an_odd_challenge_leads_to_the_metadata_all_the_same(challenge):
    async with serving({"/prm": resource("{}")}) as (send, root, _):
        assert (await discover_resource(send, f"{root}/mcp", [challenge.format(root)])).resource == root


async def test_where_a_401_says_that_the_metadata_is_is_the_only_place():
    async with serving({RESOURCE: resource("{}"), "/prm": resource("{}")}) as (send, root, asked):
        await discover_resource(send, f"{root}/mcp", [f'Bearer resource_metadata="{root}/prm"'])
        with pytest.raises(DiscoveryError, match="status 404"):
            await discover_resource(send, f"{root}/mcp", [f'Bearer resource_metadata="{root}/gone"'])
        assert asked == ["/prm", "/gone"]
        await discover_resource(send, f"{root}/mcp", ['Bearer resource_metadata=""'])
