"""Nine processes on three rotating grants, as their store fails in one way after another: no grant may be lost."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore

from ..tokens import test_failing_stores as failing
from ..tokens.virtual import ModelServer
from .fleet import Fleet

SECONDS = 40.0


async def trouble(fleet, broken, mended):
    """Break the store and mend it, at random moments; then everyone must have a token again."""
    dice = random.Random(7)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        await asyncio.sleep(dice.uniform(0.3, 2.0))
        await broken()
        await asyncio.sleep(dice.uniform(0.2, 3.0))
        await mended()
    return await fleet.end()


async def valkey(name, break_it, mend_it):
    with tempfile.TemporaryDirectory() as folder:
        server = failing.Valkey(Path(folder))
        try:
            model = ModelServer(failing.SystemClock(), rotation="strict", latency=0.1, lifetime=1)
            fleet = Fleet(model, lambda: RedisStore(server.url))
            lost = await trouble(fleet, lambda: break_it(server), lambda: mend_it(server))
        finally:
            server.kill()
    return f"grants lost of 3, {len(model.seen)} refreshes, Valkey {name}", lost, 0


async def emptied(server):
    """A restart that loses every record and lock."""
    server.kill()
    for file in [*server.folder.rglob("*.aof"), *server.folder.rglob("*.manifest"), *server.folder.rglob("*.rdb")]:
        file.unlink()


async def folder():
    """The folder is gone, and something else in its place."""
    with tempfile.TemporaryDirectory() as place:
        tokens, away = Path(place) / "tokens", Path(place) / "away"

        async def replaced():
            tokens.rename(away)
            tokens.write_text("")

        async def restored():
            tokens.unlink()
            away.rename(tokens)

        model = ModelServer(failing.SystemClock(), rotation="strict", latency=0.1, lifetime=1)
        lost = await trouble(Fleet(model, lambda: FileStore(tokens)), replaced, restored)
        return f"grants lost of 3, {len(model.seen)} refreshes, folder replaced", lost, 0


async def run():
    ways = [(broken.__name__, broken, mended) for broken, mended in failing.FAILURES]
    ways.append(("restarted empty", emptied, failing.started))
    rows = [await valkey(*way) for way in ways]
    if sys.platform != "win32":
        rows.append(await folder())
    return rows
