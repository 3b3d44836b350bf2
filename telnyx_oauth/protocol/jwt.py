"""Claims of JSON Web Tokens: what a policy asks of them, and what a token says of its own type (RFC 7519, RFC 9068)."""

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

# Members that say what kind of token it is, and the kinds that are bearer access tokens, whatever their case and marks:
# servers write `token_type`, `tokenType`, `Refresh` and `refresh_token`. A bare `JWT` says nothing of the purpose.
_KIND = re.compile(r"[\W_]*(?:token[\W_]*(?:type|use)|typ)[\W_]*", re.ASCII | re.IGNORECASE)
# A name may have its owner before it: `https://login.example/token_use`.
_OWNED = re.compile(r"[/:#.]_*token[-_]*(?:type|use)_*\Z", re.ASCII | re.IGNORECASE)
_BEARER = frozenset(
    {"bearer", "bearertoken", "access", "accesstoken", "atjwt", "applicationatjwt", "jwt"}
    | {"urnietfparamsoauthtokentypeaccesstoken", "urnietfparamsoauthtokentypejwt"}
)
_KEY_BOUND = frozenset({"dpop", "pop", "mac"})
# Names that may say what kind of token it is, or something else (`use` of a key, `type` of an account): of these only a value
# counts that is plainly another kind of token.
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
# A bare "JWT" says nothing about its purpose; these claims say that it is an ID token or a logout token.
_NOT_ACCESS = frozenset({"nonce", "at_hash", "c_hash", "s_hash", "events"})


def check_kind(claims: Mapping[str, object]) -> None:
    """Refuse a token that is said to be another thing than a bearer access token. Raises `InvalidTokenError`."""
    if "cnf" in claims:  # RFC 7800: good only together with a key that its bearer proves, so it is no bearer token
        raise InvalidTokenError(Reason.SENDER_CONSTRAINED)
    for name, value in claims.items():
        if value is None:
            continue
        if not _is_kind(name):
            _check_doubtful(name, value)
            continue
        kind = _plain(value) if isinstance(value, str) else ""
        if kind not in _BEARER:
            raise InvalidTokenError(Reason.SENDER_CONSTRAINED if kind in _KEY_BOUND else Reason.NOT_AN_ACCESS_TOKEN)


def _check_doubtful(name: str, value: object) -> None:
    """Refuse a claim whose name may say the kind of token, and whose value plainly says that it is another."""
    words = cast("Iterable[object]", value) if isinstance(value, (list, tuple)) else (value,)
    kinds = {_plain(word) for word in words if isinstance(word, str) and len(word) <= _LONGEST_KIND}
    if kinds.isdisjoint(_NOT_BEARER) or _plain(name[_owner_ends(name) :]) not in _MAY_SAY:
        return
    raise InvalidTokenError(Reason.NOT_AN_ACCESS_TOKEN if kinds & _OTHER else Reason.SENDER_CONSTRAINED)


def _owner_ends(name: str) -> int:
    return max(name.rfind(mark) for mark in "/:#.") + 1


def names_kind(claims: Mapping[str, object]) -> bool:
    """Tell if a claim says what kind of token it is."""
    return any(value is not None and _is_kind(name) for name, value in claims.items())


def _is_kind(name: str) -> bool:
    return _KIND.fullmatch(name) is not None or _OWNED.search(name) is not None


def is_for_something_else(claims: Mapping[str, object]) -> bool:
    """Tell if there are claims that only ID tokens and logout tokens have."""
    return not _NOT_ACCESS.isdisjoint(claims) or ("sid" in claims and "sub" not in claims)


def _plain(name: str) -> str:
    return _MARKS.sub("", name.lower())


ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
"""All that can be allowed. HMAC and `none` are not among them: whoever could verify could also forge."""

TELNYX_ISSUER = "https://api.telnyx.com"
MAX_HEADER_BYTES = 4096
MAX_KID_LENGTH = 256
_MAX_TIME = 2**53  # beyond it a JSON number is not the same integer everywhere

_ALWAYS_REQUIRED = frozenset({"iss", "exp", "aud"})
# RFC 7515 section 4.1.11: an extension that is not understood makes the token invalid, and we understand none.
_EXTENSIONS = frozenset({"crit", "b64", "zip", "enc"})
# https://www.rfc-editor.org/rfc/rfc6749#section-3.3, but for the number of spaces: some servers write two, or one at an end.
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
    """What a service demands of an access token. The defaults are those of RFC 9068.

    `issuer` is compared exactly; one of `audience` must be in the token's `aud`. `leeway` is how far the clocks may
    differ, 0 to 300 seconds. `max_lifetime` bounds `exp - iat` and `max_age` bounds `now - iat`, in seconds. `iss`,
    `exp` and `aud` are required whatever `required` says. The policy means the same for a JWT and for an introspection
    answer, which must have the required claims, too.

    `lifetime_without_exp` accepts tokens without `exp`: such a token ends so many seconds after its `iat`, without which
    it is refused. For an introspection answer that has no `iat` either, the moment of the answer stands for it: the
    verdict ends then, and the server is asked again. Raises `ValueError` for a policy that could not be meant.
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
        """A policy that makes do with what a Telnyx token can be expected to say; its format is not documented.

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
    """A token taken apart, its header accepted. Nothing in it may be trusted before the signature is."""

    algorithm: str
    key_id: str | None
    claims: Mapping[str, object] = attrs.field(repr=False)
    signing_input: bytes = attrs.field(repr=False)
    signature: bytes = attrs.field(repr=False)


def read_token(policy: TokenPolicy, token: str) -> UnverifiedToken:
    """The token's parts, if its form and header are what the policy allows. Raises `InvalidTokenError`."""
    presented = Secret(token)
    del token
    try:
        return _taken_apart(policy, presented.plain)
    except InvalidTokenError as error:
        reason = error.reason
    raise InvalidTokenError(reason)  # without the frames that have the token in parts


def _taken_apart(policy: TokenPolicy, token: str) -> UnverifiedToken:
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
    """Tell if a token is a JWT that says of itself that it has expired. It need not be proven for that."""
    parts = split_compact(token)
    claims = parse_object(parts[1]) if parts is not None and parts[1] is not None else None
    try:
        expires_at = None if claims is None else numeric_date(claims, "exp")
    except InvalidTokenError:
        return False
    return expires_at is not None and now >= expires_at + policy.leeway


def check_header(policy: TokenPolicy, header: Mapping[str, object]) -> tuple[str, str | None, str]:
    """The algorithm, the key's id and the short form of `typ`, if the policy allows such a header.

    RFC 7515 section 4, RFC 8725 section 3. `jku`, `jwk`, `x5u` and `x5c` are left alone: a key that the token itself
    brings or points to proves nothing. Raises `InvalidTokenError`.
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

    It only ever refuses, so it may run before anything is proven: a token for someone else, or one that has expired, then
    costs neither a fetch nor a signature. Raises `InvalidTokenError`.
    """
    for name in policy.required:
        if claims.get(name) in (None, "") and not (name == "exp" and _ends_without(policy, claims)):
            raise InvalidTokenError(Reason.CLAIM_MISSING)
    check_named(policy, claims, now)


def check_answer(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> None:
    """Refuse what introspection says of an active token (RFC 7662 section 2.2), as `check_claims` does.

    There is no header with a `typ`: where the answer does not name the kind either, the claims that only ID tokens and
    logout tokens have tell. Raises `InvalidTokenError`.
    """
    if is_for_something_else(claims) and not names_kind(claims):
        raise InvalidTokenError(Reason.NOT_AN_ACCESS_TOKEN)
    check_claims(policy, claims, now)


def check_both(policy: TokenPolicy, claims: Mapping[str, object], answer: Mapping[str, object], now: float) -> None:
    """Refuse what introspection says of a token whose own `claims` have been verified, or if the two contradict.

    What the answer leaves out, the token has said. Raises `InvalidTokenError`.
    """
    check_expiry(policy, claims, now)  # again, since the answer may have kept us waiting
    check_named(policy, {**claims, **answer}, now)
    for name in ("iss", "sub", "client_id", "jti"):
        if name in answer and name in claims and answer[name] != claims[name]:
            raise InvalidTokenError(Reason.INTROSPECTION_CONTRADICTS)
    if "aud" in answer and policy.audience.isdisjoint(_audience(answer) & _audience(claims)):
        raise InvalidTokenError(Reason.AUD_MISMATCH)


def _ends_without(policy: TokenPolicy, claims: Mapping[str, object]) -> bool:
    return policy.lifetime_without_exp is not None and "exp" not in claims and expiry(policy, claims) is not None


def dated(policy: TokenPolicy, answer: Mapping[str, object], answered_at: float) -> Mapping[str, object]:
    """The claims of an introspection answer, with the `exp` that the policy gives one that names no time at all."""
    if policy.lifetime_without_exp is None or "exp" in answer or "iat" in answer:
        return answer
    return {**answer, "exp": answered_at + policy.lifetime_without_exp}


def check_named(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> None:
    """Refuse claims that the policy does not accept. One may be absent, but never of the wrong type or value.

    Raises `InvalidTokenError`.
    """
    check_kind(claims)
    if "iss" in claims:
        _check_issuer(policy, claims["iss"])
    if "aud" in claims:
        _check_audience(policy, claims)
    for name in ("sub", "client_id", "jti"):
        if not isinstance(claims.get(name, ""), str):
            raise InvalidTokenError(Reason.CLAIM_INVALID)
    scope = claims.get("scope", "")
    if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
        raise InvalidTokenError(Reason.SCOPE_INVALID)
    _check_times(policy, claims, now)


def _check_issuer(policy: TokenPolicy, issuer: object) -> None:
    if not isinstance(issuer, str) or issuer != policy.issuer:
        raise InvalidTokenError(Reason.ISS_MISMATCH)


def _check_audience(policy: TokenPolicy, claims: Mapping[str, object]) -> None:
    if policy.audience.isdisjoint(_audience(claims)):
        raise InvalidTokenError(Reason.AUD_MISMATCH)


def _audience(claims: Mapping[str, object]) -> frozenset[str]:
    named = claims.get("aud", ())
    values = cast("tuple[object, ...]", named) if isinstance(named, tuple) else (named,)
    texts = frozenset(value for value in values if isinstance(value, str))
    if not all(isinstance(value, str) for value in values):
        raise InvalidTokenError(Reason.CLAIM_INVALID)
    return texts


def check_expiry(policy: TokenPolicy, claims: Mapping[str, object], now: float) -> float | None:
    """When the token expires, None where nothing says. Raises `ExpiredTokenError` if it has."""
    expires_at = expiry(policy, claims)
    if expires_at is not None and now >= expires_at + policy.leeway:
        raise ExpiredTokenError
    return expires_at


def expiry(policy: TokenPolicy, claims: Mapping[str, object]) -> float | None:
    """When the token expires: its `exp`, or what the policy says instead. Raises `InvalidTokenError` for an odd time."""
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
    """A time claim in Unix seconds, None where absent, infinite for a date too large to count with (RFC 7519 section 2).

    Servers write the largest integer that they have for a token that never expires. Raises `InvalidTokenError`.
    """
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    # `bool` is a number to Python and not to JSON; NaN fails every comparison.
    if (type(value) is int or type(value) is float) and value >= 0:
        return value if value < _MAX_TIME else inf
    raise InvalidTokenError(Reason.CLAIM_INVALID)
