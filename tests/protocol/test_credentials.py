"""The credentials that sign a call."""

from __future__ import annotations

import attrs
import pytest

from telnyx_oauth.errors import MissingCredentialsError
from telnyx_oauth.protocol.credentials import Credentials, Signer, signer
from telnyx_oauth.protocol.requests import Auth, Call, Extras, omit
from tests.wire import StaticToken

EMPTY = Credentials()
KEY = Credentials("KEY")
ID = Credentials(None, "id")
KEY_AND_ID = Credentials("KEY", "id")
CLIENT = Credentials("KEY", "id", "secret")
WITH_TOKENS = [attrs.evolve(each, tokens=StaticToken("token")) for each in (EMPTY, KEY, ID, KEY_AND_ID, CLIENT)]
TOKENS, KEY_TOKENS, ID_TOKENS, _, CLIENT_TOKENS = WITH_TOKENS
EVERY = [EMPTY, KEY, ID, KEY_AND_ID, CLIENT, *WITH_TOKENS]

OPEN = Call("GET", "/open", Auth.NONE)
PLAIN = Call("GET", "/things")
INTROSPECT = Call("POST", "/oauth/introspect", Auth.CLIENT, form={"token": "t"})
GRANT = Call("POST", "/oauth/token", Auth.TOKEN, form={"grant_type": "client_credentials"})
OTHER = attrs.evolve(GRANT, form={"client_id": "other"})
SECRET = Extras(body={"client_secret": "s"})
ASSERTION = Extras(body={"client_assertion": "jwt"})


@pytest.mark.parametrize(
    "call, extras, credentials, expected",
    [
        *((OPEN, Extras(), each, Signer.NONE) for each in EVERY),
        *((PLAIN, Extras(), each, Signer.TOKEN) for each in WITH_TOKENS),
        (PLAIN, Extras(), KEY, Signer.KEY),
        (PLAIN, Extras(), KEY_AND_ID, Signer.KEY),
        (INTROSPECT, Extras(), KEY, Signer.KEY),
        (INTROSPECT, Extras(), KEY_AND_ID, Signer.KEY),
        (INTROSPECT, Extras(), CLIENT, Signer.BASIC),
        (INTROSPECT, Extras(), CLIENT_TOKENS, Signer.BASIC),
        (INTROSPECT, Extras(), TOKENS, Signer.TOKEN),
        (INTROSPECT, Extras(), KEY_TOKENS, Signer.TOKEN),
        (INTROSPECT, Extras(), ID_TOKENS, Signer.TOKEN),
        (INTROSPECT, SECRET, EMPTY, Signer.NONE),
        (INTROSPECT, SECRET, KEY_TOKENS, Signer.NONE),
        (INTROSPECT, SECRET, CLIENT_TOKENS, Signer.CLIENT_ID),
        (GRANT, Extras(), EMPTY, Signer.NONE),
        (GRANT, Extras(), KEY_TOKENS, Signer.NONE),
        (GRANT, Extras(), KEY_AND_ID, Signer.CLIENT_ID),
        (GRANT, Extras(), ID_TOKENS, Signer.CLIENT_ID),
        (GRANT, Extras(), CLIENT, Signer.BASIC),
        (GRANT, Extras(), CLIENT_TOKENS, Signer.BASIC),
        (GRANT, SECRET, CLIENT, Signer.CLIENT_ID),
        (GRANT, ASSERTION, CLIENT, Signer.CLIENT_ID),
        (GRANT, ASSERTION, KEY, Signer.NONE),
        (OTHER, Extras(), CLIENT, Signer.CLIENT_ID),
        (OTHER, Extras(), EMPTY, Signer.NONE),
    ],
)
def test_one_set_of_credentials_signs_a_call(call, extras, credentials, expected):
    assert signer(call, extras, credentials) is expected


@pytest.mark.parametrize("credentials", EVERY)
@pytest.mark.parametrize("call", [OPEN, PLAIN, INTROSPECT, GRANT, OTHER])
@pytest.mark.parametrize("value", ["Basic eDp5", omit])
@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION"])
def test_the_users_own_header_wins_over_everything(credentials, call, name, value):
    assert signer(call, Extras(headers={name: value}), credentials) is Signer.HEADER
    assert signer(call, Extras(), credentials, own_header=True) is Signer.HEADER


def test_other_headers_sign_nothing():
    assert signer(PLAIN, Extras(headers={"X-Authorization": "x"}), KEY) is Signer.KEY


@pytest.mark.parametrize(
    "call, credentials, parameters",
    [
        (PLAIN, EMPTY, ("api_key", "client_id and client_secret")),
        (PLAIN, ID, ("client_secret", "api_key")),
        (PLAIN, CLIENT, ("client_secret", "api_key")),
        (INTROSPECT, EMPTY, ("client_id and client_secret", "api_key")),
        (INTROSPECT, ID, ("client_secret", "api_key")),
    ],
)
def test_missing_credentials_are_named(call, credentials, parameters):
    with pytest.raises(MissingCredentialsError) as caught:
        signer(call, Extras(), credentials)
    assert caught.value.parameters == parameters


def test_a_secret_in_a_path_stays_out_of_the_error():
    with pytest.raises(MissingCredentialsError) as caught:
        signer(Call("GET", "/things/planted", shown="/things/..."), Extras(), EMPTY)
    assert "planted" not in str(caught.value)


def test_credentials_show_no_secret():
    assert repr(CLIENT_TOKENS) == "Credentials(client_id='id')"
