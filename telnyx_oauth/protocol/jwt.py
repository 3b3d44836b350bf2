"""Claims and headers of JSON Web Tokens, checked against a policy (RFC 7519, RFC 9068)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import inf
from typing import Self, cast

import attrs

from ..errors import ExpiredTokenError, InvalidTokenError, Reason
from ..messages import check_number
from .arguments import AS_TEXT, expect_numbers, expect_text, expect_texts
from .jws import parse_object, split_compact
from .secret import Secret

# Claims that name the kind of a token, and the kinds that are bearer access tokens, whatever their case and punctuation:
# servers write `token_type`, `tokenType`, `Refresh` and `refresh_token`. A bare `JWT` says nothing about the purpose.
_KIND = re.compile(r"[\W_]*(?:token[\W_]*(?:type|use)|typ)[\W_]*", re.ASCII | re.IGNORECASE)
# A name may have a namespace before it: `https://login.example/token_use`.
_OWNED = re.compile(r"[/:#.]_*token[-_]*(?:type|use)_*\Z", re.ASCII | re.IGNORECASE)
_BEARER = frozenset(
    {"bearer", "bearertoken", "access", "accesstoken", "atjwt", "applicationatjwt", "jwt"}
    | {"urnietfparamsoauthtokentypeaccesstoken", "urnietfparamsoauthtokentypejwt"}
)
_KEY_BOUND = frozenset({"dpop", "pop", "mac"})
# Names that may name the kind of the token or something else (`use` of a key, `type` of an account). Their value counts only
# if it clearly is another kind of token.
_MAY_SAY = frozenset(
    before + word
    for before in ("", "token", "jwt")
    for word in ("kind", "use", "usage", "type", "typ", "purpose", "class", "category")
)
_OTHER = frozenset(
    kind + after
    for kind in (
        "id",
        "refresh",
        "offline",
        "logout",
        "urnietfparamsoauthtokentypeid",
        "urnietfparamsoauthtokentyperefresh",
    )
    for after in ("", "token", "jwt", "tokenjwt")
)
_NOT_BEARER = _OTHER | _KEY_BOUND
_LONGEST_KIND = 64
_MARKS = re.compile(r"[^a-z0-9]")
_NAMESPACE = re.compile(r"\A.*[/:#.]", re.DOTALL)
# A bare "JWT" says nothing about its purpose; these claims say that it is an ID token or a logout token.
_NOT_ACCESS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})


def check_kind(claims: Mapping[str, object]) -> None:
    """Refuse a token that a claim declares to be anything but a bearer access token. Raises `InvalidTokenError`."""
    if "cnf" in claims:  # RFC 7800: good only together with a key that its bearer proves, so it is no bearer token
        raise InvalidTokenError(Reason.SENDER_CONSTRAINED)
    for name, value in claims.items():
        if value is None:
            continue
        if not _is_kind(name):
            _check_ambiguous(name, value)
            continue
        kind = _plain(value) if isinstance(value, str) else ""
        if kind not in _BEARER:
            raise InvalidTokenError(Reason.SENDER_CONSTRAINED if kind in _KEY_BOUND else Reason.NOT_AN_ACCESS_TOKEN)


def _check_ambiguous(name: str, value: object) -> None:
    """Refuse a claim that may name the kind of the token, and whose value clearly names another kind."""
    words = cast("Iterable[object]", value) if isinstance(value, (list, tuple)) else (value,)
    kinds = {_plain(word) for word in words if isinstance(word, str) and len(word) <= _LONGEST_KIND}
    if kinds.isdisjoint(_NOT_BEARER) or _plain(_NAMESPACE.sub("", name)) not in _MAY_SAY:
        return
    raise InvalidTokenError(Reason.NOT_AN_ACCESS_TOKEN if kinds & _OTHER else Reason.SENDER_CONSTRAINED)


def names_kind(claims: Mapping[str, object]) -> bool:
    """Return whether a claim names the kind of the token."""
    return any(value is not None and _is_kind(name) for name, value in claims.items())


def _is_kind(name: str) -> bool:
    return _KIND.fullmatch(name) is not None or _OWNED.search(name) is not None


def is_for_something_else(claims: Mapping[str, object]) -> bool:
    """Return whether there are claims that only ID tokens and logout tokens have."""
    return not _NOT_ACCESS.isdisjoint(claims) or ("sid" in claims and "sub" not in claims)


def _plain(name: str) -> str:
    return _MARKS.sub("", name.lower())


ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""The algorithms that a policy may allow. HMAC and `none` are not: everyone who could verify a token could forge one."""

TELNYX_ISSUER = "https://api.telnyx.com"
MAX_HEADER_BYTES = 4096
MAX_KID_LENGTH = 256
_MAX_TIME = 2**53  # beyond it a JSON number is not the same integer everywhere

_ALWAYS_REQUIRED = frozenset({"iss", "exp", "aud"})
# RFC 7515 section 4.1.11: an extension that is not understood makes the token invalid, and none is understood here.
_EXTENSIONS = frozenset({"crit", "b64", "zip", "enc"})
# RFC 6749 section 3.3, except for the number of spaces: some servers write two, or one at an end.
_SCOPE = re.compile(r"[ !#-\[\]-~]*")


def _audiences(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset(expect_texts(value, "audience"))


def _algorithms(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset(expect_texts(value, "algorithms"))


def _types(value: str | Iterable[str]) -> frozenset[str]:
    return frozenset(map(_media_type, expect_texts(value, "typ")))


def _media_type(typ: str) -> str:
    return typ.lower().removeprefix("application/")


def _required(value: str | Iterable[str]) -> frozenset[str]:
    return _ALWAYS_REQUIRED.union(expect_texts(value, "required"))


@attrs.frozen(kw_only=True)
class TokenPolicy:
    """A service's requirements for access tokens. The defaults are those of RFC 9068.

    `issuer` is compared exactly; one of `audience` must be in the token's `aud`. `leeway` is the tolerated difference of the
    clocks, 0 to 300 seconds. `max_lifetime` limits `exp - iat` and `max_age` limits `now - iat`, in seconds. `iss`, `exp` and
    `aud` are always required, in addition to `required`. The policy applies to a JWT and to an introspection response alike,
    which must have the required claims, too.

    `lifetime_without_exp` accepts tokens without `exp`: such a token ends that many seconds after its `iat`, without which
    it is refused. For an introspection response that has no `iat` either, the moment of the response replaces it: the
    cached result ends then, and the server is asked again. Raises `ValueError` for a policy that makes no sense.
    """

    issuer: str
    audience: frozenset[str] = attrs.field(converter=_audiences)
    algorithms: frozenset[str] = attrs.field(
        converter=_algorithms, default=frozenset({"RS256", "PS256", "ES256", "EdDSA", "Ed25519"})
    )
    typ: frozenset[str] = attrs.field(converter=_types, default=frozenset({"at+jwt"}))
    required: frozenset[str] = attrs.field(
        converter=_required, default=frozenset({"iss", "exp", "aud", "sub", "client_id", "iat", "jti"})
    )
    leeway: float = 30.0
    max_token_bytes: int = 8192
    max_lifetime: float | None = None
    max_age: float | None = None
    lifetime_without_exp: float | None = None

    def __attrs_post_init__(self) -> None:
        expect_text(type(self.issuer), "issuer", AS_TEXT)
        expect_numbers(leeway=self.leeway, max_token_bytes=self.max_token_bytes)
        optional = {"max_lifetime": self.max_lifetime, "max_age": self.max_age}
        expect_numbers(**{name: value for name, value in optional.items() if value is not None})
        check_number(self.lifetime_without_exp, "lifetime_without_exp", optional=True)
        if not self.issuer:
            raise ValueError("issuer must name who issues the tokens.")
        if not self.audience or "" in self.audience:
            raise ValueError("audience must name this service, as the tokens' `aud` does.")
        if not self.algorithms or not self.algorithms <= ALGORITHMS:
            raise ValueError(f"algorithms must be some of {', '.join(sorted(ALGORITHMS))}.")
        if not self.typ:
            raise ValueError("typ must name at least one type.")
        if not 0 <= self.leeway <= 300:
            raise ValueError("leeway must be between 0 and 300 seconds.")
        if self.lifetime_without_exp is not None and not 0 < self.lifetime_without_exp < _MAX_TIME:
            raise ValueError("lifetime_without_exp must be a number of seconds above 0, or None: `exp` is required.")

    @classmethod
    def rfc9068(
        cls,
        *,
        issuer: str,
        audience: str | Iterable[str],
        algorithms: str | Iterable[str] = frozenset({"RS256", "PS256", "ES256", "EdDSA", "Ed25519"}),
        leeway: float = 30.0,
        max_lifetime: float | None = None,
        max_age: float | None = None,
        lifetime_without_exp: float | None = None,
    ) -> Self:
        """The policy of RFC 9068 section 4: `typ` is `at+jwt`, and all claims of section 2.2 are there."""
        return cls(
            issuer=issuer,
            audience=audience,
            algorithms=algorithms,
            leeway=leeway,
            max_lifetime=max_lifetime,
            max_age=max_age,
            lifetime_without_exp=lifetime_without_exp,
        )

    @classmethod
    def telnyx(
        cls,
        *,
        audience: str | Iterable[str],
        issuer: str = TELNYX_ISSUER,
        algorithms: str | Iterable[str] = frozenset({"RS256", "PS256", "ES256", "EdDSA", "Ed25519"}),
        leeway: float = 30.0,
        max_lifetime: float | None = None,
        max_age: float | None = None,
        lifetime_without_exp: float | None = None,
    ) -> Self:
        """A policy for the claims that a Telnyx token can be expected to have; its format is not documented.

        `typ` may be a bare `JWT` too, but an ID token or a logout token is refused by its claims.
        """
        return cls(
            issuer=issuer,
            audience=audience,
            algorithms=algorithms,
            typ={"at+jwt", "jwt"},
            required={"client_id"},
            leeway=leeway,
            max_lifetime=max_lifetime,
            max_age=max_age,
            lifetime_without_exp=lifetime_without_exp,
        )


@attrs.frozen
class UnverifiedToken:
    """The parts of a token with an accepted header. Nothing in it may be trusted before its signature is verified."""

    algorithm: str
    key_id: str | None
    claims: Mapping[str, object] = attrs.field(repr=False)
    signing_input: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)


def read_token(policy: TokenPolicy, token: str) -> UnverifiedToken:
    """The parts of a token whose form and header the policy allows. Raises `InvalidTokenError` for any other."""
    presented = Secret(token)
    del token
    try:
        return _parts(policy, presented.plain)
    except InvalidTokenError as error:
        reason = error.reason
    raise InvalidTokenError(reason)  # without the frames that hold parts of the token


def _parts(policy: TokenPolicy, token: str) -> UnverifiedToken:
    if len(token) > policy.max_token_bytes:
        raise InvalidTokenError(Reason.TOO_LONG)
    parts = split_compact(token)
    if parts is None:
        raise InvalidTokenError(Reason.NOT_A_JWT)
    header_bytes, payload, signature, signing_input = parts
    if header_bytes is None or payload is None or signature is None:
        raise InvalidTokenError(Reason.ENCODING_INVALID)
    header = parse_object(header_bytes) if len(header_bytes) <= MAX_HEADER_BYTES else None
    if header is None:
        raise InvalidTokenError(Reason.HEADER_INVALID)
    algorithm, key_id, typ = check_header(policy, header)
    claims = parse_object(payload)
    if claims is None:
        raise InvalidTokenError(Reason.PAYLOAD_INVALID)
    if typ == "jwt" and is_for_something_else(claims):
        raise InvalidTokenError(Reason.NOT_AN_ACCESS_TOKEN)
    return UnverifiedToken(algorithm, key_id, claims, signing_input, signature)


def says_it_has_expired(policy: TokenPolicy, token: str, now: float) -> bool:
    """Return whether a token is a JWT that has expired by its own `exp`. Its signature does not matter for that."""
    parts = split_compact(token)
    claims = parse_object(parts[1]) if parts is not None and parts[1] is not None else None
    try:
        expires_at = None if claims is None else numeric_date(claims, "exp")
    except InvalidTokenError:
        return False
    return expires_at is not None and now >= expires_at + policy.leeway


def check_header(policy: TokenPolicy, header: Mapping[str, object]) -> tuple[str, str | None, str]:
    """The algorithm, the key's id and the short form of `typ`, if the policy allows the header.

    RFC 7515 section 4, RFC 8725 section 3. `jku`, `jwk`, `x5u` and `x5c` are ignored: a key from the token itself, or from an
    address in it, proves nothing. Raises `InvalidTokenError`.
    """
    algorithm, key_id, typ = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in policy.algorithms:
        raise InvalidTokenError(Reason.ALG_NOT_ALLOWED)
    if not _EXTENSIONS.isdisjoint(header):
        raise InvalidTokenError(Reason.EXTENSION_NOT_SUPPORTED)
    media_type = _media_type(typ) if isinstance(typ, str) else ""
    if media_type not in policy.typ:
        raise InvalidTokenError(Reason.TYP_NOT_ALLOWED)
    if key_id is None and "kid" not in header:
        return algorithm, None, media_type
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KID_LENGTH:
        raise InvalidTokenError(Reason.KID_INVALID)
    return algorithm, key_id, media_type


def check_claims(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> None:
    """Refuse the claims unless the policy accepts them at `now` (RFC 7519 section 4.1, RFC 9068 section 4).

    It may run before the signature is verified, as it can only refuse: a token for another audience, or one that has expired,
    then costs neither a fetch nor a verification. Raises `InvalidTokenError`.
    """
    # A claim that is null or empty counts as absent.
    for name in policy.required:
        if claims.get(name) in (None, "") and not (name == "exp" and _expires_by_policy(policy, claims)):
            raise InvalidTokenError(Reason.CLAIM_MISSING)
    check_present(policy, claims, now)


def check_answer(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> None:
    """Refuse the introspection response for an active token (RFC 7662 section 2.2) unless the policy accepts it.

    It has no header with a `typ`. If it does not name the kind either, claims that only ID tokens and logout tokens have
    decide. Raises `InvalidTokenError`.
    """
    if is_for_something_else(claims) and not names_kind(claims):
        raise InvalidTokenError(Reason.NOT_AN_ACCESS_TOKEN)
    check_claims(policy, claims, now)


def check_both(policy: TokenPolicy, claims: Mapping[str, object], answer: Mapping[str, object], now: float) -> None:
    """Refuse what introspection says of a token whose own `claims` have been verified, or if the two contradict.

    Claims that the response leaves out are taken from the token. Raises `InvalidTokenError`.
    """
    check_expiry(policy, claims, now)  # again, since the answer may have kept us waiting
    check_present(policy, {**claims, **answer}, now)
    for name in ("iss", "sub", "client_id", "jti"):
        if name in answer and name in claims and answer[name] != claims[name]:
            raise InvalidTokenError(Reason.INTROSPECTION_CONTRADICTS)
    if "aud" in answer and policy.audience.isdisjoint(_audience(answer) & _audience(claims)):
        raise InvalidTokenError(Reason.AUD_MISMATCH)


def _expires_by_policy(policy: TokenPolicy, claims: Mapping[str, object]) -> bool:
    return policy.lifetime_without_exp is not None and "exp" not in claims and expiry(policy, claims) is not None


def dated(policy: TokenPolicy, answer: Mapping[str, object], answered_at: float) -> Mapping[str, object]:
    """The claims of an introspection response, with the `exp` that the policy sets for one that names no time at all."""
    if policy.lifetime_without_exp is None or "exp" in answer or "iat" in answer:
        return answer
    return {**answer, "exp": answered_at + policy.lifetime_without_exp}


def check_present(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> None:
    """Refuse claims of a wrong type or value. A claim may be absent.

    Raises `InvalidTokenError`.
    """
    check_kind(claims)
    if "iss" in claims and claims["iss"] != policy.issuer:
        raise InvalidTokenError(Reason.ISS_MISMATCH)
    if "aud" in claims and policy.audience.isdisjoint(_audience(claims)):
        raise InvalidTokenError(Reason.AUD_MISMATCH)
    for name in ("sub", "client_id", "jti"):
        if not isinstance(claims.get(name, ""), str):
            raise InvalidTokenError(Reason.CLAIM_INVALID)
    scope = claims.get("scope", "")
    if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
        raise InvalidTokenError(Reason.SCOPE_INVALID)
    _check_times(policy, claims, now)


def _audience(claims: Mapping[str, object]) -> frozenset[str]:
    audience = claims.get("aud", ())
    values = cast("tuple[object, ...]", audience) if isinstance(audience, tuple) else (audience,)
    texts = frozenset(value for value in values if isinstance(value, str))
    if not all(isinstance(value, str) for value in values):
        raise InvalidTokenError(Reason.CLAIM_INVALID)
    return texts


def check_expiry(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> float | None:
    """The time when the token expires, `None` if unknown. Raises `ExpiredTokenError` if it has expired."""
    expires_at = expiry(policy, claims)
    if expires_at is not None and now >= expires_at + policy.leeway:
        raise ExpiredTokenError
    return expires_at


def expiry(policy: TokenPolicy, claims: Mapping[str, object]) -> float | None:
    """The time when the token expires, by its `exp` or else by the policy. Raises `InvalidTokenError` for an invalid time."""
    expires_at = numeric_date(claims, "exp")
    if expires_at is None and policy.lifetime_without_exp is not None:
        issued_at = numeric_date(claims, "iat")
        return None if issued_at is None else issued_at + policy.lifetime_without_exp
    return expires_at


def _check_times(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> None:
    expires_at = check_expiry(policy, claims, now)
    not_before, issued_at = numeric_date(claims, "nbf"), numeric_date(claims, "iat")
    if not_before is not None and not_before > now + policy.leeway:
        raise InvalidTokenError(Reason.NOT_YET_VALID)
    if issued_at is not None and issued_at > now + policy.leeway:
        raise InvalidTokenError(Reason.ISSUED_IN_FUTURE)
    if policy.max_lifetime is not None and (
        expires_at is None or issued_at is None or expires_at - issued_at > policy.max_lifetime
    ):
        raise InvalidTokenError(Reason.LIFETIME_TOO_LONG)
    if policy.max_age is not None and (issued_at is None or now - issued_at > policy.max_age + policy.leeway):
        raise InvalidTokenError(Reason.TOO_OLD)


def numeric_date(claims: Mapping[str, object], name: str) -> float | None:
    """A time claim in Unix seconds: `None` if absent, infinite from 2**53 on (RFC 7519 section 2).

    Some servers write their largest integer for a token that never expires. Raises `InvalidTokenError`.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # `bool` is a number to Python and not to JSON; NaN fails every comparison.
    if (type(value) is int or type(value) is float) and value >= 0:
        return value if value < _MAX_TIME else inf
    raise InvalidTokenError(Reason.CLAIM_INVALID)
