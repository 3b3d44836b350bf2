"""The guards guard: each is shown to fail a test that does what it forbids."""

from __future__ import annotations

import os

import aiohttp
import aioresponses
import pytest

pytest_plugins = ["pytester"]


async def test_aioresponses_answers_under_this_aiohttp():
    with aioresponses.aioresponses() as mocked:
        mocked.get("http://telnyx.test/v2/oauth/jwks", payload={"keys": []})
        async with aiohttp.ClientSession() as session, session.get("http://telnyx.test/v2/oauth/jwks") as response:
            assert await response.json() == {"keys": []}


def test_no_variable_of_the_person_who_runs_the_tests_is_left():
    assert not [name for name in os.environ if name.upper().startswith("TELNYX_") or name.upper().endswith("_PROXY")]
    assert "pytest" in os.environ["HOME"]
