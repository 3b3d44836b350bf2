from __future__ import annotations

import asyncio
import io

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from telnyx_oauth.aiohttp import BearerTokenMiddleware
from telnyx_oauth.errors import APIConnectionError, TokenBackoffError
from telnyx_oauth.protocol.token import Token
from tests.refusals import ANOTHER_TOKEN_HELPS
from tests.wire import until


class Manager:
    """Tokens t0, t1, ...; a rejected one is replaced by the next, once however many ask."""

    def __init__(self, *, warm=True, error=None, gate=None) -> None:
        self.number, self.warm, self.error, self.gate = 0, warm, error, gate
        self.gets = self.replacements = 0

    def token(self) -> Token:
        return Token(f"t{self.number}", generation=self.number)

    def peek(self):
        return self.token() if self.warm else None

    async def get(self):
        self.gets += 1
        self.warm = True
        return self.token()

    async def replace(self, rejected):
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if rejected.generation == self.number:
            self.replacements += 1
            self.number += 1
        return self.token()


class Service:
    """Notes what arrives; takes only the token `takes`."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None, bytes]] = []
        self.takes = "t1"
        self.challenge: list[str] = ["Bearer"]
        self.refusal = b"no"
        self.location = ""
        self.status = 302

    async def call(self, request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization")
        self.seen.append((request.path, sent, await request.read()))
        if sent == f"Bearer {self.takes}":
            return web.Response(text="welcome")
        headers = [("WWW-Authenticate", each) for each in self.challenge if "\0" not in each]
        return web.Response(status=401, body=self.refusal, headers=headers)

    async def early(self, request: web.Request) -> web.Response:
        """Refuses before it has read the body; with a good token it counts it."""
        sent = request.headers.get("Authorization")
        if sent != f"Bearer {self.takes}":
            self.seen.append((request.path, sent, b""))
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        self.seen.append((request.path, sent, str(size).encode()))
        return web.Response(text=str(size))

    async def redirect(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, request.headers.get("Authorization"), b""))
        return web.Response(status=self.status, headers={"Location": self.location})

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/call", self.call)
        app.router.add_route("*", "/early", self.early)
        app.router.add_route("*", "/redirect", self.redirect)
        return app

    @property
    def tokens(self) -> list[str | None]:
        return [sent for _, sent, _ in self.seen]


@pytest.fixture
def service():
    return Service()


@pytest.fixture
async def url(serve, service):
    return await serve(service.app())


@pytest.fixture
async def calling():
    """Makes sessions whose requests get a token."""
    sessions = []

    def make(manager, *origins, connector=None, **options) -> aiohttp.ClientSession:
        middleware = BearerTokenMiddleware(manager, origins=origins, allow_insecure_loopback=True, **options)
        sessions.append(aiohttp.ClientSession(middlewares=(middleware,), connector=connector))
        return sessions[-1]

    yield make
    for session in sessions:
        await session.close()


async def test_a_request_gets_the_token_that_is_at_hand_or_waits_for_one(service, url, calling):
    service.takes = "t0"
    manager = Manager(warm=False)
    session = calling(manager, url)
    for _ in range(3):
        async with session.get(url + "/call") as answer:
            assert await answer.text() == "welcome"
    assert service.tokens == ["Bearer t0"] * 3
    assert manager.gets == 1


async def test_a_refused_token_is_replaced_and_the_request_sent_once_more(service, url, calling):
    manager = Manager()
    async with calling(manager, url).post(url + "/call", data=b"payload") as answer:
        assert await answer.text() == "welcome"
    assert service.seen == [("/call", "Bearer t0", b"payload"), ("/call", "Bearer t1", b"payload")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("other", ["port", "host"])
async def test_no_token_follows_a_redirect_to_another_origin(serve, service, url, calling, status, other):
    """Attack 84."""
    stranger = Service()
    elsewhere = await serve(stranger.app()) if other == "port" else url.replace("127.0.0.1", "localhost")
    service.location, service.status = elsewhere + "/call", status
    async with calling(Manager(), url).get(url + "/redirect") as answer:
        assert answer.status == 401
    assert service.seen[0][1] == "Bearer t0"
    assert (stranger if other == "port" else service).seen[-1][1] is None


async def test_a_redirect_within_the_origin_keeps_the_token(service, url, calling):
    service.location, service.takes = "/call", "t0"
    async with calling(Manager(), url).get(url + "/redirect") as answer:
        assert answer.status == 200
    assert service.tokens == ["Bearer t0", "Bearer t0"]


async def test_http_gets_no_token_unless_it_is_this_machine_and_allowed(service, url):
    """Attack 84, the downgrade."""
    middleware = BearerTokenMiddleware(Manager(), origins=["https://127.0.0.1"])
    async with aiohttp.ClientSession(middlewares=(middleware,)) as session, session.get(url + "/call") as answer:
        assert answer.status == 401
    assert service.tokens == [None]
    secure_port = URL(url).port
    middleware = BearerTokenMiddleware(Manager(), origins=[f"https://127.0.0.1:{secure_port}"])
    async with aiohttp.ClientSession(middlewares=(middleware,)) as session, session.get(url + "/call") as answer:
        assert answer.status == 401
    assert service.tokens == [None, None]


@pytest.mark.parametrize(
    "origin",
    [
        "http://api.example.com",
        "ftp://api.example.com",
        "api.example.com",
        "https://u@h",
        "https://h/v2",
        "https://h/?x=1",
    ],
)
def test_an_origin_is_scheme_host_and_port_and_safe(origin):
    with pytest.raises(ValueError, match="origins"):
        BearerTokenMiddleware(Manager(), origins=[origin])


def test_one_origin_may_be_given_alone_and_as_a_url():
    assert BearerTokenMiddleware(Manager(), origins="https://h/")._origins == {(True, "h", 443)}
    assert BearerTokenMiddleware(Manager(), origins=URL("https://h:8443"))._origins == {(True, "h", 8443)}


async def generate():
    for _ in range(10):
        yield b"x" * 10


async def test_a_stream_is_uploaded_once_and_its_caller_sees_the_refusal(service, url, calling):
    """Attack 85."""
    manager = Manager()
    session = calling(manager, url)
    async with session.post(url + "/call", data=generate()) as answer:
        assert (answer.status, await answer.read()) == (401, b"no")
    assert len(service.seen) == 1
    async with session.post(url + "/call", data=generate()) as answer:
        assert answer.status == 200, "the next call has the new token"
    assert service.seen[-1] == ("/call", "Bearer t1", b"x" * 100)
    assert manager.replacements == 1


async def test_an_early_refusal_never_leads_to_a_shorter_second_upload(service, url, calling):
    """Attack 86."""

    async def large():
        for _ in range(400):
            yield b"x" * 65536

    async with calling(Manager(), url).post(url + "/early", data=large()) as answer:
        assert answer.status == 401
    assert service.tokens == ["Bearer t0"]


@pytest.mark.parametrize(
    ("body", "size"),
    [(b"x" * 1_000_000, 1_000_000), (io.BytesIO(b"x" * 20_000_000), 20_000_000)],
    ids=["bytes", "BytesIO"],
)
async def test_a_large_body_that_can_be_sent_again_is_sent_whole(service, url, calling, body, size):
    async with calling(Manager(), url).post(url + "/early", data=body) as answer:
        assert (answer.status, await answer.text()) == (200, str(size))
    assert service.tokens == ["Bearer t0", "Bearer t1"]


def form(*, stream: bool) -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data")
    writer.append(b"part one")
    writer.append(generate() if stream else io.BytesIO(b"part two"))
    return writer


async def test_a_form_is_sent_again_unless_a_part_of_it_is_a_stream(service, url, calling):
    async with calling(Manager(), url).post(url + "/call", data=form(stream=False)) as answer:
        assert answer.status == 200
    first, second = (body for _, _, body in service.seen)
    assert first == second
    assert b"part two" in first
    service.seen.clear()
    async with calling(Manager(), url).post(url + "/call", data=form(stream=True)) as answer:
        assert answer.status == 401
    assert len(service.seen) == 1


async def test_a_consumed_body_is_not_sent_again(service, url, calling):
    class Pipe(io.RawIOBase):
        """A file that cannot be rewound."""

        def __init__(self):
            self.left = [b"once"]

        def readable(self):
            return True

        def seekable(self):
            return False

        def tell(self):
            raise OSError("not seekable")

        def read(self, size=-1):
            return self.left.pop() if self.left else b""

    async with calling(Manager(), url).post(url + "/call", data=aiohttp.payload.IOBasePayload(Pipe())) as answer:
        assert answer.status == 401
    assert service.seen == [("/call", "Bearer t0", b"once")]


async def test_one_connection_and_a_long_refusal_do_not_wait_for_each_other(service, url, calling):
    """Attack 87."""
    service.refusal = b"no" * 2_500_000
    session = calling(Manager(), url, connector=aiohttp.TCPConnector(limit=1))
    async with asyncio.timeout(5), session.get(url + "/call") as answer:
        assert answer.status == 200


async def test_a_hundred_refusals_cost_one_replacement(service, url, calling):
    """Attack 88."""
    manager = Manager()
    session = calling(manager, url)

    async def call():
        async with session.get(url + "/call") as answer:
            return answer.status

    assert await asyncio.gather(*(call() for _ in range(100))) == [200] * 100
    assert manager.replacements == 1


async def test_a_second_refusal_is_the_callers(service, url, calling):
    """Attack 89."""
    service.takes = "nothing"
    manager = Manager()
    async with calling(manager, url).get(url + "/call") as answer:
        assert (answer.status, await answer.read()) == (401, b"no")
    assert service.tokens == ["Bearer t0", "Bearer t1"]
    assert manager.replacements == 1


@pytest.mark.parametrize(("challenge", "again"), ANOTHER_TOKEN_HELPS)
async def test_only_a_refusal_of_the_token_itself_is_reason_for_another(service, url, calling, challenge, again):
    """Attack 90."""
    service.challenge = challenge
    manager = Manager()
    async with calling(manager, url).get(url + "/call") as answer:
        assert answer.status == (200 if again else 401)
    assert manager.replacements == int(again)


async def test_the_callers_own_authorization_is_kept(service, url, calling, tmp_path, monkeypatch):
    """Attack 91."""
    manager = Manager()
    async with calling(manager, url).get(url + "/call", headers={"Authorization": "Bearer own"}) as answer:
        assert answer.status == 401
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    middleware = BearerTokenMiddleware(manager, origins=[url], allow_insecure_loopback=True)
    async with (
        aiohttp.ClientSession(middlewares=(middleware,), trust_env=True) as session,
        session.get(url + "/call") as answer,
    ):
        assert answer.status == 401
    assert service.tokens == ["Bearer own", aiohttp.encode_basic_auth("user", "secret")]
    assert manager.replacements == 0


@pytest.mark.parametrize("own", [{"trust_env": True}, {"proxy": "http://127.0.0.1:1"}], ids=["environment", "its own"])
async def test_a_token_for_this_machine_goes_through_no_proxy_in_clear(service, url, monkeypatch, own):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    middleware = BearerTokenMiddleware(Manager(), origins=[url], allow_insecure_loopback=True)
    async with aiohttp.ClientSession(middlewares=(middleware,), **own) as session:
        with pytest.raises(APIConnectionError, match=r"Nothing was sent.*NO_PROXY") as caught:
            await session.get(url + "/call")
        assert not caught.value.sent
    assert service.tokens == []


async def test_the_callers_own_authorization_can_be_replaced(service, url, calling):
    session = calling(Manager(), url, on_conflict="replace")
    async with session.get(url + "/call", headers={"Authorization": "Bearer own"}) as answer:
        assert answer.status == 200
    assert service.tokens == ["Bearer t0", "Bearer t1"]


async def test_without_retry_the_refusal_is_the_callers(service, url, calling):
    manager = Manager()
    async with calling(manager, url, retry=False).get(url + "/call") as answer:
        assert answer.status == 401
    assert manager.replacements == 0


async def test_the_same_token_again_is_not_sent_again(service, url, calling):
    class Stubborn(Manager):
        async def replace(self, rejected):
            return rejected

    async with calling(Stubborn(), url).get(url + "/call") as answer:
        assert (answer.status, await answer.read()) == (401, b"no")
    assert len(service.seen) == 1


async def test_token_traffic_past_the_middlewares_does_not_ask_for_a_token(service, url, calling):
    """Attack 92."""
    service.takes = "t0"

    class OnTheSameSession(Manager):
        async def get(self):
            async with session.get(url + "/call", middlewares=()) as answer:
                assert answer.status == 401
            return await super().get()

    session = calling(OnTheSameSession(warm=False), url)
    async with asyncio.timeout(5), session.get(url + "/call") as answer:
        assert answer.status == 200
    assert service.tokens == [None, "Bearer t0"]


async def test_a_failing_replacement_is_the_managers_error_and_frees_the_connection(service, url, calling):
    error = TokenBackoffError(retry_at=9.0, retry_after=3.0, last_error="down")
    session = calling(Manager(error=error), url, connector=aiohttp.TCPConnector(limit=1))
    for _ in range(2):
        async with asyncio.timeout(5):
            with pytest.raises(TokenBackoffError):
                await session.get(url + "/call")


async def test_a_cancelled_caller_leaves_the_replacement_to_the_manager(service, url, calling):
    """Attack 93."""
    gate = asyncio.Event()
    manager = Manager(gate=gate)
    session = calling(manager, url)
    first, second = (asyncio.create_task(session.get(url + "/call")) for _ in range(2))
    await until(lambda: len(service.seen) == 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    async with await second as answer:
        assert answer.status == 200
    assert manager.replacements == 1


async def test_a_websocket_gets_a_token_too(serve, calling):
    seen = []

    async def socket(request):
        seen.append(request.headers.get("Authorization"))
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await websocket.close()
        return websocket

    app = web.Application()
    app.router.add_get("/socket", socket)
    url = await serve(app)
    async with calling(Manager(), url).ws_connect(url.replace("http", "ws") + "/socket"):
        pass
    assert seen == ["Bearer t0"]
