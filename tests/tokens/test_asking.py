"""A token may be asked for in many ways: each gives the token that is meant, as it is now, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import threading
from enum import StrEnum

import pytest

from telnyx_oauth import Telnyx
from telnyx_oauth.errors import BlockingCallError, ClientClosedError
from telnyx_oauth.protocol.freshness import Phase, RefreshPolicy
from telnyx_oauth.protocol.token import TokenKey
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager


class Scope(StrEnum):
    A = "a"
    B = "b"


WAYS = {
    "a text": lambda: "a b",
    "a text in another order": lambda: " b  a ",
    "a list": lambda: ["a", "b"],
    "a list in another order": lambda: ["b", "a"],
    "a list with one twice": lambda: ["a", "b", "a"],
    "a list of a text": lambda: ["a b"],
    "a tuple": lambda: ("a", "b"),
    "a set": lambda: {"a", "b"},
    "a frozen set": lambda: frozenset({"b", "a"}),
    "keys": {"a": 1, "b": 2}.keys,
    "an iterator": lambda: iter(["a", "b"]),
    "a generator": lambda: (scope for scope in "ab"),
    "an enum": lambda: list(Scope),
}
WRONG = {
    "a number": {"scopes": 5},
    "bytes": {"scopes": b"a"},
    "numbers": {"scopes": [7]},
    "lists": {"scopes": [["a"]]},
    "None among them": {"scopes": ("a", None)},
    "an object": {"scopes": object()},
    "a resource that is a number": {"resource": 5},
    "a resource that is bytes": {"resource": b"https://r", "scopes": "a"},
    "resources": {"resource": ["https://r"]},
}


class Source:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[TokenKey] = []

    async def __call__(self, key: TokenKey) -> TokenGrant:
        self.asked.append(key)
        return TokenGrant(f"t{len(self.asked)}", expires_in=3600.0)


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def client(source):
    with Telnyx(tokens=TokenManager(source)) as client:
        yield client


@pytest.mark.parametrize("resource", [None, "https://r"])
async def test_however_scopes_are_given_it_is_one_token(source, resource):
    manager = TokenManager(source)
    first = await manager.get(scopes="a b", resource=resource)
    other = await manager.get(scopes="a", resource=resource)
    for _ in range(2):
        for make in WAYS.values():
            assert await manager.get(scopes=make(), resource=resource) is first
            assert manager.peek(scopes=make(), resource=resource) is first
            assert manager.status(scopes=make(), resource=resource).generation == 1
    assert other is not first
    assert len(source.asked) == 2
    await manager.aclose()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("resource", [None, "https://r"])
def test_however_scopes_are_given_to_a_blocking_client_it_is_one_token(client, source, way, resource):
    make = WAYS[way]
    first = client.tokens.get(scopes=make(), resource=resource)
    assert client.tokens.get(scopes=make(), resource=resource) is first
    assert client.tokens.get(scopes=make(), resource=resource, min_ttl=60, timeout=5) is first
    assert client.tokens.peek(scopes=make(), resource=resource) is first
    assert [(key.scopes, key.resource) for key in source.asked] == [({"a", "b"}, resource)]


async def test_scopes_that_change_after_the_call_change_nothing_of_it(source):
    manager, scopes = TokenManager(source), ["a"]
    first = await manager.get(scopes=scopes)
    scopes.append("b")
    second = await manager.get(scopes=scopes)
    assert (first.key.scopes, second.key.scopes) == ({"a"}, {"a", "b"})
    assert await manager.get(scopes="a") is first
    await manager.aclose()


async def test_a_fresh_token_of_any_scopes_is_given_without_suspending(source):
    manager = TokenManager(source)
    token = await manager.get(scopes=["a"], resource="https://r")
    coroutine = manager.get(scopes=["a"], resource="https://r")
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value is token
    await manager.aclose()


def test_a_fresh_token_of_any_scopes_costs_a_blocking_caller_no_loop(client):
    """A call inside another one is refused where it needs the loop."""
    kept = client.tokens.get(scopes=["a"])
    found = []

    async def ask():
        found.append(client.tokens.get(scopes=["a"], timeout=1))
        with pytest.raises(BlockingCallError):
            client.tokens.get(scopes=["b"])

    client._lease.run(ask)
    assert found == [kept]


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("fresh", [False, True])
async def test_the_wrong_kind_of_scopes_or_resource_is_refused_in_words(source, wrong, fresh):
    manager, given = TokenManager(source), WRONG[wrong]
    if fresh:
        await manager.get()
    says = rf"^`{next(iter(given))}` must be .*what was given is (of type \w+|None)\.$"
    for _ in range(2):
        for call in (manager.peek, manager.status):
            with pytest.raises(TypeError, match=says) as caught:
                call(**given)
            assert caught.value.__context__ is None
        for method in (manager.get, manager.warm, manager.forget):
            with pytest.raises(TypeError, match=says):
                await method(**given)
    await manager.aclose()


@pytest.mark.parametrize("wrong", WRONG)
def test_the_wrong_kind_of_scopes_or_resource_is_refused_in_words_where_calls_block(client, wrong):
    client.tokens.get()
    given = WRONG[wrong]
    for call in (client.tokens.get, client.tokens.peek, client.tokens.status):
        with pytest.raises(TypeError, match=rf"^`{next(iter(given))}` must be .*what was given is (of type|None)"):
            call(**given)


def test_an_option_that_there_is_not_is_refused_though_the_token_is_fresh(client):
    client.tokens.get(scopes="a")
    for options in ({"scope": "a"}, {"scopes": "a", "scope": "a"}, {"scopes": "a", "ttl": 1}):
        with pytest.raises(TypeError, match=r"^tokens\.get\(\) has no option"):
            client.tokens.get(**options)


def test_each_way_of_asking_follows_the_token_through_its_life(world):
    async def main():
        manager = world.manager()
        ways = [{"scopes": make()} for make in (WAYS[name] for name in WAYS if "ator" not in name)]

        async def one() -> str:
            tokens = [await manager.get(**way) for way in ways]
            assert {id(token) for token in tokens} == {id(tokens[0])}
            assert all(manager.peek(**way) is tokens[0] for way in ways)
            return tokens[0].access_token

        assert await one() == "t1"
        replaced = await manager.replace(await manager.get(scopes="a b"))
        assert await one() == replaced.access_token == "t2"
        await manager.forget(scopes=["b", "a"])
        assert [manager.peek(**way) for way in ways] == [None] * len(ways)
        assert await one() == "t3"
        await asyncio.sleep(101)
        assert [manager.peek(**way) for way in ways] == [None] * len(ways)
        assert await one() == "t4"
        assert (await manager.get(scopes=["a", "b"], min_ttl=100)).access_token == "t4"
        await asyncio.sleep(50)
        assert (await manager.get(scopes=["a", "b"], min_ttl=60)).access_token == "t5"
        assert await one() == "t5"
        await manager.aclose()
        assert [manager.peek(**way) for way in ways] == [None] * len(ways)
        with pytest.raises(ClientClosedError):
            await manager.get(scopes="a b")

    world.run(main())


def test_a_key_that_made_room_is_asked_for_anew(world):
    async def main():
        manager = world.manager(policy=RefreshPolicy(max_keys=3))
        old = await manager.get(scopes=["a"])
        await asyncio.sleep(1)
        await manager.get(scopes=["b"])
        await asyncio.sleep(1)
        await manager.get(scopes=["a"])
        await asyncio.sleep(1)
        await manager.get(scopes=["c"])
        assert manager.peek(scopes=["a"]) is old, "a token that was just read is not the one used longest ago"
        await asyncio.sleep(1)
        await manager.get(scopes=["d"])
        await manager.get(scopes=["e"])
        assert manager.peek(scopes=["a"]) is None
        assert manager.status(scopes=["a"]).phase is Phase.EMPTY
        new = await manager.get(scopes=["a"])
        assert new.generation > old.generation
        await manager.forget(scopes="a")
        assert manager.peek(scopes=["a"]) is None
        await manager.aclose()

    world.run(main())


def test_a_closed_client_gives_no_token_of_a_manager_that_goes_on(source):
    manager = TokenManager(source)
    with Telnyx(tokens=manager) as client:
        tokens = client.tokens
        tokens.get(scopes=["a"])
    assert manager.peek(scopes=["a"]) is not None
    assert tokens.peek(scopes=["a"]) is None
    for options in ({}, {"scopes": ["a"]}, {"timeout": 1}):
        with pytest.raises(ClientClosedError):
            tokens.get(**options)
        with pytest.raises(ClientClosedError):
            client.tokens.get(**options)


def test_threads_that_ask_at_once_in_different_ways_get_one_token(client, source):
    found, start = set(), threading.Barrier(8)

    def ask(number):
        start.wait()
        for turn in range(300):
            make = list(WAYS.values())[(number + turn) % len(WAYS)]
            found.add(client.tokens.get(scopes=make()).access_token)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"t1"}
    assert len(source.asked) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_reads_the_same_tokens_and_gets_its_own(client):
    tokens = client.tokens
    kept = tokens.get(scopes=["a"])
    child = os.fork()
    if not child:
        try:
            same = tokens.get(scopes=["a"]) is kept and client.tokens.get(scopes="a") is kept
            new = client.tokens.get(scopes=["b"]).access_token
            os._exit(0 if same and new == "t2" and tokens.get(scopes="b").access_token == "t2" else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert tokens.get(scopes=["b"]).access_token == "t2"


def test_a_hundred_thousand_ways_of_asking_leave_little_behind(source):
    manager = TokenManager(source)

    def ask(times):
        for n in range(times):
            manager.peek(scopes=[f"s{n}", "a"])
        return sys.getallocatedblocks()

    assert ask(100_000) - ask(2_000) < 5_000


def test_a_key_is_found_by_its_copy_from_another_process():
    """Texts have other hashes there."""
    code = (
        "import pickle, sys; from telnyx_oauth.protocol.token import TokenKey; key = TokenKey('e', 'c', 'g', 'a b');"
        "{key: 1}; sys.stdout.buffer.write(pickle.dumps(key))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    copy = pickle.loads(done.stdout)
    assert {TokenKey("e", "c", "g", ["b", "a"]): 1}[copy] == 1
