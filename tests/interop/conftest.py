"""Other people's programs, for those whose machine can run them."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def node():
    """Runs one of the scripts beside this file, for the length of a block."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    if not (HERE / "node_modules").exists():
        pytest.skip("needs npm's packages: `npm install --prefix tests/interop`")

    @asynccontextmanager
    async def running(script: str, *arguments: str):
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            "node", "--no-warnings", script, *arguments, cwd=HERE, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        finally:
            process.stdin.close()
            _, said = await process.communicate()
        assert not process.returncode, said.decode()

    return running
