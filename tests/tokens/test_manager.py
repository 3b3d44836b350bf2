"""The manager on a virtual-time loop: one flight, many waiters, windows, back-off, generations."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from telnyx_oauth.errors import (
    APIConnectionError,
    ClientClosedError,
    InvalidClientError,
    InvalidScopeError,
    RateLimitError,
    TelnyxError,
    TokenBackoffError,
    TokenError,
    TokenRejectedError,
    TokenWaitTimeoutError,
)
from telnyx_oauth.messages import Response, headers
from telnyx_oauth.protocol.freshness import Phase, RefreshPolicy
from telnyx_oauth.protocol.token import Token, TokenKey
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.events import BackoffStarted, ServedStale, TokenRefreshed, TokenRejected
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ApiKey

REFUSAL = Response(401, headers(("x-request-id", "req-1")))


def test_a_cold_storm_makes_one_request(world):
    async def main():
        manager = world.manager()
        tokens = await asyncio.gather(*(manager.get() for _ in range(100)))
        assert {token.access_token for token in tokens} == {"t1"}
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_fresh_token_is_given_without_suspending(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        coroutine = manager.get()
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        assert stopped.value.value is token
        assert manager.peek() is token
        await manager.aclose()

    world.run(main())


def test_the_token_tells_what_it_is_and_never_its_text(world):
    async def main():
        manager = world.manager(world.credentials(scopes="a b"))
        before = world.clock.wall()
        token = await manager.get()
        assert token.access_token == "t1"
        assert token.authorization == "Bearer t1"
        assert token.token_type == "Bearer"
        assert token.scopes == {"a", "b"}
        assert token.generation == 1
        assert token.expires_at == before + 100  # counted from before the request was sent
        assert token.remaining() == pytest.approx(100 - 0.05)
        assert "t1" not in repr(token)
        await manager.aclose()

    world.run(main())


def test_an_advisory_token_is_served_while_one_flight_renews_it(world):
    async def main():
        manager = world.manager()
        old = await manager.get()
        await asyncio.sleep(76)  # advisory at 100 - 20 * 1.25 = 75
        assert manager.peek() is None
        assert [await manager.get() for _ in range(5)] == [old] * 5
        assert manager.peek() is old  # the renewal is under way: nothing else to do
        await asyncio.sleep(0.1)
        new = manager.peek()
        assert new is not None
        assert new.generation == 2
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_before_the_advisory_margin_nothing_is_renewed(world):
    async def main():
        manager = world.manager()
        old = await manager.get()
        await asyncio.sleep(74.9)
        assert manager.peek() is old
        assert await manager.get() is old
        await asyncio.sleep(1)
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_mandatory_token_is_renewed_first(world):
    async def main():
        manager = world.manager()
        await manager.get()
        await asyncio.sleep(95.1)
        assert (await manager.get()).generation == 2
        await manager.aclose()

    world.run(main())


def test_a_failing_renewal_never_takes_a_valid_token_away(world):
    async def main():
        manager = world.manager()
        old = await manager.get()
        await asyncio.sleep(96)
        world.server.faults.extend(["500", "lost", "garbage", "invalid_client"])
        for _ in range(30):
            assert await manager.get() is old
            await asyncio.sleep(0.1)
        assert world.told(ServedStale)[0].generation == 1
        await asyncio.sleep(1)  # now it has expired
        world.server.faults.clear()
        await asyncio.sleep(10)
        assert (await manager.get()).generation == 2
        await manager.aclose()

    world.run(main())


def test_an_expired_token_is_never_served(world):
    async def main():
        manager = world.manager()
        await manager.get()
        await asyncio.sleep(101)
        world.server.faults.append("500")
        assert manager.peek() is None
        with pytest.raises(TelnyxError):
            await manager.get()
        assert manager.peek() is None
        await manager.aclose()

    world.run(main())


def test_one_failure_gives_each_waiter_an_exception_of_its_own_with_one_cause(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("invalid_scope")
        results = await asyncio.gather(*(manager.get() for _ in range(20)), return_exceptions=True)
        assert all(type(error) is InvalidScopeError for error in results)
        assert len({id(error) for error in results}) == 20
        assert len({id(error.__cause__) for error in results}) == 1
        assert type(results[0].__cause__) is InvalidScopeError
        assert len(world.server.seen) == 1
        results[0].add_note("mine")
        assert "mine" not in getattr(results[1], "__notes__", [])
        await manager.aclose()

    world.run(main())


def test_in_back_off_nothing_is_sent_and_who_has_time_waits(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("429")  # Retry-After: 7
        with pytest.raises(RateLimitError):
            await manager.get()
        with pytest.raises(TokenBackoffError) as caught:
            await manager.get(timeout=5)
        assert caught.value.retry_after == pytest.approx(7)
        assert caught.value.retry_at - world.clock.wall() == pytest.approx(7)
        assert type(caught.value.__cause__) is RateLimitError
        with pytest.raises(TokenBackoffError):
            await manager.get(timeout=7)  # not a moment too short
        with pytest.raises(TokenBackoffError):
            await manager.warm(timeout=5)
        assert caught.value.last_error == "slow_down"
        assert manager.status().phase is Phase.BACKOFF
        waiting = [asyncio.ensure_future(manager.get(timeout=8)) for _ in range(3)]
        await asyncio.sleep(6.9)
        assert len(world.server.seen) == 1
        assert {token.access_token for token in await asyncio.gather(*waiting)} == {"t1"}
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_back_off_doubles_and_is_capped(world):
    async def main():
        manager = world.manager()
        world.server.faults.extend(["500"] * 7)
        for _ in range(7):
            with pytest.raises(TelnyxError):
                await manager.get(timeout=None)
        assert [event.seconds for event in world.told(BackoffStarted)] == [1, 2, 4, 8, 10, 10, 10]
        assert [event.failures for event in world.told(BackoffStarted)] == [1, 2, 3, 4, 5, 6, 7]
        await manager.get(timeout=None)
        world.server.faults.append("500")
        await asyncio.sleep(96)
        await manager.get()
        assert world.told(BackoffStarted)[-1].seconds == 1  # success starts it over
        await manager.aclose()

    world.run(main())


def test_a_terminal_error_is_remembered_and_shared_for_some_seconds(world):
    async def main():
        manager = world.manager()
        world.jitter = 0.5
        world.server.faults.append("unauthorized_client")
        for _ in range(5):
            with pytest.raises(TelnyxError) as caught:
                await manager.get()
            assert caught.value.code == "unauthorized_client"
        assert len(world.server.seen) == 1
        await asyncio.sleep(3.01)
        assert (await manager.get()).access_token == "t1"
        await manager.aclose()

    world.run(main())


def test_a_refusal_that_repeats_is_asked_for_less_and_less_often(world):
    async def main():
        manager = world.manager()
        world.jitter = 0.5
        world.server.faults += ["unauthorized_client"] * 50
        times: list[float] = []
        for _ in range(180):
            with pytest.raises(TelnyxError):
                await manager.get(timeout=0.5)
            if len(world.server.seen) > len(times):
                times.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.5)
        gaps = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
        assert gaps == [3, 6, 12, 24]
        world.server.faults.clear()
        await asyncio.sleep(60)
        assert (await manager.get()).access_token
        await manager.aclose()

    world.run(main())


def test_a_cancelled_caller_harms_nobody_and_the_result_is_kept(world):
    async def main():
        manager = world.manager()
        leader = asyncio.ensure_future(manager.get())
        others = [asyncio.ensure_future(manager.get()) for _ in range(3)]
        await asyncio.sleep(0.01)
        leader.cancel()
        others[1].cancel()
        results = await asyncio.gather(leader, *others, return_exceptions=True)
        assert [type(result) for result in results] == [
            asyncio.CancelledError,
            Token,
            asyncio.CancelledError,
            Token,
        ]
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_with_no_waiter_left_the_flight_goes_on(world):
    async def main():
        manager = world.manager()
        task = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0.1)
        assert manager.peek() is not None
        assert manager.status().waiters == 0
        await manager.aclose()

    world.run(main())


def test_a_timeout_bounds_the_waiting_alone(world):
    async def main():
        world.server.latency = 5
        manager = world.manager()
        with pytest.raises(TokenWaitTimeoutError) as caught:
            await manager.get(timeout=2)
        assert caught.value.timeout == 2
        assert manager.status().waiters == 0
        assert (await manager.get(timeout=4)).access_token == "t1"
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_timeout_with_a_valid_token_at_hand_gives_that(world):
    async def main():
        manager = world.manager()
        old = await manager.get()
        await asyncio.sleep(96)
        world.server.latency = 60
        assert await manager.get(timeout=1) is old
        await manager.aclose(drain=0)

    world.run(main())


def test_a_flight_has_a_bound_of_its_own(world):
    async def main():
        world.server.latency = 1e6
        manager = world.manager(policy=RefreshPolicy(flight_timeout=20))
        with pytest.raises(TokenError, match=r"^The refresh took too long and was given up\.$"):
            await manager.get(timeout=None)
        assert world.loop.now == 1020
        await manager.aclose()

    world.run(main())


def test_min_ttl_renews_a_token_that_would_do_for_others(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        await asyncio.sleep(30)
        assert await manager.get(min_ttl=60) is first
        second = await manager.get(min_ttl=75)
        assert second.generation == 2
        assert await manager.get(min_ttl=75) is second
        assert await manager.get(min_ttl=1e9) is second  # tokens never live that long, so renewing cannot help
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_min_ttl_is_best_effort_when_renewing_fails(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        await asyncio.sleep(50)
        world.server.faults.extend(["500"] * 3)
        assert await manager.get(min_ttl=90) is first
        assert await manager.get(min_ttl=90) is first
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_replace_renews_only_for_the_current_generation(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        second = await manager.replace(first)
        assert second.generation == 2
        assert await manager.replace(first) is second
        assert await manager.get() is second
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_many_late_401s_of_one_generation_make_one_request(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        tokens = await asyncio.gather(*(manager.replace(first) for _ in range(50)))
        assert {token.generation for token in tokens} == {2}
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_a_rejected_token_is_not_served_while_its_replacement_fails(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        world.server.faults.append("500")
        with pytest.raises(TelnyxError):
            await manager.replace(first)
        assert manager.peek() is None
        assert manager.status().phase is Phase.BACKOFF
        assert (await manager.get()).generation == 2
        await manager.aclose()

    world.run(main())


def test_a_replacement_that_is_refused_at_once_ends_the_renewing(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        token = await manager.replace(token)
        with pytest.raises(TokenRejectedError) as caught:
            await manager.replace(token)
        assert caught.value.status_code == 401
        assert len(world.server.seen) == 2
        with pytest.raises(TokenBackoffError) as held:
            await manager.get(timeout=0.5)
        assert held.value.last_error == "token_rejected"
        token = await manager.get()  # after the back-off one more, and the breaker still holds
        assert len(world.server.seen) == 3
        with pytest.raises(TokenRejectedError):
            await manager.replace(token)
        with pytest.raises(TokenBackoffError):
            await manager.get(timeout=1.5)  # and the distance grows
        await manager.aclose()

    world.run(main())


def test_a_replacement_that_held_for_a_while_may_be_replaced(world):
    async def main():
        manager = world.manager()
        token = await manager.replace(await manager.get())
        await asyncio.sleep(5.1)
        assert (await manager.replace(token)).generation == 3
        await manager.aclose()

    world.run(main())


def test_the_rejected_token_issued_again_is_refused(world):
    async def main():
        manager = world.manager()
        world.server.extra = {"access_token": "same"}
        token = await manager.get()
        with pytest.raises(TokenRejectedError, match=r"^The server issued the token again that it had refused\."):
            await manager.replace(token)
        assert manager.peek() is None
        world.server.extra = {}
        assert (await manager.get()).access_token == "t3"
        await manager.aclose()

    world.run(main())


def test_the_same_token_again_is_no_failure_and_no_new_generation(world):
    async def main():
        manager = world.manager()
        world.server.extra = {"access_token": "same"}
        token = await manager.get()
        await asyncio.sleep(76)
        for _ in range(40):
            assert await manager.get() is token
            await asyncio.sleep(0.2)
        assert 2 <= len(world.server.seen) <= 4
        assert manager.status().failures == 0
        await asyncio.sleep(1096 - world.loop.now)
        assert await manager.get() is token  # who waits gets it too
        await manager.aclose()

    world.run(main())


def test_a_token_that_ends_earlier_does_not_replace_a_better_one(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        world.server.lifetime = 10
        await asyncio.sleep(80)
        await manager.get()
        await asyncio.sleep(1)
        assert manager.peek() is token
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("lifetime", [2**63 - 1, 10**400, 1e400, "9" * 400])
def test_a_lifetime_too_long_to_count_with_is_a_long_one(world, lifetime):
    async def main():
        manager = world.manager()
        world.server.lifetime = lifetime
        token = await manager.get()
        assert manager.peek() is token
        assert token.remaining() > 365 * 86400
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("lifetime", [0, -5, "soon", True, [60], "nan", "-1"])
def test_a_senseless_lifetime_serves_this_flight_and_is_never_cached(world, lifetime):
    async def main():
        manager = world.manager()
        world.server.lifetime = lifetime
        tokens = await asyncio.gather(manager.get(), manager.get())
        assert {token.access_token for token in tokens} == {"t1"}
        assert manager.peek() is None
        assert (await manager.get()).access_token == "t2"
        await manager.aclose()

    world.run(main())


def test_no_lifetime_is_kept_until_rejected_and_looked_at_hourly(world):
    async def main():
        manager = world.manager()
        world.server.lifetime = ...
        token = await manager.get()
        assert token.expires_at is None
        assert token.remaining() == float("inf")
        await asyncio.sleep(3599)
        assert manager.peek() is token
        await asyncio.sleep(2)
        assert await manager.get() is token
        await asyncio.sleep(1)
        newer = await manager.get()
        assert newer.generation == 2
        assert (await manager.replace(newer)).generation == 3
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("latency", [10, 20])
def test_a_token_that_expired_on_its_way_counts_as_a_failure(world, latency):
    async def main():
        manager = world.manager()
        world.server.latency = latency
        world.server.lifetime = 10
        with pytest.raises(TokenError, match=r"^The token had expired before its answer was there\.$"):
            await manager.get()
        assert manager.status().phase is Phase.BACKOFF
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize("lifetime", [2, 3, 5, 10, 30, 60, 200, 600, 3600, 86_400, 31_536_000])
def test_for_every_lifetime_the_cache_is_used(world, lifetime):
    async def main():
        manager = world.manager()
        world.server.lifetime = lifetime
        world.server.latency = 0.01
        token = await manager.get()
        await asyncio.sleep(lifetime * 0.4)
        assert await manager.get() is token
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_suspended_machine_never_gets_an_expired_token(world):
    async def main():
        manager = world.manager()
        await manager.get()
        world.clock.suspend(1000)
        assert manager.peek() is None
        assert (await manager.get()).generation == 2
        await manager.aclose()

    world.run(main())


def test_a_wall_clock_set_back_extends_nothing_and_set_forward_is_believed(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        world.clock.jump(-5000)
        assert manager.peek() is first
        await asyncio.sleep(101)
        second = await manager.get()
        assert second.generation == 2
        world.clock.jump(5200)
        assert manager.peek() is second  # a cached token goes by the boot clock alone, which counts sleep too
        assert (await manager.get(min_ttl=0.001)).generation == 3
        await manager.aclose()

    world.run(main())


def test_scopes_and_resources_never_share_tokens_and_reach_the_wire(world):
    async def main():
        manager = world.manager(world.credentials(scopes="base"))
        tokens = await asyncio.gather(
            manager.get(),
            manager.get(scopes=["b", "a"]),
            manager.get(scopes="a b"),
            manager.get(resource="https://r"),
            manager.get(scopes="a b", resource="https://r"),
        )
        assert len({token.access_token for token in tokens}) == 4
        assert tokens[1] is tokens[2]
        asked = [(seen.form.get("scope"), seen.form.get("resource")) for seen in world.server.seen]
        assert asked == [("base", None), ("a b", None), ("base", "https://r"), ("a b", "https://r")]
        assert manager.peek(scopes="b a") is tokens[1]
        assert manager.peek(scopes="c") is None
        assert manager.peek(resource="https://r") is tokens[3]
        replaced = await manager.replace(tokens[3])
        assert replaced.key.resource == "https://r"
        assert manager.peek() is tokens[0]
        await manager.aclose()

    world.run(main())


def test_a_token_of_another_manager_is_not_replaced_here(world):
    async def main():
        manager = world.manager()
        stranger = Token("x", key=TokenKey("https://elsewhere/token", "c", "client_credentials"))
        with pytest.raises(ValueError, match=r"^This token came from another manager\.$"):
            await manager.replace(stranger)
        await manager.aclose()

    world.run(main())


def test_the_keys_used_longest_ago_make_room(world):
    async def main():
        manager = world.manager(policy=RefreshPolicy(max_keys=3))
        await manager.get()
        await manager.get(scopes="a")
        await manager.get(scopes="b")
        manager.peek(scopes="a")
        await manager.get(scopes="c")
        assert manager.peek(scopes="b") is None
        assert manager.peek(scopes="a") is not None
        assert manager.peek() is not None
        await manager.aclose()

    world.run(main())


def test_many_keys_make_room_by_the_sixteenth(world):
    async def main():
        manager = world.manager(policy=RefreshPolicy(max_keys=64))
        for n in range(63):
            await manager.get(scopes=f"s{n}")
        await manager.get(scopes="one more")
        kept = [n for n in range(63) if manager.peek(scopes=f"s{n}") is not None]
        assert kept == list(range(4, 63))
        await manager.aclose()

    world.run(main())


def test_keys_in_flight_are_not_evicted(world):
    async def main():
        manager = world.manager(policy=RefreshPolicy(max_keys=2))
        tokens = await asyncio.gather(*(manager.get(scopes=f"s{n}") for n in range(10)))
        assert len({token.access_token for token in tokens}) == 10
        assert len(world.server.seen) == 10
        await manager.aclose()

    world.run(main())


@pytest.mark.parametrize(("most", "asked"), [(2, 10), (64, 1000), (1024, 3000)])
def test_a_storm_of_new_keys_leaves_no_more_than_may_be_kept(world, most, asked):
    async def main():
        manager = world.manager(policy=RefreshPolicy(max_keys=most))
        await asyncio.gather(*(manager.get(scopes=f"s{n}") for n in range(asked)))
        kept = sum(manager.peek(scopes=f"s{n}") is not None for n in range(asked))
        assert most - 1 - most // 16 <= kept <= most
        await manager.aclose()

    world.run(main())


def test_forget_drops_the_token_and_generations_still_rise(world):
    async def main():
        manager = world.manager()
        await manager.get()
        await manager.forget()
        assert manager.peek() is None
        assert manager.status().phase is Phase.EMPTY
        assert (await manager.get()).generation == 2
        await manager.aclose()

    world.run(main())


def test_a_forgotten_flight_answers_its_waiters_and_is_not_kept(world):
    async def main():
        manager = world.manager()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.01)
        await manager.forget()
        assert (await waiting).access_token == "t1"
        assert manager.peek() is None
        await manager.aclose()

    world.run(main())


def test_accept_serves_a_grant_that_was_obtained_elsewhere(world):
    async def main():
        manager = world.manager()
        token = await manager.accept(TokenGrant("mine", expires_in=50.0), age=10)
        assert manager.peek() is token
        assert token.remaining() == 40
        assert await manager.get() is token
        await manager.aclose()

    world.run(main())


def test_accept_ends_a_back_off_for_those_who_wait(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.get()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.01)
        token = await manager.accept(TokenGrant("mine", expires_in=50.0))
        assert await waiting is token
        assert len(world.server.seen) == 1
        assert not manager.status().renewing
        assert world.names().count("failed") == 1
        await manager.aclose()

    world.run(main())


def test_warm_with_keep_renews_without_any_caller(world):
    async def main():
        manager = world.manager()
        await manager.warm(keep=True)
        await asyncio.sleep(1000)
        assert manager.peek() is not None
        assert len(world.server.seen) in range(12, 16)
        world.server.faults.extend(["500"] * 4)
        await asyncio.sleep(200)
        assert manager.peek() is not None
        await manager.aclose()
        count = len(world.server.seen)
        await asyncio.sleep(1000)
        assert len(world.server.seen) == count

    world.run(main())


def test_after_aclose_nothing_runs_and_nothing_is_given(world):
    async def main():
        world.server.latency = 100
        manager = world.manager()
        waiting = [asyncio.ensure_future(manager.get(timeout=None)) for _ in range(3)]
        await asyncio.sleep(0.01)
        await manager.aclose(drain=1)
        for task in waiting:
            with pytest.raises(
                ClientClosedError, match=r"^This token manager, or the client that it belongs to, has .* A copy"
            ):
                await task
        with pytest.raises(
            ClientClosedError, match=r"^This token manager, or the client that it belongs to, has .* A copy"
        ):
            await manager.get()
        assert manager.peek() is None
        assert manager.status().phase is Phase.CLOSED
        await manager.aclose()

    world.run(main())


def test_aclose_lets_a_renewal_finish(world):
    async def main():
        manager = world.manager()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.01)
        await manager.aclose()
        assert (await waiting).access_token == "t1"

    world.run(main())


@pytest.mark.parametrize("until", [0.01, 2.0])
def test_an_aclose_that_was_cancelled_is_finished_by_the_next(world, until):
    async def main():
        world.server.latency = 100.0
        manager = world.manager()
        waiting = asyncio.ensure_future(manager.get(timeout=None))
        await asyncio.sleep(0.01)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(manager.aclose(drain=5.0), until)
        await manager.aclose(drain=5.0)
        assert world.clock.boot() - began == pytest.approx(5.0 + until + 0.01)
        with pytest.raises(ClientClosedError):
            await waiting

    began = world.clock.boot()
    world.run(main())


def test_aclose_does_not_wait_for_a_back_off(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.get()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0)
        before = world.loop.now
        await manager.aclose()
        assert world.loop.now == before
        with pytest.raises(ClientClosedError):
            await waiting

    world.run(main())


def test_an_api_key_is_there_at_once_and_cannot_be_replaced(world):
    async def main():
        manager = world.manager(ApiKey("KEY"))
        token = manager.peek()
        assert token is not None
        assert token.authorization == "Bearer KEY"
        assert (token.generation, token.key.grant, token.wall) == (1, "api_key", world.clock.wall)
        assert await manager.get() is token
        assert await manager.get(scopes="a", resource="b", min_ttl=1e9) is token
        assert not manager.renewable
        with pytest.raises(TokenRejectedError, match=r"^The server refuses the API key, which cannot be") as caught:
            await manager.replace(token, response=REFUSAL)
        assert caught.value.request_id == "req-1"
        await asyncio.sleep(1e9)
        assert manager.peek() is token
        await manager.aclose()
        assert manager.peek() is None

    world.run(main())


def test_a_plain_async_function_is_a_source(world):
    async def source(key):
        return TokenGrant(f"for-{'-'.join(sorted(key.scopes))}", expires_in=60.0)

    async def main():
        manager = world.manager(source)
        assert (await manager.get(scopes="x")).access_token == "for-x"
        assert manager.status().key == TokenKey(grant="custom")
        await manager.aclose()

    world.run(main())


def test_what_a_strange_source_raises_reaches_the_waiters_by_its_class_alone(world):
    async def source(key):
        raise KeyError("secret-in-text")

    async def main():
        manager = world.manager(source)
        with pytest.raises(TokenError, match="KeyError") as caught:
            await manager.get()
        assert "secret-in-text" not in str(caught.value)
        assert manager.status().last_error == "KeyError"
        await manager.aclose()

    world.run(main())


def test_a_hook_that_raises_is_logged_and_harms_nobody(world, caplog):
    def hook(event):
        raise RuntimeError("hook")

    async def main():
        manager = world.manager(hooks=[hook])
        assert (await manager.get()).access_token == "t1"
        await manager.aclose()

    world.run(main())
    assert "a token hook failed: RuntimeError" in caplog.text


def test_the_events_of_a_renewal(world):
    async def main():
        manager = world.manager()
        await manager.get()
        world.server.faults.append("500")
        await asyncio.sleep(80)
        await manager.get()
        await asyncio.sleep(0.1)
        await manager.aclose()

    world.run(main())
    assert world.names() == ["requested", "refreshed", "requested", "failed", "back-off", "served-stale"]
    refreshed = world.told(TokenRefreshed)[0]
    assert (refreshed.generation, refreshed.expires_in, refreshed.durable) == (1, 100, True)
    assert refreshed.flight == world.events[0].flight > 0
    assert refreshed.seconds == pytest.approx(0.05)
    _, _, _, failure, pause, stale = world.events
    assert (failure.error, failure.kind, failure.status_code) == ("server_error", "InternalServerError", 500)
    assert failure.request_id == "req-2"
    assert failure.seconds == pytest.approx(0.05)
    assert failure.flight == pause.flight == stale.flight == refreshed.flight + 1
    assert (pause.seconds, pause.failures) == (1.0, 1)
    assert stale.generation == 1
    assert stale.remaining == pytest.approx(19.9)


def test_status_tells_what_is_served_and_why(world):
    async def main():
        manager = world.manager()
        assert manager.status().phase is Phase.EMPTY
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.01)
        status = manager.status()
        assert (status.phase, status.renewing, status.waiters) == (Phase.FETCHING, True, 1)
        token = await waiting
        status = manager.status()
        assert (status.phase, status.generation, status.renewing) == (Phase.FRESH, 1, False)
        assert status.expires_at == token.expires_at
        assert status.expires_in == pytest.approx(99.95)
        world.server.faults.append("500")
        await asyncio.sleep(80)
        assert manager.status().phase is Phase.ADVISORY
        await manager.get()
        await asyncio.sleep(0.1)
        status = manager.status()
        assert (status.phase, status.failures, status.last_error) == (Phase.ADVISORY, 1, "server_error")
        assert 0 < status.retry_in <= 1
        await asyncio.sleep(16)
        assert manager.status().phase is Phase.MANDATORY
        await asyncio.sleep(10)
        assert manager.status().phase is Phase.EXPIRED
        assert "t1" not in repr(manager.status())
        await manager.aclose()

    world.run(main())


def test_the_flight_runs_in_a_context_of_its_own(world):
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    found = []

    async def source(key):
        found.append(variable.get())
        return TokenGrant("x", expires_in=60.0)

    async def main():
        variable.set("mine")
        manager = world.manager(source)
        await manager.get()
        await manager.aclose()

    world.run(main())
    assert found == ["unset"]


def test_the_secret_provider_is_asked_again_when_the_secret_was_replaced(world):
    secrets = iter(["old", "new", "new"])

    async def provider():
        return next(secrets)

    async def main():
        world.server.secret = "new"
        source = world.credentials(client_secret=provider, auth_method="client_secret_post")
        manager = world.manager(source)
        assert (await manager.get()).access_token == "t1"
        assert [seen.form["client_secret"] for seen in world.server.seen] == ["old", "new"]
        await manager.aclose()

    world.run(main())


def test_the_same_secret_again_is_not_sent_again(world):
    async def provider():
        return "wrong"

    async def main():
        world.server.secret = "right"
        manager = world.manager(world.credentials(client_secret=provider))
        with pytest.raises(InvalidClientError):
            await manager.get()
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_failed_secret_provider_is_named_by_its_error_alone(world):
    async def provider():
        raise ValueError("vault says s3cret")

    async def main():
        manager = world.manager(world.credentials(client_secret=provider))
        with pytest.raises(TokenError, match="ValueError") as caught:
            await manager.get()
        error = caught.value
        while error is not None:
            assert "s3cret" not in str(error)
            error = error.__cause__ or error.__context__
        assert not world.server.seen
        await manager.aclose()

    world.run(main())


def test_a_connection_error_is_passed_on(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("lost")
        with pytest.raises(APIConnectionError):
            await manager.get()
        await manager.aclose()

    world.run(main())


def test_the_default_clock_is_the_systems():
    async def source(key):
        return TokenGrant("x", expires_in=60.0)

    async def main():
        manager = TokenManager(source)
        token = await manager.get()
        assert 59 < token.remaining() <= 60
        await manager.aclose()

    asyncio.run(main())


def test_waiters_with_one_timeout_leave_each_at_its_own_time(world):
    async def main():
        world.server.latency = 100
        manager = world.manager()
        ended = []

        async def ask(timeout):
            with pytest.raises(TokenWaitTimeoutError):
                await manager.get(timeout=timeout)
            ended.append(round(world.loop.now - 1000, 3))

        waiting = []
        for _ in range(3):
            waiting += [asyncio.ensure_future(ask(2)), asyncio.ensure_future(ask(3.5))]
            await asyncio.sleep(0.5)
        cancelled = asyncio.ensure_future(manager.get(timeout=2))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(*waiting)
        assert ended == [2, 2.5, 3, 3.5, 4, 4.5]
        await manager.aclose(drain=0)

    world.run(main())


def test_a_token_that_was_never_kept_can_be_rejected_too(world):
    async def main():
        manager = world.manager()
        world.server.lifetime = 0
        token = await manager.get()
        assert (await manager.replace(token)).access_token == "t2"
        await manager.forget()
        world.server.lifetime = 100
        world.server.extra = {"access_token": "t2"}
        with pytest.raises(TokenRejectedError):
            await manager.replace(Token("t2", generation=2, key=token.key))
        await manager.aclose()

    world.run(main())


def test_an_observer_that_raises_is_logged_and_harms_nobody(world, caplog):
    class Observer:
        def __call__(self, event):
            pass

        def joined(self, flight):
            raise RuntimeError("observer")

    async def main():
        manager = world.manager(hooks=[Observer()])
        assert (await manager.get()).access_token == "t1"
        await manager.aclose()

    world.run(main())
    assert "a token hook failed: RuntimeError" in caplog.text


def test_an_api_key_is_a_source_that_works_alone():
    source = ApiKey("KEY")
    assert asyncio.run(source(source.key)) == TokenGrant("KEY")
    assert "KEY" not in repr(source) + repr(source.grant)


@pytest.mark.parametrize("ask", [TokenManager.get, TokenManager.warm])
def test_who_names_no_timeout_waits_half_a_minute(world, ask):
    async def main():
        world.server.latency = 50
        manager = world.manager()
        with pytest.raises(TokenWaitTimeoutError) as caught:
            await ask(manager)
        assert caught.value.timeout == 30.0
        assert world.loop.now == 1030.0
        await manager.aclose(drain=0)

    world.run(main())


def test_a_replacement_is_waited_for_half_a_minute_and_the_old_token_not_given_then(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        world.server.latency = 50
        with pytest.raises(TokenWaitTimeoutError) as caught:
            await manager.replace(token)
        assert caught.value.timeout == 30.0
        await manager.aclose(drain=0)

    world.run(main())


def test_who_waits_in_vain_gets_the_old_token_to_its_last_moment_and_not_beyond(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        await asyncio.sleep(1096 - world.loop.now)
        world.server.latency = 50
        assert await manager.get(timeout=3.5) is token
        with pytest.raises(TokenWaitTimeoutError):
            await manager.get(timeout=0.5)
        await manager.aclose(drain=0)

    world.run(main())


def test_a_failure_at_the_last_moment_gives_the_old_token(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        world.server.faults.append("500")
        world.loop.now = 1099.5
        assert await manager.get() is token
        await manager.aclose()

    world.run(main())


def test_a_renewal_is_due_at_its_very_time(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        world.loop.now = 1075.0
        assert manager.peek() is None
        assert await manager.get() is token
        assert manager.status().renewing
        await asyncio.sleep(0.01)
        assert await manager.get(min_ttl=5) is token  # nobody waits who need not
        await manager.aclose()

    world.run(main())


def test_the_last_second_of_a_short_life_is_served(world):
    async def main():
        world.server.lifetime = 2
        manager = world.manager()
        old = await manager.get()
        current = await manager.replace(old)
        await asyncio.sleep(1.2)
        world.server.latency = 0.5
        before = world.loop.now
        assert await manager.get() is current
        assert await manager.replace(old) is current
        await manager.warm()
        assert world.loop.now == before
        await manager.aclose()

    world.run(main())


def test_even_a_short_back_off_is_told_to_who_has_no_time_for_it(world):
    async def main():
        manager = world.manager()
        world.jitter = 0.5
        world.server.faults.append("500")
        with pytest.raises(TelnyxError):
            await manager.get()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0)
        with pytest.raises(TokenBackoffError):
            await manager.get(timeout=0.2)
        assert (await waiting).generation == 1
        assert not manager._cache._tasks
        await manager.aclose()

    world.run(main())


def test_a_renewal_after_a_back_off_is_forgotten_and_waited_for_like_any_other(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.get()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(7.02)
        await manager.forget()
        await manager.aclose()
        assert (await waiting).access_token == "t1"
        assert manager._cache.generation == 1

    world.run(main())


def test_a_forgotten_renewal_after_a_back_off_is_not_kept(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.get()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(7.02)
        await manager.forget()
        assert (await waiting).access_token == "t1"
        assert manager.peek() is None
        await manager.aclose()

    world.run(main())


def test_what_was_accepted_amid_a_back_off_and_is_old_by_its_end_is_renewed(world):
    async def main():
        manager = world.manager()
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.get()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0.01)
        await manager.accept(TokenGrant("mine", expires_in=100.0), age=85)
        assert (await waiting).access_token == "t1"
        await manager.aclose()

    world.run(main())


def test_the_way_of_an_answer_counts_when_tokens_are_compared(world):
    async def main():
        manager = world.manager()
        token = await manager.get()
        world.loop.now = 1080.0
        world.server.lifetime = 19.95  # ends before the other, and has most of its life left
        await manager.get()
        await asyncio.sleep(0.1)
        assert manager.peek() is token
        await manager.aclose()

    world.run(main())


def test_a_policy_is_the_managers_own(world):
    async def main():
        policy = RefreshPolicy(advisory_fraction=0.4, backoff_first=3.0, rejection_window=20.0)
        manager = world.manager(policy=policy)
        await manager.get()
        world.loop.now = 1050.0
        assert manager.peek() is None
        world.server.faults.append("500")
        await manager.get()
        await asyncio.sleep(0.1)
        assert world.told(BackoffStarted)[0].seconds == 3.0
        token = await manager.replace(manager._default.snapshot.token, timeout=None)
        await asyncio.sleep(10)
        with pytest.raises(TokenRejectedError) as caught:
            await manager.replace(token, response=REFUSAL)
        assert caught.value.request_id == "req-1"
        assert manager.status().retry_in == 6.0
        await manager.aclose()

    world.run(main())


def test_a_rejection_is_told_with_its_generation_and_outside_of_any_flight(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        second = await manager.replace(first)
        await asyncio.sleep(10)
        await manager.replace(second)
        await manager.aclose()

    world.run(main())
    assert [(event.flight, event.generation) for event in world.told(TokenRejected)] == [(0, 1), (0, 2)]


def test_what_was_refused_stays_refused_after_forgetting_and_after_a_new_sign_in(world):
    async def main():
        manager = world.manager()
        await manager.replace(await manager.get())
        await manager.forget()
        world.server.extra = {"access_token": "t1"}
        with pytest.raises(TokenRejectedError):
            await manager.get()
        await manager.accept(TokenGrant("mine", expires_in=50.0))
        await asyncio.sleep(60)
        with pytest.raises(TokenRejectedError):
            await manager.get()
        await manager.aclose()

    world.run(main())


def test_a_late_refusal_is_remembered_unless_it_is_of_the_text_in_use(world):
    async def main():
        manager = world.manager()
        first = await manager.get()
        await asyncio.sleep(101)
        second = await manager.get()
        assert await manager.replace(first) is second
        await asyncio.sleep(101)
        world.server.extra = {"access_token": "t1"}
        with pytest.raises(TokenRejectedError):
            await manager.get()
        world.server.extra = {"access_token": "same"}
        third = await manager.get()
        await manager.forget()
        fourth = await manager.get()
        assert await manager.replace(third) is fourth
        await asyncio.sleep(101)
        assert (await manager.get()).access_token == "same"
        await manager.aclose()

    world.run(main())


def test_what_is_done_to_one_key_is_not_done_to_another(world):
    async def main():
        manager = world.manager()
        wanted = [{"scopes": "a"}, {"resource": "https://r"}, {"scopes": "a", "resource": "https://r"}, {}]
        for number, one in enumerate(wanted, 1):
            await manager.warm(**one)
            assert manager.peek(**one).access_token == f"t{number}"
        for number, one in enumerate(wanted, 1):
            token = await manager.accept(TokenGrant(f"mine-{number}", expires_in=50.0), **one)
            assert token is manager.peek(**one)
        assert [manager.peek(**one).access_token for one in wanted] == [f"mine-{number}" for number in (1, 2, 3, 4)]
        for number, one in enumerate(wanted, 1):
            await manager.forget(**one)
            assert [manager.peek(**one) is None for one in wanted] == [n <= number for n in (1, 2, 3, 4)]
        await manager.aclose()

    world.run(main())


def test_an_accepted_token_is_as_old_as_is_said(world):
    async def main():
        manager = world.manager()
        token = await manager.accept(TokenGrant("mine", expires_in=50.0))
        assert token.remaining() == 50.0
        token = await manager.accept(TokenGrant("mine", expires_in=50.0), age=10)
        world.loop.now = 1027.4
        assert manager.peek() is token
        world.loop.now = 1027.5  # 50 - 10 * 1.25 - 10
        assert manager.peek() is None
        await manager.aclose()

    world.run(main())


def test_without_keep_a_warmed_key_grows_cold(world):
    async def main():
        manager = world.manager()
        await manager.warm()
        await asyncio.sleep(1000)
        assert len(world.server.seen) == 1
        await manager.aclose()

    world.run(main())


def test_a_kept_key_is_looked_at_when_it_is_due(world):
    def due():
        return round(manager._default.timer.when() - world.loop.now, 6)

    manager = world.manager()

    async def main():
        world.server.faults.append("429")
        with pytest.raises(RateLimitError):
            await manager.warm(keep=True)
        assert due() == 7.001  # once more may be sent
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(7.02)
        assert len(world.server.seen) == 2  # whoever waits has asked already
        await waiting
        assert due() == 74.951  # advisory
        world.server.faults.append("500")
        world.loop.now += 92.0
        await manager.get()
        await asyncio.sleep(0.06)
        assert due() == pytest.approx(0.991)  # the end of the back-off
        world.jitter = 0.5
        world.server.faults.append("unsent")
        world.loop.now = 1106.56
        await manager.get()
        assert due() == pytest.approx(0.441)  # the token's own end
        await asyncio.sleep(0.45)
        assert due() > 0.95  # without a token there is no hurry
        await manager.aclose()

    world.run(main())


def test_a_kept_key_of_long_life_is_looked_at_hourly_and_renewed_in_time(world):
    async def main():
        world.server.lifetime = 10_000
        manager = world.manager()
        await manager.warm(keep=True)
        await asyncio.sleep(7499.9)
        assert len(world.server.seen) == 1
        await asyncio.sleep(0.2)
        assert len(world.server.seen) == 2
        await manager.aclose()

    world.run(main())


def test_aclose_waits_five_seconds_for_what_is_under_way(world):
    async def main():
        world.server.latency = 50
        manager = world.manager()
        waiting = asyncio.ensure_future(manager.get())
        await asyncio.sleep(0)
        await manager.aclose()
        assert world.loop.now == 1005.0
        with pytest.raises(ClientClosedError):
            await waiting

    world.run(main())


def test_each_waiter_gets_the_notes_of_an_error_as_notes_of_its_own(world):
    async def source(key):
        error = TokenError("gone")
        error.add_note("look there")
        raise error

    async def main():
        manager = world.manager(source)
        results = await asyncio.gather(*(manager.get() for _ in range(2)), return_exceptions=True)
        results[0].add_note("mine")
        assert [error.__notes__ for error in results] == [["look there", "mine"], ["look there"]]
        await manager.aclose()

    world.run(main())
