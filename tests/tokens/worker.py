"""A process of its own that renews one grant: prints each step on a line of its own, and dies or stops where it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from urllib.parse import urlsplit

from telnyx_oauth.errors import APIConnectionError, TelnyxError
from telnyx_oauth.messages import Request, Response
from telnyx_oauth.protocol.freshness import RefreshPolicy
from telnyx_oauth.protocol.token_endpoint import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ClientCredentials, RefreshToken
from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore

TOLD = json.loads(sys.argv[1])


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def step(name: str) -> None:
    say("step", name)
    if TOLD.get("die_at") == name:
        os.kill(os.getpid(), signal.SIGKILL)
    if TOLD.get("stop_at") == name:
        TOLD["stop_at"] = None
        os.kill(os.getpid(), signal.SIGSTOP)


class Stepping:
    """A store that tells its steps, before and after."""

    shared = True

    def __init__(self, inner):
        self.inner = inner

    async def load(self, key):
        step("before-load")
        return await self.inner.load(key)

    async def compare_and_swap(self, key, expected, new):
        name = "intent" if new.intent else "persist"
        step(f"before-{name}")
        version = await self.inner.compare_and_swap(key, expected, new)
        step(f"after-{name}")
        return version

    async def delete(self, key):
        await self.inner.delete(key)

    def lock(self, key, *, timeout):
        step("before-lock")
        return self.inner.lock(key, timeout=timeout)


async def send(request: Request) -> Response:
    step("before-send")
    place = urlsplit(request.url)
    try:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
    except OSError:
        raise APIConnectionError(request=request.info, sent=False) from None
    head = {**request.headers, "Content-Length": len(request.content), "Connection": "close"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    writer.write(f"POST {place.path} HTTP/1.0\r\n{lines}\r\n".encode() + request.content)
    answer = await reader.read()
    writer.close()
    step("after-send")
    if not answer:
        raise APIConnectionError(request=request.info)
    top, _, body = answer.partition(b"\r\n\r\n")
    return Response(int(top.split()[1]), content=body, request=request.info)


def manager() -> TokenManager:
    if TOLD["grant"] == "refresh":
        seed = None if TOLD.get("obey") else "r0"
        source = RefreshToken(send, TOLD["endpoint"], "client", refresh_token=seed)
    else:
        source = ClientCredentials(send, TOLD["endpoint"], "client", "s3cret")
    store = (
        RedisStore(TOLD["redis"], lock_ttl=TOLD.get("lock_ttl", 2.0)) if "redis" in TOLD else FileStore(TOLD["folder"])
    )
    policy = RefreshPolicy(**TOLD.get("policy", {}))
    return TokenManager(source, store=Stepping(store), policy=policy)


async def obey(made: TokenManager) -> None:
    """Do what each line of stdin says."""
    while words := (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).split():
        try:
            match words:
                case ["get", *scopes]:
                    say("said", (await made.get(scopes=scopes)).access_token)
                case ["replace"]:
                    say("said", (await made.replace(made.peek())).access_token)
                case ["forget"]:
                    await made.forget()
                    say("said", "forgotten")
                case ["accept", access, refresh]:
                    await made.accept(TokenGrant(access, expires_in=3600, refresh_token=refresh))
                    say("said", "accepted")
        except TelnyxError as exc:
            say("said", type(exc).__name__, getattr(exc, "reason", ""))
    await made.aclose()


async def main() -> None:
    made = manager()
    if TOLD.get("obey"):
        await obey(made)
        return
    if TOLD.get("wait"):
        say("ready")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    for _ in range(TOLD.get("rounds", 1)):
        try:
            token = await made.get(timeout=None)
            say("token", token.access_token)
        except Exception as exc:
            say("error", type(exc).__name__, getattr(exc, "reason", ""), str(exc).replace("\n", " "))
        await asyncio.sleep(TOLD.get("pause", 0))
    await made.aclose()


asyncio.run(main())
