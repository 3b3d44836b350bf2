"""Answers that must not be used all the same rotate the grant: what they bring is stored before anything is judged."""

from __future__ import annotations

import json

import pytest

from telnyx_oauth.errors import (
    APIResponseValidationError,
    InvalidGrantError,
    ReauthenticationRequiredError,
    TelnyxError,
    TokenEndpointError,
)
from telnyx_oauth.messages import Response, headers
from telnyx_oauth.protocol.token_endpoint import parse_token_response
from telnyx_oauth.tokens.stores.memory import MemoryStore

LATIN = headers(("Content-Type", "application/json;charset=ISO-8859-1"))
BAD_TYPES = ["BearerToken", "", "DPoP", "mac", 7, ["Bearer"], {"x": 1}]


@pytest.mark.parametrize(
    "extra",
    [
        *({"token_type": kind} for kind in BAD_TYPES),
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "white space"},
        {"access_token": 5},
        {"access_token": ...},
        {"error": "server_error"},
        {"error": "invalid_scope"},
    ],
)
def test_an_answer_that_is_refused_still_rotates_the_grant(world, extra):
    async def main():
        store = MemoryStore()
        world.server.rotation = "strict"
        manager = world.manager(world.refresh(), store=store)
        world.server.extra = extra
        with pytest.raises((APIResponseValidationError, TokenEndpointError)):
            await manager.get()
        (record,) = store.records.values()
        assert (record.refresh_token, record.access_token, record.intent) == ("r1", None, None)
        world.server.extra = {}
        assert (await manager.get()).access_token == "t2"
        assert [seen.form["refresh_token"] for seen in world.server.seen] == ["r0", "r1"]
        assert world.server.dead_families == set()
        await manager.aclose()

    world.run(main())


def test_a_source_alone_keeps_the_refresh_token_of_a_refused_answer(world):
    async def main():
        world.server.rotation = "strict"
        source = world.refresh()
        world.server.extra = {"token_type": "BearerToken"}
        with pytest.raises(APIResponseValidationError):
            await source(source.key)
        world.server.extra = {}
        assert (await source(source.key)).access_token == "t2"

    world.run(main())


def test_a_refused_answer_without_a_readable_refresh_token_leaves_the_outcome_unknown(world):
    async def main():
        world.server.rotation = "grace"
        manager = world.manager(world.refresh())
        world.server.faults.append("garbage_after")
        assert (await manager.get()).access_token == "t2"
        assert [seen.form["refresh_token"] for seen in world.server.seen] == ["r0", "r0"]
        await manager.aclose()

    world.run(main())


def answered(world, content, status=200, named=LATIN):
    """A source whose server always answers so."""
    source = world.refresh()
    sent = []

    async def send(request):
        sent.append(request)
        return Response(status, named, content, request.info)

    source._endpoint._send = send
    return source, sent


TOKEN = {
    "access_token": "at",
    "token_type": "Bearer",
    "expires_in": 3600,
    "refresh_token": "rt1",
    "name": "José",
    "bio": "ÿþÿ",
}


@pytest.mark.parametrize("charset", ["iso-8859-1", "latin-1", "cp1252", "utf-8", "utf-16", "utf-16-le", "utf-8-sig"])
@pytest.mark.parametrize(
    "declared", ["", "application/json", "application/json; charset=ISO-8859-1", "text/html;charset=x"]
)
def test_tokens_are_read_whatever_charset_surrounds_them(world, charset, declared):
    async def main():
        body = json.dumps(TOKEN, ensure_ascii=False).encode(charset)
        source, sent = answered(world, body, named=headers(("Content-Type", declared)))
        manager = world.manager(source)
        assert (await manager.get()).access_token == "at"
        assert len(sent) == 1
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("charset", ["shift_jis", "euc-jp", "gbk", "big5", "cp037"])
def test_tokens_are_read_in_the_charset_that_is_declared(world, charset):
    async def main():
        text = json.dumps({**TOKEN, "name": "é" if charset == "cp037" else "表示", "bio": ""}, ensure_ascii=False)
        source, sent = answered(
            world, text.encode(charset), named=headers(("Content-Type", f"application/json;charset={charset}"))
        )
        manager = world.manager(source)
        assert (await manager.get()).access_token == "at"
        assert len(sent) == 1
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("said", ["Ungültiger Token", "J\xff"])
def test_an_oauth_error_is_found_in_any_charset(world, said):
    async def main():
        body = json.dumps({"error": "invalid_grant", "error_description": said}, ensure_ascii=False).encode("latin-1")
        source, sent = answered(world, body, 400)
        manager = world.manager(source)
        with pytest.raises(ReauthenticationRequiredError):
            await manager.get()
        assert len(sent) == 1
        await manager.aclose()

    world.run(main())
    body = json.dumps({"error": "invalid_grant", "error_description": said}, ensure_ascii=False).encode("latin-1")
    with pytest.raises(InvalidGrantError):
        parse_token_response(Response(400, LATIN, body))


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"access_token":"\xff"}', b"\xff\xfe{", b'{"a":"\xc3'])
def test_bytes_that_are_no_answer_are_a_typed_error(content):
    with pytest.raises(TelnyxError):
        parse_token_response(Response(200, LATIN, content))
