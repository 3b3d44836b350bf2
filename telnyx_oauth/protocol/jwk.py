"""JSON Web Keys, and sets of them (RFC 7517)."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias, cast

import attrs

from ..errors import Reason
from .jws import decode_segment, parse_object, read_entries

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"P-256": ("ES256", 32), "P-384": ("ES384", 48), "P-521": ("ES512", 66)}
_EDWARDS = frozenset(
    {"EdDSA", "Ed25519"}
)  # RFC 9864 gave the one curve of RFC 8037 that is supported here its own name
_RSA_BITS = range(2048, 8193)
_P = 2**255 - 19
# The y of the points whose order divides 8 (RFC 8032 section 5.1): 0, 1, -1, and those of order 8, whose y is ±_Y8. For
# such a key one signature fits many texts. The sign of x makes no difference.
_Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_LOW_ORDER = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})
# Some smart cards made moduli that can be factored; modulo these primes they are all powers of 65537 (CVE-2017-15361).
_ROCA_PRIMES = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
_SAYS_NOTHING: tuple[object, ...] = (None, "", (), {})  # serialisers write members so that are not there
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_Check: TypeAlias = Callable[[bytes, bytes], bool]


@attrs.frozen
class VerificationKey:
    """A public key that may verify signatures. Two are equal if id, material and permitted algorithms are.

    `thumbprint` is that of RFC 7638; a signature has `signature_bytes` bytes, never another number.
    """

    kid: str | None
    thumbprint: str
    algorithms: frozenset[str]
    signature_bytes: int = attrs.field(eq=False)
    _checks: Mapping[str, _Check] = attrs.field(eq=False, repr=False)

    def verify(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Return whether the signature over the input is by this key's private half and that algorithm."""
        check = self._checks.get(algorithm)
        return check is not None and len(signature) == self.signature_bytes and check(signing_input, signature)


class UnusableKeyError(ValueError):
    """The JWK may not verify tokens. The text says why, and quotes nothing of the JWK."""


def import_key(jwk: object) -> VerificationKey:
    """The key of a public JWK (RFC 7517, RFC 7518 section 6, RFC 8037). A member that is null or empty counts as absent.

    Raises `UnusableKeyError`.
    """
    if not isinstance(jwk, Mapping):
        raise UnusableKeyError("not an object")
    members = cast("Mapping[str, object]", jwk).items()
    return _import({name: value for name, value in members if value not in _SAYS_NOTHING})


def _import(jwk: Mapping[str, object]) -> VerificationKey:
    if not _SECRET.isdisjoint(jwk):
        # Everyone who reads the set could sign with it, so its signatures prove nothing.
        raise UnusableKeyError("it publishes a private or symmetric key")
    if jwk.get("use", "sig") != "sig":
        raise UnusableKeyError("use is not sig")
    operations = jwk.get("key_ops", ("verify",))
    names = [repr(each) for each in cast("tuple[object, ...]", operations)] if isinstance(operations, tuple) else []
    # RFC 7517 section 4.3: no operation may be listed twice.
    if repr("verify") not in names or len(set(names)) != len(names):
        raise UnusableKeyError("key_ops is not a list that names verify")
    if not isinstance(jwk.get("kid", ""), str):
        raise UnusableKeyError("kid is not a text")
    match jwk.get("kty"):
        case "RSA":
            return _rsa(jwk)
        case "EC":
            return _ec(jwk)
        case "OKP":
            return _okp(jwk)
        case _:
            raise UnusableKeyError("kty is not RSA, EC or OKP")


def _rsa(jwk: Mapping[str, object]) -> VerificationKey:
    modulus, exponent = int.from_bytes(_member(jwk, "n")), int.from_bytes(_member(jwk, "e"))
    if modulus.bit_length() not in _RSA_BITS or not modulus % 2:
        raise UnusableKeyError("n is not an odd number of 2048 to 8192 bits")
    if exponent < 3 or not exponent % 2:
        raise UnusableKeyError("e is not an odd number from 3")
    if all(any(pow(65537, power, prime) == modulus % prime for power in range(prime)) for prime in _ROCA_PRIMES):
        raise UnusableKeyError("n was made by a generator with a known weakness (ROCA)")
    # One number may be written with and without leading zeros; RFC 7518 section 6.3.1 has it without.
    members = {"e": _written(exponent), "kty": "RSA", "n": _written(modulus)}
    return _key(jwk, _RSA, (modulus.bit_length() + 7) // 8, members)


def _written(number: int) -> str:
    return urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode("ascii")


def _ec(jwk: Mapping[str, object]) -> VerificationKey:
    curve = jwk.get("crv")
    if not isinstance(curve, str) or curve not in _CURVES:
        raise UnusableKeyError("crv is not P-256, P-384 or P-521")
    algorithm, size = _CURVES[curve]
    # RFC 7518 section 6.2.1.2: the full size, leading zeros included.
    if len(_member(jwk, "x")) != size or len(_member(jwk, "y")) != size:
        raise UnusableKeyError("a coordinate has not the curve's length")
    return _key(jwk, frozenset({algorithm}), 2 * size, {name: str(jwk[name]) for name in ("crv", "kty", "x", "y")})


def _okp(jwk: Mapping[str, object]) -> VerificationKey:
    if jwk.get("crv") != "Ed25519" or len(_member(jwk, "x")) != 32:
        raise UnusableKeyError("it is no Ed25519 key")
    y = int.from_bytes(_member(jwk, "x"), "little") % 2**255
    if y >= _P:
        raise UnusableKeyError("x is not in canonical form")
    if y in _LOW_ORDER:
        raise UnusableKeyError("x is a point of low order")
    return _key(jwk, _EDWARDS, 64, {name: str(jwk[name]) for name in ("crv", "kty", "x")})


def _key(
    jwk: Mapping[str, object], possible: frozenset[str], signature_bytes: int, members: Mapping[str, str]
) -> VerificationKey:
    """The key made of these members; no other member of the JWK reaches the library."""
    algorithms = possible
    if "alg" in jwk:
        algorithm = jwk["alg"] if isinstance(jwk["alg"], str) else ""
        algorithms = possible & (_EDWARDS if algorithm in _EDWARDS else {algorithm})
    if not algorithms:
        raise UnusableKeyError("alg is none that the key can have here")
    checks = _checks(members, algorithms)
    if checks is None:
        raise UnusableKeyError("its members make no key")
    # https://www.rfc-editor.org/rfc/rfc7638#section-3
    thumbprint = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode("ascii")).hexdigest()
    kid = jwk.get("kid")
    return VerificationKey(str(kid) if kid else None, thumbprint, algorithms, signature_bytes, checks)


def _checks(members: Mapping[str, str], algorithms: frozenset[str]) -> Mapping[str, _Check] | None:
    # Loaded on first use: a program that never validates a token never pays for cryptography.
    from joserfc.jwk import JWKRegistry
    from joserfc.jws import JWSRegistry

    try:
        public = JWKRegistry.import_key(dict(members))
    except Exception:  # noqa: BLE001 - a key that a library fails at must not cost the good keys beside it
        return None
    models = {name: JWSRegistry.algorithms["Ed25519" if name in _EDWARDS else name] for name in algorithms}
    return {name: partial(model.verify, key=public) for name, model in models.items()}


def _member(jwk: Mapping[str, object], name: str) -> bytes:
    value = jwk.get(name)
    data = decode_segment(value) if isinstance(value, str) else None
    if data is None:
        raise UnusableKeyError(f"{name} is not base64url")
    return data


_Index: TypeAlias = Mapping[tuple[str, str | None], VerificationKey | None]


def _indexed(keys: KeySet) -> _Index:
    """Index keys by algorithm and id. `None` marks an ambiguous pair: with two different keys for it, neither is usable.

    Keys are compared by their material, since one may be listed twice, with and without its algorithm.
    """
    index: dict[tuple[str, str | None], VerificationKey | None] = {}
    for key in keys.keys:
        for name in key.algorithms:
            for kid in {key.kid, None}:  # a token without `kid` means the only key there is for its algorithm
                entry = index.get((name, kid), key)
                index[name, kid] = entry if entry is not None and entry.thumbprint == key.thumbprint else None
    return index


@attrs.frozen
class KeySet:
    """The usable keys of one JWKS, and the reason for each unusable one, such as `keys[2]: use is not sig`."""

    keys: tuple[VerificationKey, ...] = ()
    skipped: tuple[str, ...] = ()
    _index: _Index = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_indexed, takes_self=True))

    def select(self, algorithm: str, kid: str | None) -> VerificationKey | Reason:
        """The one key for a token with this header, or the reason why there is none."""
        key = self._index.get((algorithm, kid), Reason.KID_UNKNOWN)
        return Reason.KID_AMBIGUOUS if key is None else key

    def knows(self, kid: str | None) -> bool:
        """Return whether a key has this id, even if for other algorithms."""
        return any(key.kid == kid for key in self.keys)


def read_jwks(data: bytes, *, max_keys: int = 64) -> KeySet | None:
    """The keys of a JWKS document (RFC 7517 section 5). `None` for another document, and for more than `max_keys` keys.

    A key that is malformed or not for verifying is skipped, even if it is not valid JSON; the other keys are kept.
    """
    entries = read_entries(data, "keys")
    if entries is None or len(entries) > max_keys:
        return None
    keys: dict[VerificationKey, None] = {}
    skipped: list[str] = []
    for place, entry in enumerate(entries):
        try:
            keys[_read(entry)] = None
        except UnusableKeyError as error:
            skipped.append(f"keys[{place}]: {error}")
    return KeySet(tuple(keys), tuple(skipped))


def _read(entry: bytes) -> VerificationKey:
    jwk = parse_object(entry)
    if jwk is None and entry.startswith(b"{"):
        raise UnusableKeyError("it cannot be read")
    return import_key(jwk)
