"""The pytest plugin, in other projects."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import telnyx_oauth

pytest_plugins = ["pytester"]

PLUGIN = "telnyx_oauth.testing"
HERE = str(Path(telnyx_oauth.__file__).parent.parent)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # each test names the plugins that it is about
    pytester.makeini("[pytest]")  # a project of its own, wherever the temporary folder lies
    return pytester


def run(project: pytest.Pytester, *arguments: str, **outcomes: int) -> pytest.RunResult:
    result = project.runpytest_subprocess("-p", PLUGIN, "-W", "error", "-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(**outcomes)
    assert "Error" not in result.stderr.str()
    return result


SYNCHRONOUS = """
import os
import threading
import time

import pytest

from telnyx_oauth import (
    ExpiredTokenError, InsufficientScopeError, InternalServerError, InvalidTokenError, Reason, Telnyx, TokenValidationError
)


def test_a_client_of_the_sandbox(telnyx, telnyx_sandbox):
    assert telnyx.base_url == telnyx_sandbox.base_url
    made = telnyx.oauth_clients.create(
        name="Left behind", client_type="confidential", allowed_grant_types=["client_credentials"], allowed_scopes=["admin"]
    )
    assert made.data.client_secret
    telnyx_sandbox.faults.add("*", kind="status", times=None)
    telnyx_sandbox.token_lifetime = 7


def test_each_test_starts_from_the_initial_state(telnyx, telnyx_sandbox):
    assert [each.name for each in telnyx.oauth_clients.list() if each.name == "Left behind"] == []
    assert telnyx_sandbox.token_lifetime == 1800
    assert [request.path for request in telnyx_sandbox.requests] == ["/v2/oauth/token", "/v2/oauth/jwks", "/v2/oauth/clients"]


SEEN = set()


@pytest.mark.parametrize("turn", range(2))
def test_one_server_serves_all(telnyx_sandbox, telnyx_server, turn):
    assert telnyx_sandbox is telnyx_server
    SEEN.add((telnyx_sandbox.port, threading.active_count()))
    assert len(SEEN) == 1


def test_valid_tokens(telnyx, telnyx_tokens):
    good = telnyx.validator.validate(telnyx_tokens.valid("calls.read", "calls.write", subject="user-1", claims={"tier": 2}))
    assert (good.scopes, good.subject, good.claims["tier"]) == ({"calls.read", "calls.write"}, "user-1", 2)
    assert telnyx.validator.validate(telnyx_tokens.valid()).has("admin")
    assert telnyx.validator.validate(telnyx_tokens.without_scopes()).scopes == set()
    assert 0 < telnyx.validator.validate(telnyx_tokens.valid(lifetime=60)).remaining() <= 60
    assert telnyx.validator.validate(telnyx_tokens.header()["Authorization"].removeprefix("Bearer "))
    assert telnyx_tokens.header("abc") == {"Authorization": "Bearer abc"}
    assert telnyx.oauth.introspect(token=telnyx_tokens.opaque()).active


@pytest.mark.parametrize(
    "kind, reason",
    [
        ("expired", Reason.EXPIRED),
        ("wrong_audience", Reason.AUD_MISMATCH),
        ("wrong_issuer", Reason.ISS_MISMATCH),
        ("forged", Reason.SIGNATURE_INVALID),
        ("opaque", Reason.NOT_A_JWT),
    ],
)
def test_invalid_tokens(telnyx, telnyx_tokens, kind, reason):
    with pytest.raises(InvalidTokenError) as caught:
        telnyx.validator.validate(getattr(telnyx_tokens, kind)("calls.read"))
    assert caught.value.reason is reason


def test_a_revoked_token_has_a_valid_signature_and_is_inactive(telnyx, telnyx_tokens):
    revoked = telnyx_tokens.revoked()
    assert telnyx.validator.validate(revoked)
    assert not telnyx.oauth.introspect(token=revoked).active


class TestAService:
    @pytest.fixture
    def telnyx_audience(self):
        return "https://calls.example.com"

    def test_tokens_have_the_audience_of_the_fixture(self, telnyx, telnyx_tokens):
        assert telnyx.validator.validate(telnyx_tokens.valid()).audience == ("https://calls.example.com",)
        both = telnyx_tokens.valid(audience=["https://calls.example.com", "https://other.example"])
        assert len(telnyx.validator.validate(both).audience) == 2


def test_the_clock_advances_sandbox_and_clients(telnyx, telnyx_tokens, telnyx_clock, telnyx_sandbox):
    first, presented = telnyx.tokens.get(), telnyx_tokens.valid(lifetime=60)
    telnyx.validator.validate(presented)
    before = telnyx_clock.now()
    telnyx_clock.advance(3600)
    assert 3600 <= telnyx_clock.now() - before < 3660
    assert telnyx.tokens.get().generation > first.generation
    assert telnyx_sandbox.requests.count("/oauth/token") == 2
    with pytest.raises(ExpiredTokenError):
        telnyx.validator.validate(presented)


def test_the_time_is_restored(telnyx_sandbox, telnyx):
    assert abs(telnyx_sandbox.clock.now() - time.time()) < 60
    assert abs(telnyx.tokens.get().expires_at - 1800 - time.time()) < 60


def test_retries_do_not_wait_with_the_clock(telnyx, telnyx_clock, telnyx_sandbox):
    telnyx_sandbox.faults.add("/oauth/clients", kind="status", status=503, headers={"Retry-After": "50"}, times=2)
    assert telnyx.oauth_clients.list().data
    assert telnyx_clock.slept == [50.0, 50.0]
    telnyx_sandbox.faults.add("/oauth/clients", kind="status", times=None)
    with pytest.raises(InternalServerError):
        telnyx.oauth_clients.list()


def test_retries_wait_without_the_clock(telnyx, telnyx_sandbox):
    telnyx_sandbox.faults.add("/oauth/clients", kind="status", headers={"retry-after-ms": "20"})
    telnyx.tokens.get()
    began = time.monotonic()
    assert telnyx.oauth_clients.list().data
    assert time.monotonic() - began >= 0.02


def test_code_that_makes_its_own_client(telnyx_environment, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Telnyx() as client:
        assert (client.client_id, client.base_url) == (telnyx_environment.client_id, telnyx_environment.base_url)
        assert client.oauth_clients.list().data


def test_the_environment_is_restored():
    assert not [name for name in os.environ if name.startswith("TELNYX_")]


def test_an_async_client_without_any_plugin(async_telnyx):
    import asyncio

    async def use():
        return (await async_telnyx.oauth_clients.list()).data

    assert asyncio.run(use()) and asyncio.run(use())


def test_an_async_client_that_is_not_used(async_telnyx):
    assert not async_telnyx.is_closed()
"""


def test_synchronous_tests(project):
    project.makepyfile(SYNCHRONOUS)
    run(project, passed=20)


ASYNCHRONOUS = """
import asyncio

import pytest

{marks}

LEFT = []


async def test_an_async_client(async_telnyx, telnyx_sandbox):
    pages = await asyncio.gather(*(async_telnyx.oauth_clients.list() for _ in range(5)))
    assert len(pages) == 5
    assert telnyx_sandbox.requests.count("/oauth/token") == 1
    LEFT.append(async_telnyx)


async def test_is_closed_after_its_test_and_the_next_is_new(async_telnyx):
    assert LEFT[0].is_closed()
    assert (await async_telnyx.tokens.get()).generation == 1


async def test_time_and_faults(async_telnyx, telnyx_clock, telnyx_sandbox, telnyx_tokens):
    first = await async_telnyx.tokens.get()
    telnyx_sandbox.faults.add("/oauth/clients", kind="reset")
    telnyx_clock.advance(1800)
    assert (await async_telnyx.oauth_clients.list()).data
    assert len(telnyx_clock.slept) == 1
    assert (await async_telnyx.tokens.get()).generation > first.generation
    assert (await async_telnyx.validator.validate(telnyx_tokens.valid("a"), scopes=["a"])).scopes == {{"a"}}


async def test_a_blocking_client_in_the_loop(telnyx):
    assert telnyx.oauth_clients.list().data


def test_no_client_at_all(telnyx_tokens):
    assert telnyx_tokens.valid()
"""
ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")
ANYIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"


pytestmark = pytest.mark.anyio
"""


@pytest.mark.parametrize(
    "marks, arguments",
    [
        pytest.param("", (*ASYNCIO, "-o", "asyncio_mode=auto"), id="pytest-asyncio auto"),
        pytest.param(ANYIO, ("-p", "anyio.pytest_plugin"), id="anyio"),
    ],
)
def test_asynchronous_tests(project, marks, arguments):
    project.makepyfile(ASYNCHRONOUS.format(marks=marks))
    run(project, *arguments, passed=5)


def test_asynchronous_tests_in_strict_mode(project):
    text = ASYNCHRONOUS.format(marks="").replace("async def test", "@pytest.mark.asyncio\nasync def test")
    project.makepyfile(text)
    run(project, *ASYNCIO, "-o", "asyncio_mode=strict", passed=5)


def test_one_loop_for_all_tests(project):
    project.makepyfile(ASYNCHRONOUS.format(marks=""))
    run(project, *ASYNCIO, "-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session", passed=5)


def test_a_run_that_does_not_use_it_loads_nothing(project):
    project.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(pytestconfig):
            assert pytestconfig.pluginmanager.hasplugin("telnyx_oauth.testing")
            assert "aiohttp" not in sys.modules
            ours = sorted(name for name in sys.modules if name.partition(".")[0] == "telnyx_oauth")
            assert ours == ["telnyx_oauth", "telnyx_oauth._version", "telnyx_oauth.testing"]
        """
    )
    run(project, passed=1)


def test_it_imports_only_pytest():
    code = (
        "import sys, pytest; old = set(sys.modules); import telnyx_oauth.testing;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - old} - sys.stdlib_module_names))"
    )
    environment = {"PYTHONPATH": HERE, "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["telnyx_oauth"]


def test_pytest_loads_it_by_its_entry_point(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # Named like its module, so that `-p telnyx_oauth.testing` loads it once and not a second time.
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


@pytest.mark.parametrize("imported", ["telnyx_oauth", "telnyx_oauth.testing", "telnyx_oauth.errors"])
@pytest.mark.parametrize("plugin", [(), ("-p", PLUGIN)])
def test_it_may_be_imported_before_pytest(project, monkeypatch, imported, plugin):
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    project.makepyfile("def test_something(): assert True")
    code = f"import {imported}, pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio", *plugin],
        cwd=project.path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert "warning" not in done.stdout
