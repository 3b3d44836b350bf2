"""The manager's invariants under a hypothesis state machine: managers, a model server and a store in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from telnyx_oauth.errors import (
    ClientClosedError,
    ReauthenticationRequiredError,
    TelnyxError,
    TokenRejectedError,
)
from telnyx_oauth.protocol.freshness import Phase
from telnyx_oauth.tokens.events import TokenAdopted, TokenRefreshed
from telnyx_oauth.tokens.manager import TokenManager
from telnyx_oauth.tokens.sources import ClientCredentials, RefreshToken
from telnyx_oauth.tokens.stores.memory import MemoryStore

from .memory import put_records
from .virtual import ENDPOINT, ModelServer, VirtualClock, VirtualLoop

SCOPES = (None, "a", "b")
FAULTS = (
    "unsent",
    "lost",
    "lost_after",
    "timeout",
    "429",
    "503",
    "500",
    "500_after",
    "garbage",
    "garbage_after",
    "invalid_client",
    "invalid_scope",
)
LIFETIMES = (2, 5, 30, 100, 3600, "60", 0, -1, "soon", ...)


ASK = st.tuples(
    st.integers(0, 1),
    st.sampled_from((None, None, "a", "b")),
    st.sampled_from([0.0, 0.0, 0.0, 1.0, 20.0, 1e6]),
    st.sampled_from([0.01, 5.0, 30.0, 30.0]),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.01, 0.06, 1.1, 4.0, 20.0, 77.0, 96.0, 101.0]),
)
BUSY = st.lists(ASK, min_size=1, max_size=6)


WAYS_TO_FAIL = (
    *("load", "swap", "lock"),
    *("hang-load", "hang-swap", "hang-lock"),
    *("lost-load", "lost-swap"),  # done, and the answer does not arrive
)


class View:
    """One process's way to the store: it can fail, and once the process is dead nothing it does arrives."""

    shared = True

    def __init__(self, store, world):
        self.store = store
        self.world = world
        self.dead = False
        self.held = []

    async def step(self, name):
        if self.dead:
            await asyncio.get_running_loop().create_future()
        if name in self.world.broken:
            raise OSError(name)
        if f"hang-{name}" in self.world.broken:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0.001)
        if self.dead:
            await asyncio.get_running_loop().create_future()

    def answer(self, name, value):
        if f"lost-{name}" in self.world.broken:
            raise OSError(name)
        return value

    async def load(self, key):
        await self.step("load")
        return self.answer("load", await self.store.load(key))

    async def compare_and_swap(self, key, expected, new):
        await self.step("swap")
        return self.answer("swap", await self.store.compare_and_swap(key, expected, new))

    async def delete(self, key):
        await self.step("delete")
        await self.store.delete(key)

    @asynccontextmanager
    async def lock(self, key, *, timeout):
        await self.step("lock")
        async with self.store.lock(key, timeout=timeout):
            self.held.append(key)
            try:
                yield
            finally:
                self.held.remove(key)

    def die(self):
        self.dead = True
        for key in self.held:  # the operating system frees a dead process's locks
            self.store._holders.pop(key, None)


@attrs.define(eq=False)
class Process:
    manager: TokenManager
    view: View
    rejected: set = attrs.field(factory=set)
    newest: dict = attrs.field(factory=dict)
    in_flight: list = attrs.field(factory=list)
    published: float = 0.0
    has: int = 0  # the newest refresh token that it was given
    misled: bool = False  # it began when the wall clock had been set back, and cannot know


@attrs.define(eq=False)
class Caller:
    task: asyncio.Task
    process: Process
    scope: str | None
    at_least: int
    deadline: float
    cancelled: bool = False
    had_token: bool = False
    ended: float = 0.0


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(lambda *_: None)  # those who waited in a crashed process
        self.clock = VirtualClock(self.loop)
        self.store = MemoryStore()
        self.broken = set()
        self.pasts = [{}]
        self.went_back = False
        self.callers = []
        self.violations = []
        self.tokens = []
        self.errors = []
        self.lifetime_of = {}
        self.scope_of = {}
        self.processes = []
        self.graves = []
        self.jitter = 0.5
        self.latest = 0.0

    @initialize(
        grant=st.sampled_from(["client", "refresh"]),
        rotation=st.sampled_from(["none", "strict", "grace"]),
        lifetime=st.sampled_from(LIFETIMES[:5]),
        sharing=st.booleans(),
    )
    def begin(self, grant, rotation, lifetime, sharing):
        self.grant = grant
        self.sharing = sharing or grant == "refresh"
        self.server = ModelServer(self.clock, lifetime=lifetime, rotation=rotation)
        self.server.grant_refresh("r0")
        self.processes = [self.process(), self.process()]

    def process(self):
        view = View(self.store, self)
        made = Process(None, view, misled=self.clock.shift < self.latest)

        async def send(request):
            return await self.sent(made, request)

        if self.grant == "client":
            source = ClientCredentials(send, ENDPOINT, "client", "s", clock=self.clock)
        else:
            source = RefreshToken(send, ENDPOINT, "client", refresh_token="r0", clock=self.clock)
        made.manager = TokenManager(
            source,
            store=view if self.sharing else None,
            clock=self.clock,
            jitter=lambda: self.jitter,
            hooks=[lambda event: self.note(made, event)],
        )
        return made

    def note(self, process, event):
        if isinstance(event, (TokenRefreshed, TokenAdopted)):
            process.published = self.clock.boot()

    async def sent(self, process, request):
        if process.view.dead:
            await self.loop.create_future()
        body = request.content
        live = [each for each in self.processes if each is not process]
        self.require(body not in process.in_flight, "two requests in flight for one key")  # 1
        if b"refresh_token=" in body:
            spent = body.partition(b"refresh_token=")[2].partition(b"&")[0]
            mine = [each for each in process.in_flight if spent in each]
            others = [b for each in live for b in each.in_flight if spent in b]
            self.require(not mine, "two requests in flight for one refresh token")  # 1
            self.require(not others, "two processes spend one refresh token")  # 1
            self.require(int(spent[1:]) >= process.has, "an older refresh token than the one it was given")
            noted = any(
                record.intent is not None and record.refresh_token == spent.decode() for record in self.records()
            )
            self.require(noted or self.went_back, "a refresh token sent that the store knows nothing of")
        self.check_distance(process)
        process.in_flight.append(body)
        try:
            answer = await self.server.send(request)
        finally:
            process.in_flight.remove(body)
        if answer.status_code == 200 and answer.content.startswith(b'{"a'):
            fields = answer.json()
            self.scope_of[fields["access_token"]] = body.decode().partition("scope=")[2][:1] or None
            self.lifetime_of[fields["access_token"]] = fields.get("expires_in")
            process.has = max(process.has, int(fields.get("refresh_token", "r0")[1:]))
        return answer

    def records(self):
        return [record for name, record in self.store.records.items() if ".aside-" not in name]

    def check_distance(self, process):
        """10. Nothing is sent during back-off."""
        flying = [e for e in process.manager._cache.entries.values() if e.in_flight and not e.in_flight.backing_off]
        boot = self.clock.boot()
        calm = any(boot + 1e-6 >= min(e.snapshot.retry_boot, e.snapshot.urgent_boot) for e in flying)
        self.require(calm, "a request during back-off")

    def require(self, holds, what):
        """Noted, since the manager would make any other error of an assertion that fails inside a flight."""
        if not holds:
            self.violations.append(what)

    # --- moving the world

    def settle(self):
        async def spin():
            for _ in range(60):
                await asyncio.sleep(0)

        self.loop.run_until_complete(spin())
        self.look()

    def look(self):
        """Judge every caller that has ended."""
        assert not self.violations, self.violations
        for caller in [each for each in self.callers if each.task.done()]:
            self.callers.remove(caller)
            if caller.task.cancelled():
                assert caller.cancelled, "a caller was cancelled by somebody else"  # 8
            elif caller.task.exception() is not None:
                self.judge_error(caller, caller.task.exception())
            else:
                self.judge_token(caller, caller.task.result())
        for caller in self.callers:
            assert self.loop.now <= caller.deadline + 1e-3, "a caller outlived its timeout"  # 4

    def judge_token(self, caller, token):
        process, text = caller.process, token.access_token
        life = self.lifetime_of[text]
        if isinstance(life, (int, str)) and str(life).isdigit() and int(life) > 0 and not process.misled:
            assert caller.ended < self.server.born[text] + int(life), "an expired token"  # 2, 16
        assert text not in process.rejected, "a rejected token"  # 9
        assert self.scope_of[text] == caller.scope, "another key's token"  # 14
        assert token.generation >= caller.at_least, "a generation went back"  # 7
        newest = process.newest.get(caller.scope, 0)
        process.newest[caller.scope] = max(newest, token.generation)
        self.tokens.append((process, caller.scope, token))

    def judge_error(self, caller, error):
        assert isinstance(error, TelnyxError), error
        assert not any(error is other for other in self.errors), "one exception for two callers"  # 15
        self.errors.append(error)
        if isinstance(error, (ClientClosedError, TokenRejectedError)):
            return
        assert not caller.had_token, f"{error!r} with a valid token at hand"  # 11

    # --- rules

    def spawn(self, process, scope, coroutine, timeout):
        deadline = float("inf") if timeout is None else self.loop.now + timeout
        at_least = process.newest.get(scope, 0)
        caller = Caller(None, process, scope, at_least, deadline)

        async def call():
            try:
                return await coroutine
            finally:
                caller.ended = self.clock.boot()
                cache = process.manager._cache
                entry = cache.entries.get(process.manager.status(scopes=scope).key)
                # What was published this very moment came too late for those sent away at the same one.
                late = caller.ended - process.published < 1e-3
                caller.had_token = entry is not None and cache.valid(entry) is not None and not late

        caller.task = self.loop.create_task(call())
        self.callers.append(caller)
        self.settle()

    def ask(self, which, scope, min_ttl, timeout, count):
        process = self.processes[which]
        for _ in range(count):
            call = process.manager.get(scopes=scope, min_ttl=min_ttl, timeout=timeout)
            self.spawn(process, scope, call, timeout)

    @rule(asks=BUSY)
    def be_busy(self, asks):
        for *what, pause in asks:
            self.ask(*what)
            self.advance(pause)

    @rule(asks=BUSY)
    def go_on(self, asks):
        self.be_busy(asks)

    @rule(asks=BUSY, faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3))
    def go_on_in_trouble(self, asks, faults):
        self.server.faults.extend(faults)
        self.be_busy(asks)

    @rule(which=st.integers(0, 1), scope=st.sampled_from(SCOPES))
    def peek(self, which, scope):
        """26. What can be had at once is had without suspending."""
        manager = self.processes[which].manager
        token = manager.peek(scopes=scope)
        if token is None:
            return
        assert token.access_token not in self.processes[which].rejected
        coroutine = manager.get(scopes=scope)
        if scope is None:
            with pytest.raises(StopIteration) as stopped:
                coroutine.send(None)
            assert stopped.value.value is token
        else:
            coroutine.close()

    @precondition(lambda self: self.callers)
    @rule(data=st.data())
    def cancel(self, data):
        caller = data.draw(st.sampled_from(self.callers))
        caller.cancelled = True
        caller.task.cancel()
        self.settle()

    @precondition(lambda self: self.tokens)
    @rule(data=st.data())
    def late_401(self, data):
        process, scope, token = data.draw(st.sampled_from(self.tokens[-6:]))
        if process not in self.processes:
            return
        before = process.manager.status(scopes=scope)
        seen = len(self.server.seen)
        current = before.generation == token.generation
        process.rejected.add(token.access_token)
        self.spawn(process, scope, process.manager.replace(token, timeout=5.0), 5.0)
        if not current and before.phase is Phase.FRESH:
            assert process.manager.status(scopes=scope).generation == before.generation  # 5
            assert len(self.server.seen) == seen

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.3, 1.1, 4.0, 20.0, 90.0, 400.0, 4000.0]))
    def advance(self, seconds):
        end = self.loop.now + seconds
        while self.loop.now < end - 1e-6:
            # In steps while anyone waits, so that callers are judged at about the time they end.
            step = (0.05 if seconds < 1 else 1.0) if self.callers else seconds
            self.loop.run_until_complete(asyncio.sleep(min(step, end - self.loop.now)))
            self.look()
        self.settle()

    @rule(seconds=st.sampled_from([1.0, 50.0, 5000.0]))
    def suspend(self, seconds):
        self.clock.suspend(seconds)

    @rule(seconds=st.sampled_from([-5000.0, -50.0, -1.0, 1.0]))
    def jump(self, seconds):
        self.clock.jump(seconds)
        self.latest = max(self.latest, self.clock.shift)

    @rule(latency=st.sampled_from([0.0, 0.05, 0.05, 3.0]))
    def change_pace(self, latency):
        self.server.latency = latency
        self.server.faults.clear()

    @rule(lifetime=st.sampled_from(LIFETIMES))
    def change_lifetime(self, lifetime):
        self.server.lifetime = lifetime

    @rule(broken=st.sets(st.sampled_from(WAYS_TO_FAIL), max_size=4), asks=BUSY)
    def break_store(self, broken, asks):
        self.broken = broken
        self.be_busy(asks)
        self.broken = set()

    @rule()
    def back_up(self):
        self.pasts.append(self.store.records)

    @rule(data=st.data(), asks=BUSY)
    def go_back_in_time(self, data, asks):
        """A backup is restored, or a replica that lags behind is promoted."""
        past = data.draw(st.sampled_from(self.pasts))
        put_records(self.store, past)
        self.went_back = True
        self.be_busy(asks)

    @rule(jitter=st.sampled_from([0.0, 0.3, 1.0]))
    def change_luck(self, jitter):
        self.jitter = jitter

    @precondition(lambda self: self.grant == "client")
    @rule(
        faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=6), pauses=st.lists(st.floats(0, 3), max_size=8)
    )
    def press_on_in_trouble(self, faults, pauses):
        """Many callers while the server fails, one close upon the other."""
        self.server.faults.extend(faults)
        for pause in pauses:
            self.ask(0, None, 0.0, 0.05, 2)
            self.advance(pause)

    @rule(which=st.integers(0, 1), scope=st.sampled_from(SCOPES))
    def forget(self, which, scope):
        if self.grant == "client":
            self.broken = set()
            self.loop.run_until_complete(self.processes[which].manager.forget(scopes=scope))
            self.settle()

    @rule(which=st.integers(0, 1))
    def close(self, which):
        """22. Nothing remains."""
        process = self.processes[which]
        self.processes[which] = self.process()
        self.loop.run_until_complete(process.manager.aclose(drain=1.0))
        self.settle()
        assert not process.manager._cache._tasks
        assert not any(entry.in_flight for entry in process.manager._cache.entries.values())
        assert not any(caller.process is process for caller in self.callers)

    @rule(which=st.integers(0, 1))
    def crash(self, which):
        """19. Whatever the moment, the store knows enough."""
        process = self.processes[which]
        self.bury(process)
        self.processes[which] = self.process()
        if self.grant == "refresh" and not self.went_back and not self.broken:
            for record in self.records():
                assert (
                    record.intent is not None
                    or record.tombstone is not None
                    or record.refresh_token in self.server.alive
                    or not self.server.alive
                )

    @rule(which=st.integers(0, 1))
    def end(self, which):
        """A program ends: its loop cancels every task that it finds, and waits for them."""
        process = self.processes[which]
        self.broken = set()
        had = [body for body in process.in_flight if b"refresh_token=" in body]
        tasks = list(process.manager._cache._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks))
        assert not process.in_flight, "still on the wire"
        self.look()
        self.bury(process)
        self.processes[which] = self.process()
        if had and not self.went_back and process.has:
            # What the server gave it was stored, or the outcome is known to be unknown.
            newest = max(int(record.refresh_token[1:]) for record in self.records())
            assert newest >= process.has

    def bury(self, process):
        process.view.die()
        self.graves.append(process)
        for caller in [each for each in self.callers if each.process is process]:
            self.callers.remove(caller)
            caller.task.cancel()

    @invariant()
    def refresh_tokens_stay(self):
        """18. What has been stored of a grant is never taken away again."""
        if getattr(self, "grant", None) == "refresh":
            assert all(record.refresh_token is not None for record in self.store.records.values())

    def teardown(self):
        try:
            if self.processes:
                self.recover()
        finally:
            for process in [*self.processes, *self.graves]:
                for entry in process.manager._cache.entries.values():
                    process.manager._cache._cancel_timer(entry)
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self.loop.close()

    def recover(self):
        """12. A healthy server and store end every failure."""
        self.server.faults.clear()
        self.server.latency = 0.05
        self.server.lifetime = 100
        self.broken = set()
        self.advance(400.0)
        for process in self.processes:
            try:
                token = self.loop.run_until_complete(process.manager.get(timeout=120.0))
            except ReauthenticationRequiredError:
                assert self.grant == "refresh"
            else:
                assert token.access_token not in process.rejected
            self.loop.run_until_complete(process.manager.aclose())


class TestBriefly(Machine.TestCase):
    settings = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.long
class TestAtLength(Machine.TestCase):
    settings = settings(
        max_examples=4_000, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
