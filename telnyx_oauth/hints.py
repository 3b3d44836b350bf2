"""What newcomers guess, and what it is called here. Nothing here runs before something was not found or was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from inspect import Parameter, currentframe, signature
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
# The first that the call really has is meant.
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
_FEW: Final = 40


def no_such_name(module: str, name: str, known: Iterable[str]) -> AttributeError | ImportError:
    """The error for a name that a module does not have.

    For `from module import name` it is an `ImportError`, as of an `AttributeError` Python would keep only that it came.
    """
    if name.startswith("_") or not name.isidentifier() or find_spec(f"{module}.{name}") is not None:
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    hint = _NAMES.get(_bare(name)) or next(
        (f"It is in {place}." for place, names in _PLACES.items() if place != module and name in names.split()), None
    )
    instead = hint or nearest(name, known)
    asking = currentframe()
    for _ in range(2):  # past this function and the module's `__getattr__`
        asking = None if asking is None else asking.f_back
    if asking is not None and asking.f_code.co_name == "_handle_fromlist":
        return ImportError(f"cannot import name {name!r} from {module!r}. {instead}", name=module)
    return AttributeError(f"module {module!r} has no attribute {name!r}. {instead}", name=name)


class Hinted:
    """Says, for an attribute that is not there, what is. A base class."""

    __slots__ = ()
    _hint: ClassVar[str] = ""
    """What somebody who asks for the wrong thing should do first."""

    if not TYPE_CHECKING:  # pragma: no branch - for type checkers nothing is there

        def __getattr__(self, name: str) -> NoReturn:
            kind = type(self)
            if name.startswith("_") or any(name in vars(base) for base in kind.__mro__):
                return object.__getattribute__(self, name)  # Python's own words, or those of a property that raised
            known = [each for each in dir(kind) if not each.startswith("_")]
            instead = self._hint or _MEMBERS.get(_bare(name)) or nearest(name, known)
            raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}. {instead}", name=name)


class refused:  # noqa: N801 - it is used as a decorator is
    """A method of Python's that a class does not have, such as `__enter__`: says what its values are used with instead.

    For `hasattr` it is not there. Hide it from type checkers.
    """

    def __init__(self, instead: str) -> None:
        self._instead = instead

    def __get__(self, whole: object, owner: type) -> NoReturn:
        raise _RefusedError(f"{owner.__name__} {self._instead}", name="")


class _RefusedError(AttributeError, TypeError):
    pass


class NamesChecked:
    """Says which option is meant when a class is made with one that it does not have. A base class."""

    __slots__ = ()
    _made: ClassVar[str] = ""
    """How one is made, for those whose class is taken for one."""

    if not TYPE_CHECKING:  # pragma: no branch - type checkers go by `__init__`

        def __new__(cls, *args: object, **options: object) -> object:
            """Check the names, and leave the rest to `__init__`."""
            count, names = len(args), tuple(options)
            del args, options  # an error would show them
            problem = misnamed(cls.__name__, cls.__init__, count, names) if count or names else ""
            if problem:
                raise TypeError(f"{problem} {cls._made}".rstrip())
            return super().__new__(cls)


def misnamed(called: str, function: Callable[..., object], positional: int, names: Iterable[str]) -> str:
    """What is wrong with the names of a call's arguments, or with giving them without; an empty text when nothing is."""
    parameters = _parameters(function)
    kinds = {parameter.kind for parameter in parameters}
    known = [parameter.name for parameter in parameters]
    if Parameter.VAR_KEYWORD not in kinds:
        for name in names:
            if name not in known:
                return f"{called}() has no option {name!r}. {_meant(name, known)}"
    by_place = [each.name for each in parameters if each.kind is not Parameter.KEYWORD_ONLY]
    if Parameter.VAR_POSITIONAL not in kinds and positional > len(by_place):
        rest = ", ".join(f"{name}=..." for name in known if name not in by_place)
        return f"{called}() takes these by name alone: {rest}."
    return ""


@lru_cache(maxsize=256)
def _parameters(function: Callable[..., object]) -> list[Parameter]:
    return list(signature(function).parameters.values())[1:]  # without `self`


def _meant(name: str, known: list[str]) -> str:
    meant = next((each for each in _PARAMETERS.get(name, "").split() if each in known), None)
    return nearest(name, known) if meant is None else f"Did you mean {meant!r}?"


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another, or all of them, as a sentence."""
    from difflib import get_close_matches  # its import costs more than all the rest

    names = sorted(known)
    near = get_close_matches(name, names, 1)
    if near:
        return f"Did you mean {near[0]!r}?"
    listed = ", ".join(names) if len(names) <= _FEW else "those that dir() lists"
    return f"Those that there are: {listed}." if names else ""


def _bare(name: str) -> str:
    return name.lower().replace("_", "")
