from __future__ import annotations

import asyncio
import base64
import json
from urllib.parse import parse_qs

import attrs
import pytest

from telnyx_oauth.errors import (
    APITimeoutError,
    ClientClosedError,
    IntrospectionUnavailableError,
    InvalidTokenError,
)
from telnyx_oauth.protocol.jwt import TokenPolicy
from telnyx_oauth.protocol.token_endpoint import ClientAuthentication
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.validation.introspection import IntrospectionCache
from telnyx_oauth.validation.jwks import JWKSCache
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator
from tests.forge import AUDIENCE, ISSUER, NOW, MovedClock, Wire, answer, jwks, policy, token

ENDPOINT = "https://issuer.example/introspect"
ACTIVE = {"active": True, "client_id": "client-1", "scope": "calls.read", "exp": NOW + 600, "aud": AUDIENCE}
WHOLE = {**ACTIVE, "iss": ISSUER, "sub": "user-1", "iat": NOW - 10, "jti": "token-1"}
"""An answer that has all that the default policy requires."""


def cache(send, clock=None, **changes) -> IntrospectionCache:
    auth = ClientAuthentication("client", "s3cret")
    return IntrospectionCache(ENDPOINT, auth, send=send, clock=clock or MovedClock(), **changes)


def judge(send, clock=None, *, mode="introspect", **changes) -> TokenValidator:
    clock = clock or MovedClock()
    keys = None if mode == "introspect" else StaticKeys(jwks())
    return TokenValidator(policy(), keys, introspection=cache(send, clock, **changes), mode=mode, clock=clock)


async def test_the_question_is_a_form_with_our_credentials():
    wire = Wire(answer(ACTIVE))
    result = await cache(wire).introspect("opaque~token")
    assert (result.active, result.claims["scope"]) == (True, "calls.read")
    (request,) = wire.requests
    assert (request.method, request.url) == ("POST", ENDPOINT)
    assert parse_qs(request.content.decode()) == {"token": ["opaque~token"]}
    assert request.headers["Authorization"] == "Basic " + base64.b64encode(b"client:s3cret").decode()
    assert "opaque" not in repr(request) + repr(result)


async def test_an_active_token_is_asked_about_once_in_its_time():
    wire, clock = Wire(answer(ACTIVE)), MovedClock()
    known = cache(wire, clock)
    assert await known.introspect("t") is await known.introspect("t")
    clock.now += 59
    assert known.cached("t")
    clock.now += 1
    assert known.cached("t") is None
    await known.introspect("t")
    assert len(wire.requests) == 2


async def test_an_inactive_token_is_asked_about_again_sooner():
    wire, clock = Wire(answer({"active": False, "scope": "admin"})), MovedClock()
    known = cache(wire, clock)
    result = await known.introspect("t")
    assert (result.active, dict(result.claims)) == (False, {})
    assert await known.introspect("t") is result
    clock.now += 15
    await known.introspect("t")
    assert len(wire.requests) == 2


async def test_no_verdict_outlives_its_token():
    """Attack 81."""
    wire, clock = Wire(answer(ACTIVE | {"exp": NOW + 10})), MovedClock()
    known = cache(wire, clock)
    await known.introspect("t")
    clock.now += 10
    assert known.cached("t") is None


async def test_always_ask_and_ask_anew_and_forget():
    wire = Wire(answer(ACTIVE))
    always = cache(wire, ttl=0)
    await always.introspect("t")
    await always.introspect("t")
    assert len(wire.requests) == 2
    known = cache(wire)
    await known.introspect("t")
    await known.introspect("t", fresh=True)
    assert len(wire.requests) == 4
    known.forget("t")
    assert known.cached("t") is None


async def test_a_token_that_turns_inactive_is_no_longer_active():
    wire = Wire(answer(ACTIVE), answer({"active": False}))
    known = cache(wire)
    await known.introspect("t")
    assert not (await known.introspect("t", fresh=True)).active
    assert not known.cached("t").active


@pytest.mark.parametrize(
    "body", [{"active": "true"}, {"active": 1}, {"active": None}, {}, [], b"<html>", b"", {"active": "false"}]
)
async def test_what_is_neither_true_nor_false_is_no_verdict(body):
    """Attack 78."""
    wire = Wire(answer(body), answer(ACTIVE))
    known = cache(wire)
    with pytest.raises(IntrospectionUnavailableError) as caught:
        await known.introspect("t")
    assert caught.value.reason == "introspection_answer_invalid"
    assert (await known.introspect("t")).active, "it was not remembered"


@pytest.mark.parametrize(
    ("given", "reason", "wait"),
    [
        (answer({}, 500), "introspection_unavailable", 1),
        (answer({}, 404), "introspection_unavailable", 1),
        (answer({}, 302, Location="https://evil.example"), "introspection_unavailable", 1),
        (answer({}, 503, Retry_After="7"), "introspection_unavailable", 7),
        (answer({}, 429, Retry_After="20"), "introspection_rate_limited", 20),
        (answer({}, 429), "introspection_rate_limited", 10),
        (answer({}, 429, Retry_After="9999"), "introspection_rate_limited", 60),
        (answer({}, 401), "introspection_refused_us", 10),
        (answer({}, 403), "introspection_refused_us", 10),
        (APITimeoutError(), "introspection_unavailable", 1),
        (ZeroDivisionError("odd transport"), "introspection_unavailable", 1),
    ],
)
async def test_no_answer_is_no_verdict_and_is_not_remembered(given, reason, wait):
    """Attacks 79 and 80."""
    wire, clock = Wire(given, answer(ACTIVE)), MovedClock()
    known = cache(wire, clock)
    with pytest.raises(IntrospectionUnavailableError) as caught:
        await known.introspect("t")
    assert (caught.value.status, caught.value.reason) == (503, reason)
    assert caught.value.retry_after == pytest.approx(wait)
    clock.now += wait
    assert (await known.introspect("t")).active


async def test_the_server_is_left_alone_for_as_long_as_it_asks():
    wire, clock = Wire(answer(ACTIVE), answer({}, 429, Retry_After="20"), answer(ACTIVE)), MovedClock()
    known = cache(wire, clock)
    await known.introspect("known")
    with pytest.raises(IntrospectionUnavailableError):
        await known.introspect("a")
    clock.now += 5
    with pytest.raises(IntrospectionUnavailableError) as caught:
        await known.introspect("b")
    assert (caught.value.reason, caught.value.retry_after) == ("introspection_rate_limited", 15)
    assert (await known.introspect("known")).active, "what is known is known"
    assert len(wire.requests) == 2


async def test_credentials_of_ours_that_are_refused_are_logged_as_our_fault(caplog):
    known = cache(Wire(answer({}, 401)))
    with pytest.raises(IntrospectionUnavailableError):
        await known.introspect("tok-en")
    assert "refused this service's own credentials" in caplog.text
    assert "s3cret" not in caplog.text
    assert "tok-en" not in caplog.text


async def test_a_flood_of_garbage_drives_out_nothing_good():
    """Attack 82."""

    async def send(request):
        return answer(ACTIVE if b"good" in request.content else {"active": False})

    known = cache(send, max_negative=10, max_positive=10)
    good = await known.introspect("good")
    for number in range(200):
        await known.introspect(f"garbage-{number}")
    assert known.cached("good") is good
    assert known.cached("garbage-199") is not None
    assert known.cached("garbage-0") is None


async def test_fifty_callers_ask_once():
    """Attack 83."""
    wire, gate = Wire(answer(ACTIVE)), asyncio.Event()

    async def send(request):
        await gate.wait()
        return await wire(request)

    known = cache(send)
    callers = [asyncio.create_task(known.introspect("t")) for _ in range(50)]
    await asyncio.sleep(0)
    gate.set()
    assert len(set(await asyncio.gather(*callers))) == 1
    assert len(wire.requests) == 1


async def test_beyond_so_many_questions_at_a_time_the_next_is_told_to_wait():
    gate = asyncio.Event()

    async def send(_request):
        await gate.wait()
        return answer(ACTIVE)

    known = cache(send, max_concurrency=2)
    callers = [asyncio.create_task(known.introspect(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(IntrospectionUnavailableError) as caught:
        await known.introspect("c")
    assert caught.value.reason == "introspection_saturated"
    joined = asyncio.create_task(known.introspect("a"))
    await asyncio.sleep(0)
    gate.set()
    assert all(result.active for result in await asyncio.gather(*callers, joined))
    assert await known.introspect("c")


async def test_a_verdict_dropped_by_another_thread_is_no_verdict(monkeypatch):
    known = cache(Wire(answer(ACTIVE)))
    await known.introspect("t")

    def drop(key, last=True):
        raise KeyError(key)

    monkeypatch.setattr(known._active._items, "move_to_end", drop)
    assert known.cached("t") is None


async def test_a_closed_cache_says_so():
    known = cache(Wire(answer(ACTIVE)))
    await known.introspect("t")
    await known.aclose()
    assert known.cached("t") is None
    with pytest.raises(ClientClosedError):
        await known.introspect("t")


def test_the_endpoint_must_be_safe():
    with pytest.raises(ValueError, match="endpoint"):
        IntrospectionCache("http://issuer.example/introspect", ClientAuthentication("c", "s"))


# --- as the validator uses it


async def test_an_introspected_token_is_judged_by_the_same_policy():
    access = await judge(Wire(answer(WHOLE | {"nbf": None}))).validate("opaque", scopes=["calls.read"])
    assert (access.subject, access.client_id, access.issuer) == ("user-1", "client-1", ISSUER)
    assert (access.source, access.algorithm, access.expires_at) == ("introspection", None, NOW + 600)
    assert "nbf" not in access.claims


@pytest.mark.parametrize("name", ["aud", "iss", "exp", "sub", "client_id", "iat", "jti"])
@pytest.mark.parametrize("empty", [{}, {"aud": None, "exp": None, "iss": None}])
async def test_a_claim_that_the_policy_requires_must_be_in_the_answer(name, empty):
    without = {claim: value for claim, value in WHOLE.items() if claim != name} | (empty if name in empty else {})
    for given in (without, {"active": True}):
        with pytest.raises(InvalidTokenError) as caught:
            await judge(Wire(answer(given))).validate("opaque")
        assert caught.value.reason == "claim_missing"


async def test_the_claims_that_a_policy_names_are_required_of_an_answer_as_of_a_jwt():
    clock = MovedClock()
    for without in ({"tenant": ""}, {}):
        validator = TokenValidator(
            policy(required={"tenant"}),
            introspection=cache(Wire(answer(WHOLE | without)), clock),
            mode="introspect",
            clock=clock,
        )
        with pytest.raises(InvalidTokenError) as caught:
            await validator.validate("opaque")
        assert caught.value.reason == "claim_missing"


def lasting(wire, clock, **changes) -> TokenValidator:
    made = policy(required=(), lifetime_without_exp=100, leeway=0, **changes)
    return TokenValidator(made, introspection=cache(wire, clock, ttl=3600), mode="introspect", clock=clock)


async def test_a_policy_may_say_how_long_a_token_without_expiry_is_good_since_its_issue():
    given = {"active": True, "aud": AUDIENCE, "iss": ISSUER, "iat": NOW - 40}
    clock = MovedClock()
    validator = lasting(Wire(answer(given)), clock)
    assert (await validator.validate("opaque")).expires_at == NOW + 60
    clock.now += 60
    with pytest.raises(InvalidTokenError) as caught:
        await validator.validate("opaque")
    assert caught.value.reason == "expired"


async def test_an_answer_that_names_no_time_is_asked_for_again_when_the_policy_ends_it():
    wire, clock = Wire(answer({"active": True, "aud": AUDIENCE, "iss": ISSUER})), MovedClock()
    validator = lasting(wire, clock)
    assert (await validator.validate("opaque")).expires_at == NOW + 100
    clock.now += 99
    validator.revoke_cached()
    assert (await validator.validate("opaque")).expires_at == NOW + 100
    assert len(wire.requests) == 1
    clock.now += 1
    assert (await validator.validate("opaque")).expires_at == NOW + 200
    assert len(wire.requests) == 2


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("name", ["token_type", "typ", "nbf", "username", "nonce", "events", "act", "may_act"])
async def test_an_optional_member_that_is_null_or_empty_is_absent(name, nothing):
    for mode, text in (("introspect", "opaque"), ("jwt_then_introspect", token())):
        access = await judge(Wire(answer(WHOLE | {name: nothing})), mode=mode).validate(text)
        assert access.subject == "user-1"


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("name", ["aud", "iss", "sub", "client_id", "jti", "iat"])
async def test_what_the_answer_leaves_empty_the_token_has_said(name, nothing):
    body = WHOLE | {name: nothing}
    assert (await judge(Wire(answer(body)), mode="jwt_then_introspect").validate(token())).subject == "user-1"
    with pytest.raises(InvalidTokenError) as caught:
        await judge(Wire(answer(body))).validate("opaque")
    assert caught.value.reason == "claim_missing"


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16"])
async def test_an_answer_is_read_in_the_charset_that_it_declares(charset):
    body = json.dumps(WHOLE | {"username": "José"}, ensure_ascii=False).encode(charset)
    told = answer(body, Content_Type=f"application/json;charset={charset}")
    assert (await judge(Wire(told)).validate("opaque")).claims["username"] == "José"
    with pytest.raises(IntrospectionUnavailableError):
        await judge(Wire(answer(body))).validate("opaque")


async def test_an_empty_scope_is_no_scope_and_any_confirmation_is_one():
    for scope in ("", [], {}):
        both = judge(Wire(answer(WHOLE | {"scope": scope})), mode="jwt_then_introspect")
        assert (await both.validate(token())).scopes == frozenset()
    for cnf in ({}, "", [], {"jkt": "x"}):
        with pytest.raises(InvalidTokenError) as caught:
            await judge(Wire(answer(WHOLE | {"cnf": cnf}))).validate("opaque")
        assert caught.value.reason == "sender_constrained"


FAR = [2**53, 9223372036854775, 9223372036854775807, 10**400, 1e300]


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("mode", ["introspect", "jwt_then_introspect"])
async def test_an_end_too_far_away_to_count_with_is_never_past(far, mode):
    judging = judge(Wire(answer(WHOLE | {"exp": far})), mode=mode)
    issued = token(exp=far)
    access = await judging.validate(issued)
    assert access.expires_at > NOW * 1000
    assert access.remaining() > NOW * 1000
    assert judging.cached(issued) is access


async def test_an_end_too_far_away_does_not_put_off_the_one_that_is_near():
    for answered, end in ((WHOLE | {"exp": 2**63 - 1}, NOW + 600), (WHOLE, NOW + 600)):
        issued = token() if answered is not WHOLE else token(exp=2**63 - 1)
        assert (await judge(Wire(answer(answered)), mode="jwt_then_introspect").validate(issued)).expires_at == end


@pytest.mark.parametrize("name", ["nbf", "iat"])
async def test_a_beginning_too_far_away_has_not_come(name):
    with pytest.raises(InvalidTokenError):
        await judge(Wire(answer(WHOLE | {name: 2**63 - 1}))).validate("opaque")


async def test_a_byte_order_mark_may_stand_before_the_answer():
    given = answer(b"\xef\xbb\xbf" + answer(WHOLE).content)
    assert (await judge(Wire(given)).validate("opaque")).subject == "user-1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"active": False}, "inactive"),
        ({"iss": "https://other.example"}, "iss_mismatch"),
        ({"aud": "https://other.example"}, "aud_mismatch"),
        ({"exp": NOW - 60}, "expired"),
        ({"exp": str(NOW + 60)}, "claim_invalid"),
        ({"nbf": NOW + 60}, "not_yet_valid"),
        ({"cnf": {"jkt": "x"}}, "sender_constrained"),
        ({"scope": ["admin"]}, "scope_invalid"),
        ({"sub": 7}, "claim_invalid"),
        ({"token_type": "refresh_token"}, "not_an_access_token"),
        ({"token_use": "id"}, "not_an_access_token"),
        ({"typ": "Offline"}, "not_an_access_token"),
        ({"token_type": "DPoP"}, "sender_constrained"),
        ({"nonce": "n"}, "not_an_access_token"),
        ({"sid": "s", "sub": None}, "not_an_access_token"),
    ],
)
async def test_what_the_server_says_can_be_reason_to_refuse(changes, reason):
    with pytest.raises(InvalidTokenError) as caught:
        await judge(Wire(answer(WHOLE | changes))).validate("opaque")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"token_type": "Bearer"},
        {"token_type": "bearer", "nonce": "n"},
        {"token_use": "access_token"},
        {"scope": " calls.read  calls.write "},
    ],
)
async def test_an_answer_for_a_bearer_access_token_passes(changes):
    assert (await judge(Wire(answer(WHOLE | changes))).validate("opaque")).has("calls.read")


async def test_a_verdict_rests_on_the_answer_that_it_was_made_of():
    wire, clock = Wire(answer(WHOLE)), MovedClock()
    validator = judge(wire, clock)
    first = await validator.validate("opaque")
    assert await validator.validate("opaque") is first
    assert validator.cached("opaque") is first
    validator._introspection.forget("opaque")
    assert validator.cached("opaque") is None
    await validator.validate("opaque")
    clock.now += 60
    assert validator.cached("opaque") is None
    assert len(wire.requests) == 2


@pytest.mark.parametrize(
    ("text", "reason"), [("x" * 8193, "too_long"), ("a b", "encoding_invalid"), ("", "encoding_invalid")]
)
@pytest.mark.parametrize("mode", ["introspect", "jwt_or_opaque_then_introspect"])
async def test_what_cannot_be_a_token_is_not_asked_about(text, reason, mode):
    wire = Wire(answer(ACTIVE))
    with pytest.raises(InvalidTokenError) as caught:
        await judge(wire, mode=mode).validate(text)
    assert caught.value.reason == reason
    assert not wire.requests


async def test_with_both_a_jwt_must_pass_both():
    wire = Wire(answer(ACTIVE), answer({"active": False}))
    validator = judge(wire, mode="jwt_then_introspect")
    access = await validator.validate(token())
    assert (access.source, access.subject) == ("jwt", "user-1")
    assert await validator.validate(token()) is access
    with pytest.raises(InvalidTokenError) as caught:
        await validator.validate(token(sub="revoked"))
    assert caught.value.reason == "inactive"
    with pytest.raises(InvalidTokenError) as caught:
        await validator.validate(token(iss="https://evil.example"))
    assert caught.value.reason == "iss_mismatch"
    assert len(wire.requests) == 2, "a forged one costs no question"


@pytest.mark.parametrize(
    ("changes", "scopes"),
    [
        ({"scope": "calls.read admin"}, {"calls.read"}),
        ({"scope": ""}, set()),
        ({"scope": None}, {"calls.read", "calls.write"}),
    ],
)
async def test_with_both_only_the_scopes_that_both_name_count(changes, scopes):
    validator, good = judge(Wire(answer(WHOLE | changes)), mode="jwt_then_introspect"), token()
    assert (await validator.validate(good)).scopes == scopes
    assert validator.cached(good).scopes == scopes


@pytest.mark.parametrize(("exp", "until"), [(NOW + 100, NOW + 100), (NOW + 9999, NOW + 600), (None, NOW + 600)])
async def test_with_both_the_earlier_expiry_counts(exp, until):
    clock = MovedClock()
    validator = judge(Wire(answer(WHOLE | {"exp": exp})), clock, mode="jwt_then_introspect", ttl=3600)
    good = token()
    assert (await validator.validate(good)).expires_at == until
    clock.now = until + 30
    with pytest.raises(InvalidTokenError) as caught:
        await validator.validate(good)
    assert caught.value.reason == "expired"


async def test_with_both_a_token_that_expires_while_its_answer_is_waited_for_is_refused():
    clock = MovedClock()

    async def send(_request):
        clock.now += 60
        return answer(WHOLE | {"exp": NOW + 9999})

    with pytest.raises(InvalidTokenError) as caught:
        await judge(send, clock, mode="jwt_then_introspect").validate(token(exp=NOW + 10))
    assert caught.value.reason == "expired"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client_id": "client-2"}, "introspection_contradicts"),
        ({"sub": "user-2"}, "introspection_contradicts"),
        ({"jti": "token-2"}, "introspection_contradicts"),
        ({"iss": "https://other.example"}, "iss_mismatch"),
        ({"aud": "https://other.example"}, "aud_mismatch"),
        ({"token_type": "refresh_token"}, "not_an_access_token"),
        ({"cnf": {"jkt": "x"}}, "sender_constrained"),
        ({"nbf": NOW + 60}, "not_yet_valid"),
        ({"sub": 7}, "claim_invalid"),
    ],
)
async def test_with_both_an_answer_that_contradicts_the_token_refuses_it(changes, reason):
    with pytest.raises(InvalidTokenError) as caught:
        await judge(Wire(answer(WHOLE | changes)), mode="jwt_then_introspect").validate(token())
    assert caught.value.reason == reason


async def test_with_both_the_audiences_must_have_one_of_ours_in_common():
    clock, other = MovedClock(), "https://other.example"
    made = attrs.evolve(policy(), audience={AUDIENCE, other})
    for aud, good in ((other, False), ([other, AUDIENCE], True)):
        asked = cache(Wire(answer(WHOLE | {"aud": aud})), clock)
        validator = TokenValidator(
            made, StaticKeys(jwks()), introspection=asked, mode="jwt_then_introspect", clock=clock
        )
        if good:
            assert await validator.validate(token())
            continue
        with pytest.raises(InvalidTokenError) as caught:
            await validator.validate(token())
        assert caught.value.reason == "aud_mismatch"


async def test_with_both_what_the_answer_leaves_out_the_token_has_said():
    clock = MovedClock()
    validator = TokenValidator(
        policy(max_lifetime=610, max_age=600),
        StaticKeys(jwks()),
        introspection=cache(Wire(answer({"active": True})), clock),
        mode="jwt_then_introspect",
        clock=clock,
    )
    assert (await validator.validate(token())).has("calls.read", "calls.write")


@pytest.mark.parametrize("text", ["opaque", "a.b", "", "a b"])
async def test_with_keys_at_hand_an_opaque_token_costs_no_question(text):
    wire = Wire(answer(WHOLE))
    with pytest.raises(InvalidTokenError) as caught:
        await judge(wire, mode="jwt_then_introspect").validate(text)
    assert caught.value.reason == "not_a_jwt"
    assert not wire.requests


async def test_a_mode_of_its_own_takes_opaque_tokens_on_their_introspection_and_jwts_on_both():
    wire = Wire(answer(WHOLE))
    validator = judge(wire, mode="jwt_or_opaque_then_introspect")
    assert (await validator.validate("opaque")).source == "introspection"
    assert (await validator.validate(token())).source == "jwt"
    with pytest.raises(InvalidTokenError) as caught:
        await validator.validate(token(signature=bytes(256)))
    assert caught.value.reason == "signature_invalid"
    assert len(wire.requests) == 2


async def test_a_jwt_that_has_expired_by_its_own_words_costs_no_question():
    wire = Wire(answer(WHOLE))
    validator = judge(wire)
    with pytest.raises(InvalidTokenError) as caught:
        await validator.validate(token(exp=NOW - 30))
    assert caught.value.reason == "expired"
    assert not wire.requests
    for odd in (token(exp="soon"), token(payload=b"[]"), token(exp=NOW - 29), "a.b.c"):
        assert (await validator.validate(odd)).source == "introspection", "the server says what it is"


# --- at the server's limit


class Limited:
    """A server that answers `limit` questions in any minute, by the clock's time. What is `good` is active."""

    def __init__(self, clock, limit=5) -> None:
        self.clock, self.limit = clock, limit
        self.asked, self.times, self.refusals = [], [], 0
        self.inactive = set()

    async def __call__(self, request):
        (name,) = parse_qs(request.content.decode())["token"]
        now = self.clock.now
        recent = [at for at in self.times if at > now - 60]
        if len(recent) >= self.limit:
            self.refusals += 1
            return answer({}, 429, Retry_After=str(recent[0] + 60 - now))
        self.times.append(now)
        self.asked.append(name)
        good = name.startswith(("good", "ey")) and name not in self.inactive
        return answer(WHOLE | {"exp": NOW + 9999} if good else {"active": False})


def at_limit(mode="introspect", **changes):
    """A validator whose server has just been asked five times for verdicts on good tokens."""
    clock = MovedClock()
    server = Limited(clock)
    return judge(server, clock, mode=mode, **changes), server, clock


async def reached(validator) -> None:
    """Ask until the limit is reached."""
    for number in range(5):
        await validator.validate(f"good-{number}")
    with pytest.raises(IntrospectionUnavailableError):
        await validator._introspection.introspect("good-6")


async def test_at_the_limit_a_verdict_serves_beyond_its_time_and_no_longer_than_is_stated():
    validator, server, clock = at_limit(stale=100, max_wait=0)
    await validator.validate("good-x")
    clock.now += 30
    server.limit = 1
    server.times = [clock.now + 10_000]  # all others use the limit up
    with pytest.raises(IntrospectionUnavailableError):
        await validator.validate("other")
    for _ in range(13):
        assert await validator.validate("good-x")
        assert validator._introspection.cached("good-x")
        clock.now += 9.99
    clock.now = NOW + 159.9
    assert await validator.validate("good-x")
    clock.now = NOW + 160
    with pytest.raises(IntrospectionUnavailableError) as caught:
        await validator.validate("good-x")
    assert caught.value.reason == "introspection_rate_limited"


async def test_no_verdict_serves_beyond_its_time_in_an_outage_or_beyond_its_expiry():
    clock = MovedClock()
    known = cache(Wire(answer(ACTIVE), answer({}, 500)), clock)
    await known.introspect("t")
    clock.now += 60
    with pytest.raises(IntrospectionUnavailableError):
        await known.introspect("t")
    known = cache(Wire(answer(ACTIVE | {"exp": clock.now + 70}), answer({}, 429, Retry_After="60")), clock)
    await known.introspect("t")
    clock.now += 65
    assert (await known.introspect("t")).active
    clock.now += 5
    with pytest.raises(IntrospectionUnavailableError):
        await known.introspect("t")


@pytest.mark.parametrize("never", [{"ttl": 0}, {"stale": 0}])
async def test_no_verdict_serves_beyond_its_time_where_none_shall(never):
    clock = MovedClock()
    known = cache(Wire(answer(ACTIVE), answer({}, 429)), clock, **never)
    await known.introspect("t")
    clock.now += 60
    for _ in range(2):
        with pytest.raises(IntrospectionUnavailableError):
            await known.introspect("t")
        assert known.cached("t") is None


async def test_an_outage_with_an_end_is_no_limit():
    clock = MovedClock()
    known = cache(Wire(answer(ACTIVE), answer({}, 503, Retry_After="7"), answer(ACTIVE)), clock)
    await known.introspect("t")
    clock.now += 60
    for wait in (7, 5):
        with pytest.raises(IntrospectionUnavailableError) as caught:
            await known.introspect("t", max_wait=60, proven=True)
        assert (caught.value.reason, caught.value.retry_after) == ("introspection_unavailable", wait)
        clock.now += 2


async def test_a_revoked_token_is_refused_within_the_stated_bound_at_the_limit_too():
    validator, server, clock = at_limit()
    for number in range(5):
        await validator.validate(f"good-{number}")
    server.inactive.add("good-0")
    refused_at = None
    while refused_at is None and clock.now < NOW + 1000:
        for number in range(5):
            try:
                await validator.validate(f"good-{number}")
            except InvalidTokenError:
                refused_at = clock.now - NOW
        with pytest.raises((InvalidTokenError, IntrospectionUnavailableError)):
            await validator.validate(f"garbage-{clock.now}")
        clock.now += 1
    assert refused_at <= 360


async def test_a_token_whose_signature_is_good_waits_for_its_turn():
    validator, server, clock = at_limit("jwt_or_opaque_then_introspect")
    await reached(validator)
    assert await validator.validate(token(exp=NOW + 9999))
    assert clock.now == NOW + 60
    assert server.refusals == 1


async def test_a_clock_that_stands_still_holds_no_caller_for_ever():
    class Still(MovedClock):
        async def sleep(self, seconds):
            await asyncio.sleep(0)

    clock = Still()
    validator = judge(Limited(clock), clock, mode="jwt_or_opaque_then_introspect")
    await reached(validator)
    with pytest.raises(IntrospectionUnavailableError):
        await validator.validate(token())


async def test_no_caller_waits_where_none_shall():
    validator, _, clock = at_limit("jwt_or_opaque_then_introspect", max_wait=0)
    await reached(validator)
    with pytest.raises(IntrospectionUnavailableError) as caught:
        await validator.validate(token())
    assert (caught.value.retry_after, clock.now) == (60, NOW)


async def test_no_caller_waits_at_a_server_that_answers_nothing():
    clock = MovedClock()
    for given in (answer({}, 429), answer({}, 503, Retry_After="5"), answer({}, 401), APITimeoutError()):
        with pytest.raises(IntrospectionUnavailableError):
            await judge(Wire(given), clock, mode="jwt_then_introspect").validate(token())
    assert clock.now == NOW


async def test_garbage_does_not_wait_and_takes_no_turn_from_who_comes_again():
    validator, server, clock = at_limit(stale=0)
    for number in range(5):
        with pytest.raises(InvalidTokenError):
            await validator.validate(f"garbage-{number}")
    for name in ("good-first", *(f"garbage-{number}" for number in range(100, 200))):
        with pytest.raises(IntrospectionUnavailableError):
            await validator.validate(name)
    assert clock.now == NOW
    assert (await validator.validate("good-first")).source == "introspection"
    assert clock.now == NOW + 60
    for number in range(300, 400):
        with pytest.raises((InvalidTokenError, IntrospectionUnavailableError)):
            await validator.validate(f"garbage-{number}")
    assert server.asked.count("good-first") == 1
    assert len(server.asked) == 5 + 1 + 1, "the rest of the limit is for those that come again"


async def test_as_many_wait_as_the_server_answers_at_once():
    slept, gate = [], asyncio.Event()

    class Gated(MovedClock):
        async def sleep(self, seconds):
            slept.append(seconds)
            await gate.wait()

    clock = Gated()
    validator = judge(Limited(clock), clock, mode="jwt_or_opaque_then_introspect")
    await reached(validator)
    good = [token(jti=str(number), exp=NOW + 9999) for number in range(7)]
    callers = [asyncio.create_task(validator.validate(each)) for each in good]
    async with asyncio.timeout(5):
        while sum(caller.done() for caller in callers) < 2:
            await asyncio.sleep(0)
    assert slept == [60.0] * 5
    clock.now += 60
    gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert sum(isinstance(outcome, IntrospectionUnavailableError) for outcome in outcomes) == 2


def test_a_mode_without_what_it_needs_is_an_error():
    with pytest.raises(ValueError, match="keys"):
        TokenValidator(policy())
    with pytest.raises(ValueError, match="introspection"):
        TokenValidator(policy(), StaticKeys(jwks()), mode="introspect")
    assert (
        TokenValidator(policy(), StaticKeys(jwks()), introspection=cache(Wire(answer(ACTIVE))))._introspection is None
    )


async def test_the_sandbox_is_asked_and_closing_ends_the_connections():
    async with Sandbox() as telnyx:
        introspection = IntrospectionCache(
            f"{telnyx.base_url}/oauth/introspect",
            ClientAuthentication(telnyx.client_id, telnyx.client_secret),
            allow_insecure_loopback=True,
        )
        made = TokenPolicy.telnyx(issuer=telnyx.root_url, audience=telnyx.root_url)
        validator = TokenValidator(made, introspection=introspection, mode="introspect")
        opaque = telnyx.issue_token(opaque=True, scope="admin")
        assert (await validator.validate(opaque, scopes=["admin"])).source == "introspection"
        telnyx.revoke(opaque)
        assert await validator.validate(opaque), "revocation shows once the verdict is old"
        introspection.forget(opaque)
        with pytest.raises(InvalidTokenError):
            await validator.validate(opaque)
        await validator.aclose()


async def test_at_the_sandboxs_limit_the_known_pass_and_the_unknown_are_told_when_to_come_again():
    """Over real connections, with all that the live service sends: no `Retry-After`, and the window in a header."""
    async with Sandbox(introspection_limit=5) as telnyx:
        keys = JWKSCache(f"{telnyx.base_url}/oauth/jwks", allow_insecure_loopback=True)
        introspection = IntrospectionCache(
            f"{telnyx.base_url}/oauth/introspect",
            ClientAuthentication(telnyx.client_id, telnyx.client_secret),
            allow_insecure_loopback=True,
            ttl=0.001,
            max_wait=0,
        )
        made = TokenPolicy.telnyx(issuer=telnyx.root_url, audience=telnyx.root_url)
        validator = TokenValidator(made, keys, introspection=introspection, mode="jwt_then_introspect")
        tokens = [telnyx.issue_token() for _ in range(6)]
        for each in tokens[:5]:
            await validator.validate(each)
        for _ in range(20):
            for forged in (telnyx.issue_token(opaque=True), telnyx.issue_token(forged=True)):
                with pytest.raises(InvalidTokenError):
                    await validator.validate(forged)
        for _ in range(2):
            with pytest.raises(IntrospectionUnavailableError) as caught:
                await validator.validate(tokens[5])
            for each in tokens[:5]:
                assert await validator.validate(each)
        assert caught.value.reason == "introspection_rate_limited"
        assert 50 < caught.value.retry_after <= 60
        assert len([request for request in telnyx.requests if request.path.endswith("/introspect")]) == 6
        await validator.aclose()
