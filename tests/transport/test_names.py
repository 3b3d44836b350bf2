from __future__ import annotations

import asyncio
import socket

import pytest

from telnyx_oauth.errors import APIConnectionError
from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.transport.http import HttpTransport, LocalNames
from tests.wire import RawServer, http


@pytest.fixture
def asked(monkeypatch):
    """What a name server is asked for, in this process: it knows no name."""
    names = []

    def getaddrinfo(host, *arguments, **options):
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "a.b.LOCALHOST", "localhost."])
async def test_a_name_of_this_machine_is_this_machine_whatever_a_name_server_says(asked, host):
    async with RawServer.of(http()) as server:
        transport = HttpTransport()
        url = f"http://{host}:{server.port}/"
        assert (await transport(Request("GET", url, RequestInfo("GET", url), {}))).status_code == 200
        await transport.aclose()
        assert f"Host: {host.rstrip('.')}:{server.port}".lower().encode() in server.requests[0].lower()
    assert asked == []


async def test_every_other_name_is_asked_for(asked):
    transport = HttpTransport()
    for host in ("localhost.example", "api.example"):
        with pytest.raises(APIConnectionError, match="No connection"):
            await transport(Request("GET", f"http://{host}/", RequestInfo("GET", host), {}))
    await transport.aclose()
    assert asked == ["localhost.example", "api.example"]


async def test_a_service_that_listens_on_ipv6_alone_is_found():
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, sock=listening):
        transport = HttpTransport()
        url = f"http://localhost:{listening.getsockname()[1]}/"
        assert (await transport(Request("GET", url, RequestInfo("GET", url), {}))).status_code == 200
        await transport.aclose()


@pytest.mark.parametrize(
    ("family", "addresses"),
    [
        (socket.AF_INET, ["127.0.0.1"]),
        (socket.AF_INET6, ["::1"]),
        (socket.AF_UNSPEC, ["127.0.0.1", "::1"]),
    ],
)
async def test_a_family_of_addresses_may_be_asked_for(family, addresses):
    names = LocalNames()
    found = await names.resolve("localhost", 80, family)
    assert [(each["host"], each["port"]) for each in found] == [(address, 80) for address in addresses]
    await names.close()
