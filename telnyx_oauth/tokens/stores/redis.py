"""The store for a fleet: Redis or Valkey, where all machines see one grant and take turns at renewing it."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from inspect import signature
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from ...errors import StoreConflictError, TokenPersistenceError
from ..events import logger
from .record import StoredGrant, Version, version_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

_FIRST_POLL: Final = 0.05
_LAST_POLL: Final = 0.25
_KEPT_AFTER_EXPIRY: Final = 3600

# A record's version is the SHA-1 of its bytes, so both sides can tell it and nobody has to store it.
_SWAP: Final = """
local now = redis.call('GET', KEYS[1])
if (now and redis.sha1hex(now) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'EXAT', ARGV[3]) end
return 1
"""
_ASIDE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('RENAME', KEYS[1], KEYS[2]) end
return 0
"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisStore:
    """Keeps grants in Redis or Valkey (6.2 or later). Needs the extra `redis`.

    With a URL, each step has a connection of its own: renewals are rare, and so it works on any loop, after any fork,
    and there is nothing to close. A given client is used as it is, on its own loop. The lock belongs to whoever took
    it and ends after `lock_ttl` seconds should its holder die; that must be longer than a renewal may take.
    """

    shared = True

    def __init__(
        self, server: str | Redis, *, prefix: str = "telnyx-oauth:", lock_ttl: float = 60.0, timeout: float = 5.0
    ) -> None:
        self._server = server
        self._prefix = prefix
        self._lock_ttl = lock_ttl
        package = _package()
        # Telling the server which library this is would cost a look at the disk and a round trip per connection.
        known = signature(package.Redis.__init__).parameters
        silent = ("driver_info",) if "driver_info" in known else ("lib_name", "lib_version")
        self._options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **dict.fromkeys(silent)}

    async def load(self, key: str) -> StoredGrant | None:
        """The record, with its version. One that cannot be read is renamed, with a warning."""
        name = self._prefix + key
        async with self._client() as client:
            data = await client.get(name)
            if data is None:
                return None
            try:
                return StoredGrant.decode(_bytes(data))
            except ValueError as exc:
                problem = str(exc)
            aside = f"{name}.aside-{secrets.token_hex(4)}"
            await client.eval(_ASIDE, 2, name, aside, data)  # unless somebody has done so, and written a good one
        logger.warning("the token record %s cannot be used (%s); it was renamed to %s", name, problem, aside)
        return None

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Write `new` in the place of `expected` and give its version."""
        data = new.encode()
        # What holds no refresh token is of no use once it has expired.
        ends = new.refresh_token is None and new.expires_at is not None
        expiry = str(ceil(new.expires_at or 0) + _KEPT_AFTER_EXPIRY) if ends else ""
        async with self._client() as client:
            if not await client.eval(_SWAP, 1, self._prefix + key, expected or "", data, expiry):
                raise StoreConflictError
        return version_of(data)

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        async with self._client() as client:
            await client.delete(self._prefix + key)

    @asynccontextmanager
    async def lock(self, key: str, *, timeout: float) -> AsyncGenerator[None]:
        """Hold off every other process that renews this grant."""
        name, mine = f"{self._prefix}{key}.lock", secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = _FIRST_POLL
        async with self._client() as client:
            try:
                while not await client.set(name, mine, nx=True, px=int(self._lock_ttl * 1000)):
                    if loop.time() >= deadline:
                        raise TimeoutError
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - it only spreads a fleet
                    pause = min(pause * 1.5, _LAST_POLL)
                yield
            finally:
                await client.eval(_RELEASE, 1, name, mine)

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Redis]:
        if not isinstance(self._server, str):
            yield self._server
            return
        client: Redis = _package().Redis.from_url(self._server, **self._options)
        try:
            yield client
        finally:
            await client.aclose()


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _package() -> Any:
    try:
        import redis.asyncio
    except ImportError:
        pass
    else:
        return redis.asyncio
    raise TokenPersistenceError("RedisStore needs the package redis: pip install 'telnyx-oauth[redis]'")
