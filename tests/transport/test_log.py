from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from telnyx_oauth.errors import APIError
from tests.wire import Script, reply, resources

CODE = """
import logging
from telnyx_oauth.transport.log import logger
logger.debug("a debug record")
logger.info("an info record")
logger.warning("a warning record")
logging.getLogger("elsewhere").info("not ours")
"""


@pytest.mark.parametrize(
    "value, records",
    [
        (None, []),
        ("", []),
        ("nonsense", []),
        ("info", ["an info record", "a warning record"]),
        ("INFO", ["an info record", "a warning record"]),
        ("debug", ["a debug record", "an info record", "a warning record"]),
    ],
)
def test_it_is_silent_unless_asked(value, records):
    environment = {**os.environ, **({} if value is None else {"TELNYX_LOG": value})}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], env=environment, capture_output=True, text=True, check=True
    )
    assert [line.partition("telnyx_oauth ")[2].partition(" ")[2] for line in done.stderr.splitlines()] == records


async def test_another_attempt_is_told_without_the_query(caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(APIError):
        await resources(Script(reply(500)), max_retries=1).get("/x?planted=1", cast_to=object)
    assert caplog.messages == ["GET https://api.telnyx.com/v2/x: attempt 2 in 0.50 s"]
