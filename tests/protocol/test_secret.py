from __future__ import annotations

import copy
import pickle

import pytest

from telnyx_oauth.protocol.secret import Secret


@pytest.mark.parametrize("value", ["s3cr3t-text", b"s3cr3t-bytes", {"Authorization": "s3cr3t-header"}])
def test_a_secret_is_shown_by_nothing_but_its_plain_value(value):
    secret = Secret(value)
    assert secret.plain is value
    for shown in (repr(secret), str(secret), repr([secret]), repr({"a": secret})):
        assert "s3cr3t" not in shown


def test_a_secret_does_not_become_part_of_a_text():
    with pytest.raises(TypeError, match="plain"):
        f"Bearer {Secret('s3cr3t')}"
    with pytest.raises(TypeError, match="plain"):
        pickle.dumps(Secret("s3cr3t"))


def test_secrets_compare_by_value():
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert Secret("a")
    assert not Secret("")
    assert copy.deepcopy(Secret("a")) == copy.copy(Secret("a")) == Secret("a")
