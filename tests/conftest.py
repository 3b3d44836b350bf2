"""What every test gets: a clean environment, a guard against blocking and leaking, and secrets to plant."""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import os
import pickle
import re
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncIterator, ItemsView, Iterator, KeysView, Mapping, ValuesView
from pathlib import Path
from types import FrameType, SimpleNamespace

import aiohttp
import aioresponses.core
import attrs
import hypothesis
import pytest
from blockbuster import BlockBuster

import telnyx_oauth

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "telnyx_oauth"
PLACE = str(Path(telnyx_oauth.__file__).parent)
PATIENCE = 5.0
"""Seconds that a thread or task is given to end on a busy machine before it counts as left behind."""
THREADS = pytest.StashKey[set[threading.Thread]]()

# A shell's background job ignores Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("default", deadline=None, max_examples=100)
hypothesis.settings.register_profile("long", deadline=None, max_examples=5_000)
hypothesis.settings.register_profile("short", deadline=None, max_examples=20, derandomize=True, database=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class _MockedResponse(aiohttp.ClientResponse):
    """aiohttp 3.14 asks every response for the writer of its request, which aioresponses 0.7.9 does not know of."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


aioresponses.core.ClientResponse = _MockedResponse


def pytest_configure() -> None:
    """Forget what the person who runs the tests has set: no variable of theirs may decide a test."""
    for name in tuple(os.environ):
        if name.upper().startswith("TELNYX_") or name.upper().endswith("_PROXY"):
            del os.environ[name]
    for name in ("NETRC", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"):
        os.environ.pop(name, None)
    # Hundreds of tests start a Python; each would compile the whole package again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_finish() -> None:
    """Leave the thousands of tests themselves out of each garbage collection, those that a test asks for among them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("home")
    places = {"HOME": home, "USERPROFILE": home} | {
        f"XDG_{kind}_HOME": home / kind.lower() for kind in ("CONFIG", "CACHE", "DATA", "STATE")
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, place in places.items():
            patch.setenv(name, str(place))
        yield


@pytest.fixture(scope="session")
def _blocking_calls() -> Iterator[BlockBuster]:
    """Finds calls that block a running event loop, when one of our modules is on the stack."""
    guard = BlockBuster("telnyx_oauth")
    # A blocking client used inside somebody's running loop blocks it: that is what its user asked for.
    guard.functions["threading.Lock.acquire"].can_block_in(
        "telnyx_oauth/blocking/driver.py", {"_follow", "_lease_driver", "finish"}
    )
    yield guard
    guard.deactivate()


@pytest.fixture(autouse=True)
def _no_blocking_in_the_loop(request: pytest.FixtureRequest, _blocking_calls: BlockBuster) -> Iterator[None]:
    if request.node.get_closest_marker("blocks_loop"):
        yield
        return
    _blocking_calls.activate()
    yield
    _blocking_calls.deactivate()


@pytest.fixture(autouse=True)
def _threads_before(request: pytest.FixtureRequest) -> None:
    request.node.stash[THREADS] = set(threading.enumerate())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Look for threads once every fixture is gone, the event loop with its own threads among them."""
    yield
    if THREADS not in item.stash or item.get_closest_marker("leaves_threads"):
        return
    deadline = time.monotonic() + PATIENCE
    # Not joined: a thread that is just being started cannot be.
    while set(threading.enumerate()) - item.stash[THREADS] and time.monotonic() < deadline:
        time.sleep(0.001)
    leaked = [thread.name for thread in set(threading.enumerate()) - item.stash[THREADS]]
    assert not leaked, f"the test left these threads running: {leaked}"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give each async test, and no other, the check for tasks that it leaves behind."""
    names = getattr(item, "fixturenames", ())
    if inspect.iscoroutinefunction(getattr(item, "function", None)) and "_no_leaked_tasks" not in names:
        names.insert(0, "_no_leaked_tasks")


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    yield
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, running = await asyncio.wait(others, timeout=PATIENCE)
        assert not running, f"the test left these tasks running: {running}"


@pytest.fixture
def repository() -> Path:
    """The checkout. Skips where the sources are not beside the tests, as when an installed wheel is tested."""
    if not (PACKAGE / "__init__.py").exists():
        pytest.skip("needs the sources, and this runs on an installed package")
    return ROOT


@attrs.frozen
class Secrets:
    """Values to plant where secrets go, and to look for where they must not come out."""

    api_key: str = "KEY-planted-api-key-8b1f"
    client_secret: str = "planted-client-secret-4d0c"
    access_token: str = "planted-access-token-91e7"
    refresh_token: str = "planted-refresh-token-c35a"
    code: str = "planted-authorization-code-70f2"
    code_verifier: str = "planted-code-verifier-2e6d-0123456789-0123456789-012345"

    def found_in(self, *things: object) -> list[str]:
        """The names of the planted values that these things tell: as text, and for an error all that a crash reporter
        sends of its whole chain, the local variables of our frames among it.
        """
        return found_among(attrs.asdict(self), *things)


def found_among(planted: Mapping[str, str], *things: object) -> list[str]:
    """As `Secrets.found_in`, for any texts by any names. Where a frame tells one, that is named as well."""
    found = [
        name for name, value in planted.items() if any(value in text for thing in things for text in _texts(thing))
    ]
    for thing in things:
        if isinstance(thing, BaseException):
            found += [told for frame in frames_of(thing) for told in _told_by(frame, planted)]
    return found


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """The frames of this package that an error, and all that it is linked to, has passed."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [linked for linked in (each.__cause__, each.__context__) if linked is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if _is_ours(frame.f_code.co_filename):
                yield frame


def _is_ours(filename: str) -> bool:
    # attrs and the codec compile functions from text, under names like `<attrs generated init telnyx_oauth...>`.
    return filename.startswith(PLACE) or (filename.startswith("<") and "telnyx_oauth" in filename)


def _told_by(frame: FrameType, planted: Mapping[str, str]) -> Iterator[str]:
    """What the local variables of a frame tell, as rich and Sentry show them."""
    file, function = frame.f_code.co_filename.removeprefix(f"{PLACE}/"), frame.f_code.co_qualname
    place = f"{file}:{frame.f_lineno} {function}"
    for local, value in frame.f_locals.items():
        text = "\n".join(_shown(value))
        # What a tool cuts short is told in part.
        for name, secret in planted.items():
            if any(secret[:16] in each for each in (text, *_decoded(text))):
                yield f"{name} in {local} at {place}"


def _shown(value: object, depth: int = 0) -> Iterator[str]:
    """A value as tools that show local variables print it: containers with what is in them, all else by its repr."""
    if isinstance(value, str):
        yield value
        return
    if isinstance(value, (bytes, bytearray)):
        yield value.decode("latin-1")
        return
    try:
        yield repr(value)
        yield _pretty(value)
    except Exception:
        return
    if depth < 6:
        items: list[object] = []
        if isinstance(value, Mapping):
            items = [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset, deque, KeysView, ValuesView, ItemsView)):
            items = [*value]
        for each in items:
            yield from _shown(each, depth + 1)


def _pretty(value: object) -> str:
    """As `rich.traceback` with `show_locals` prints it, where rich is installed."""
    try:
        from rich.pretty import pretty_repr
    except ImportError:
        return ""
    return pretty_repr(value, max_string=None)


def _decoded(text: str) -> Iterator[str]:
    """What is in base64 in a text."""
    for run in re.findall(r"[A-Za-z0-9+/_\-]{12,}", text):
        for start in range(4):
            part = run[start:].replace("-", "+").replace("_", "/")
            yield base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1")


def _texts(thing: object) -> Iterator[str]:
    if isinstance(thing, str):
        yield thing
        return
    yield repr(thing)
    yield str(thing)
    if not isinstance(thing, BaseException):
        return
    yield repr(thing.args)
    yield repr(getattr(thing, "__notes__", ()))
    yield repr(vars(thing))
    yield pickle.dumps(thing, protocol=0).decode("ascii", "replace")
    parts = thing.exceptions if isinstance(thing, BaseExceptionGroup) else ()
    for linked in (thing.__cause__, thing.__context__, *parts):
        if linked is not None:
            yield from _texts(linked)


@pytest.fixture
def secrets(caplog: pytest.LogCaptureFixture) -> Iterator[Secrets]:
    """Secrets to plant. When the test ends, none of them may stand in what was logged at any level."""
    caplog.set_level("DEBUG")
    planted = Secrets()
    yield planted
    logged = "\n".join(record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when))
    assert not planted.found_in(logged), "a secret was logged"


@pytest.fixture
def use():
    """Puts a backend in the place of the keyring until the test ends."""
    import keyring

    before = keyring.get_keyring()

    def use(backend):
        keyring.set_keyring(backend)
        return backend

    yield use
    keyring.set_keyring(before)
