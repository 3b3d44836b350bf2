"""The store for a fleet: Redis or Valkey, where all machines see one grant and take turns at refreshing it."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from inspect import iscoroutinefunction, signature
from math import ceil, inf
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...errors import StoreConflictError, TokenPersistenceError
from ...protocol.arguments import expect, expect_numbers, expect_text
from ...protocol.secret import Secret, Uncopied
from ...transport.clock import SystemClock
from ..drain import start_unlisted
from .base import QUARANTINE, QUARANTINE_KEPT, Lease, StoredGrant, Version, log_quarantine, version_of

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.cluster import RedisCluster
    from redis.exceptions import MovedError
else:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.cluster import RedisCluster
        from redis.exceptions import MovedError
    except ImportError:  # `RedisStore` says so when one is made
        Redis = RedisCluster = object
        MovedError = ()

_SERVER: Final = "a redis:// URL, or a redis.asyncio.Redis"
_FIRST_POLL: Final = 0.05
_LAST_POLL: Final = 0.25
_KEPT_AFTER_EXPIRY: Final = 3600
_CONNECTIONS: Final = 16
_NEW: Final = 10
"""Seconds for which a server counts as just started: until then it may have lost a lease that is still in use."""
_CLOCK: Final = SystemClock()

# Each script has one key: the nodes of a cluster run no script whose keys are on different ones.
# A record's version is the SHA-1 of its bytes, so both sides can compute it and it need not be stored.
_SWAP: Final = """
local now = redis.call('GET', KEYS[1])
if (now and redis.sha1hex(now) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'EXAT', ARGV[3]) end
return 1
"""
# Returns the seconds since the server started as well, -1 if it does not say.
_TAKE: Final = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {0, -1} end
local info = redis.pcall('INFO', 'server')
if type(info) ~= 'string' then return {1, -1} end
return {1, tonumber(string.match(info, 'uptime_in_seconds:(%d+)') or '-1')}
"""
# 0: another has the lock. 2: it had ended, or the server was restarted and lost it, and is taken again.
_EXTEND: Final = """
local now = redis.call('GET', KEYS[1])
if now and now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return now and 1 or 2
"""
_DROP: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class RedisStore(Uncopied):
    """Keeps grants in Redis or Valkey (6.2 or later). Needs the extra `redis`.

    With a URL, connections (at most 16 on each loop) are open only while there is something to do: refreshes are rare,
    and so it works on any loop, after any fork, and there is nothing to close. A client is used as it is, on its loop; for
    a cluster pass a `redis.asyncio.cluster.RedisCluster`. The lock is a lease of `lock_ttl` seconds, which its holder
    extends three times in that time, for as long as its refresh takes: should the holder die, the lock ends that soon.
    """

    shared = True

    def __init__(
        self,
        server: str | Redis | RedisCluster,
        *,
        prefix: str = "telnyx-oauth:",
        lock_ttl: float = 2.0,
        timeout: float = 5.0,
    ) -> None:
        self._server = Secret(server)
        del server  # a URL may hold a password
        if not issubclass(type(self._server.plain), str):
            expect(self._server.plain, "server", _SERVER, "get", "eval")
            if not iscoroutinefunction(getattr(self._server.plain, "execute_command", None)):
                raise TypeError(f"`server` must be {_SERVER}: this client blocks.")
        expect_text(type(prefix), "prefix")
        expect_numbers(lock_ttl=lock_ttl, timeout=timeout)
        self._prefix = prefix
        self._lock_ttl = lock_ttl
        self._open: dict[asyncio.AbstractEventLoop, _Open] = {}
        package = _package()
        # Telling the server which library this is would cost a look at the disk and a round trip per connection.
        parameters = signature(package.Redis.__init__).parameters
        silent = ("driver_info",) if "driver_info" in parameters else ("lib_name", "lib_version")
        self._options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, **dict.fromkeys(silent)}
        if isinstance(self._server.plain, str) and not self._is_valid_url(package.RedisError):
            raise ValueError(
                "`server` must be a URL that redis-py takes, such as redis://host:6379/0, rediss:// (TLS) or unix:///path."
            )

    async def load(self, key: str) -> StoredGrant | None:
        """The record, with its version. One that cannot be read is quarantined, with a warning."""
        name = self._prefix + key
        place = name + QUARANTINE
        async with self._client() as client:
            value = Secret[str | bytes | None](await client.get(name))
            if value.plain is None:
                return None
            data = Secret(value.plain.encode() if isinstance(value.plain, str) else value.plain)
            try:
                return StoredGrant.decode(data.plain)
            except ValueError as exc:
                problem = str(exc)
            await client.set(place, data.plain, ex=QUARANTINE_KEPT)
            await client.eval(_DROP, 1, name, data.plain)  # unless another process has written a good record
        log_quarantine(name, problem, place)
        return None

    async def compare_and_swap(self, key: str, expected: Version | None, new: StoredGrant) -> Version:
        """Write `new` in the place of `expected` and give its version."""
        data = Secret(new.encode())
        expiry = ""
        if key.endswith(QUARANTINE):
            expiry = str(ceil(_CLOCK.wall()) + QUARANTINE_KEPT)
        elif new.refresh_token is None and new.expires_at is not None:  # of no use once it has expired
            expiry = str(ceil(new.expires_at) + _KEPT_AFTER_EXPIRY)
        async with self._client() as client:
            if not await client.eval(_SWAP, 1, self._prefix + key, expected or "", data.plain, expiry):
                raise StoreConflictError
        return version_of(data.plain)

    async def delete(self, key: str) -> None:
        """Remove the record, if there is one."""
        async with self._client() as client:
            await client.delete(self._prefix + key)

    @asynccontextmanager
    async def lock(self, key: str, *, timeout: float) -> AsyncGenerator[Lease]:
        """Lock the grant against refreshes in other processes."""
        lock = _Lock(self._client, f"{self._prefix}{key}.lock", self._lock_ttl)
        await lock.acquire(timeout)
        # Unlisted: the end of the program must not end a lease under which a refresh token is on the wire.
        heartbeat = start_unlisted(lock.keep())
        try:
            yield lock
        finally:
            lock.over.set()  # not cancelled: in the middle of a step, that would leave a connection open
            await asyncio.wait({heartbeat})
            await lock.release()

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Redis | RedisCluster]:
        moved = False
        async with self._connected() as client:
            try:
                yield client
            except MovedError:
                moved = True
        if moved:
            raise TokenPersistenceError(
                "The server is one node of a cluster, and the record is on another. Give RedisStore a "
                "redis.asyncio.cluster.RedisCluster."
            )

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Redis | RedisCluster]:
        if not isinstance(self._server.plain, str):
            yield self._server.plain
            return
        here = asyncio.get_running_loop()
        shared = self._open.get(here)
        if shared is None:
            for loop in [loop for loop in list(self._open) if loop.is_closed()]:
                self._open.pop(loop, None)
            shared = self._open[here] = _Open(self._new_client(self._server.plain))
        shared.users += 1
        try:
            yield shared.client
        finally:
            shared.users -= 1
            if not shared.users:
                del self._open[here]  # before waiting, so that no other task gets the client that is being closed
                await shared.client.aclose()

    def _is_valid_url(self, refusal: type[Exception]) -> bool:
        """Return whether redis-py accepts the URL. A connection object is made, and not opened."""
        try:
            self._new_client(str(self._server.plain)).connection_pool.make_connection()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, refusal):  # some quote the URL
            return False
        return True

    def _new_client(self, url: str) -> Redis:
        package = _package()
        pool = package.BlockingConnectionPool.from_url(url, max_connections=_CONNECTIONS, timeout=None, **self._options)
        client: Redis = package.Redis.from_pool(pool)
        return client


@attrs.define(eq=False)
class _Open:
    """A client that is open for as long as it has users."""

    client: Redis
    users: int = 0


class _Lock:
    """A lock on the server, held for `ttl` seconds at a time."""

    def __init__(
        self, client: Callable[[], AbstractAsyncContextManager[Redis | RedisCluster]], name: str, ttl: float
    ) -> None:
        self._client = client
        self._name = name
        self.seconds = ttl
        self._mine = secrets.token_hex(16)
        self._since = (-inf, -inf)
        self._lost = False
        self._new_server = False
        self.over = asyncio.Event()

    async def acquire(self, timeout: float) -> None:
        """Wait for the lock. Raises `TimeoutError`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        task = asyncio.current_task()
        pause = _FIRST_POLL
        # If this is cancelled, it may leave a lock on the server. Without extension it ends by itself.
        async with self._client() as client:
            while True:
                # Before the request, so that the lease never seems to last longer here than on the server.
                since = (_CLOCK.boot(), _CLOCK.wall())
                taken, uptime = await client.eval(_TAKE, 1, self._name, self._mine, int(self.seconds * 1000))
                if taken:
                    self._since = since
                    self._new_server = 0 <= uptime < _NEW
                    return
                if loop.time() >= deadline:
                    raise TimeoutError
                if task is not None and task.cancelling():  # redis-py loses a cancellation that meets it connecting
                    raise asyncio.CancelledError
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - it only spreads a fleet
                pause = min(pause * 1.5, _LAST_POLL)

    async def keep(self) -> None:
        """Extend the lease until `over` is set. A server that cannot be reached is asked again."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.over.wait(), self.seconds / 3)
            if self.over.is_set():
                return
            since = (_CLOCK.boot(), _CLOCK.wall())
            try:
                async with asyncio.timeout(self.seconds), self._client() as client:
                    kept = await client.eval(_EXTEND, 1, self._name, self._mine, int(self.seconds * 1000))
            except Exception:  # noqa: BLE001, S112 - whatever the server does, `is_held` tells if the lease is over
                continue
            if not kept:
                self._lost = True
                return
            # After a gap the lease is extended all the same, to hold off other processes, but nothing may be sent under it: the
            # record may have changed since it was read.
            self._lost = self._lost or kept != 1 or not self.is_held()
            self._since = since

    def is_held(self) -> bool:
        """Return whether the lease was kept without a gap. A machine that was suspended has had one."""
        boot, wall = self._since
        return not self._lost and max(_CLOCK.boot() - boot, _CLOCK.wall() - wall) < self.seconds

    def may_have_been_anothers(self) -> bool:
        """Return whether the server started just before it gave the lock, and may have lost it for another holder."""
        return self._new_server

    async def release(self) -> None:
        """Release the lock, unless another process has it by now."""
        async with self._client() as client:
            await client.eval(_DROP, 1, self._name, self._mine)


def _package() -> Any:
    try:
        import redis.asyncio
    except ImportError:
        pass
    else:
        return redis.asyncio
    raise TokenPersistenceError("RedisStore needs the package redis: pip install 'telnyx-oauth[redis]'")
