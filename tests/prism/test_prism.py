"""Every operation against the API's own OpenAPI document: both clients, in all three forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from telnyx_oauth import APIStatusError, AsyncTelnyx, Telnyx, UnprocessableEntityError
from tests.operations import BY_NAME, OPERATIONS, Operation
from tests.prism.conftest import DOCUMENTS, described

# As the official package's tests have it. A client's id and secret are not tried here: Prism takes the scheme `oauth2` for a
# Bearer token alone, and so refuses the HTTP Basic that the document's own words allow at the token endpoint.
KEY = "My API Key"
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem, scope="module")
cases = pytest.mark.parametrize(
    "document, operation",
    [(document, operation) for document in DOCUMENTS for operation in described(document)],
    ids=lambda value: value.stem if isinstance(value, Path) else value.name,
    scope="module",
)
every = pytest.mark.parametrize("full", [True, False], ids=["all parameters", "required parameters"])


def check(operation: Operation, *answers: object) -> None:
    for answer in answers:
        if operation.lists:
            assert all(isinstance(item, operation.kind) for item in answer.data)
        else:
            assert isinstance(answer, operation.kind)


def test_the_documents_have_all_operations():
    assert {operation.name for document in DOCUMENTS for operation in described(document)} == BY_NAME.keys()
    assert len(OPERATIONS) == 17


@cases
@every
async def test_the_async_client_asks_and_reads_what_is_documented(base_url, operation: Operation, full):
    arguments, given = operation.arguments, operation.given(full=full)
    async with AsyncTelnyx(base_url=base_url, api_key=KEY) as client:
        answer = await operation.call(client, full=full)
        raw = await operation.method_of(client, "with_raw_response")(*arguments, **given)
        async with operation.method_of(client, "with_streaming_response")(*arguments, **given) as streamed:
            check(operation, answer, await raw.parse(), await streamed.parse())


@cases
@every
def test_the_blocking_client_asks_and_reads_what_is_documented(base_url, operation: Operation, full):
    arguments, given = operation.arguments, operation.given(full=full)
    with Telnyx(base_url=base_url, api_key=KEY) as client:
        answer = operation.call(client, full=full)
        raw = operation.method_of(client, "with_raw_response")(*arguments, **given)
        with operation.method_of(client, "with_streaming_response")(*arguments, **given) as streamed:
            check(operation, answer, raw.parse(), streamed.parse())


@documents
def test_prism_refuses_what_is_not_documented(base_url):
    operation = BY_NAME["oauth_clients.create"]
    with Telnyx(base_url=base_url, api_key=KEY) as client, pytest.raises(UnprocessableEntityError):
        operation.call(client, extra_body={"client_type": "neither"})


@documents
def test_prism_refuses_a_call_without_credentials(base_url):
    with Telnyx(base_url=base_url, api_key=KEY) as client, pytest.raises(APIStatusError) as caught:
        client.oauth_clients.list(extra_headers={"Authorization": ""})
    assert caught.value.status_code == 401
