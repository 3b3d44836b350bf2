from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time

import pytest

from telnyx_oauth.errors import ExpiredTokenError, InsufficientScopeError, InvalidTokenError
from telnyx_oauth.protocol.jwt import TokenPolicy
from telnyx_oauth.sandbox import Sandbox
from telnyx_oauth.validation.jwks import JWKSCache
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator
from telnyx_oauth.validation.verdicts import LRU
from tests.forge import AUDIENCE, ISSUER, NOW, MovedClock, jwks, policy, token


def validator(clock=None, **changes):
    judged = {name: changes.pop(name) for name in ("audience", "leeway", "max_age") if name in changes}
    made = TokenPolicy(issuer=ISSUER, **{"audience": AUDIENCE, **judged})
    return TokenValidator(made, StaticKeys(jwks()), clock=clock or MovedClock(), **changes)


async def test_a_good_token_tells_who_may_do_what():
    access = await validator().validate(token(aud=["x", AUDIENCE], org={"ids": [1, 2]}))
    assert (access.subject, access.client_id, access.issuer) == ("user-1", "client-1", ISSUER)
    assert access.audience == ("x", AUDIENCE)
    assert access.scopes == {"calls.read", "calls.write"}
    assert (access.expires_at, access.issued_at, access.token_id) == (NOW + 600, NOW - 10, "token-1")
    assert (access.key_id, access.algorithm, access.source) == ("rsa", "RS256", "jwt")
    assert access.claims["org"] == {"ids": (1, 2)}
    assert access.has("calls.read", "calls.write")
    assert not access.has("calls.read", "admin")
    assert access.remaining(NOW) == 600
    assert access.remaining() == pytest.approx(NOW + 600 - time.time(), abs=5)
    assert repr(access) == (
        "AccessToken(subject='user-1', client_id='client-1', scopes=['calls.read', 'calls.write'], "
        f"expires_at={NOW + 600})"
    )


@pytest.mark.parametrize("scopes", [["calls.read"], {"calls.write", "calls.read"}, "calls.read calls.write", ()])
async def test_the_scopes_that_a_token_carries_are_enough(scopes):
    judge = validator()
    assert await judge.validate(token(), scopes=scopes) is await judge.validate(token(), scopes=scopes)


async def test_a_scope_that_is_missing_is_missing_on_every_call():
    judge, good = validator(), token()
    for _ in range(2):
        with pytest.raises(InsufficientScopeError) as caught:
            await judge.validate(good, scopes=["admin", "calls.read"])
        assert caught.value.required == {"admin", "calls.read"}
        assert (caught.value.status, caught.value.error) == (403, "insufficient_scope")
        assert pickle.loads(pickle.dumps(caught.value)).required == {"admin", "calls.read"}


async def test_a_verdict_is_reused_and_one_validators_verdict_is_nobody_elses():
    """Attack 62."""
    mine, other, good = validator(), validator(audience="https://other.example"), token()
    assert mine.cached(good) is None
    verdict = await mine.validate(good)
    assert mine.cached(good) is verdict
    assert await mine.validate(good) is verdict
    assert other.cached(good) is None
    with pytest.raises(InvalidTokenError):
        await other.validate(good)


async def test_a_token_that_expires_while_it_is_remembered_is_refused():
    """Attack 63."""
    clock = MovedClock()
    judge, good = validator(clock, cache_ttl=3600), token()
    await judge.validate(good)
    clock.now += 629
    assert await judge.validate(good)
    clock.now += 1
    assert judge.cached(good) is None
    with pytest.raises(ExpiredTokenError):
        await judge.validate(good)


async def test_no_handler_can_change_what_the_next_one_sees():
    """Attack 64."""
    access = await validator().validate(token(roles=["user"], org={"a": 1}))
    for change in (
        lambda: access.claims.__setitem__("sub", "admin"),
        lambda: access.claims["org"].__setitem__("a", 2),
        lambda: setattr(access, "subject", "admin"),
        lambda: access.claims["roles"].append("admin"),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()


async def test_two_tokens_of_one_id_are_two_tokens():
    """Attack 65."""
    judge = validator()
    first, second = await judge.validate(token(sub="a")), await judge.validate(token(sub="b"))
    assert (first.subject, second.subject) == ("a", "b")
    assert first.token_id == second.token_id
    assert judge.revoke_cached(token_id="token-1") == 2


async def test_a_verdict_lasts_no_longer_than_its_time():
    clock = MovedClock()
    judge, good = validator(clock, cache_ttl=60), token()
    first = await judge.validate(good)
    clock.now += 60
    assert judge.cached(good) is None
    assert await judge.validate(good) is not first


async def test_a_clock_that_is_set_back_ends_every_verdict():
    clock = MovedClock()
    judge, good = validator(clock), token()
    await judge.validate(good)
    clock.now -= 1
    assert judge.cached(good) is None


async def test_an_old_token_ends_with_its_age():
    clock = MovedClock()
    judge, good = validator(clock, max_age=40, leeway=0), token()
    await judge.validate(good)
    clock.now += 30
    assert judge.cached(good) is None
    clock.now += 1
    with pytest.raises(InvalidTokenError):
        await judge.validate(good)


async def test_the_verdicts_are_bounded_and_the_least_recently_used_goes():
    judge = validator(cache_size=2)
    first, second, third = token(sub="1"), token(sub="2"), token(sub="3")
    for each in (first, second, first, third):
        await judge.validate(each)
    assert [judge.cached(each) is not None for each in (first, second, third)] == [True, False, True]


async def test_no_verdict_is_remembered_where_there_is_no_room_for_one():
    judge = validator(cache_size=0)
    assert await judge.validate(token())
    assert judge.cached(token()) is None


@pytest.mark.parametrize("text", ["", "x" * 8193, "é", "a.b.c"])
def test_what_cannot_be_a_known_token_is_not_known(text):
    assert validator().cached(text) is None


async def test_verdicts_are_revoked_by_subject_by_token_and_all():
    judge = validator()
    for subject, name in (("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")):
        await judge.validate(token(sub=subject, jti=name))
    assert judge.revoke_cached(subject="a", token_id="4") == 0
    assert judge.revoke_cached(subject="a") == 2
    assert judge.revoke_cached(token_id="3") == 1
    assert judge.revoke_cached() == 1
    assert judge.cached(token(sub="b", jti="4")) is None


async def test_warming_and_closing_reach_the_keys():
    calls = []

    class Keys(StaticKeys):
        async def warm(self):
            calls.append("warm")
            await super().warm()

        async def aclose(self):
            calls.append("aclose")
            await super().aclose()

    judge = TokenValidator(policy(), Keys(jwks()), clock=MovedClock())
    await judge.warm()
    await judge.validate(token())
    await judge.aclose()
    assert calls == ["warm", "aclose"]
    assert judge.cached(token()) is None


async def test_a_key_that_goes_while_it_verifies_leaves_no_verdict_behind():
    class Going(StaticKeys):
        def contains(self, key):
            return False

    judge = TokenValidator(policy(), Going(jwks()), clock=MovedClock())
    assert await judge.validate(token())
    assert judge.cached(token()) is None


async def test_a_verdict_dropped_by_another_thread_is_no_verdict(monkeypatch):
    judge, good = validator(), token()
    await judge.validate(good)

    def drop(key, last=True):
        raise KeyError(key)

    monkeypatch.setattr(judge._verdicts, "move_to_end", drop)
    assert judge.cached(good) is None


def test_a_bounded_cache_drops_what_was_used_longest_ago():
    cached = LRU(3)
    for name in "abc":
        cached.put(name, 1)
    assert cached.touch("a")
    cached.put("b", 2)
    cached.put("d", 1)
    assert list(cached) == ["a", "b", "d"]
    assert not cached.touch("c")
    unused = LRU(0)
    unused.put("a", 1)
    assert not unused


@pytest.mark.parametrize("step", ["move_to_end", "popitem"])
def test_a_bounded_cache_that_another_thread_empties_between_two_steps_goes_on(monkeypatch, step):
    cached = LRU(1)
    cached.put("a", 1)

    def too_late(*_, **__):
        cached.clear()
        raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(cached, step, too_late)
        cached.put("b", 1)
        assert not cached
    cached.put("c", 1)
    assert list(cached) == ["c"]


def test_static_keys_may_be_text_bytes_or_a_mapping():
    import json

    for given in (jwks(), json.dumps(jwks()), json.dumps(jwks()).encode()):
        assert StaticKeys(given).skipped == ()
    for given in ("", b"[]", {"keys": 1}):
        with pytest.raises(ValueError, match="RFC 7517"):
            StaticKeys(given)


def test_a_program_that_never_validates_loads_no_cryptography_and_offline_keys_load_no_network():
    code = (
        "import sys, telnyx_oauth.validation.validator, telnyx_oauth.protocol.jwk;"
        "print([name for name in sys.modules if name.partition('.')[0] in ('joserfc', 'cryptography', 'aiohttp')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


async def test_tokens_of_the_sandbox_are_judged_for_what_they_are():
    async with Sandbox() as telnyx:
        keys = JWKSCache(f"{telnyx.base_url}/oauth/jwks", allow_insecure_loopback=True)
        judge = TokenValidator(TokenPolicy.telnyx(issuer=telnyx.root_url, audience=telnyx.root_url), keys)
        access = await judge.validate(telnyx.issue_token(scope="admin", subject="user-7"), scopes=["admin"])
        assert (access.subject, access.client_id) == ("user-7", telnyx.client_id)
        for bad in (
            telnyx.issue_token(audience="https://other.example"),
            telnyx.issue_token(issuer="https://other.example"),
            telnyx.issue_token(lifetime=-60),
            telnyx.issue_token(forged=True),
            telnyx.issue_token(opaque=True),
            telnyx.issue_token(claims={"client_id": None}),
            telnyx.issue_token(header={"typ": "logout+jwt"}),
        ):
            with pytest.raises(InvalidTokenError):
                await judge.validate(bad)
        old = telnyx.issue_token()
        telnyx.rotate_key()
        new = telnyx.issue_token()
        assert await judge.validate(new), "a new key is found by its id"
        assert await judge.validate(old), "the old one is still published"
        telnyx.retire_keys()
        await keys.refresh(force=True)
        with pytest.raises(InvalidTokenError):
            await judge.validate(old)
        assert await judge.validate(new)
        await judge.aclose()


async def test_many_tasks_on_a_cold_validator_make_one_fetch():
    async with Sandbox() as telnyx:
        keys = JWKSCache(f"{telnyx.base_url}/oauth/jwks", allow_insecure_loopback=True)
        judge = TokenValidator(TokenPolicy.telnyx(issuer=telnyx.root_url, audience=telnyx.root_url), keys)
        await asyncio.gather(*(judge.validate(telnyx.issue_token()) for _ in range(20)))
        assert len([request for request in telnyx.requests if request.path.endswith("/jwks")]) == 1
        await judge.aclose()
