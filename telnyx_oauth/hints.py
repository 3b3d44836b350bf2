"""Hints for names that newcomers guess. No code here runs on a path that succeeds, except when an object is made."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from inspect import Parameter, currentframe, signature
from types import FrameType
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

_CLIENT: Final = "Use Telnyx, or AsyncTelnyx with `await`."
_TOKEN: Final = "`client.tokens.get()` gives a token that is good now."
_OTHER_HTTP: Final = "aiohttp is underneath: give a client `proxy` or `ssl_context`, or AsyncTelnyx an `http_session`."
_STATUS: Final = "Catch TelnyxError, or APIStatusError for what a server refuses."
_FLOW: Final = "`client.authorization.begin_authorization()` gives the address to send a person to."

# Guesses are compared without their case and underscores.
_NAMES: Final = {
    **dict.fromkeys(("client", "telnyxclient", "telnyxoauth", "oauth", "oauth2client", "api"), _CLIENT),
    **dict.fromkeys(("session", "oauth2session", "oauthsession", "syncclient", "synctelnyx"), _CLIENT),
    **dict.fromkeys(("asyncclient", "asynctelnyxclient", "asyncoauth2client", "aiotelnyx"), "Use AsyncTelnyx."),
    **dict.fromkeys(("defaulthttpxclient", "defaultasynchttpxclient", "defaultaiohttpclient"), _OTHER_HTTP),
    **dict.fromkeys(("httperror", "httpstatuserror", "requestexception", "oautherror", "oauth2error"), _STATUS),
    **dict.fromkeys(("timeouterror", "timeoutexception", "readtimeout", "connecttimeout"), "Catch APITimeoutError."),
    **dict.fromkeys(("connectionerror", "connecterror", "transporterror"), "Catch APIConnectionError."),
    **dict.fromkeys(("stream", "asyncstream"), "Use `with_streaming_response` of a resource, such as `client.oauth`."),
    **dict.fromkeys(
        ("filetokenstore", "tokencache", "cache"), "Use FileStore, or MemoryStore, RedisStore, KeyringStore."
    ),
    "apikey": "Give it to a client: Telnyx(api_key=...).",
    "notgiven": "Use omit.",
    "refresherror": "Catch TokenError.",
}
_PLACES: Final = {
    "telnyx_oauth": "AsyncTelnyx Telnyx TokenManager TokenValidator",
    "telnyx_oauth.aiohttp": (
        "BearerAuth BearerTokenMiddleware current_token protected_resource public require_scopes resource_metadata_url"
    ),
    "telnyx_oauth.pagination": "AsyncDefaultFlatPagination SyncDefaultFlatPagination",
    "telnyx_oauth.sandbox": "Fault LoggedRequest Sandbox Settings",
    "telnyx_oauth.types": (
        "BaseModel OAuthClient OAuthClientCreateResponse OAuthGrant OAuthIntrospectResponse OAuthTokenResponse"
    ),
}
_MEMBERS: Final = {
    **dict.fromkeys(("gettoken", "fetchtoken", "token", "accesstoken", "getaccesstoken", "refreshtoken"), _TOKEN),
    **dict.fromkeys(("refresh", "ensureactivetoken", "credentials", "auth", "retrievetoken"), _TOKEN),
    **dict.fromkeys(("createauthorizationurl", "authorizationurl", "authorizeurl", "getauthorizationurl"), _FLOW),
    **dict.fromkeys(("httpclient", "session"), _OTHER_HTTP),
    "clients": "They are at `client.oauth_clients`.",
    "grants": "They are at `client.oauth_grants`.",
    "jwks": "Use `client.oauth.retrieve_jwks()`.",
    "request": "Use `client.get`, `post`, `put`, `patch` or `delete`.",
    "headers": "Use `default_headers`, or `extra_headers=` with a call.",
    "revoke": "Use `client.oauth_grants.delete(id)`.",
    "validate": "Use `client.validator.validate(token)`.",
    "verify": "Use `client.validator.validate(token)`.",
    "introspect": "Use `client.oauth.introspect(token=...)`.",
    "register": "Use `client.oauth.register(...)`.",
    "aclose": "Use `close()`.",
    "withrawresponse": "Each resource has it: `client.oauth_clients.with_raw_response`.",
    "withstreamingresponse": "Each resource has it: `client.oauth_clients.with_streaming_response`.",
}
# A guess may stand for several parameters: the hint names the first that the function has.
_PARAMETERS: Final = {
    **dict.fromkeys(("token", "access_token", "bearer", "key", "apikey", "auth"), "api_key"),
    **dict.fromkeys(("url", "host", "server", "endpoint", "domain"), "base_url"),
    **dict.fromkeys(("session", "http_client", "client", "connector"), "http_session"),
    **dict.fromkeys(("verify", "verify_ssl", "cert", "ssl"), "ssl_context"),
    **dict.fromkeys(("store", "cache", "token_cache"), "token_store"),
    **dict.fromkeys(("headers", "header"), "default_headers extra_headers"),
    **dict.fromkeys(("params", "query"), "default_query extra_query options"),
    **dict.fromkeys(("json", "data", "body"), "extra_body"),
    **dict.fromkeys(("limit", "per_page", "size"), "page_size"),
    **dict.fromkeys(("page", "offset", "start"), "page_number"),
    **dict.fromkeys(("client_id", "grant_id", "oauth_client_id"), "id"),
    "client_name": "name",
    "grant_types": "allowed_grant_types",
    "id": "client_id",
    "name": "client_name",
    "scope": "scopes allowed_scopes",
    "scopes": "allowed_scopes scope",
    "secret": "client_secret",
    "type": "client_type grant_type",
    "handler": "validator tokens",
}
_MOST_LISTED: Final = 40


def no_such_name(module: str, name: str, known: Iterable[str]) -> AttributeError | ImportError:
    """The error for a name that a module does not have. For a module's `__getattr__`, which calls this itself.

    For `from module import name` it is an `ImportError`: Python would replace an `AttributeError` by one without the hint.
    """
    if name.startswith("_") or not name.isidentifier() or find_spec(f"{module}.{name}") is not None:
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    hint = (
        _NAMES.get(_folded(name))
        or next((f"It is in {place}." for place, names in _PLACES.items() if name in names.split()), None)
        or nearest(name, known)
    )
    frame = currentframe()
    for _ in range(2):  # this function, and the module's `__getattr__`
        frame = frame and frame.f_back
    if frame is not None and _is_import(frame):
        return ImportError(f"cannot import name {name!r} from {module!r}. {hint}", name=module)
    return AttributeError(f"module {module!r} has no attribute {name!r}. {hint}", name=name)


def _is_import(frame: FrameType) -> bool:
    """Return whether the statement that a frame is at is `from ... import ...`."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_FROM"


class Hinted:
    """A base class whose error for an absent attribute has a hint."""

    __slots__ = ()
    _hint: ClassVar[str] = ""
    """The hint for every absent attribute, instead of a similar name."""

    if not TYPE_CHECKING:  # pragma: no branch - for type checkers nothing is there

        def __getattr__(self, name: str) -> NoReturn:
            kind = type(self)
            if name.startswith("_") or any(name in vars(base) for base in kind.__mro__):
                return object.__getattribute__(self, name)  # raises Python's own error, or a property's once more
            public = [each for each in dir(kind) if not each.startswith("_")]
            hint = self._hint or _MEMBERS.get(_folded(name)) or nearest(name, public)
            raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}. {hint}", name=name)


class refused:  # noqa: N801 - it is used as a decorator is
    """A special method that a class does not support, such as `__enter__`. Its error says what to use instead.

    `hasattr` does not see it. Hide it from type checkers.
    """

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise _RefusedError(f"{owner.__name__} {self._hint}", name="")


class _RefusedError(AttributeError, TypeError):
    pass


class NamesChecked:
    """A base class that checks the names of its arguments. The error for an unknown one suggests another."""

    __slots__ = ()
    _usage: ClassVar[str] = ""
    """An example that the error ends in, for classes that are passed where an instance belongs."""

    if not TYPE_CHECKING:  # pragma: no branch - type checkers go by `__init__`

        def __new__(cls, *args: object, **options: object) -> object:
            """Check the names. `__init__` does the rest."""
            count, names = len(args), tuple(options)
            del args, options  # a traceback with this frame would show their secrets
            problem = naming_problem(cls.__name__, cls.__init__, count, names) if count or names else ""
            if problem:
                raise TypeError(f"{problem} {cls._usage}".rstrip())
            return super().__new__(cls)


def naming_problem(caller: str, function: Callable[..., object], positional: int, names: Iterable[str]) -> str:
    """Describe an argument that `function` has no name for, or takes by keyword only; empty if there is none."""
    parameters = _parameters(function)
    kinds = {parameter.kind for parameter in parameters}
    known = [parameter.name for parameter in parameters]
    if Parameter.VAR_KEYWORD not in kinds:
        for name in names:
            if name not in known:
                match = next((each for each in _PARAMETERS.get(name, "").split() if each in known), None)
                hint = nearest(name, known) if match is None else f"Did you mean {match!r}?"
                return f"{caller}() has no option {name!r}. {hint}"
    by_place = [each.name for each in parameters if each.kind is not Parameter.KEYWORD_ONLY]
    if Parameter.VAR_POSITIONAL not in kinds and positional > len(by_place):
        rest = ", ".join(f"{name}=..." for name in known if name not in by_place)
        return f"{caller}() takes these by name alone: {rest}."
    return ""


@lru_cache(maxsize=256)
def _parameters(function: Callable[..., object]) -> list[Parameter]:
    return list(signature(function).parameters.values())[1:]  # without `self`


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint with the known name that is most like another, or with all of them."""
    from difflib import get_close_matches  # costs more to import than the rest of this module

    names = sorted(known)
    if matches := get_close_matches(name, names, 1):
        return f"Did you mean {matches[0]!r}?"
    listed = ", ".join(names) if len(names) <= _MOST_LISTED else "those that dir() lists"
    return f"Those that there are: {listed}." if names else ""


def _folded(name: str) -> str:
    return name.lower().replace("_", "")
