from __future__ import annotations

import threading

import pytest

from telnyx_oauth.messages import Request, RequestInfo
from telnyx_oauth.sandbox import Sandbox

from .serve import serve


def send(telnyx, path):
    url = f"{telnyx.base_url if path.startswith('/oauth') else telnyx.root_url}{path}"
    serve(telnyx, Request("GET", url, RequestInfo("GET", url)))


def test_requests_are_logged_as_received_and_can_be_searched(ask, telnyx):
    ask("GET", "/oauth/clients", query={"page[size]": "5"}, headers={"X-Trace": "7"})
    ask("POST", "/oauth/token", form="grant_type=client_credentials&scope=a+b")
    ask("POST", "/oauth_clients", body={"name": "x"})
    listed, exchanged, created = telnyx.requests
    assert (listed.method, listed.path, listed.status) == ("GET", "/v2/oauth/clients", 200)
    assert (listed.parameters, listed.headers["x-trace"]) == ({"page[size]": "5"}, "7")
    assert (exchanged.content, exchanged.status) == (b"grant_type=client_credentials&scope=a+b", 401)
    assert exchanged.form == {"grant_type": "client_credentials", "scope": "a b"}
    assert (created.json(), created.status) == ({"name": "x"}, 422)
    assert telnyx.requests.find("/oauth*clients") == [listed, created]
    assert telnyx.requests.find("/v2/oauth/*", method="POST") == [exchanged]
    assert telnyx.requests.count(status=401) == 1
    assert telnyx.requests[-1] is created
    assert telnyx.requests[:2] == [listed, exchanged]
    telnyx.requests.clear()
    assert len(telnyx.requests) == 0


def test_an_entry_has_the_sandboxs_time(ask, telnyx):
    telnyx.clock.advance(-3600)
    ask("GET", "/oauth/jwks")
    assert telnyx.requests[0].at == pytest.approx(telnyx.clock.now(), abs=5)


def test_no_repr_shows_a_secret(ask, telnyx, own):
    ask("POST", "/oauth/token", form={"grant_type": "client_credentials", **own})
    shown = repr(telnyx.requests[0]) + repr(telnyx) + repr(telnyx.state)
    assert not [secret for secret in (telnyx.api_key, telnyx.client_secret) if secret in shown]


def test_every_response_has_a_unique_id_and_the_sandboxs_date(ask, telnyx):
    telnyx.clock.advance(-telnyx.clock.now())
    answers = [ask("GET", "/oauth/jwks"), ask("GET", "/nothing"), ask("GET", "/oauth/authorize")]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3
    assert answers[0].headers["Date"] in ("Thu, 01 Jan 1970 00:00:00 GMT", "Wed, 31 Dec 1969 23:59:59 GMT")


def test_the_log_keeps_the_latest_requests_and_counts_the_ones_it_dropped():
    telnyx = Sandbox(request_log_limit=3)
    for number in range(5):
        send(telnyx, f"/oauth/clients/{number}")
    assert [entry.path for entry in telnyx.requests] == [f"/v2/oauth/clients/{number}" for number in (2, 3, 4)]
    assert (len(telnyx.requests), telnyx.requests.count("/oauth/clients/*"), telnyx.requests.dropped) == (3, 3, 2)
    assert telnyx.requests[0].path == "/v2/oauth/clients/2"
    telnyx.request_log_limit = 1
    send(telnyx, "/last")
    assert [entry.path for entry in telnyx.requests] == ["/last"]
    telnyx.reset()
    assert (len(telnyx.requests), telnyx.requests.dropped, telnyx.request_log_limit) == (0, 0, 3)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (None, 20), (10_000, 20)])
def test_the_log_may_keep_nothing_or_everything(limit, kept):
    telnyx = Sandbox(request_log_limit=limit)
    for _ in range(20):
        send(telnyx, "/oauth/jwks")
    assert (len(telnyx.requests), telnyx.requests.dropped) == (kept, 20 - kept)


def test_the_log_is_bounded_unless_told_otherwise(telnyx):
    for _ in range(10_001):
        send(telnyx, "/nothing")
    assert (len(telnyx.requests), telnyx.requests.dropped) == (10_000, 1)


def test_requests_can_be_looked_through_while_others_arrive():
    telnyx = Sandbox(request_log_limit=50)
    over = threading.Event()

    def arrive():
        while not over.is_set():
            send(telnyx, "/oauth/jwks")

    arriving = threading.Thread(target=arrive)
    arriving.start()
    try:
        while telnyx.requests.dropped < 200:
            assert {entry.path for entry in telnyx.requests} <= {"/v2/oauth/jwks"}
            assert telnyx.requests.count("/oauth/jwks") <= 50
    finally:
        over.set()
        arriving.join()
