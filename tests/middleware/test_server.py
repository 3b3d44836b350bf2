from __future__ import annotations

import asyncio
import logging
import pickle
import re

import attrs
import pytest
from aiohttp import web

from telnyx_oauth.aiohttp import (
    TOKEN,
    VALIDATOR,
    BearerAuth,
    current_token,
    protected_resource,
    public,
    require_scopes,
    resource_metadata_url,
)
from telnyx_oauth.errors import APIConnectionError, MissingTokenError
from telnyx_oauth.validation.jwks import JWKSCache
from telnyx_oauth.validation.validator import TokenValidator
from tests.forge import NOW, MovedClock, Wire, policy, token

METADATA = "https://service.example/.well-known/oauth-protected-resource"
INVALID = 'Bearer error="invalid_token", error_description="The access token is invalid"'


async def whoami(request):
    return web.json_response({"subject": request[TOKEN].subject})


@public
async def hello(request):
    return web.Response(text="hello")


@require_scopes("calls.read")
async def read_calls(request):
    return web.Response(text=f"calls of {current_token(request).subject}")


@require_scopes("admin")
async def administer(request):
    raise AssertionError("never reached")


class Calls(web.View):
    @require_scopes("calls.read")
    async def get(self):
        return web.Response(text=current_token(self.request).subject)

    @require_scopes(any_of=["admin", "calls.delete"])
    async def delete(self):
        raise AssertionError("never reached")

    @public
    async def options(self):
        return web.Response(text="anyone")


class Handlers:
    @require_scopes("calls.read")
    async def method(self, request):
        return web.Response(text="method")


def application(auth: BearerAuth, *routes) -> web.Application:
    app = web.Application()
    app.add_routes(
        [
            web.get("/whoami", whoami),
            web.get("/hello", hello),
            web.get("/calls", read_calls),
            web.get("/admin", administer),
            web.view("/view", Calls),
            web.get("/method", Handlers().method),
            *routes,
        ]
    )
    auth.setup(app)
    return app


def bearer(text: str | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token() if text is None else text}"}


@pytest.fixture
async def url(serve, validator):
    return await serve(application(BearerAuth(validator)))


async def test_a_good_token_reaches_the_handler(url, session):
    for path, text in (
        ("/whoami", '{"subject": "user-1"}'),
        ("/calls", "calls of user-1"),
        ("/view", "user-1"),
        ("/method", "method"),
    ):
        async with session.get(url + path, headers=bearer()) as answer:
            assert (answer.status, await answer.text()) == (200, text)


async def test_a_public_route_is_open_with_and_without_a_token(url, session):
    for headers in ({}, bearer(), bearer("garbage"), {"Authorization": "Basic abc"}):
        async with session.get(url + "/hello", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "hello")
    async with session.options(url + "/view") as answer:
        assert (answer.status, await answer.text()) == (200, "anyone")


CASES = [
    ("/whoami", {}, 401, "Bearer", None),
    ("/whoami", {"Authorization": "Basic dTpw"}, 401, "Bearer", None),
    ("/calls", {}, 401, 'Bearer scope="calls.read"', None),
    ("/whoami", {"Authorization": "BearerX t"}, 401, "Bearer", None),
    ("/whoami", {"Authorization": "Bearer"}, 400, 'Bearer error="invalid_request"', "invalid_request"),
    ("/whoami", {"Authorization": "Bearer "}, 400, 'Bearer error="invalid_request"', "invalid_request"),
    ("/whoami", {"Authorization": "Bearer a b"}, 400, 'Bearer error="invalid_request"', "invalid_request"),
    ("/whoami", {"Authorization": 'Bearer a"b'}, 400, 'Bearer error="invalid_request"', "invalid_request"),
    ("/whoami?access_token=x", {}, 401, "Bearer", None),
    ("/whoami?access_token=x", bearer(), 400, 'Bearer error="invalid_request"', "invalid_request"),
    ("/whoami?access%5Ftoken=x", bearer(), 400, 'Bearer error="invalid_request"', "invalid_request"),
    ("/whoami", bearer("garbage"), 401, INVALID, "invalid_token"),
    ("/whoami", bearer(token(aud="https://other.example")), 401, INVALID, "invalid_token"),
    ("/whoami", bearer(token(cnf={"jkt": "x"})), 401, INVALID, "invalid_token"),
    (
        "/whoami",
        bearer(token(exp=NOW - 60)),
        401,
        'Bearer error="invalid_token", error_description="The access token expired"',
        "invalid_token",
    ),
    ("/admin", bearer(), 403, 'Bearer error="insufficient_scope", scope="admin"', "insufficient_scope"),
    ("/nowhere", {}, 401, "Bearer", None),
    ("/nowhere", bearer("garbage"), 401, INVALID, "invalid_token"),
]


@pytest.mark.parametrize(("path", "headers", "status", "challenge", "error"), CASES)
async def test_the_refusal_has_the_status_challenge_and_body_of_its_reason(
    url, session, path, headers, status, challenge, error
):
    """Attacks 67 to 69 and 73."""
    async with session.get(url + path, headers=headers) as answer:
        assert (answer.status, answer.headers.getall("WWW-Authenticate")) == (status, [challenge])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.content_type == "application/json"
        body = await answer.json()
        assert body.get("error") == error
        assert body["error_description"]
        assert "kid" not in str(body)


async def test_lower_case_is_as_good(url, session):
    async with session.get(url + "/whoami", headers={"Authorization": f"bearer {token()}"}) as answer:
        assert answer.status == 200


async def test_two_authorization_headers_are_malformed(url, raw):
    """Attack 66."""
    good = f"Authorization: Bearer {token()}\r\n".encode()
    answer = await raw(url, b"GET /whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + good * 2 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'error="invalid_request"' in answer


async def test_what_a_client_sends_never_reaches_a_header(serve, validator, raw):
    """Attacks 70 and 71."""
    auth = BearerAuth(validator, realm='calls "and" \\more', resource_metadata=METADATA)
    address = await serve(application(auth))
    for value in (b'Bearer a"b', b"Bearer \xc3\xa9", b"Bearer a\tb", b"Bearer \xff"):
        answer = await raw(
            address,
            b"GET /whoami HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nAuthorization: " + value + b"\r\n\r\n",
        )
        assert answer.startswith(b"HTTP/1.1 400 ")
        head = answer.partition(b"\r\n\r\n")[0]
        assert b"evil" not in head
        assert value.partition(b" ")[2] not in head
    answer = await raw(address, b"GET /whoami HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0]
    said = f'Bearer realm="calls \\"and\\" \\\\more", resource_metadata="{METADATA}"'
    assert f"WWW-Authenticate: {said}".encode() in head
    assert b"evil" not in head


def test_a_realm_that_breaks_a_header_is_an_error_of_configuration(validator):
    for options in ({"realm": "a\r\nb"}, {"resource_metadata": "https://é"}, {"scopes": ['a"b']}):
        with pytest.raises(ValueError, match=next(iter(options))):
            BearerAuth(validator, **options)


PREFLIGHT = {"Origin": "https://web.example", "Access-Control-Request-Method": "POST"}


async def any_method(request):
    return web.Response(text=f"{request.method} by anyone")


class NoOptions(web.View):
    async def get(self):
        return web.Response(text="got")


class Base(web.View):
    async def get(self):
        return web.Response(text="base")


@public
class Open(Base):
    async def post(self):
        return web.Response(text="open")


async def test_only_a_preflight_to_a_route_for_options_passes_without_a_token(serve, validator, session):
    """Attack 72."""
    routes = (web.route("OPTIONS", "/options", any_method), web.route("*", "/any", any_method))
    address = await serve(application(BearerAuth(validator), *routes))
    for headers, status in (
        ({}, 401),
        ({"Origin": "https://web.example"}, 401),
        ({"Access-Control-Request-Method": "POST"}, 401),
        (PREFLIGHT, 200),
    ):
        async with session.options(address + "/options", headers=headers) as answer:
            assert answer.status == status
        async with session.options(address + "/any", headers=headers) as answer:
            assert answer.status == 401
    async with session.options(address + "/any", headers=PREFLIGHT | bearer()) as answer:
        assert (answer.status, await answer.text()) == (200, "OPTIONS by anyone")
    async with session.post(address + "/any", headers=PREFLIGHT) as answer:
        assert answer.status == 401
    strict = await serve(application(BearerAuth(validator, allow_preflight=False), *routes))
    async with session.options(strict + "/options", headers=PREFLIGHT) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("unmatched", [True, False])
async def test_a_strangers_preflight_is_answered_alike_for_every_path(serve, validator, session, tmp_path, unmatched):
    (tmp_path / "file.txt").write_text("static")
    inner = web.Application()
    inner.add_routes([web.get("/only-get", whoami), web.route("*", "/any", any_method)])
    app = application(
        BearerAuth(validator, protect_unmatched=unmatched),
        web.route("*", "/any", any_method),
        web.route("*", "/any-with-scopes", read_calls),
        web.options("/options-with-scopes", read_calls),
        web.view("/no-options", NoOptions),
        web.options("/options-of-no-options", NoOptions),
        web.post("/only-post", whoami),
        web.static("/static", tmp_path),
    )
    app.add_subapp("/inner", inner)
    address = await serve(app)
    answers = set()
    for path in (
        "/nowhere",
        "/any",
        "/any-with-scopes",
        "/options-with-scopes",
        "/no-options",
        "/options-of-no-options",
        "/only-post",
        "/whoami",
        "/calls",
        "/static/file.txt",
        "/static/nothing.txt",
        "/inner/any",
        "/inner/only-get",
        "/inner/nowhere",
    ):
        async with session.options(address + path, headers=PREFLIGHT) as answer:
            headers = {name: value for name, value in answer.headers.items() if name != "Date"}
            answers.add((answer.status, str(sorted(headers.items())), await answer.text()))
    assert len(answers) == 1
    assert answers.pop()[0] == 401


@pytest.mark.parametrize("unmatched", [True, False])
async def test_where_tokens_are_optional_preflights_tell_of_no_path_either(serve, validator, session, unmatched):
    auth = BearerAuth(validator, optional=True, protect_unmatched=unmatched)
    address = await serve(application(auth, web.post("/only-post", whoami), web.route("*", "/any", any_method)))
    for path in ("/nowhere", "/only-post", "/calls"):
        async with session.options(address + path, headers=PREFLIGHT) as answer:
            assert (path, answer.status) == (path, 401)
    for path, status in (("/only-post", 405), ("/nowhere", 404)):
        async with session.options(address + path, headers=PREFLIGHT | bearer()) as answer:
            assert (path, answer.status) == (path, status), "who holds a token is told"
    async with session.options(address + "/any", headers=PREFLIGHT) as answer:
        assert answer.status == 200, "this route is for everyone"


async def test_a_route_for_options_gets_preflights_wherever_it_stands(serve, validator, session, tmp_path):
    class WithOptions(web.View):
        async def get(self):
            raise AssertionError("never reached")

        async def options(self):
            return web.Response(text="OPTIONS of a view")

    inner = web.Application()
    inner.add_routes([web.options("/cors", any_method), web.get("/cors", whoami)])
    app = application(BearerAuth(validator), web.view("/with-options", WithOptions), web.options("/call", any_method))
    app.add_routes([web.post("/call", whoami)])
    app.router.add_static("/static", tmp_path).set_options_route(any_method)
    app.add_subapp("/inner", inner)
    address = await serve(app)
    for path in ("/with-options", "/call", "/static/file.txt", "/inner/cors"):
        async with session.options(address + path, headers=PREFLIGHT) as answer:
            assert (path, answer.status) == (path, 200)
        async with session.get(address + path, headers=PREFLIGHT) as answer:
            assert (path, answer.status) == (path, 401)


async def test_who_holds_a_token_is_told_of_scopes_in_a_preflight_too(serve, validator, session):
    address = await serve(application(BearerAuth(validator), web.route("*", "/any", administer)))
    async with session.options(address + "/any", headers=PREFLIGHT | bearer()) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (
            403,
            'Bearer error="insufficient_scope", scope="admin"',
        )


async def test_what_a_get_demands_a_head_demands_too(url, session):
    for path, headers, status in (
        ("/whoami", {}, 401),
        ("/whoami", bearer(), 200),
        ("/admin", bearer(), 403),
        ("/hello", {}, 200),
        ("/nowhere", {}, 401),
    ):
        async with session.head(url + path, headers=headers) as answer:
            assert (path, answer.status) == (path, status)


async def test_a_stranger_gets_a_401_where_others_get_a_404_or_a_405(url, session):
    for method, path, status in (("GET", "/nowhere", 404), ("POST", "/whoami", 405), ("PUT", "/view", 405)):
        async with session.request(method, url + path) as answer:
            assert (answer.status, answer.headers.get("Allow")) == (401, None)
        async with session.request(method, url + path, headers=bearer()) as answer:
            assert answer.status == status


async def test_a_public_view_is_not_public_in_a_method_that_a_subclass_overrides_or_adds(serve, validator, session):
    class Inherits(Open):
        async def put(self):
            return web.Response(text="added")

    class Overrides(Open):
        async def get(self):
            return web.Response(text="overridden")

        @public
        async def post(self):
            return web.Response(text="opened again")

    class Mixed(NoOptions, Open):
        pass

    class Mixin:
        async def delete(self):
            raise AssertionError("never reached")

    class Extended(Open, Mixin):
        pass

    class OverridesMarkedMethod(Calls):
        async def options(self):
            raise AssertionError("never reached")

    views = {"/open": Open, "/inherits": Inherits, "/overrides": Overrides, "/mixed": Mixed, "/extended": Extended}
    views["/marked"] = OverridesMarkedMethod
    address = await serve(application(BearerAuth(validator), *(web.view(path, view) for path, view in views.items())))
    for method, path, status in (
        ("GET", "/open", 200),
        ("POST", "/open", 200),
        ("GET", "/inherits", 200),
        ("POST", "/inherits", 200),
        ("PUT", "/inherits", 401),
        ("GET", "/overrides", 401),
        ("POST", "/overrides", 200),
        ("GET", "/mixed", 401),
        ("POST", "/mixed", 200),
        ("GET", "/extended", 200),
        ("DELETE", "/extended", 401),
        ("PATCH", "/inherits", 401),
        ("OPTIONS", "/marked", 401),
    ):
        async with session.request(method, address + path) as answer:
            assert (method, path, answer.status) == (method, path, status)


async def test_at_start_up_the_routes_that_preflights_reach_are_listed(serve, validator, caplog):
    caplog.set_level(logging.INFO, "telnyx_oauth")
    routes = (web.options("/cors", any_method), web.route("*", "/any", any_method), web.get("/get-view", Calls))
    await serve(application(BearerAuth(validator), *routes))
    assert "Open to CORS preflights: /cors, /view." in caplog.text
    caplog.clear()
    await serve(application(BearerAuth(validator, allow_preflight=False), web.options("/cors", any_method)))
    assert "preflights" not in caplog.text


async def test_unknown_paths_may_be_left_open(serve, validator, session):
    address = await serve(application(BearerAuth(validator, protect_unmatched=False)))
    async with session.get(address + "/nowhere") as answer:
        assert answer.status == 404
    async with session.post(address + "/whoami") as answer:
        assert answer.status == 405
    async with session.get(address + "/whoami") as answer:
        assert answer.status == 401


async def test_a_token_that_is_asked_for_without_the_middleware_is_an_error_that_says_how_to_install_it(
    serve, validator, session
):
    asked: list[Exception] = []

    async def ask(request):
        with pytest.raises(MissingTokenError) as caught:
            current_token(request)
        asked.append(caught.value)
        return web.Response()

    @web.middleware
    async def early(request, handler):
        await ask(request)
        return await handler(request)

    bare = web.Application()
    bare.router.add_get("/", ask)
    late = web.Application(middlewares=[early])
    late.router.add_get("/", whoami)
    BearerAuth(validator).setup(late)
    for app in (bare, late):
        async with session.get(await serve(app), headers=bearer()) as answer:
            assert answer.status == 200
    assert len(asked) == 2
    for error in asked:
        assert isinstance(error, RuntimeError)
        assert re.search(r"BearerAuth is not installed.*BearerAuth\(.*\)\.setup\(app\)", str(error))
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_with_the_middleware_a_token_that_is_not_there_is_no_fault_of_the_application(serve, validator, session):
    @public
    async def open_to_all(request):
        with pytest.raises(MissingTokenError) as caught:
            current_token(request)
        assert not isinstance(caught.value, RuntimeError)
        raise caught.value

    outer, inner = web.Application(), web.Application()
    inner.router.add_get("/open", open_to_all)
    BearerAuth(validator).setup(outer)
    outer.add_subapp("/sub", inner)
    async with session.get(await serve(outer) + "/sub/open") as answer:
        assert answer.status == 401


async def test_optional_lets_absent_credentials_through_and_no_bad_ones(serve, validator, session):
    """Attack 74."""

    async def maybe(request):
        access = request.get(TOKEN)
        return web.Response(text=access.subject if access else "nobody")

    async def must(request):
        return web.Response(text=current_token(request).subject)

    auth = BearerAuth(validator, optional=True)
    address = await serve(application(auth, web.get("/maybe", maybe), web.get("/must", must)))
    for path, headers, status in (
        ("/maybe", {}, 200),
        ("/maybe", bearer(), 200),
        ("/maybe", bearer("garbage"), 401),
        ("/maybe", {"Authorization": "Bearer a b"}, 400),
        ("/must", {}, 401),
        ("/must", bearer(), 200),
        ("/calls", {}, 401),
    ):
        async with session.get(address + path, headers=headers) as answer:
            assert (path, headers, answer.status) == (path, headers, status)


async def test_scopes_of_the_whole_service_are_demanded_everywhere(serve, validator, session):
    address = await serve(application(BearerAuth(validator, scopes=["calls.write"])))
    async with session.get(address + "/calls", headers=bearer(token(scope="calls.read"))) as answer:
        assert answer.status == 403
        assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="calls.read calls.write"'
    async with session.get(address + "/calls", headers=bearer()) as answer:
        assert answer.status == 200
    async with session.get(address + "/hello") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(("scope", "status"), [("admin", 200), ("calls.delete", 200), ("calls.read", 403), ("", 403)])
async def test_one_of_several_scopes_can_be_enough(serve, validator, session, scope, status):
    """Attack 77, a view's methods."""

    class Free(web.View):
        @require_scopes(any_of=["admin", "calls.delete"])
        async def delete(self):
            return web.Response()

    address = await serve(application(BearerAuth(validator), web.view("/free", Free)))
    async with session.delete(address + "/free", headers=bearer(token(scope=scope))) as answer:
        assert answer.status == status
        if status == 403:
            assert answer.headers["WWW-Authenticate"].endswith('scope="admin calls.delete"')
    async with session.put(address + "/free", headers=bearer()) as answer:
        assert answer.status == 405


async def test_sub_applications_are_protected_too(serve, validator, session):
    """Attack 77, sub-applications."""
    inner = web.Application()
    inner.add_routes([web.get("/whoami", whoami), web.get("/admin", administer), web.get("/hello", hello)])
    outer = web.Application()
    outer.add_subapp("/inner", inner)
    BearerAuth(validator).setup(outer)
    address = await serve(outer)
    for path, headers, status in (
        ("/inner/whoami", {}, 401),
        ("/inner/whoami", bearer(), 200),
        ("/inner/admin", bearer(), 403),
        ("/inner/hello", {}, 200),
        ("/inner/nowhere", {}, 401),
    ):
        async with session.get(address + path, headers=headers) as answer:
            assert (path, answer.status) == (path, status)


async def test_a_sub_application_may_demand_tokens_of_its_own(serve, validator, session):
    """A token that is good for the outer service is not thereby good for the inner one."""
    other = TokenValidator(attrs.evolve(policy(), audience="https://inner.example"), validator.keys, clock=MovedClock())
    inner = web.Application()
    inner.add_routes([web.get("/whoami", whoami)])
    BearerAuth(other).setup(inner)
    outer = web.Application()
    outer.add_subapp("/inner", inner)
    BearerAuth(validator).setup(outer)
    address = await serve(outer)
    both = token(aud=["https://inner.example", "https://service.example"])
    for text, status in ((token(), 401), (token(aud="https://inner.example"), 401), (both, 200)):
        async with session.get(address + "/inner/whoami", headers=bearer(text)) as answer:
            assert answer.status == status


async def test_a_route_with_scopes_is_closed_where_the_middleware_is_missing(serve, session, caplog):
    """Attack 76."""
    app = web.Application()
    app.add_routes([web.get("/calls", read_calls), web.view("/view", Calls)])
    address = await serve(app)
    for path in ("/calls", "/view"):
        async with session.get(address + path, headers=bearer()) as answer:
            assert answer.status == 500
            assert (answer.reason, await answer.json()) == ("Internal Server Error", {"error": "server_error"})
    assert "BearerAuth is not installed" in caplog.text


async def test_a_route_with_scopes_that_is_no_handler_says_so():
    with pytest.raises(TypeError, match="none of the arguments is a request"):
        await read_calls("no request")


def test_scopes_must_be_scopes_and_there_must_be_one():
    for wrong in ((), ("a b", 'c"'), ("é",)):
        with pytest.raises(ValueError, match="scope"):
            require_scopes(*wrong)


# --- Expect: 100-continue


async def upload(request):
    return web.Response(text=str(len(await request.read())))


@pytest.fixture
async def uploads(serve, validator):
    auth = BearerAuth(validator)
    return await serve(application(auth, web.post("/upload", upload, expect_handler=auth.expect_handler)))


def expecting(*lines: str, version: str = "1.1", expect: str = "100-continue") -> bytes:
    head = [f"POST /upload HTTP/{version}", "Host: x", "Content-Length: 5", f"Expect: {expect}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


async def test_no_body_is_asked_for_before_the_token_is_good(uploads, raw):
    """Attack 75."""
    for line, status in (
        (None, b"401"),
        ("Authorization: Bearer garbage", b"401"),
        ("Authorization: Bearer a b", b"400"),
    ):
        answer = await raw(uploads, expecting(*([line] if line else [])), until=b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"100 Continue" not in answer
        assert b"Connection: close" in answer
        assert b"WWW-Authenticate: Bearer" in answer


async def test_with_a_good_token_the_body_is_asked_for(uploads):
    host, port = uploads.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(expecting(f"Authorization: Bearer {token()}", "Connection: close"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"12345")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"5")
    writer.close()
    await writer.wait_closed()


async def test_another_expectation_is_not_met(uploads, raw):
    line = f"Authorization: Bearer {token()}"
    assert (await raw(uploads, expecting(line, expect="tea") + b"12345", until=b"\r\n")).startswith(b"HTTP/1.1 417 ")


async def test_a_client_of_http_1_0_is_not_told_to_continue(uploads, raw):
    answer = await raw(uploads, expecting(f"Authorization: Bearer {token()}", version="1.0") + b"12345")
    assert answer.startswith(b"HTTP/1.0 200 ")


# --- outages, listeners, start-up


async def test_an_outage_of_the_keys_is_no_fault_of_the_token(serve, session):
    keys = JWKSCache("https://issuer.example/jwks", send=Wire(APIConnectionError()), clock=MovedClock())
    address = await serve(application(BearerAuth(TokenValidator(policy(), keys, clock=MovedClock()), realm="r")))
    async with session.get(address + "/whoami", headers=bearer()) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "WWW-Authenticate" not in answer.headers
        assert (await answer.json())["error"] == "temporarily_unavailable"
    async with session.get(address + "/whoami", headers=bearer("garbage")) as answer:
        assert answer.status == 401, "what can be judged without keys is"


async def test_each_refusal_is_told_and_a_listeners_fault_changes_nothing(serve, validator, session, caplog):
    told = []

    async def listen(request, error):
        told.append((request.path, error.reason))
        raise RuntimeError("a listener's fault")

    address = await serve(application(BearerAuth(validator, on_reject=listen)))
    for headers in ({}, bearer("garbage")):
        async with session.get(address + "/whoami", headers=headers) as answer:
            assert answer.status == 401
    assert told == [("/whoami", "missing"), ("/whoami", "not_a_jwt")]
    assert "on_reject raised" in caplog.text


async def test_at_start_up_the_open_routes_are_listed(serve, validator, caplog):
    caplog.set_level(logging.INFO, "telnyx_oauth")
    await serve(application(BearerAuth(validator), protected_resource("https://service.example")))
    opened = caplog.records[-1].getMessage()
    assert {"GET /.well-known/oauth-protected-resource", "GET /hello", "OPTIONS /view"} <= set(
        opened.removeprefix("Open to everyone: ").rstrip(".").split(", ")
    )
    assert "whoami" not in opened
    assert "GET /view" not in opened
    bare = web.Application()
    BearerAuth(validator).setup(bare)
    await serve(bare)
    assert "Open to everyone: nothing." in caplog.text


@pytest.mark.parametrize("order", [(public, require_scopes("a")), (require_scopes("a"), public)])
async def test_a_route_that_contradicts_itself_keeps_the_service_from_starting(serve, validator, order):
    async def handler(request):
        raise AssertionError("never reached")

    for decorator in order:
        handler = decorator(handler)
    with pytest.raises(RuntimeError, match="/odd is both public"):
        await serve(application(BearerAuth(validator), web.get("/odd", handler)))


async def test_the_validator_is_at_hand_and_the_middleware_is_installed_once(serve, validator, session):
    async def look(request):
        return web.Response(text=str(request.config_dict[VALIDATOR] is validator))

    auth = BearerAuth(validator)
    app = web.Application(middlewares=[auth])
    app.add_routes([web.get("/look", look)])
    auth.setup(app)
    assert list(app.middlewares) == [auth]
    address = await serve(app)
    async with session.get(address + "/look", headers=bearer()) as answer:
        assert await answer.text() == "True"


# --- the service's own metadata


async def test_the_services_metadata_is_where_clients_look(serve, validator, session):
    resource = "https://service.example/v2/mcp"
    where = resource_metadata_url(resource)
    assert where == "https://service.example/.well-known/oauth-protected-resource/v2/mcp"
    route = protected_resource(
        resource, scopes_supported=["calls.read"], resource_name="Calls", resource_documentation="https://docs.example"
    )
    address = await serve(application(BearerAuth(validator, resource_metadata=where), route))
    async with session.get(address + "/.well-known/oauth-protected-resource/v2/mcp") as answer:
        assert answer.status == 200
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert await answer.json() == {
            "resource": resource,
            "authorization_servers": ["https://api.telnyx.com"],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["calls.read"],
            "resource_name": "Calls",
            "resource_documentation": "https://docs.example",
        }
    async with session.get(address + "/whoami") as answer:
        assert answer.headers["WWW-Authenticate"] == f'Bearer resource_metadata="{where}"'
