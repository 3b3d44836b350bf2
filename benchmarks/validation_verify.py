"""Judging a token: cold and remembered, against the bare signature check and against other libraries.

`python -m benchmarks.validation_verify` prints CPU ratios to OpenSSL's own verification of the same signature.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import jwt
from authlib.jose import JsonWebKey, JsonWebToken
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.jwt import decode as joserfc_decode

from benchmarks.measure import in_turns_async, microseconds, ratio
from telnyx_oauth.protocol.jose import decode_segment
from telnyx_oauth.protocol.jwt import TokenPolicy
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator

ISSUER, AUDIENCE = "https://issuer.example", "https://service.example"
PER, ROUNDS = 400, 15


def made(key: RSAKey | ECKey, alg: str) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 3600,
        "iat": now,
        "sub": "3d1f2f38-7c9f-4a4c-9f57-0d6b4f6f6d02",
        "client_id": "8qI2tC7qexVUVvItjkzVpA",
        "jti": "8f2c61b0-1f3f-4c5b-9b1e-2f8f2f0d7c11",
        "scope": "account_management.read wireless.write",
    }
    return jws.serialize_compact({"alg": alg, "kid": "k", "typ": "at+jwt"}, json.dumps(claims), key, algorithms=[alg])


def bare(key: RSAKey | ECKey, token: str, alg: str) -> Callable[[], object]:
    """OpenSSL alone: no parsing, no claims."""
    body, _, last = token.rpartition(".")
    signature, data, public = decode_segment(last) or b"", body.encode(), key.public_key
    if alg == "RS256":
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda: public.verify(signature, data, scheme, digest)
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    ecdsa = ec.ECDSA(hashes.SHA256())
    return lambda: public.verify(der, data, ecdsa)


def peers(key: RSAKey | ECKey, token: str, alg: str) -> dict[str, Callable[[], object]]:
    public = key.as_dict(private=False)
    by_pyjwt, by_authlib = jwt.PyJWK(public, algorithm=alg), JsonWebKey.import_key(public)
    library, registry = JsonWebToken([alg]), JWTClaimsRegistry()

    def joserfc() -> None:
        registry.validate(joserfc_decode(token, key, algorithms=[alg]).claims)

    return {
        "PyJWT": lambda: jwt.decode(token, by_pyjwt, algorithms=[alg], audience=AUDIENCE, issuer=ISSUER),
        "joserfc": joserfc,
        "authlib": lambda: library.decode(token, by_authlib).validate(),
    }


def repeated(call: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def batch() -> None:
        for _ in range(PER):
            call()

    return batch


def judging(validator: TokenValidator, token: str) -> Callable[[], Awaitable[object]]:
    async def batch() -> None:
        for _ in range(PER):
            await validator.validate(token)

    return batch


async def main() -> None:
    policy = TokenPolicy.rfc9068(issuer=ISSUER, audience=AUDIENCE)
    for alg, key in (
        ("RS256", RSAKey.generate_key(2048, {"kid": "k"})),
        ("ES256", ECKey.generate_key("P-256", {"kid": "k"})),
    ):
        token, keys = made(key, alg), StaticKeys({"keys": [key.as_dict(private=False)]})
        sides = {
            "OpenSSL alone": repeated(bare(key, token, alg)),
            "telnyx_oauth, cold": judging(TokenValidator(policy, keys, cache_size=0), token),
            "telnyx_oauth, remembered": judging(TokenValidator(policy, keys), token),
            **{name: repeated(call) for name, call in peers(key, token, alg).items()},
        }
        results = await in_turns_async(sides, rounds=ROUNDS, per=PER)
        print(f"\n{alg}, a token of {len(token)} bytes")
        for name, side in results.items():
            against = ratio(side.cpu, results["OpenSSL alone"].cpu)
            print(f"{name:28}{microseconds(side.cpu):>12}   {against} of OpenSSL alone")


if __name__ == "__main__":
    asyncio.run(main())
