"""Keys and tokens of every kind, good and bad, for the tests of validation."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Mapping

import attrs
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from telnyx_oauth.messages import Request, Response, headers
from telnyx_oauth.protocol.jwt import TokenPolicy

ISSUER = "https://issuer.example"
AUDIENCE = "https://service.example"
NOW = 1_800_000_000
DROP = object()
"""The value of a member that is to be left out."""


@functools.cache
def key(kid: str = "rsa", kind: str = "RSA", size: int | str | None = None):
    """A private key; the same one whenever it is asked for by the same name."""
    if kind == "RSA":
        return RSAKey.generate_key(int(size or 2048), {"kid": kid})
    if kind == "EC":
        return ECKey.generate_key(str(size or "P-256"), {"kid": kid})
    return OKPKey.generate_key(str(size or "Ed25519"), {"kid": kid}) if kind == "OKP" else OctKey.generate_key(256)


def rsa():
    return key()


def ec():
    return key("ec", "EC")


def ed():
    return key("ed", "OKP")


def public(private, **changes: object) -> dict[str, object]:
    """The key's public JWK, with members changed or dropped."""
    return kept({**private.as_dict(private=False), **changes})


def kept(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not DROP}


def jwks(*keys: object) -> dict[str, object]:
    """A key set: of these, or of one good key of each kind."""
    return {"keys": list(keys) if keys else [public(rsa()), public(ec()), public(ed())]}


def claims(**changes: object) -> dict[str, object]:
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": NOW + 600,
        "iat": NOW - 10,
        "sub": "user-1",
        "client_id": "client-1",
        "jti": "token-1",
        "scope": "calls.read calls.write",
    }
    return kept({**good, **changes})


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def sign(alg: str, data: bytes, private) -> bytes:
    return JWSRegistry.algorithms[alg].sign(data, private)


def compact(header: bytes, payload: bytes, private=None, *, alg: str = "RS256", signature: bytes | None = None) -> str:
    """A JWS of exactly these bytes."""
    body = f"{b64(header)}.{b64(payload)}"
    made = sign(alg, body.encode("ascii"), private or rsa()) if signature is None else signature
    return f"{body}.{b64(made)}"


def token(
    private=None,
    *,
    alg: str = "RS256",
    signed_by: str | None = None,
    header: Mapping[str, object] | None = None,
    signature: bytes | None = None,
    payload: bytes | None = None,
    **changes: object,
) -> str:
    """A good token, but for what is changed: claims by name, `header` members, the raw `payload`, the `signature`.

    `signed_by` is the algorithm that really signs, where the header tells another.
    """
    private = private or rsa()
    head = kept({"alg": alg, "kid": private.kid, "typ": "at+jwt", **(header or {})})
    body = json.dumps(claims(**changes)).encode() if payload is None else payload
    return compact(json.dumps(head).encode(), body, private, alg=signed_by or alg, signature=signature)


def policy(**changes: object) -> TokenPolicy:
    return TokenPolicy(issuer=ISSUER, audience=AUDIENCE, **changes)


@attrs.define
class MovedClock:
    """A clock that stands still until it is moved."""

    now: float = float(NOW)

    def wall(self) -> float:
        return self.now

    def boot(self) -> float:
        return self.now - NOW

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def answer(body: object = None, status: int = 200, **fields: str) -> Response:
    """An HTTP answer; a `dict` goes as JSON. Header names are written with underscores."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers(*((name.replace("_", "-"), value) for name, value in fields.items())), content)


class Wire:
    """A transport that gives prepared answers, the last one for ever, and keeps the requests."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(given, Exception):
            raise given
        return given
