"""An hour of rotations under attack, in virtual time: for how long are good tokens refused or held up, at what cost?

`python -m tests.validation.rotations` prints a table; `run` is for other programs.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator

import attrs

from telnyx_oauth.errors import InvalidTokenError, KeysUnavailableError
from telnyx_oauth.messages import Request, Response
from telnyx_oauth.validation.jwks import JWKSCache
from tests.forge import answer, key, public
from tests.tokens import virtual

URI = "https://issuer.example/jwks"


@attrs.frozen
class Attack:
    """Requests a second that name key ids: ever new ones, and those that the issuer will use next.

    For `silence` seconds after a rotation no id is foretold: asking for the one after would have the new key fetched.
    """

    random: float = 0.0
    foretold: float = 0.0
    foretold_ids: int = 1
    silence: float = 400.0


@attrs.frozen
class Outcome:
    """What good callers saw, in seconds of the simulated time, and what the issuer saw, in fetches."""

    refused: float
    unavailable: float
    longest_unavailable: float
    fetches: int
    most_in_an_hour: int


@attrs.define
class Issuer:
    """Publishes a key at each of these moments, and keeps the one before. A transport."""

    clock: virtual.VirtualClock
    rotations: tuple[float, ...]
    latency: float
    fetched: list[float] = attrs.field(factory=list)

    def since(self) -> float:
        """Seconds since the last rotation."""
        now = self.clock.boot() - START
        return min((now - moment for moment in self.rotations if moment <= now), default=float("inf"))

    def newest(self) -> int:
        return sum(self.clock.boot() - START >= moment for moment in self.rotations)

    async def __call__(self, request: Request) -> Response:
        self.fetched.append(self.clock.boot() - START)
        await asyncio.sleep(self.latency / 2)
        newest = self.newest()
        body = {"keys": [PUBLIC[number] for number in range(max(0, newest - 1), newest + 1)]}
        await asyncio.sleep(self.latency / 2)
        return answer(json.loads(json.dumps(body)))


START = 1000.0  # where a virtual loop begins
MOST_ROTATIONS = 12
PUBLIC = [public(key(f"k{number}", "EC")) for number in range(MOST_ROTATIONS + 1)]


async def ticks(seconds: float, rate: float) -> AsyncIterator[None]:
    for _ in range(int(seconds * rate)):
        await asyncio.sleep(1 / rate)
        yield


@attrs.define
class Callers:
    """The good ones and the attackers, in one loop's time."""

    issuer: Issuer
    keys: JWKSCache
    chance: random.Random
    outcomes: Counter[str] = attrs.field(factory=Counter)
    row: int = 0
    longest: int = 0
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)

    def launch(self, kid: str, *, good: bool = False) -> None:
        task = asyncio.create_task(self.call(kid, good=good))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def call(self, kid: str, *, good: bool) -> None:
        try:
            await self.keys.select(alg="ES256", kid=kid)
            outcome = "passed"
        except InvalidTokenError:
            outcome = "refused"
        except KeysUnavailableError:
            outcome = "unavailable"
        if good:
            self.outcomes[outcome] += 1
            self.row = self.row + 1 if outcome == "unavailable" else 0
            self.longest = max(self.longest, self.row)

    async def honest(self, seconds: float, rate: float) -> None:
        async for _ in ticks(seconds, rate):
            self.launch(f"k{self.issuer.newest()}", good=True)

    async def garbage(self, seconds: float, rate: float) -> None:
        async for _ in ticks(seconds, rate):
            self.launch(f"nobody-{self.chance.random()}")

    async def prophet(self, seconds: float, attack: Attack) -> None:
        async for _ in ticks(seconds, attack.foretold):
            if self.issuer.since() >= attack.silence:
                self.launch(f"k{self.issuer.newest() + 1 + self.chance.randrange(attack.foretold_ids)}")

    async def all(self, seconds: float, good: float, attack: Attack) -> None:
        await self.keys.warm()
        await asyncio.gather(
            self.honest(seconds, good), self.garbage(seconds, attack.random), self.prophet(seconds, attack)
        )
        while self.tasks:
            await asyncio.gather(*self.tasks)
        await self.keys.aclose()


def run(
    attack: Attack,
    *,
    seconds: float = 3600.0,
    rotations: tuple[float, ...] = (617.3, 1844.1, 3111.7),
    good: float = 10.0,
    latency: float = 0.3,
    seed: int = 1,
) -> Outcome:
    """Tokens by the newest key, `good` a second, from the moment of its publication on, beside the attack."""
    loop = virtual.VirtualLoop()
    clock, chance = virtual.VirtualClock(loop), random.Random(seed)
    issuer = Issuer(clock, rotations, latency)
    callers = Callers(issuer, JWKSCache(URI, send=issuer, clock=clock, jitter=chance.random), chance)
    virtual.run(callers.all(seconds, good, attack), loop)
    return Outcome(
        callers.outcomes["refused"] / good,
        callers.outcomes["unavailable"] / good,
        callers.longest / good,
        len(issuer.fetched),
        max(sum(at - 3600 < other <= at for other in issuer.fetched) for at in issuer.fetched),
    )


ATTACKS = {
    "none": Attack(),
    "one foretold id": Attack(foretold=1),
    "three foretold ids, 10/s": Attack(foretold=10, foretold_ids=3),
    "three foretold ids, no silence": Attack(foretold=10, foretold_ids=3, silence=0),
    "random ids, 10/s": Attack(random=10),
    "random and foretold ids, 10/s each": Attack(random=10, foretold=10, foretold_ids=3),
}


def table(seconds: float = 3600.0, **more: float) -> str:
    """One line for each attack."""
    lines = [f"{'attack':36} {'401 (s)':>8} {'503 (s)':>8} {'longest':>8} {'fetches/h':>10}"]
    for name, attack in ATTACKS.items():
        seen = run(attack, seconds=seconds, **more)
        lines.append(
            f"{name:36} {seen.refused:8.1f} {seen.unavailable:8.1f} {seen.longest_unavailable:8.1f} {seen.most_in_an_hour:10}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
