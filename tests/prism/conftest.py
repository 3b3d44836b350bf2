"""Prism, a mock server that holds every request to an OpenAPI document and answers from it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import pytest
import yaml

from tests.operations import OPERATIONS, Operation

DOCUMENTS = [Path(place) for place in os.environ.get("TELNYX_OPENAPI", "").split(os.pathsep) if place]
PRISM = os.environ.get("PRISM", "prism")


@cache
def described(document: Path) -> list[Operation]:
    """The operations that a document has, under either form of their path."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    paths = yaml.load(document.read_text(encoding="utf-8"), Loader=loader)["paths"]
    return [
        operation
        for operation in OPERATIONS
        for template, operations in paths.items()
        if operation.method.lower() in operations and _means(template, operation)
    ]


def _means(template: str, operation: Operation) -> bool:
    pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
    documented = operation.path.removeprefix("/v2")
    older = re.sub("^/oauth/(clients|grants)", r"/oauth_\1", documented)
    return any(re.fullmatch(pattern, path) for path in (documented, older))


@contextmanager
def serving(document: Path, *options: str) -> Iterator[str]:
    """The address of a Prism with this document. A request or an answer that breaks it is answered with an error."""
    command = [PRISM, "mock", "--errors", "--port", "0", *options, str(document)]
    # Into a file: a pipe that nobody reads would fill up, and Prism would wait.
    with TemporaryFile("w+") as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            yield _address(process, log)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[bytes], log: IO[str]) -> str:
    told = ""
    while process.poll() is None:
        log.seek(0)
        told = log.read()
        if address := re.search(r"listening on (http://[^\s\x1b]+)", told):
            return address[1]
        time.sleep(0.05)
    pytest.fail(f"Prism did not start: {told}")


@pytest.fixture(scope="module", params=["static", "dynamic"])
def base_url(request: pytest.FixtureRequest, document: Path) -> Iterator[str]:
    """Where Prism gives the document's examples, or makes answers of its schemas."""
    with serving(document, *(["--dynamic"] if request.param == "dynamic" else [])) as address:
        yield address
