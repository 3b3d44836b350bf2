"""Tokens and keys that must be refused, and why. The numbers are stable: a test per number holds the list complete."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import warnings
from collections.abc import Callable

import attrs
from cryptography.hazmat.primitives.asymmetric import rsa as raw
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc.jwk import ECKey, OctKey, RSAKey

from telnyx_oauth.errors import Reason
from tests.forge import AUDIENCE, DROP, NOW, b64, claims, compact, ec, ed, jwks, key, public, rsa, token, unb64


@attrs.frozen
class Attack:
    """One hostile token, and the key set that it meets."""

    number: int
    name: str
    token: Callable[[], str]
    reason: Reason
    jwks: Callable[[], dict[str, object]] = jwks


def _resigned(make: Callable[[str], str]) -> str:
    return make(token())


def _pem_hmac() -> str:
    header = json.dumps({"alg": "HS256", "kid": "rsa", "typ": "at+jwt"}).encode()
    body = f"{b64(header)}.{b64(json.dumps(claims()).encode())}"
    return f"{body}.{b64(hmac.digest(rsa().as_pem(private=False), body.encode(), 'sha256'))}"


def _oct() -> OctKey:
    return OctKey.import_key({"kty": "oct", "k": b64(b"k" * 32), "kid": "oct"})


def _spare_bits() -> str:
    """The last character's unused bits set: another text, the same bytes to a careless decoder."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    whole = token()
    return whole[:-1] + alphabet[alphabet.index(whole[-1]) + 1]


def _padded(segment: int) -> str:
    parts = token().split(".")
    parts[segment] += "=" * (-len(parts[segment]) % 4 or 2)
    return ".".join(parts)


def _other_alphabet() -> str:
    for number in range(1000):
        found = token(jti=f"{number}~~~???")
        if "-" in found or "_" in found:
            return found.replace("-", "+").replace("_", "/")
    raise AssertionError


def _json_serialization() -> str:
    header, payload, signature = token().split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


def _der_signature() -> str:
    body, _, signature = token(ec(), alg="ES256").rpartition(".")
    raw = unb64(signature)
    return f"{body}.{b64(encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])))}"


def _es256_signature() -> bytes:
    return unb64(token(ec(), alg="ES256").rpartition(".")[2])


def _malleated_ed25519() -> str:
    """S + L, which is the same number modulo the order of the curve, and no canonical signature (RFC 8032)."""
    order = 2**252 + 27742317777372353535851937790883648493
    body, _, signature = token(ed(), alg="Ed25519").rpartition(".")
    raw = unb64(signature)
    return f"{body}.{b64(raw[:32] + (int.from_bytes(raw[32:], 'little') + order).to_bytes(32, 'little'))}"


def _duplicate_alg() -> str:
    return compact(b'{"alg":"RS256","alg":"RS256","kid":"rsa","typ":"at+jwt"}', json.dumps(claims()).encode())


def _duplicate_exp() -> str:
    body = json.dumps(claims())[:-1] + f', "exp": {NOW + 9999}}}'
    return token(payload=body.encode())


def _with_raw_header(header: bytes) -> str:
    return compact(header, json.dumps(claims()).encode())


def _with_exp(text: str) -> str:
    return token(payload=json.dumps(claims(exp="@")).replace('"@"', text).encode())


def _attackers_jwk() -> str:
    evil = key("evil")
    return token(evil, header={"kid": "rsa", "jwk": public(evil)})


@functools.cache
def _weak() -> RSAKey:
    number = raw.generate_private_key(65537, 1024).private_numbers()
    whole = {"kty": "RSA", "kid": "weak"} | {
        name: b64(value.to_bytes((value.bit_length() + 7) // 8))
        for name, value in {
            "n": number.public_numbers.n, "e": number.public_numbers.e, "d": number.d, "p": number.p, "q": number.q,
            "dp": number.dmp1, "dq": number.dmq1, "qi": number.iqmp,
        }.items()
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RSAKey.import_key(whole)


def _exponent_one() -> str:
    """With the exponent 1 the padded hash is its own signature."""
    body = token().rpartition(".")[0]
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(body.encode()).digest()
    return body + "." + b64(b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info)


def _off_curve() -> dict[str, object]:
    jwk = public(ec())
    y = bytearray(unb64(str(jwk["y"])))
    y[-1] ^= 1
    return jwks({**jwk, "y": b64(bytes(y))})


@functools.cache
def _short() -> ECKey:
    """A key whose x begins with a zero byte."""
    while True:
        found = ECKey.generate_key("P-256", {"kid": "short"})
        if unb64(str(found.as_dict(private=False)["x"]))[0] == 0:
            return found


def _stripped() -> dict[str, object]:
    jwk = public(_short())
    return jwks({**jwk, "x": b64(unb64(str(jwk["x"])).lstrip(b"\0"))})


def _alg(value: object) -> Attack:
    return Attack(7, f"alg {value!r}", lambda: token(header={"alg": value}), Reason.ALG_NOT_ALLOWED)


def _extension(number: int, member: str, value: object) -> Attack:
    return Attack(number, f"{member} {value!r}", lambda: token(header={member: value}), Reason.EXTENSION_NOT_SUPPORTED)


def _kid(value: object, reason: Reason, name: str | None = None) -> Attack:
    return Attack(26, f"kid {name or value!r}", lambda: token(header={"kid": value}), reason)


def _exp(text: str, reason: Reason) -> Attack:
    return Attack(40, f"exp {text}", lambda: _with_exp(text), reason)


def _claim(number: int, reason: Reason, **changes: object) -> Attack:
    (name, value), *_ = changes.items()
    shown = "missing" if value is DROP else repr(value)
    return Attack(number, f"{name} {shown}"[:60], lambda: token(**changes), reason)


def _typ(value: object) -> Attack:
    shown = "missing" if value is DROP else repr(value)
    return Attack(47, f"typ {shown}", lambda: token(header={"typ": value}), Reason.TYP_NOT_ALLOWED)


def _payload(number: int, name: str, payload: bytes, reason: Reason = Reason.PAYLOAD_INVALID) -> Attack:
    return Attack(number, name, lambda: token(payload=payload), reason)


def _form(number: int, name: str, make: Callable[[str], str], reason: Reason = Reason.NOT_A_JWT) -> Attack:
    return Attack(number, name, lambda: _resigned(make), reason)


def _keys(number: int, name: str, reason: Reason, make: Callable[[], str], *members: Callable[[], object]) -> Attack:
    return Attack(number, name, make, reason, lambda: jwks(*(member() for member in members)))


_ENCODED = json.dumps(claims())
_INVALID, _UNKNOWN, _MISSING = Reason.SIGNATURE_INVALID, Reason.KID_UNKNOWN, Reason.CLAIM_MISSING

ATTACKS: list[Attack] = [
    *(
        Attack(1, f"alg {alg!r}", lambda alg=alg: token(header={"alg": alg}, signature=b"x"), Reason.ALG_NOT_ALLOWED)
        for alg in ("none", "None", "nOnE", "")
    ),
    Attack(2, "HS256 keyed with the RSA PEM", _pem_hmac, Reason.ALG_NOT_ALLOWED),
    _keys(3, "HS256 with an oct key planted in the JWKS", Reason.ALG_NOT_ALLOWED, lambda: token(_oct(), alg="HS256"),
          lambda: {"kty": "oct", "k": b64(b"k" * 32), "kid": "oct"}),
    _keys(4, "PS256 on an RS256-bound key", _UNKNOWN, lambda: token(alg="PS256"), lambda: public(rsa(), alg="RS256")),
    _keys(5, "RS512 on an RS256-bound key", Reason.ALG_NOT_ALLOWED, lambda: token(alg="RS512"),
          lambda: public(rsa(), alg="RS256")),
    Attack(6, "ES256 with an RSA kid", lambda: token(ec(), alg="ES256", header={"kid": "rsa"}), _UNKNOWN),
    *(_alg(value) for value in (" RS256 ", "rs256", ["RS256"], {"RS256": 1}, 256, None)),
    Attack(8, "ES256 r=s=0", lambda: token(ec(), alg="ES256", signature=bytes(64)), _INVALID),
    Attack(9, "ES256 DER signature", _der_signature, _INVALID),
    Attack(10, "ES256 66 bytes", lambda: token(ec(), alg="ES256", signature=bytes(66)), _INVALID),
    Attack(10, "ES256 one byte more",
           lambda: token(ec(), alg="ES256", signature=_es256_signature() + b"\0"), _INVALID),
    Attack(11, "Ed25519 S+L", _malleated_ed25519, _INVALID),
    Attack(12, "spare base64 bits", _spare_bits, Reason.ENCODING_INVALID),
    *(Attack(13, f"padding in segment {n}", lambda n=n: _padded(n), Reason.NOT_A_JWT) for n in range(3)),
    Attack(14, "the alphabet of plain base64", _other_alphabet, Reason.NOT_A_JWT),
    *(_form(15, f"whitespace {text!r} after", lambda t, text=text: t + text) for text in (" ", "\n", "\r\n", "\t")),
    _form(15, "whitespace before", lambda t: " " + t),
    _form(15, "a newline inside", lambda t: t[:40] + "\n" + t[40:]),
    _form(16, "2 segments", lambda t: t.rpartition(".")[0]),
    _form(16, "4 segments", lambda t: t + ".AAAA"),
    _form(16, "5 segments", lambda t: t + ".AAAA.AAAA"),
    _form(16, "a trailing dot", lambda t: t + "."),
    _form(16, "an empty signature", lambda t: t.rpartition(".")[0] + "."),
    _form(16, "nothing", lambda _: ""),
    _form(16, "only dots", lambda _: ".."),
    Attack(17, "JSON serialization", _json_serialization, Reason.NOT_A_JWT),
    _form(18, "a letter that is not ASCII", lambda t: "é" + t[1:]),
    _form(18, "a digit that is not ASCII", lambda t: "\u0661" + t[1:]),
    _form(18, "a lone surrogate", lambda t: "\ud800" + t[1:]),
    *(_extension(19, "crit", value) for value in (["x-unknown"], [], "exp", ["alg"], ["b64"])),
    _extension(20, "b64", False),
    Attack(20, "b64 false with crit", lambda: token(header={"b64": False, "crit": ["b64"]}),
           Reason.EXTENSION_NOT_SUPPORTED),
    _extension(21, "zip", "DEF"),
    _extension(21, "enc", "A256GCM"),
    Attack(22, "duplicate alg", _duplicate_alg, Reason.HEADER_INVALID),
    *(Attack(23, f"header {text[:12]!r}", lambda text=text: _with_raw_header(text), Reason.HEADER_INVALID)
      for text in (b"[]", b"null", b'"RS256"', b'{"alg":"RS256","kid":"\xff"}', b"", b"{", b'{"alg":"RS256"} {}')
      if text),
    Attack(24, "the attacker's own jwk", _attackers_jwk, _INVALID),
    *(Attack(25, member, lambda member=member: token(key("evil"), header={
        "kid": "rsa", member: ["https://evil.example/x"] if member == "x5c" else "https://evil.example/x"}), _INVALID)
      for member in ("jku", "x5u", "x5c")),
    _kid(1, Reason.KID_INVALID),
    _kid(["rsa"], Reason.KID_INVALID),
    _kid(None, Reason.KID_INVALID),
    _kid("", Reason.KID_INVALID),
    _kid("../../dev/null", _UNKNOWN),
    _kid("k" * 257, Reason.KID_INVALID, "of 257 characters"),
    _kid("k" * 4096, Reason.HEADER_INVALID, "of 4,096 characters"),
    _kid("k" * 100_000, Reason.TOO_LONG, "of 100 KB"),
    _keys(27, "no kid and two RSA keys", Reason.KID_AMBIGUOUS, lambda: token(header={"kid": DROP}),
          lambda: public(rsa()), lambda: public(key("second"))),
    Attack(28, "a header 1,500 deep", lambda: _with_raw_header(b'{"a":' * 700 + b"1" + b"}" * 700),
           Reason.HEADER_INVALID),
    Attack(28, "a header 20,000 deep", lambda: _with_raw_header(b"[" * 20_000), Reason.TOO_LONG),
    Attack(28, "a payload 2,000 deep", lambda: token(payload=b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"),
           Reason.PAYLOAD_INVALID),
    Attack(28, "a payload 100,000 deep", lambda: token(payload=b"[" * 100_000), Reason.TOO_LONG),
    Attack(29, "a token of 1 MB", lambda: token(padding="x" * 1_000_000), Reason.TOO_LONG),
    _keys(30, "RSA-1024", _UNKNOWN, lambda: token(_weak(), header={"kid": "weak"}), lambda: public(_weak())),
    _keys(31, "RSA with e=1", _UNKNOWN, _exponent_one, lambda: public(rsa(), e="AQ")),
    Attack(32, "a point off the curve", lambda: token(ec(), alg="ES256"), _UNKNOWN, _off_curve),
    _keys(33, "use enc", _UNKNOWN, token, lambda: public(rsa(), use="enc")),
    *(_keys(34, f"key_ops {value!r}", _UNKNOWN, token, lambda value=value: public(rsa(), key_ops=value))
      for value in (["encrypt"], "verify", ["verify", "verify"], [["verify"]])),
    _keys(35, "a published private key", _UNKNOWN, token, lambda: rsa().as_dict(private=True)),
    _keys(36, "a kid twice, the second evil", Reason.KID_AMBIGUOUS, lambda: token(key("evil"), header={"kid": "rsa"}),
          lambda: public(rsa()), lambda: public(key("evil"), kid="rsa")),
    Attack(39, "a coordinate stripped of its leading zero", lambda: token(_short(), alg="ES256"), _UNKNOWN, _stripped),
    _claim(40, _MISSING, exp=DROP),
    _exp("null", _MISSING),
    _exp(f'"{NOW + 600}"', Reason.CLAIM_INVALID),
    _exp("true", Reason.CLAIM_INVALID),
    _exp(f"[{NOW + 600}]", Reason.CLAIM_INVALID),
    _exp("NaN", Reason.PAYLOAD_INVALID),
    _exp("Infinity", Reason.PAYLOAD_INVALID),
    _exp("-1", Reason.CLAIM_INVALID),
    _exp(str(NOW - 3600), Reason.EXPIRED),
    _exp(str(NOW - 30), Reason.EXPIRED),
    Attack(41, "exp twice", _duplicate_exp, Reason.PAYLOAD_INVALID),
    _claim(42, Reason.NOT_YET_VALID, nbf=NOW + 3600),
    _claim(42, Reason.CLAIM_INVALID, nbf=str(NOW)),
    _claim(43, Reason.ISSUED_IN_FUTURE, iat=NOW + 3600),
    _claim(43, Reason.CLAIM_INVALID, iat=True),
    _claim(44, _MISSING, aud=DROP),
    _claim(44, _MISSING, aud=""),
    _claim(44, Reason.AUD_MISMATCH, aud=[]),
    _claim(44, Reason.CLAIM_INVALID, aud={AUDIENCE: 1}),
    _claim(44, Reason.CLAIM_INVALID, aud=[AUDIENCE, 1]),
    _claim(44, Reason.CLAIM_INVALID, aud=[[AUDIENCE]]),
    *(_claim(44, Reason.AUD_MISMATCH, aud=value)
      for value in (AUDIENCE + "/", AUDIENCE[:-1], "https://other.example", AUDIENCE.upper())),
    _claim(45, Reason.ISS_MISMATCH, iss=["https://issuer.example"]),
    _claim(45, _MISSING, iss=DROP),
    _claim(45, _MISSING, iss=""),
    _claim(45, _MISSING, iss=None),
    *(_claim(45, Reason.ISS_MISMATCH, iss=value)
      for value in ("https://issuer.example/", "https://evil.example", "HTTPS://issuer.example")),
    _claim(46, Reason.CLAIM_INVALID, sub=1),
    _claim(46, _MISSING, sub=DROP),
    _claim(46, _MISSING, sub=""),
    _claim(46, _MISSING, client_id=DROP),
    _claim(46, _MISSING, jti=DROP),
    _claim(46, Reason.CLAIM_INVALID, client_id=["c"]),
    *(_typ(value) for value in ("JWT", DROP, "dpop+jwt", "logout+jwt", 1, None, "", "at+jwt ")),
    _claim(48, Reason.SENDER_CONSTRAINED, cnf={"jkt": "x"}),
    _claim(48, Reason.SENDER_CONSTRAINED, cnf=None),
    _claim(49, Reason.SCOPE_INVALID, scope=["admin"]),
    _claim(49, Reason.SCOPE_INVALID, scope=1),
    _claim(49, Reason.SCOPE_INVALID, scope="a\u00a0b"),
    _claim(49, Reason.SCOPE_INVALID, scope='a"b'),
    _claim(49, Reason.SCOPE_INVALID, scope="a\nb"),
    _payload(50, "a BOM", b"\xef\xbb\xbf" + _ENCODED.encode()),
    _payload(50, "UTF-16", _ENCODED.encode("utf-16")),
    _payload(50, "a list", b"[1]"),
    _payload(50, "a string", b'"x"'),
    _payload(50, "5,000 digits", b'{"exp":' + b"9" * 5000 + b"}"),
    _payload(50, "a lone surrogate", _ENCODED.replace("user-1", "\\ud800").encode()),
    _payload(50, "a raw control character", _ENCODED.replace("user-1", "a\x00b").encode()),
]  # fmt: skip


GOOD: dict[str, Callable[[], str]] = {
    "RS256": token,
    "PS256": lambda: token(alg="PS256"),
    "ES256": lambda: token(ec(), alg="ES256"),
    "EdDSA": lambda: token(ed(), alg="EdDSA", signed_by="Ed25519"),
    "Ed25519": lambda: token(ed(), alg="Ed25519"),
    "no kid, one key of the kind": lambda: token(header={"kid": DROP}),
    "a list of audiences": lambda: token(aud=["https://other.example", AUDIENCE]),
    "no scope": lambda: token(scope=DROP),
    "an empty scope": lambda: token(scope=""),
    "more spaces than needed between scopes": lambda: token(scope=" a  b "),
    "exp beyond every number": lambda: _with_exp("1e400"),
    "exp of 31 digits": lambda: _with_exp("1" + "0" * 30),
    "exp of 4,000 digits": lambda: _with_exp("9" * 4000),
    "exp as a fraction": lambda: token(exp=NOW + 1.5),
    "expired within the leeway": lambda: token(exp=NOW - 29),
    "nbf within the leeway": lambda: token(nbf=NOW + 30),
    "the long form of typ": lambda: token(header={"typ": "application/AT+JWT"}),
    "unknown header members": lambda: token(header={"cty": "x", "x5t": "y", "custom": {"a": [1]}}),
    "whole surrogate pairs": lambda: token(sub="\U0001f600"),
    "claims of any shape": lambda: token(org={"roles": ["a", {"b": None}], "n": 1.5}),
}
"""Tokens that must pass."""
