"""An hour of garbage beside good tokens, at a server that answers few introspections: how many good ones get a 503?

In virtual time. `python -m tests.validation.floods` prints a table; `run` is for other programs.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

import attrs

from telnyx_oauth.errors import InvalidTokenError, ValidationUnavailableError
from telnyx_oauth.messages import Request, Response
from telnyx_oauth.protocol.token_endpoint import ClientAuthentication
from telnyx_oauth.validation.introspection import IntrospectionCache
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import Mode, TokenValidator
from tests.forge import answer, claims, ed, jwks, policy, token
from tests.tokens import virtual

ENDPOINT = "https://issuer.example/introspect"
GARBAGE = ("opaque", "forged", "expired", "random kid")
SHAPES = {
    "introspect": ("opaque", "jwt"),
    "jwt_then_introspect": ("jwt",),
    "jwt_or_opaque_then_introspect": ("opaque", "jwt"),
}
"""What good tokens look like, for each mode in which there are any."""


@attrs.frozen
class Outcome:
    """What happened to the good tokens, and at the server."""

    calls: int
    unavailable: int
    refused: int
    longest_wait: float
    """Seconds that one call took."""
    questions: int
    limited: int
    """Questions that the server answered 429."""

    @property
    def share(self) -> float:
        """Percent of the calls with good tokens that were answered 503."""
        return 100 * self.unavailable / self.calls


@attrs.define
class Server:
    """Answers `limit` introspections in any `window` seconds. A transport."""

    clock: virtual.VirtualClock
    limit: int
    window: float
    says_when: bool
    latency: float = 0.1
    good: dict[str, dict[str, object]] = attrs.field(factory=dict)
    asked: list[float] = attrs.field(factory=list)
    counts: Counter[int] = attrs.field(factory=Counter)

    async def __call__(self, request: Request) -> Response:
        await asyncio.sleep(self.latency)
        now = self.clock.boot()
        self.asked = [at for at in self.asked if at > now - self.window]
        limited = len(self.asked) >= self.limit
        self.counts[429 if limited else 200] += 1
        if limited:
            wait = self.asked[0] + self.window - now
            return answer({}, 429, **({"Retry_After": str(int(wait) + 1)} if self.says_when else {}))
        self.asked.append(now)
        (name,) = parse_qs(request.content.decode())["token"]
        known = self.good.get(name, {"exp": 0})
        return answer({"active": True, **known} if known["exp"] > self.clock.wall() else {"active": False})


@attrs.define
class Callers:
    """Those with good tokens, and the flood beside them."""

    server: Server
    validator: TokenValidator
    chance: random.Random
    shape: str
    lifetime: float
    calls: Counter[str] = attrs.field(factory=Counter)
    longest: float = 0.0
    numbers: Any = attrs.field(factory=itertools.count)
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)
    model: str = attrs.field(init=False, default="")
    old: list[str] = attrs.field(init=False, factory=list)

    def issue(self, **changes: object) -> str:
        """A new token, good for its lifetime."""
        wall, number = self.server.clock.wall(), next(self.numbers)
        made = {"exp": wall + self.lifetime, "iat": wall, "jti": f"t{number}", "sub": f"user-{number}", **changes}
        text = token(ed(), alg="Ed25519", **made) if self.shape == "jwt" else f"good-{self.chance.random()}"
        self.server.good[text] = claims(**made)
        return text

    def garbage(self, kind: str) -> str:
        if kind == "opaque":
            return f"garbage-{self.chance.random()}"
        if kind == "expired":
            return self.chance.choice(self.old)
        header, payload, _ = (self.model if kind == "forged" else self.unknown).split(".")
        return f"{header}.{payload}.{self.chance.randbytes(63).hex()[:85]}A"

    @property
    def unknown(self) -> str:
        return token(ed(), alg="Ed25519", header={"kid": f"nobody-{self.chance.random()}"}, signature=b"x")

    async def call(self, text: str) -> str:
        try:
            await self.validator.validate(text)
        except ValidationUnavailableError:
            return "unavailable"
        except InvalidTokenError:
            return "refused"
        return "passed"

    async def honest(self, seconds: float, every: float, start: float) -> None:
        """One caller after the other has the last answer: once each `every` seconds, with its own token."""
        clock = self.server.clock
        end = clock.boot() + seconds
        await asyncio.sleep(start)
        mine, issued = self.issue(), clock.boot()
        while clock.boot() < end:
            if clock.boot() - issued > self.lifetime - 60:
                mine, issued = self.issue(), clock.boot()
            began = clock.boot()
            self.calls[await self.call(mine)] += 1
            self.longest = max(self.longest, clock.boot() - began)
            await asyncio.sleep(every)

    async def flood(self, seconds: float, rate: float, kinds: tuple[str, ...]) -> None:
        for number in range(int(seconds * rate)):
            await asyncio.sleep(1 / rate)
            task = asyncio.create_task(self.call(self.garbage(kinds[number % len(kinds)])))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def all(
        self, seconds: float, good: int, every: float, stagger: float, rate: float, kinds: tuple[str, ...]
    ) -> None:
        shape, self.shape = self.shape, "jwt"
        self.model = self.issue()
        self.old = [self.issue(exp=self.server.clock.wall() - 300 + number) for number in range(50)]
        self.shape = shape
        callers = [self.honest(seconds, every, self.chance.random() * every + stagger * n) for n in range(good)]
        await asyncio.gather(self.flood(seconds, rate, kinds), *callers)
        while self.tasks:
            await asyncio.gather(*self.tasks)
        await self.validator.aclose()


def run(
    mode: Mode,
    *,
    good: int = 1,
    shape: str = "jwt",
    garbage: float = 10.0,
    kinds: tuple[str, ...] = GARBAGE,
    seconds: float = 3600.0,
    every: float = 1.0,
    stagger: float = 0.0,
    lifetime: float = 7200.0,
    limit: int = 5,
    window: float = 60.0,
    says_when: bool = True,
    seed: int = 1,
) -> Outcome:
    """`good` callers with tokens of one `shape` (`jwt`, `opaque`), who call once `every` seconds, beside the garbage.

    They come `stagger` seconds one after the other and get new tokens before the `lifetime` of the old ones ends.
    `garbage` is its rate per second; the server answers `limit` questions in a `window`, with `Retry-After` or without.
    """
    loop = virtual.VirtualLoop()
    clock, chance = virtual.VirtualClock(loop), random.Random(seed)
    server = Server(clock, limit, window, says_when)
    asked = IntrospectionCache(ENDPOINT, ClientAuthentication("client", "secret"), send=server, clock=clock)
    keys = None if mode == "introspect" else StaticKeys(jwks())
    validator = TokenValidator(policy(algorithms={"Ed25519"}), keys, introspection=asked, mode=mode, clock=clock)
    callers = Callers(server, validator, chance, shape, lifetime)
    virtual.run(callers.all(seconds, good, every, stagger, garbage, kinds), loop)
    counts = callers.calls
    return Outcome(
        counts.total(),
        counts["unavailable"],
        counts["refused"],
        callers.longest,
        server.counts.total(),
        server.counts[429],
    )


def table(seconds: float = 3600.0, **more: Any) -> str:
    """One line for each mode, shape and number of callers, with the garbage and without."""
    names = ("good", "garbage", "503 %", "503", "401", "wait (s)", "asked", "429")
    lines = [f"{'mode':30} {'shape':7}" + "".join(f"{name:>9}" for name in names)]
    for mode, shapes in SHAPES.items():
        for shape, good, garbage in itertools.product(shapes, (1, 3, 10), (0.0, 10.0)):
            seen = run(mode, good=good, shape=shape, garbage=garbage, seconds=seconds, **more)
            numbers = (f"{seen.share:.2f}", seen.unavailable, seen.refused, f"{seen.longest_wait:.1f}")
            row = (good, f"{garbage:.0f}/s", *numbers, seen.questions, seen.limited)
            lines.append(f"{mode:30} {shape:7}" + "".join(f"{cell:>9}" for cell in row))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
