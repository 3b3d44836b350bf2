"""The guards guard: each is shown to fail a test that does what it forbids."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import aiohttp
import aioresponses

pytest_plugins = ["pytester"]


async def test_aioresponses_answers_under_this_aiohttp():
    with aioresponses.aioresponses() as mocked:
        mocked.get("http://telnyx.test/v2/oauth/jwks", payload={"keys": []})
        async with aiohttp.ClientSession() as session, session.get("http://telnyx.test/v2/oauth/jwks") as response:
            assert await response.json() == {"keys": []}


def test_no_variable_of_the_person_who_runs_the_tests_is_left():
    assert not [name for name in os.environ if name.upper().startswith("TELNYX_") or name.upper().endswith("_PROXY")]
    assert "pytest" in os.environ["HOME"]


def test_each_guard_fails_the_test_that_does_what_it_forbids(pytester, pytestconfig, monkeypatch):
    conftest = Path(__file__).with_name("conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(conftest.replace("PATIENCE = 5.0", "PATIENCE = 0.1"))
    pytester.makepyprojecttoml((pytestconfig.rootpath / "pyproject.toml").read_text(encoding="utf-8"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    bad = pytester.mkdir("tests") / "test_bad.py"
    bad.write_text(
        textwrap.dedent("""
        import asyncio, logging, socket, threading, time, warnings
        import telnyx_oauth

        def of_ours(source):
            found = {}
            exec(compile(source, telnyx_oauth.__path__[0] + "/made_up.py", "exec"), found)
            return found["call"]

        async def test_call_that_blocks():
            of_ours("import time\\ndef call(): time.sleep(0)")()

        def test_thread_left(): threading.Thread(target=time.sleep, args=(1,), daemon=True).start()

        async def test_task_left():
            global task
            task = asyncio.ensure_future(asyncio.Event().wait())

        def test_socket_left():
            socket.socket()

        def test_warning(): warnings.warn("hear, hear")

        def test_secret_logged(secrets): logging.getLogger("telnyx_oauth").debug("token=%s", secrets.access_token)

        async def test_good(secrets):
            time.sleep(0)
            await asyncio.to_thread(of_ours("import time\\ndef call(): time.sleep(0)"))
            assert secrets.found_in("all is well") == []
        """),
        encoding="utf-8",
    )
    outcome = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    outcome.assert_outcomes(passed=4, failed=3, errors=3)
    for test in ("call_that_blocks", "socket_left", "warning"):
        outcome.stdout.fnmatch_lines([f"FAILED *test_{test} *"])
    for test in ("thread_left", "task_left", "secret_logged"):
        outcome.stdout.fnmatch_lines([f"ERROR *test_{test} *"])


def test_secrets_are_found_wherever_an_error_carries_them(secrets):
    def raised(error: Exception, while_handling: Exception | None = None) -> Exception:
        error.__context__ = while_handling
        return error

    noted = ValueError("kept quiet")
    noted.add_note(secrets.code)
    attributed = ValueError("kept quiet")
    attributed.sent = {"key": secrets.api_key}
    assert secrets.found_in(ValueError("kept quiet")) == []
    assert secrets.found_in(ValueError(secrets.client_secret)) == ["client_secret"]
    assert secrets.found_in(noted) == ["code"]
    assert secrets.found_in(attributed) == ["api_key"]
    assert secrets.found_in(raised(ValueError("kept quiet"), KeyError(secrets.refresh_token))) == ["refresh_token"]
