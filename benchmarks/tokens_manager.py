"""The token manager's costs: a fresh token, a cold storm, a mass cancellation, memory per key.

Prints each with its ratio to the limit: an empty coroutine, and tasks that await one bare future.
Run: python benchmarks/tokens_manager.py
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import timeit
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from telnyx_oauth.protocol.grants import TokenGrant
from telnyx_oauth.tokens.manager import TokenManager

TASKS = 10_000
CANCELLED = 30_000
KEYS = 1_000
ROUNDS = 7


class Source:
    def __init__(self, delay=0.05):
        self.calls = 0
        self.delay = delay

    async def __call__(self, key):
        self.calls += 1
        await asyncio.sleep(self.delay)
        return TokenGrant(f"token-{self.calls}-{'x' * 30}", expires_in=3600.0)


async def empty():
    return None


def nanoseconds(call, number=100_000):
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number * 1e9


async def awaited(call, number=20_000):
    started = time.perf_counter()
    for _ in range(number):
        await call()
    return (time.perf_counter() - started) / number * 1e9


async def fresh():
    manager = TokenManager(Source(0))
    await manager.get()
    pairs = [(await awaited(empty), await awaited(manager.get)) for _ in range(ROUNDS * 3)]
    nothing, get = (min(each) for each in zip(*pairs, strict=True))
    peek = nanoseconds(manager.peek)
    print(f"fresh get {get:.0f} ns ({get / nothing:.1f} of an empty coroutine's {nothing:.0f} ns), peek {peek:.0f} ns")
    await manager.aclose()


async def cpu(work):
    gc.collect()
    started = time.process_time()
    await work()
    return time.process_time() - started


async def bare_storm():
    future = asyncio.get_running_loop().create_future()

    async def wait():
        return await future

    tasks = [asyncio.ensure_future(wait()) for _ in range(TASKS)]
    asyncio.get_running_loop().call_later(0.05, future.set_result, None)
    await asyncio.gather(*tasks)


async def storm():
    source = Source()
    manager = TokenManager(source)
    await asyncio.gather(*[asyncio.ensure_future(manager.get()) for _ in range(TASKS)])
    assert source.calls == 1, source.calls
    await manager.aclose()


async def storms():
    ours, bare = [], []
    for _ in range(ROUNDS):
        bare.append(await cpu(bare_storm))
        ours.append(await cpu(storm))
    print(
        f"storm of {TASKS} tasks: 1 request, {min(ours) * 1e3:.0f} ms CPU, {min(ours) / min(bare):.2f} of one bare future"
    )


async def cancelled(tasks):
    await asyncio.sleep(0.05)
    gc.collect()
    started = time.process_time()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return time.process_time() - started


async def cancellation():
    async def wait():
        await asyncio.get_running_loop().create_future()

    manager = TokenManager(Source(60))
    bare = await cancelled([asyncio.ensure_future(wait()) for _ in range(CANCELLED)])
    ours = await cancelled([asyncio.ensure_future(manager.get()) for _ in range(CANCELLED)])
    print(f"cancelling {CANCELLED} waiters: {ours:.3f} s CPU, {ours / bare:.2f} of as many bare futures")
    await manager.aclose(drain=0)


async def memory():
    manager = TokenManager(Source(0))
    await manager.get(scopes="warm-up")
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for n in range(KEYS):
        await manager.get(scopes=f"scope-{n}")
    gc.collect()
    used = (tracemalloc.get_traced_memory()[0] - before) / KEYS
    tracemalloc.stop()
    print(f"memory per cached key: {used:.0f} bytes")
    await manager.aclose()


if __name__ == "__main__":
    for part in (fresh, storms, cancellation, memory):
        asyncio.run(part())
