from __future__ import annotations

import asyncio
import json
import time

import pytest

from telnyx_oauth.errors import APIConnectionError, APITimeoutError
from telnyx_oauth.messages import Request, RequestInfo, Timeout

NEVER = Timeout(total=0.01)


@pytest.fixture
def request_for(telnyx):
    def made(path="/oauth/jwks", method="GET", **options):
        url = telnyx.base_url + path
        given = {"Authorization": f"Bearer {telnyx.api_key}"}
        return Request(method, url, RequestInfo(method, url), given, **options)

    return made


async def test_a_fault_hits_matching_requests_as_many_times_as_it_says(telnyx, request_for):
    fault = telnyx.faults.add("/oauth/jwks", kind="status", status=429, times=2, after=1, headers={"Retry-After": "3"})
    answers = [await telnyx.send(request_for()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["Retry-After"] == "3"
    assert answers[1].json()["errors"][0]["code"] == "10007"
    assert fault.hits == 2
    telnyx.faults.add(kind="status", method="PUT")
    telnyx.faults.add("/oauth/clients*", kind="status", times=None)
    assert (await telnyx.send(request_for())).status_code == 200
    assert [(await telnyx.send(request_for("/oauth/clients"))).status_code for _ in range(3)] == [503] * 3
    telnyx.faults.clear()
    assert (await telnyx.send(request_for("/oauth/clients"))).status_code == 200


async def test_a_fault_can_replace_the_body(telnyx, request_for):
    telnyx.faults.add(kind="status", status=502, body=b"<h1>gateway</h1>", headers={"content-type": "text/html"})
    answer = await telnyx.send(request_for())
    assert (answer.status_code, answer.content, answer.headers.getall("Content-Type")) == (
        502,
        b"<h1>gateway</h1>",
        ["text/html"],
    )


async def test_a_response_can_be_lost_after_the_request_was_processed(telnyx, request_for):
    place = "/oauth/grants/182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
    telnyx.faults.add(kind="reset")
    with pytest.raises(APIConnectionError):
        await telnyx.send(request_for(place, "DELETE"))
    telnyx.faults.add(kind="reset", processed=True)
    with pytest.raises(APIConnectionError):
        await telnyx.send(request_for(place, "DELETE"))
    assert [entry.status for entry in telnyx.requests] == [None, None]
    assert (await telnyx.send(request_for(place, "DELETE"))).status_code == 404


async def test_a_status_can_replace_the_response_of_a_processed_request(telnyx, request_for):
    telnyx.faults.add(kind="status", status=500, processed=True)
    assert (await telnyx.send(request_for("/oauth/clients/client_id", "DELETE"))).status_code == 500
    assert (await telnyx.send(request_for("/oauth/clients/client_id", "DELETE"))).status_code == 404


async def test_bodies_can_be_broken(telnyx, request_for):
    telnyx.faults.add(kind="malformed")
    broken = await telnyx.send(request_for())
    assert broken.headers["Content-Type"].startswith("application/json")
    with pytest.raises(json.JSONDecodeError):
        broken.json()
    telnyx.faults.add(kind="html")
    page = await telnyx.send(request_for())
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html")
    telnyx.faults.add(kind="truncate")
    half = await telnyx.send(request_for())
    assert (half.content, bool(half.fault)) == (b"", True)


async def test_every_value_can_have_another_type(telnyx, request_for):
    telnyx.faults.add(kind="wrong_types", times=None)
    listed = (await telnyx.send(request_for("/oauth/clients"))).json()
    assert listed["meta"]["page_number"] == {"value": "1"}
    client = listed["data"]["0"][0]
    assert (client["name"], client["logo_uri"], client["require_pkce"]) == ([7], [7], {"value": "False"})
    gone = await telnyx.send(request_for("/oauth/clients/client_id", "DELETE"))
    assert (gone.status_code, gone.json()) == (200, [7])


async def test_a_body_can_be_too_large_and_still_be_json(telnyx, request_for):
    telnyx.faults.add(kind="oversized", size=5000, times=2)
    assert len((await telnyx.send(request_for())).content) == 5000
    refused = await telnyx.send(request_for(max_bytes=4999))
    assert (refused.content, refused.fault) == (b"", "the body has more than 4999 bytes")
    telnyx.faults.add(kind="oversized", size=1)
    assert json.loads((await telnyx.send(request_for())).content)["keys"]


async def test_latency_passes_and_a_timeout_ends_it(telnyx, request_for):
    telnyx.faults.add(kind="latency", seconds=0.02)
    begun = time.monotonic()
    assert (await telnyx.send(request_for())).status_code == 200
    assert time.monotonic() - begun >= 0.02
    telnyx.faults.add(kind="latency", seconds=60)
    with pytest.raises(APITimeoutError):
        await telnyx.send(request_for(timeout=NEVER))


async def test_a_response_that_hangs_ends_with_the_callers_timeout(telnyx, request_for):
    telnyx.faults.add(kind="hang", times=2)
    with pytest.raises(APITimeoutError):
        await telnyx.send(request_for(timeout=NEVER))
    patient = asyncio.create_task(telnyx.send(request_for(timeout=Timeout(total=None))))
    while len(telnyx.requests) < 2:
        await asyncio.sleep(0)
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient


async def test_a_body_can_be_read_as_a_stream(telnyx, request_for):
    telnyx.faults.add(kind="oversized", size=200_000)
    answer = await telnyx.send(request_for(stream=True))
    assert answer.content == b""
    chunks = [chunk async for chunk in answer.stream]
    assert (len(chunks), sum(map(len, chunks))) == (4, 200_000)
    await answer.stream.aclose()
    assert [chunk async for chunk in answer.stream] == []
    refused = await telnyx.send(request_for("/nothing", stream=True))
    assert (refused.stream, refused.status_code) == (None, 404)
