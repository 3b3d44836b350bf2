from __future__ import annotations

import pytest


def test_requests_are_kept_as_they_came_and_can_be_found(ask, telnyx):
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


def test_nothing_that_is_shown_of_an_entry_is_secret(ask, telnyx, own):
    ask("POST", "/oauth/token", form={"grant_type": "client_credentials", **own})
    shown = repr(telnyx.requests[0]) + repr(telnyx) + repr(telnyx.state)
    assert not [secret for secret in (telnyx.api_key, telnyx.client_secret) if secret in shown]


def test_every_answer_has_an_id_of_its_own_and_the_sandboxs_date(ask, telnyx):
    telnyx.clock.advance(-telnyx.clock.now())
    answers = [ask("GET", "/oauth/jwks"), ask("GET", "/nothing"), ask("GET", "/oauth/authorize")]
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 3
    assert answers[0].headers["Date"] in ("Thu, 01 Jan 1970 00:00:00 GMT", "Wed, 31 Dec 1969 23:59:59 GMT")
