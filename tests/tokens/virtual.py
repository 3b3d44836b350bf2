"""A loop on which time passes only when nothing else is left to do, and a model of an authorization server."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import Counter, deque
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qs

import attrs

from telnyx_oauth.errors import APIConnectionError, APITimeoutError
from telnyx_oauth.messages import Request, Response, headers

T = TypeVar("T")
ENDPOINT = "https://auth.test/v2/oauth/token"
EPOCH = 1_700_000_000.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeping costs nothing: with nothing ready, the clock jumps to the next timer. A deadlock raises."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()
        self._clock_resolution = 1e-6  # what a float can still tell apart at the times reached here

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False
        if not self._ready and not self._stopping:
            if not self._scheduled:
                raise RuntimeError("deadlock: everyone waits and nothing is due")
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


class VirtualClock:
    """Follows a virtual loop. `suspend` moves the boot and wall clocks but no timer, `jump` the wall clock alone."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.asleep = 0.0
        self.shift = 0.0

    def boot(self) -> float:
        return self.loop.now + self.asleep

    def wall(self) -> float:
        return EPOCH + self.boot() + self.shift

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def suspend(self, seconds: float) -> None:
        self.asleep += seconds

    def jump(self, seconds: float) -> None:
        self.shift += seconds


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run to the end, then insist that no task is left."""
    try:
        result = loop.run_until_complete(main)
        loop.run_until_complete(asyncio.sleep(0))
        left = asyncio.all_tasks(loop)
        assert not left, f"left running: {left}"
        return result
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()


@attrs.define
class Seen:
    """One token request as the server saw it."""

    at: float
    form: dict[str, str]
    headers: dict[str, str]
    outcome: str


class ModelServer:
    """An authorization server without a socket: `send` is a transport.

    `faults` are played one per request, then all goes well: `unsent`, `lost` (not processed), `lost_after` (processed),
    `timeout`, `429`, `503` (with Retry-After), `500`, `500_after` (processed), `garbage`, `garbage_after`, or
    any OAuth error code. Rotation: `none`, `strict` (a used refresh token revokes the family), `grace` (a used one gives the
    same answer again, for `grace` seconds; after them it revokes the family).
    """

    grace = float("inf")

    def __init__(self, clock: VirtualClock, *, lifetime: object = 100, rotation: str = "none", latency: float = 0.05):
        self.clock = clock
        self.lifetime = lifetime
        self.rotation = rotation
        self.latency = latency
        self.faults: deque[str] = deque()
        self.seen: list[Seen] = []
        self.count = 0
        self.in_flight: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        self.born: dict[str, float] = {}
        self.revoked: set[str] = set()
        self.alive: dict[str, str] = {}  # refresh token -> family
        self.used: dict[str, tuple[str, str]] = {}  # spent refresh token -> (family, what it gave)
        self.spent_at: dict[str, float] = {}
        self.dead_families: set[str] = set()
        self.extra: dict[str, object] = {}
        self.secret: str | None = None

    def grant_refresh(self, token: str = "r0", family: str = "f") -> str:
        self.alive[token] = family
        return token

    async def send(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        fault = self.faults.popleft() if self.faults else "ok"
        self.seen.append(Seen(self.clock.boot(), form, dict(request.headers), fault))
        name = form.get("refresh_token") or json.dumps(sorted(form.items()))
        self.in_flight[name] += 1
        self.peak[name] = max(self.peak[name], self.in_flight[name])
        try:
            await asyncio.sleep(self.latency)
            return self._answer(request, form, fault)
        finally:
            self.in_flight[name] -= 1

    def _answer(self, request: Request, form: dict[str, str], fault: str) -> Response:
        unprocessed = self._unprocessed(request, fault)
        if unprocessed is not None:
            return unprocessed
        status, body = self._process(form, dict(request.headers))
        if fault == "lost_after":
            raise APIConnectionError(request=request.info)
        if fault == "500_after":
            return self._reply(request, 500, {})
        if fault == "garbage_after":
            return Response(200, content=b"{", request=request.info)
        return self._reply(request, status, body)

    def _unprocessed(self, request: Request, fault: str) -> Response | None:
        if fault in ("unsent", "lost"):
            raise APIConnectionError(request=request.info, sent=fault == "lost")
        if fault == "timeout":
            raise APITimeoutError(request=request.info)
        if fault in ("429", "503"):
            return self._reply(request, int(fault), {"error": "slow_down"}, ("Retry-After", "7"))
        if fault == "500":
            return self._reply(request, 500, {})
        if fault == "garbage":
            return Response(200, content=b"\xff<html>", request=request.info)
        if fault not in ("ok", "lost_after", "500_after", "garbage_after"):
            return self._reply(request, 401 if fault == "invalid_client" else 400, {"error": fault})
        return None

    def _process(self, form: dict[str, str], sent: dict[str, str]) -> tuple[int, dict[str, object]]:
        if self.secret is not None and self.secret not in (form.get("client_secret"), sent.get("Authorization")):
            return 401, {"error": "invalid_client"}
        refresh: str | None = None
        if form["grant_type"] == "refresh_token":
            spent = form["refresh_token"]
            if spent in self.alive:
                family = self.alive[spent]
                if self.rotation != "none":
                    del self.alive[spent]
                    refresh = f"r{self.count + 1}"
                    self.alive[refresh] = family
                    self.used[spent] = (family, refresh)
                    self.spent_at[spent] = self.clock.boot()
            elif self._is_in_grace(spent):
                refresh = self.used[spent][1]
            else:
                if self.rotation in ("strict", "grace") and spent in self.used:
                    self._revoke_family(self.used[spent][0])
                return 400, {"error": "invalid_grant"}
        elif form["grant_type"] == "authorization_code":
            refresh = self.grant_refresh(f"r{self.count + 1}")
        self.count += 1
        token = f"t{self.count}"
        self.born[token] = self.clock.boot()
        body: dict[str, object] = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}
        if refresh is not None:
            body["refresh_token"] = refresh
        body |= self.extra
        return 200, {name: value for name, value in body.items() if value is not ...}

    def _is_in_grace(self, spent: str) -> bool:
        recent = self.clock.boot() - self.spent_at.get(spent, -float("inf")) < self.grace
        return self.rotation == "grace" and recent and spent in self.used and self.used[spent][1] in self.alive

    def _revoke_family(self, family: str) -> None:
        self.dead_families.add(family)
        self.alive = {token: name for token, name in self.alive.items() if name != family}

    def _reply(self, request: Request, status: int, body: dict[str, object], *pairs: tuple[str, str]) -> Response:
        pairs = (*pairs, ("x-request-id", f"req-{len(self.seen)}"))
        return Response(status, headers(*pairs), json.dumps(body).encode(), request.info)
