"""The events of a token manager, and their way to hooks and the log. None holds a secret."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import attrs

from ..protocol.arguments import expect_functions
from ..protocol.token import TokenKey
from ..transport import log

logger = log.logger.getChild("tokens")


@attrs.frozen
class TokenEvent:
    """An event of the token of `key`, at `at` (Unix seconds). `flight` is the number of the refresh, 0 outside of one."""

    name: ClassVar[str] = "token"
    level: ClassVar[int] = logging.INFO
    key: TokenKey
    at: float
    flight: int = 0

    @property
    def advice(self) -> str:
        """The event in words (what happened, why, what to do), if a user should know of it. A manager's first is a warning."""
        return ""


@attrs.frozen
class TokenRequested(TokenEvent):
    """A refresh has begun."""

    name = "requested"
    level = logging.DEBUG


@attrs.frozen
class TokenRefreshed(TokenEvent):
    """A refresh has brought a token, after `seconds`. Without `durable` no store holds it yet."""

    name = "refreshed"
    generation: int = 0
    expires_in: float | None = None
    seconds: float = 0.0
    durable: bool = True


@attrs.frozen
class TokenAdopted(TokenEvent):
    """Another process's token was found in the store and is used; nothing was requested."""

    name = "adopted"
    generation: int = 0
    expires_in: float | None = None


@attrs.frozen
class TokenRefreshFailed(TokenEvent):
    """A refresh has failed. `error` is the error's `code`, `kind` its class."""

    name = "failed"
    level = logging.WARNING
    error: str = ""
    kind: str = ""
    status_code: int | None = None
    request_id: str | None = None
    seconds: float = 0.0


@attrs.frozen
class BackoffStarted(TokenEvent):
    """Nothing is sent for `seconds`, after so many failures in a row."""

    name = "back-off"
    seconds: float = 0.0
    failures: int = 0


@attrs.frozen
class ServedStale(TokenEvent):
    """The refresh failed, and the old token, with `remaining` seconds left, is still served."""

    name = "served-stale"
    level = logging.WARNING
    generation: int = 0
    remaining: float = 0.0


@attrs.frozen
class TokenRejected(TokenEvent):
    """The server refused the token of this generation with a 401."""

    name = "rejected"
    level = logging.WARNING
    generation: int = 0


@attrs.frozen
class OutcomeUnknown(TokenEvent):
    """A refresh token was sent and no answer says what became of it; it is sent again to find out."""

    name = "unknown-outcome"
    level = logging.WARNING
    error: str = ""


@attrs.frozen
class ReauthenticationRequired(TokenEvent):
    """The grant is gone; the person must sign in again."""

    name = "reauth-required"
    level = logging.ERROR
    reason: str = ""


@attrs.frozen
class PersistenceDegraded(TokenEvent):
    """The store failed at `operation`, for `reason`.

    Until it works again, tokens are kept in memory alone, and no refresh token is sent. The first of a manager is a
    `RuntimeWarning` as well.
    """

    name = "persistence-degraded"
    level = logging.ERROR
    operation: str = ""
    error: str = ""
    reason: str = ""

    @property
    def advice(self) -> str:
        """The event in words: what happened, why, what to do."""
        return (
            "The token store fails. Until it works again, tokens are kept in memory alone, and no refresh token is "
            f"sent. {self.reason}"
        )


@attrs.frozen
class RecordSetAside(TokenEvent):
    """A stored record cannot be trusted. It was quarantined: moved to another name, not deleted."""

    name = "record-set-aside"
    level = logging.WARNING
    reason: str = ""


@attrs.frozen
class IssuedUnverified(TokenEvent):
    """The issued token could not be verified, and is used: it is opaque, its key is not available, or this machine's clock
    is so far ahead of the server's that the token looks expired only here. A manager's first is a `RuntimeWarning` as well.
    """

    name = "unverified"
    level = logging.WARNING
    reason: str = ""

    @property
    def advice(self) -> str:
        """The event in words: what happened, why, what to do."""
        return (
            f"An access token is used although it could not be verified: {self.reason}. Pass verify_issued=True "
            "(to a TokenManager: demand_proof=True) to refuse such tokens, or verify_issued=False if they are what you "
            "expect. `telnyx-oauth doctor` checks the server's keys and this machine's clock."
        )


TokenHook: TypeAlias = Callable[[TokenEvent], object]
"""Called with every event, on the event loop: it must not block. Its exceptions are logged and go no further."""


@runtime_checkable
class FlightObserver(Protocol):
    """A hook that is also called for each caller that waits for a refresh, in that caller's context."""

    def joined(self, flight: int) -> None:
        """Note that a caller begins to wait for this refresh."""
        ...


def hooks_of(hooks: Iterable[TokenHook]) -> tuple[TokenHook, ...]:
    """The hooks. Raises `TypeError` unless they are a list of functions."""
    return expect_functions(hooks, "hooks")


class Announcer:
    """Passes each event to the log and to every hook."""

    def __init__(self, hooks: Iterable[TokenHook]) -> None:
        self._hooks = hooks_of(hooks)
        # As objects, since a type checker takes a function for no `FlightObserver`.
        objects: tuple[object, ...] = self._hooks
        self._warned: set[type[TokenEvent]] = set()
        self._observers = [hook for hook in objects if isinstance(hook, FlightObserver)]

    def __call__(self, event: TokenEvent) -> None:
        """Pass the event on. Never raises."""
        if logger.isEnabledFor(event.level):
            logger.log(event.level, "%s", describe(event))
        if event.advice and type(event) not in self._warned:
            self._warned.add(type(event))
            # A filter that makes warnings errors, or a `warnings.showwarning` that fails, must not disturb a refresh either.
            with suppress(Exception):
                warnings.warn(event.advice, RuntimeWarning, stacklevel=2)
        for hook in self._hooks:
            try:
                hook(event)
            except Exception as exc:  # noqa: BLE001 - a user's hook must not disturb a refresh
                _complain(exc)

    def joined(self, flight: int) -> None:
        """Tell the observers that a caller waits."""
        for observer in self._observers:
            try:
                observer.joined(flight)
            except Exception as exc:  # noqa: BLE001 - as above
                _complain(exc)


def _complain(exc: Exception) -> None:
    # By class only: the text of an exception from a user's code may hold a secret.
    logger.error("a token hook failed: %s", type(exc).__name__)


_LEFT_OUT: Final = ("key", "at")


def describe(event: TokenEvent) -> str:
    """One line for a log, of plain numbers and stable names, and of a sentence where a user should do something."""
    left_out = (*_LEFT_OUT, "reason") if event.advice else _LEFT_OUT  # the advice has the reason
    names = (field.name for field in attrs.fields(type(event)) if field.name not in left_out)
    words = " ".join(f"{name}={_plain(getattr(event, name))}" for name in names)
    line = f"token {event.name}: grant={event.key.grant or 'custom'} client_id={event.key.client_id} {words}"
    return f"{line}. {event.advice}" if event.advice else line


def _plain(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
