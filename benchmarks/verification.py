"""What does it cost to judge a token, cold and remembered, beside the bare signature check and other libraries?"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey
from joserfc.jwt import JWTClaimsRegistry
from joserfc.jwt import decode as joserfc_decode

from telnyx_oauth.protocol.jws import decode_segment
from telnyx_oauth.protocol.jwt import TokenPolicy
from telnyx_oauth.validation.keys import StaticKeys
from telnyx_oauth.validation.validator import TokenValidator

from . import peers
from .measure import in_turns_async, microseconds, ratio
from .report import Table

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


def others(key: RSAKey | ECKey, token: str, alg: str) -> dict[str, Callable[[], object]]:
    """Other libraries on the same token; all check its times, PyJWT its issuer and audience as well."""
    public = key.as_dict(private=False)
    registry = JWTClaimsRegistry()

    def joserfc() -> None:
        registry.validate(joserfc_decode(token, key, algorithms=[alg]).claims)

    found: dict[str, Callable[[], object]] = {"joserfc": joserfc}
    if peers.has("PyJWT"):
        import jwt

        by_pyjwt = jwt.PyJWK(public, algorithm=alg)
        found["PyJWT"] = lambda: jwt.decode(token, by_pyjwt, algorithms=[alg], audience=AUDIENCE, issuer=ISSUER)
    if peers.has("authlib"):
        from authlib.jose import JsonWebKey, JsonWebToken

        library, by_authlib = JsonWebToken([alg]), JsonWebKey.import_key(public)
        found["authlib"] = lambda: library.decode(token, by_authlib).validate()
    return found


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


async def measured(alg: str, key: RSAKey | ECKey) -> Table:
    """The table for one algorithm."""
    policy = TokenPolicy.rfc9068(issuer=ISSUER, audience=AUDIENCE)
    token, keys = made(key, alg), StaticKeys({"keys": [key.as_dict(private=False)]})
    table = Table(f"Judging a token of {len(token)} bytes, {alg}", ("side", "CPU", "ratio to OpenSSL alone", "goal"))
    cold, remembered = "telnyx_oauth, cold", "telnyx_oauth, remembered"
    sides = {
        "OpenSSL alone": repeated(bare(key, token, alg)),
        cold: judging(TokenValidator(policy, keys, cache_size=0), token),
        remembered: judging(TokenValidator(policy, keys), token),
        **{name: repeated(call) for name, call in others(key, token, alg).items()},
    }
    results = await in_turns_async(sides, rounds=ROUNDS, per=PER)
    goals = {cold: "<= 2.6", remembered: "<= 2 µs"} if alg == "RS256" else {}
    for name, side in results.items():
        table.add(name, microseconds(side.cpu), ratio(side.cpu, results["OpenSSL alone"].cpu), goals.get(name, ""))
    return table


def run() -> list[Table]:
    """The tables."""
    tables = [
        asyncio.run(measured("RS256", RSAKey.generate_key(2048, {"kid": "k"}))),
        asyncio.run(measured("ES256", ECKey.generate_key("P-256", {"kid": "k"}))),
    ]
    tables[-1].notes.extend(peers.missing())
    return tables
