"""Project Wycheproof's vectors for JWS, where they are at hand: every difference has its reason here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from telnyx_oauth.protocol.jwk import VerificationKey, read_jwks
from telnyx_oauth.protocol.jws import decode_segment, looks_like_jwt, parse_object

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"
FILES = ("json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json")


def accepted(group: dict, jws: object) -> bool:
    """What a token goes through, but for the rules on `typ` and on claims, which these signatures do not have."""
    keys = group.get("public") or group["private"]
    found = read_jwks(json.dumps(keys if "keys" in keys else {"keys": [keys]}).encode())
    if found is None or not isinstance(jws, str) or not looks_like_jwt(jws):
        return False
    header, payload, signature = (decode_segment(segment) for segment in jws.split("."))
    head = None if header is None else parse_object(header)
    if head is None or payload is None or signature is None or {"crit", "b64", "zip", "enc"} & head.keys():
        return False
    algorithm, kid = head.get("alg"), head.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        return False
    key = found.select(algorithm, kid)
    return isinstance(key, VerificationKey) and key.verify(algorithm, jws.rpartition(".")[0].encode(), signature)


def explained(group: dict, test: dict) -> str | None:
    """Why ours refuses what the vectors call valid. There is no reason for the opposite."""
    keys = group.get("public") or group["private"]
    header, payload, _ = test["jws"].split(".")
    algorithm = (parse_object(decode_segment(header) or b"") or {}).get("alg", "HS256")
    if str(algorithm).startswith("HS"):
        return "whoever can verify an HMAC can forge one"
    if payload == "":
        return "a token has claims"
    if "keys" not in keys and keys["alg"] != algorithm:
        return "the key says that it is for another algorithm"
    return None


@pytest.mark.parametrize("name", FILES)
def test_the_vectors_agree_or_differ_for_a_reason(name):
    path = VECTORS / name
    if not path.exists():
        pytest.skip("Wycheproof's vectors are not at hand")
    # Some of the groups are for encryption, which no access token of ours has.
    tests = [
        (group, test)
        for group in json.loads(path.read_text())["testGroups"]
        for test in group["tests"]
        if "jws" in test
    ]
    wrongly_accepted, unexplained = [], []
    for group, test in tests:
        verdict, expected = accepted(group, test["jws"]), test["result"] == "valid"
        if verdict and not expected:
            wrongly_accepted.append((test["tcId"], group["comment"], test["comment"]))
        if expected and not verdict and not explained(group, test):
            unexplained.append((test["tcId"], group["comment"], test["comment"]))
    assert wrongly_accepted == []
    assert unexplained == []
