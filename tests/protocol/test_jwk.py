from __future__ import annotations

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth.errors import Reason
from telnyx_oauth.protocol.jwk import KeySet, UnusableKeyError, import_key, read_jwks
from telnyx_oauth.protocol.jws import parse_object, read_entries
from tests.forge import DROP, b64, ec, ed, jwks, key, public, rsa, sign, unb64

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def read(*keys: object) -> KeySet:
    found = read_jwks(json.dumps({"keys": list(keys)}).encode())
    assert found is not None
    return found


def imported(jwk: object):
    return import_key((parse_object(json.dumps({"jwk": jwk}).encode()) or {})["jwk"])


@pytest.mark.parametrize(
    ("private", "alg", "signers"),
    [
        (rsa, "RS256", RSA),
        (ec, "ES256", {"ES256"}),
        (lambda: key("p384", "EC", "P-384"), "ES384", {"ES384"}),
        (lambda: key("p521", "EC", "P-521"), "ES512", {"ES512"}),
        (ed, "Ed25519", {"Ed25519", "EdDSA"}),
    ],
    ids=["RSA", "P-256", "P-384", "P-521", "Ed25519"],
)
def test_a_key_verifies_what_its_private_half_signed_by_the_algorithms_of_its_kind(private, alg, signers):
    made = imported(public(private()))
    signature = sign(alg, b"input", private())
    assert made.algorithms == signers
    assert made.verify(alg, b"input", signature)
    assert not made.verify(alg, b"other", signature)
    assert not made.verify(alg, b"input", signature + b"\0")
    assert not made.verify(alg, b"input", signature[:-1])
    assert not made.verify("HS256", b"input", signature)
    assert private().as_dict(private=False).get("x", "-") not in repr(made)


@pytest.mark.parametrize(
    ("alg", "allowed"),
    [("RS256", {"RS256"}), ("PS512", {"PS512"}), (DROP, RSA)],
)
def test_a_key_is_for_the_algorithm_that_it_names(alg, allowed):
    assert imported(public(rsa(), alg=alg)).algorithms == allowed


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_both_names_of_the_edwards_curve_mean_the_same(alg):
    assert imported(public(ed(), alg=alg)).algorithms == {"EdDSA", "Ed25519"}


def test_a_key_is_known_by_its_thumbprint():
    assert imported(public(ec())).thumbprint == unb64(ec().thumbprint()).hex()
    assert imported(public(ec())) == imported(public(ec(), key_ops=["verify"], use="sig"))
    assert imported(public(ec())) != imported(public(ec(), kid="other"))
    assert len({imported(public(ec())), imported(public(ec()))}) == 1


def test_a_modulus_of_a_known_weak_generator_is_refused():
    weak = math.prod((11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)) << 1950 | 1
    with pytest.raises(UnusableKeyError, match="ROCA"):
        imported({"kty": "RSA", "e": "AQAB", "n": b64(weak.to_bytes((weak.bit_length() + 7) // 8))})


P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493


def point(y):
    """A point of edwards25519 with this y, if there is one (RFC 8032 section 5.1.3)."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    return next(((x, y) for x in (root, root * pow(2, (P - 1) // 4, P) % P) if x * x % P == square), None)


def added(one, other):
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(factor, summand):
    total = (0, 1)
    for bit in f"{factor:b}":
        total = added(total, total)
        total = added(total, summand) if bit == "1" else total
    return total


def low_order():
    """Every text of 32 bytes that a decoder may take for one of the eight points that vanish eightfold."""
    found = [times(ORDER, point(y)) for y in range(2, 40) if point(y)]
    assert all(times(8, each) == (0, 1) for each in found)
    whole = {times(factor, each) for each in found for factor in range(8)}
    assert len(whole) == 8
    ys = {y for _, y in whole} | {y + P for _, y in whole if y + P < 2**255}
    return [(y + sign * 2**255).to_bytes(32, "little") for y in ys for sign in (0, 1)]


def test_a_key_of_low_order_is_refused_however_it_is_written():
    texts = low_order()
    assert len(texts) == 14
    for text in texts:
        with pytest.raises(UnusableKeyError, match=r"low order|canonical"):
            imported({"kty": "OKP", "crv": "Ed25519", "x": b64(text)})


@pytest.mark.parametrize("y", range(P, 2**255))
def test_an_edwards_key_has_one_form(y):
    with pytest.raises(UnusableKeyError, match="canonical"):
        imported({"kty": "OKP", "crv": "Ed25519", "x": b64(y.to_bytes(32, "little"))})


def test_edwards448_is_not_taken_at_all():
    with pytest.raises(UnusableKeyError, match="Ed25519"):
        imported(public(key("ed448", "OKP", "Ed448")))


def test_the_key_that_a_header_means_is_found():
    keys = read(public(rsa()), public(key("second")), public(ec()), public(ed(), kid=DROP))
    assert keys.select("RS256", "rsa") == imported(public(rsa()))
    assert keys.select("ES256", None) == imported(public(ec()))
    assert keys.select("Ed25519", None) == imported(public(ed(), kid=DROP))
    assert keys.select("Ed25519", "ed") is Reason.KID_UNKNOWN
    assert keys.select("RS256", None) is Reason.KID_AMBIGUOUS
    assert keys.select("RS256", "ec") is Reason.KID_UNKNOWN
    assert keys.select("ES384", None) is Reason.KID_UNKNOWN
    assert keys.knows("ec")
    assert not keys.knows("ed")


def test_two_keys_of_one_id_are_both_unusable_and_the_same_key_twice_is_one():
    twice = read(public(rsa()), public(rsa()), public(ec()), public(key("other", "EC"), kid="ec"))
    assert twice.select("RS256", "rsa") == imported(public(rsa()))
    assert twice.select("ES256", "ec") is Reason.KID_AMBIGUOUS
    third = read(*(public(key(name), kid="same") for name in ("rsa", "second", "third")))
    assert third.select("PS256", "same") is Reason.KID_AMBIGUOUS


OPTIONAL = ["d", "p", "oth", "k", "alg", "use", "key_ops", "x5c", "x5t", "x5u", "kid", "ext", "unknown"]


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("private", [rsa, ec, ed], ids=["RSA", "EC", "OKP"])
def test_a_member_that_is_null_or_empty_is_absent(private, nothing):
    bare = read(public(private(), kid=DROP, use=DROP, alg=DROP))
    assert read(public(private(), **dict.fromkeys(OPTIONAL, nothing))) == bare
    for name in OPTIONAL:
        assert read(public(private(), **{"kid": DROP, name: nothing})) == bare, name
    assert bare.select(min(bare.keys[0].algorithms), None) == bare.keys[0]


@pytest.mark.parametrize("nothing", [None, "", [], {}])
@pytest.mark.parametrize("name", ["kty", "n", "e"])
def test_a_member_that_a_key_needs_must_say_something(name, nothing):
    assert read(public(rsa(), **{name: nothing})).keys == ()


def zeros(text: object, count: int = 1) -> str:
    return b64(bytes(count) + unb64(str(text)))


SAME = {
    "with and without alg": ({}, {"alg": "RS256"}),
    "with two algs": ({"alg": "PS256"}, {"alg": "RS256"}, {}),
    "with and without use": ({}, {"use": "sig"}),
    "with and without key_ops": ({"key_ops": ["verify"]}, {}),
    "with a zero before n": ({}, {"n": zeros(public(rsa())["n"])}),
    "with zeros before e": ({}, {"e": zeros(public(rsa())["e"], 5)}),
    "with all of it": ({"n": zeros(public(rsa())["n"], 2), "alg": "RS256"}, {"use": "sig"}, {"alg": "RS256"}),
}


@pytest.mark.parametrize("changes", SAME.values(), ids=SAME)
@pytest.mark.parametrize("turned", [False, True])
def test_one_key_listed_twice_is_one_key(changes, turned):
    entries = [public(rsa(), **each) for each in changes]
    keys = read(*(reversed(entries) if turned else entries))
    for kid in ("rsa", None):
        found = keys.select("RS256", kid)
        assert not isinstance(found, Reason)
        assert found.verify("RS256", b"input", sign("RS256", b"input", rsa()))
    other = read(*entries, public(key("second"), kid="rsa"), *entries)
    assert other.select("RS256", "rsa") is Reason.KID_AMBIGUOUS


def test_one_key_under_two_ids_is_the_only_one_that_a_token_without_id_can_mean():
    keys = read(public(ec(), kid="a"), public(ec(), kid="b"))
    assert [keys.select("ES256", kid).kid for kid in ("a", "b")] == ["a", "b"]
    assert not isinstance(keys.select("ES256", None), Reason)


def test_the_thumbprint_is_of_the_number_however_it_is_written():
    plain, padded = imported(public(rsa())), imported(public(rsa(), n=zeros(public(rsa())["n"])))
    assert plain == padded
    assert plain.thumbprint == unb64(rsa().thumbprint()).hex()


UNREADABLE = {
    "a repeated member": b'{"kty":"RSA","use":"enc","use":"enc","n":"AQ","e":"AQAB"}',
    "half a character": rb'{"kty":"RSA","kid":"\udc00","use":"enc"}',
    "bytes that are no text": b'{"kty":"RSA","kid":"Jos\xe9"}',
    "NaN": b'{"kty":"RSA","x":NaN}',
    "a number with too many digits": b'{"kty":"RSA","x":' + b"9" * 5000 + b"}",
    "no JSON": b"{kty: RSA}",
    "single quotes": b"{'kty': 'RSA'}",
    "deep nesting": b'{"kty":"RSA","x5c":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "many brackets": b'{"kty":"RSA","x5c":[' + b"[]," * 3000 + b"[]]}",
    "brackets that do not match": b'{"kty":["RSA"}]',
    "a line break in a text": b'{"kty":"R\nSA"}',
    "no object": b"nothing",
}


@pytest.mark.parametrize("entry", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_entry_that_cannot_be_read_costs_no_other(entry, place):
    entries = [json.dumps(public(each)).encode() for each in (rsa(), ec())]
    entries.insert(place, entry)
    keys = read_jwks(b' {"a": {"b": [1, 2]}, "keys" : [ ' + b" ,\n".join(entries) + b' ] , "z":["x,]"]}')
    assert keys is not None
    assert keys.keys == read(public(rsa()), public(ec())).keys
    assert len(keys.skipped) == 1
    assert keys.skipped[0] in (f"keys[{place}]: it cannot be read", f"keys[{place}]: not an object")


def test_texts_with_marks_of_json_in_them_are_one_entry():
    odd = public(ec(), note='a"b\\', other="],[{},:}", x5u='\\"')
    assert read(odd, public(rsa()), odd).keys == read(public(ec()), public(rsa())).keys


@pytest.mark.parametrize(
    "document",
    [
        b'{"keys":[{}',
        b'{"keys":[{},]}',
        b'{"keys":[,{}]}',
        b'{"keys":[{}]}x',
        b'{"keys":[{}]',
        b'[{"keys":[{}]}]',
        b'{"keys":[{}]]',
        b'{"a":{"keys":[]}}',
        b'{"keys":["a}',
        b'{"keys":"[]"}',
        b'{"keys":[]}{"keys":[]}',
        b'{"keys":[],"\\u006beys":[]}',
        b"]" * 50,
    ],
)
def test_a_document_that_is_no_key_set_is_refused_whole(document):
    assert read_jwks(document) is None


@given(st.lists(st.binary(max_size=12), max_size=4))
def test_any_bytes_among_the_entries_are_a_key_set_or_none(entries):
    found = read_jwks(b'{"keys":[' + b",".join(entries) + b"]}")
    assert found is None or found.keys == ()


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_entries_are_cut_out_as_json_has_them(value):
    document = {"a": value, "keys": [value, {"x": value}, [value]], "b": [value]}
    for separators in ((",", ":"), (" , ", " : ")):
        entries = read_entries(json.dumps(document, separators=separators).encode(), "keys")
        assert entries is not None
        assert [json.loads(entry) for entry in entries] == document["keys"]


@pytest.mark.parametrize("bomb", [b"[" * 500_000, b"{" * 500_000, b'"' * 500_001, b'\\"' * 250_000, b'"\\' * 250_000])
def test_a_long_document_of_one_thing_is_refused_in_no_time_to_speak_of(bomb):
    began = time.process_time()
    assert read_jwks(b'{"keys":[' + bomb) is None
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":null}', b'{"keys":[],"keys":[]}', b"<html>"]
)
def test_what_is_no_jwks_is_none(document):
    assert read_jwks(document) is None


def test_a_byte_order_mark_may_stand_before_the_set():
    assert read_jwks(b"\xef\xbb\xbf" + json.dumps(jwks()).encode()) == read(*jwks()["keys"])
    assert read_jwks(b"\xef\xbb\xbf" * 2 + json.dumps(jwks()).encode()) is None


def test_a_set_may_have_so_many_keys_and_no_more():
    many = json.dumps({"keys": [public(ec(), kid=str(number)) for number in range(3)]}).encode()
    assert read_jwks(many, max_keys=2) is None
    assert len((read_jwks(many, max_keys=3) or KeySet()).keys) == 3


def test_why_a_key_is_left_out_is_told_in_our_words_alone():
    keys = read(public(ec()), {"kty": "<script>"}, rsa().as_dict(private=True), public(rsa(), use="enc"))
    assert keys.skipped == (
        "keys[1]: kty is not RSA, EC or OKP",
        "keys[2]: it publishes a private or symmetric key",
        "keys[3]: use is not sig",
    )
    assert len(keys.keys) == 1
    assert len(jwks()["keys"]) == 3
