from __future__ import annotations

import asyncio
import gzip
import json
import threading

import pytest
from aiohttp import web

from telnyx_oauth.errors import APIConnectionError, ClientClosedError, InvalidTokenError, KeysUnavailableError
from telnyx_oauth.protocol.jwks_refresh import FetchPolicy
from telnyx_oauth.validation.jwks import JWKSCache, JWKSHealth
from telnyx_oauth.validation.validator import TokenValidator
from tests.forge import MovedClock, Wire, answer, ec, jwks, key, policy, public, rsa, token

URI = "https://issuer.example/jwks"


def cache(wire, clock=None, **changes) -> JWKSCache:
    return JWKSCache(URI, send=wire, clock=clock or MovedClock(), jitter=lambda: 0.5, **changes)


async def select(keys, kid="rsa", alg="RS256"):
    return await keys.select(alg=alg, kid=kid)


class Gate:
    """A transport whose answers wait until they are let go."""

    def __init__(self, *answers) -> None:
        self.wire = Wire(*answers)
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    async def __call__(self, request):
        self.asked.set()
        await self.gate.wait()
        return await self.wire(request)


async def settled(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_the_first_caller_fetches_and_the_rest_use_what_came():
    wire = Wire(answer(jwks(), ETag='"1"'))
    keys = cache(wire)
    assert (await select(keys)).kid == "rsa"
    assert (await select(keys, "ec", "ES256")).kid == "ec"
    (request,) = wire.requests
    assert (request.method, request.url) == ("GET", URI)
    assert request.headers == {
        "Accept": "application/jwk-set+json, application/json",
        "Accept-Encoding": "identity",
    }
    assert (request.timeout.total, request.timeout.connect, request.max_bytes) == (5.0, 2.0, 65536)


async def test_a_second_fetch_tells_what_it_has_and_keeps_it_when_nothing_changed():
    wire, clock = Wire(answer(jwks(), ETag='"1"'), answer(b"", 304)), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    clock.now += 300
    assert (await select(keys)).kid == "rsa"
    assert wire.requests[1].headers["If-None-Match"] == '"1"'
    assert (keys.generation, keys.health.age, keys.health.state) == (1, 0.0, "fresh")


async def test_near_the_end_the_keys_are_refreshed_behind_the_callers_back():
    gate, clock = Gate(answer(jwks())), MovedClock()
    keys = cache(gate, clock)
    gate.gate.set()
    await keys.warm()
    gate.gate.clear()
    gate.asked.clear()
    clock.now += 240
    for _ in range(10):
        assert (await select(keys)).kid == "rsa"
    await gate.asked.wait()
    gate.gate.set()
    await settled(lambda: keys.health.age == 0)
    assert len(gate.wire.requests) == 2


async def test_ten_thousand_unknown_key_ids_in_a_second_cost_two_fetches():
    """Attack 52."""
    wire, clock = Wire(answer(jwks())), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    for number in range(10_000):
        clock.now += 0.0001
        with pytest.raises(InvalidTokenError if number < 2 else KeysUnavailableError):
            await select(keys, f"nobody-{number}")
    assert len(wire.requests) - 1 <= 2
    clock.now += 1
    await asyncio.gather(*(select(keys, f"n{n}") for n in range(1000)), return_exceptions=True)
    assert len(wire.requests) - 1 <= 2


async def test_the_same_unknown_key_id_costs_a_fetch_per_ten_seconds_and_is_refused_all_the_time():
    """Attack 53."""
    wire, clock = Wire(answer(jwks(), Cache_Control="max-age=3600")), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    for _ in range(3000):
        clock.now += 0.1
        with pytest.raises(InvalidTokenError):
            await select(keys, "nobody")
    assert len(wire.requests) - 1 <= 32


async def test_a_key_that_is_published_after_its_first_token_is_soon_found():
    wire, clock = Wire(answer(jwks(), Cache_Control="max-age=3600")), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    clock.now += 60
    with pytest.raises(InvalidTokenError):
        await select(keys, "second")
    wire.answers = [answer(jwks(public(rsa()), public(key("second"))))]
    clock.now += 1
    assert (await select(keys, "second")).kid == "second"


NEW = jwks(public(rsa()), public(key("second")))


async def test_callers_join_a_fetch_under_way_before_they_are_refused():
    """A rotation while strangers have taken all but one of the fetches for unknown keys."""
    gate, clock = Gate(answer(jwks())), MovedClock()
    keys = cache(gate, clock)
    gate.gate.set()
    await keys.warm()
    clock.now += 1
    with pytest.raises(InvalidTokenError):
        await select(keys, "nobody")
    gate.wire.answers = [answer(NEW)]
    gate.gate.clear()
    clock.now += 1
    callers = []
    for _ in range(10):
        callers.append(asyncio.create_task(select(keys, "second")))
        await asyncio.sleep(0)
    gate.gate.set()
    assert [(await caller).kid for caller in callers] == ["second"] * 10
    assert len(gate.wire.requests) == 3


async def test_a_fetch_that_was_answered_before_the_key_was_published_is_not_the_last_word():
    """The caller joins a fetch that began too early, and then has one of its own."""
    gate = Gate(answer(jwks()))
    keys = cache(gate)
    early = asyncio.create_task(keys.warm())
    await gate.asked.wait()
    late = asyncio.create_task(select(keys, "second"))
    await asyncio.sleep(0)
    gate.wire.answers = [answer(jwks()), answer(NEW)]
    gate.gate.set()
    await early
    assert (await late).kid == "second"


async def test_a_rotation_beyond_the_budget_is_told_as_such_and_over_when_it_says():
    wire, clock = Wire(answer(jwks())), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    for kid in ("nobody", "no-one"):
        with pytest.raises(InvalidTokenError):
            await select(keys, kid)
    wire.answers = [answer(NEW)]
    with pytest.raises(KeysUnavailableError) as caught:
        await select(keys, "second")
    assert (caught.value.status, caught.value.retry_after) == (503, 10)
    assert len(wire.requests) == 3
    clock.now += caught.value.retry_after
    assert (await select(keys, "second")).kid == "second"


REPLACED = jwks(public(key("second"), kid="rsa"))


async def test_a_key_replaced_under_its_id_is_found_by_a_presented_token():
    wire, clock = Wire(answer(jwks()), answer(REPLACED)), MovedClock()
    judge = TokenValidator(policy(), cache(wire, clock), clock=clock)
    old, new = token(), token(key("second"), header={"kid": "rsa"})
    await judge.validate(old)
    assert (await judge.validate(new)).key_id == "rsa"
    assert judge.cached(old) is None
    with pytest.raises(InvalidTokenError):
        await judge.validate(old)
    assert len(wire.requests) == 2


async def test_bad_signatures_cost_a_fetch_in_half_a_minute_and_callers_join_it():
    gate, clock = Gate(answer(jwks())), MovedClock()
    judge = TokenValidator(policy(), cache(gate, clock), clock=clock)
    gate.gate.set()
    await judge.warm()
    forged = [token(key("evil"), header={"kid": "rsa"}, jti=str(number)) for number in range(20)]
    for each in forged:
        clock.now += 1
        with pytest.raises(InvalidTokenError) as caught:
            await judge.validate(each)
        assert caught.value.reason == "signature_invalid"
    assert len(gate.wire.requests) == 2
    clock.now += 30
    gate.wire.answers = [answer(REPLACED)]
    gate.gate.clear()
    new = [token(key("second"), header={"kid": "rsa"}, jti=str(number)) for number in range(5)]
    callers = [asyncio.create_task(judge.validate(each)) for each in new]
    await asyncio.sleep(0)
    gate.gate.set()
    assert len(await asyncio.gather(*callers)) == 5
    assert len(gate.wire.requests) == 3


async def test_a_replaced_key_is_asked_for_after_a_fetch_that_had_begun_before_its_token_came():
    gate, clock = Gate(answer(jwks())), MovedClock()
    keys = cache(gate, clock)
    judge = TokenValidator(policy(), keys, clock=clock)
    gate.gate.set()
    await judge.warm()
    gate.gate.clear()
    early = asyncio.create_task(keys.refresh(force=True))
    await asyncio.sleep(0)
    caller = asyncio.create_task(judge.validate(token(key("second"), header={"kid": "rsa"})))
    await asyncio.sleep(0)
    gate.wire.answers = [answer(jwks()), answer(REPLACED)]
    gate.gate.set()
    await early
    assert (await caller).key_id == "rsa"
    assert len(gate.wire.requests) == 3


async def test_while_the_endpoint_is_down_a_flood_costs_little_and_known_keys_serve():
    """Attack 54."""
    wire, clock = Wire(answer(jwks()), APIConnectionError()), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    clock.now += 1
    for number in range(6000):
        clock.now += 0.01
        if number == 0:
            with pytest.raises(KeysUnavailableError):
                await select(keys, "first")
        with pytest.raises(KeysUnavailableError) as caught:
            await select(keys, f"nobody-{number}")
        assert 0 < caught.value.retry_after <= 36
        assert (await select(keys)).kid == "rsa"
    await settled(lambda: not keys._flights)
    assert len(wire.requests) - 1 <= 8


async def test_old_keys_stay_when_the_answer_is_none():
    """Attack 55, as far as it needs no wire."""
    bad = [answer(b"<html>"), answer({}), answer({"keys": []}), answer(jwks(), 500), answer(jwks(), 302, Location="/x")]
    for given in (*bad, APIConnectionError(), ZeroDivisionError("odd transport")):
        wire, clock = Wire(answer(jwks()), given), MovedClock()
        keys = cache(wire, clock)
        await keys.warm()
        clock.now += 300
        assert (await select(keys)).kid == "rsa"
        assert keys.health.state == "failing"
        assert keys.generation == 1


async def test_an_older_answer_does_not_overwrite_a_newer_one():
    """Attack 56: a fetch whose loop stood still lands after the one that took its place."""
    old, new = jwks(), jwks(public(key("second")))
    gate, clock = Gate(answer(old)), MovedClock()
    keys = cache(gate, clock)
    loop = asyncio.new_event_loop()

    async def begin():
        task = asyncio.ensure_future(select(keys))
        await gate.asked.wait()
        return task

    task = await asyncio.to_thread(lambda: loop.run_until_complete(begin()))
    keys._send = Wire(answer(new))
    assert (await select(keys, "second")).kid == "second"

    async def end():
        gate.gate.set()
        return await asyncio.gather(task, return_exceptions=True)

    await asyncio.to_thread(lambda: loop.run_until_complete(end()))
    loop.close()
    assert (await select(keys, "second")).kid == "second"
    assert keys.generation == 1


async def test_a_cancelled_waiter_harms_nobody():
    """Attack 57."""
    gate = Gate(answer(jwks()))
    keys = cache(gate)
    first, second = (asyncio.create_task(select(keys)) for _ in range(2))
    await gate.asked.wait()
    first.cancel()
    gate.gate.set()
    assert (await second).kid == "rsa"
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(gate.wire.requests) == 1


async def test_a_removed_key_ends_its_tokens_and_their_cached_verdicts():
    """Attack 58."""
    wire, clock = Wire(answer(jwks()), answer(jwks(public(ec())))), MovedClock()
    keys = cache(wire, clock)
    judge = TokenValidator(policy(), keys, clock=clock, cache_ttl=3600)
    good, other = token(), token(ec(), alg="ES256")
    await judge.validate(good)
    kept = await judge.validate(other)
    await keys.refresh(force=True)
    assert judge.cached(good) is None
    assert judge.cached(other) is kept
    with pytest.raises(InvalidTokenError):
        await judge.validate(good)


async def test_keys_older_than_their_bound_are_not_used():
    """Attack 59."""
    wire, clock = Wire(answer(jwks()), answer(b"", 503, Retry_After="7")), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    clock.now += 3599
    assert (await select(keys)).kid == "rsa"
    clock.now += 8
    with pytest.raises(KeysUnavailableError) as caught:
        await select(keys)
    assert caught.value.retry_after == 7
    assert (caught.value.status, keys.health.state) == (503, "empty")


@pytest.mark.parametrize(("control", "seconds"), [("max-age=31536000", 3600), ("no-cache", 60)])
async def test_what_the_server_says_of_the_keys_life_is_held_within_bounds(control, seconds):
    """Attack 60."""
    wire, clock = Wire(answer(jwks(), Cache_Control=control)), MovedClock()
    keys = cache(wire, clock)
    await keys.warm()
    clock.now += seconds - 1
    assert keys.health.state == "fresh"
    clock.now += 1
    assert keys.health.state == ("stale" if seconds == 60 else "empty"), "the bound on stale keys is an hour too"
    await select(keys)
    assert len(wire.requests) == 2


@pytest.mark.parametrize(
    "uri",
    [
        "http://issuer.example/jwks",
        "file:///etc/passwd",
        "https://user:secret@issuer.example/jwks",
        "https://issuer.example/jwks#fragment",
        "https:///jwks",
        "issuer.example/jwks",
        "https://[::1/jwks",
        "http://127.0.0.1/jwks",
        "",
    ],
)
def test_an_address_that_could_be_tampered_with_is_an_error(uri):
    """Attack 61."""
    with pytest.raises(ValueError, match="uri"):
        JWKSCache(uri, send=Wire(answer()))


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost", "[::1]:80"])
def test_this_machine_may_be_asked_over_http_when_allowed(host):
    JWKSCache(f"http://{host}/jwks", send=Wire(answer()), allow_insecure_loopback=True)
    with pytest.raises(ValueError, match="https"):
        JWKSCache("http://issuer.example/jwks", send=Wire(answer()), allow_insecure_loopback=True)


async def test_the_health_tells_how_things_stand():
    wire, clock = Wire(answer({"keys": [public(rsa()), "odd"]}), APIConnectionError("No route.")), MovedClock()
    keys = cache(wire, clock)
    assert keys.health == JWKSHealth("empty", None, 0, (), 0, 0, None, 0.0)
    await keys.warm()
    clock.now += 10
    assert keys.health == JWKSHealth("fresh", 10.0, 1, ("keys[1]: not an object",), 1, 1, None, 230.0)
    assert not await keys.refresh(force=True)
    assert keys.health == JWKSHealth("failing", 10.0, 1, ("keys[1]: not an object",), 1, 2, "No route.", 230.0)


async def test_a_refresh_is_only_when_it_is_due():
    wire, clock = Wire(answer(jwks()), answer(b"", 500), answer(jwks())), MovedClock()
    keys = cache(wire, clock)
    assert await keys.refresh()
    assert await keys.refresh()
    assert len(wire.requests) == 1
    assert not await keys.refresh(force=True)
    clock.now += 300
    assert await keys.refresh()
    assert len(wire.requests) == 3


async def test_each_attempt_is_told_and_a_listeners_fault_is_logged(caplog):
    events = []

    def listen(event):
        events.append(event)
        raise RuntimeError("a listener's fault")

    keys = cache(Wire(answer(jwks()), answer(b"", 500)), on_event=listen)
    await keys.warm()
    await keys.refresh(force=True)
    assert [(event.generation, event.keys, event.error) for event in events] == [(1, 3, None), (1, 3, "status 500")]
    assert events[1].next_attempt == 1
    assert "on_event raised" in caplog.text
    assert "status 500" in caplog.text


async def test_a_closed_cache_says_so():
    gate = Gate(answer(jwks()))
    keys = cache(gate)
    waiter = asyncio.create_task(select(keys))
    await gate.asked.wait()
    await keys.aclose()
    with pytest.raises(ClientClosedError):
        await waiter
    with pytest.raises(ClientClosedError):
        await select(keys)


# --- over the wire


@pytest.fixture
async def issuer():
    """A server whose `/jwks` answers with what is set, and counts."""
    state = {"hits": 0, "handler": None}

    async def serve(request):
        state["hits"] += 1
        return await state["handler"](request)

    async def elsewhere(request):
        state["elsewhere"] = True
        return web.json_response(jwks(public(key("evil"), kid="rsa")))

    app = web.Application()
    app.router.add_get("/jwks", serve)
    app.router.add_get("/elsewhere", elsewhere)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield state
    await runner.cleanup()


async def good(_request):
    return web.json_response(jwks(), content_type="application/jwk-set+json")


@pytest.fixture
async def keys(issuer):
    issuer["handler"] = good
    keys = JWKSCache(issuer["url"], allow_insecure_loopback=True, timeout=0.5, policy=FetchPolicy(backoff=(0.01, 0.02)))
    yield keys
    await keys.aclose()


async def test_keys_come_over_the_wire(issuer, keys):
    assert (await select(keys)).kid == "rsa"
    assert issuer["hits"] == 1


async def redirect(_request):
    raise web.HTTPFound("/elsewhere")


async def large(_request):
    return web.Response(body=json.dumps(jwks()).encode() + b" " * 10_000_000)


async def bomb(_request):
    packed = gzip.compress(json.dumps(jwks()).encode() + b" " * 10_000_000)
    return web.Response(body=packed, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


async def slow(request):
    response = web.StreamResponse()
    await response.prepare(request)
    with_bytes = json.dumps(jwks()).encode()
    for place in range(len(with_bytes)):
        await response.write(with_bytes[place : place + 1])
        await asyncio.sleep(0.01)
    return response


async def cut(request):
    response = web.StreamResponse(headers={"Content-Length": "9999"})
    await response.prepare(request)
    await response.write(b'{"keys": [')
    request.transport.abort()
    return response


@pytest.mark.parametrize("handler", [redirect, large, bomb, slow, cut], ids=lambda handler: handler.__name__)
async def test_a_hostile_server_changes_no_key(issuer, keys, handler):
    """Attack 55, over the wire."""
    await keys.warm()
    issuer["handler"] = handler
    assert not await keys.refresh(force=True)
    assert (await select(keys)).kid == "rsa"
    assert keys.health.last_error
    assert "elsewhere" not in issuer


async def test_one_cache_serves_many_threads_with_one_fetch(issuer, keys):
    barrier, found = threading.Barrier(4), []

    async def main():
        barrier.wait()
        found.append((await select(keys)).kid)

    await keys.warm()
    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert found == ["rsa"] * 4
    assert issuer["hits"] == 1


async def test_ten_tokens_that_come_with_a_rotation_share_one_fetch_over_the_wire(issuer, keys):
    judge = TokenValidator(policy(), keys)
    await keys.warm()
    with pytest.raises(InvalidTokenError):
        await select(keys, "nobody")
    new = [token(key("second"), exp=2**40, iat=1, jti=str(number)) for number in range(10)]
    arrived = asyncio.Event()

    async def rotated(_request):
        await arrived.wait()
        return web.json_response(NEW)

    issuer["handler"] = rotated
    callers = [asyncio.create_task(judge.validate(each)) for each in new]
    async with asyncio.timeout(5):
        while issuer["hits"] < 3:
            await asyncio.sleep(0)
    arrived.set()
    assert [access.key_id for access in await asyncio.gather(*callers)] == ["second"] * 10
    assert issuer["hits"] == 3


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-16", "shift_jis"])
async def test_a_key_set_is_read_in_the_charset_that_it_declares(charset):
    note = "表" if charset == "shift_jis" else "é"
    body = json.dumps({"keys": [public(rsa(), note=note)], "note": note}, ensure_ascii=False).encode(charset)
    wire = Wire(answer(body, Content_Type=f"application/jwk-set+json; charset={charset}"))
    known = JWKSCache("https://issuer.example/jwks", send=wire)
    assert (await known.select(alg="RS256", kid="rsa")).kid == "rsa"
    await known.aclose()
