"""What the manager tells of its work: frozen events, and their way into hooks and the log. None holds a secret."""

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
    """Something happened to the token of `key` at `at` (Unix seconds). `flight` numbers the renewal, 0 outside of
    one.
    """

    name: ClassVar[str] = "token"
    level: ClassVar[int] = logging.INFO
    key: TokenKey
    at: float
    flight: int = 0

    @property
    def advice(self) -> str:
        """What happened, why, and what to do, of an event that a user should hear of. The first of a manager is a warning."""
        return ""


@attrs.frozen
class TokenRequested(TokenEvent):
    """A renewal has begun."""

    name = "requested"
    level = logging.DEBUG


@attrs.frozen
class TokenRefreshed(TokenEvent):
    """A renewal has given a token, after `seconds`. Without `durable` no store holds it yet."""

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
    """A renewal has failed. `error` is the error's `code`, `kind` its class."""

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
    """The renewal failed and the old token, with `remaining` seconds left, goes on being served."""

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
    """The store failed at `operation`. `reason` is what it says of that.

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
        """What happened, why, and what to do."""
        return (
            "The token store fails. Until it works again, tokens are kept in memory alone, and no refresh token is "
            f"sent. {self.reason}"
        )


@attrs.frozen
class RecordSetAside(TokenEvent):
    """A stored record is not to be trusted and was moved out of the way, not deleted."""

    name = "record-set-aside"
    level = logging.WARNING
    reason: str = ""


@attrs.frozen
class IssuedUnverified(TokenEvent):
    """The issued token could not be checked, and is used: it is opaque, its key is not to be had, or this machine's clock
    is so far ahead of the server's that the token looks expired here alone. The first of a manager is a `RuntimeWarning`
    as well.
    """

    name = "unverified"
    level = logging.WARNING
    reason: str = ""

    @property
    def advice(self) -> str:
        """What happened, why, and what to do."""
        return (
            f"An access token is used although it could not be verified: {self.reason}. Pass verify_issued=True "
            "(to a TokenManager: demand_proof=True) to refuse such tokens, or verify_issued=False if they are what you "
            "expect. `telnyx-oauth doctor` checks the server's keys and this machine's clock."
        )


TokenHook: TypeAlias = Callable[[TokenEvent], object]
"""Called with every event, on the event loop: it must not block. What it raises is logged and goes no further."""


@runtime_checkable
class FlightObserver(Protocol):
    """A hook that also wants to know who waits: called in the context of each caller that joins a renewal."""

    def joined(self, flight: int) -> None:
        """A caller begins to wait for this renewal."""
        ...


def hooks_of(hooks: Iterable[TokenHook]) -> tuple[TokenHook, ...]:
    """The hooks. Raises `TypeError` for what is no list of functions."""
    return expect_functions(hooks, "hooks")


class Announcer:
    """Tells an event to the log and to every hook."""

    def __init__(self, hooks: Iterable[TokenHook]) -> None:
        self._hooks = hooks_of(hooks)
        everything: tuple[object, ...] = self._hooks
        self._warned: set[type[TokenEvent]] = set()
        self._observers = [hook for hook in everything if isinstance(hook, FlightObserver)]

    def __call__(self, event: TokenEvent) -> None:
        """Tell it. Never raises."""
        if logger.isEnabledFor(event.level):
            logger.log(event.level, "%s", describe(event))
        if event.advice and type(event) not in self._warned:
            self._warned.add(type(event))
            # A filter that makes warnings errors, or a `warnings.showwarning` that fails, must not harm a renewal either.
            with suppress(Exception):
                warnings.warn(event.advice, RuntimeWarning, stacklevel=2)
        for hook in self._hooks:
            try:
                hook(event)
            except Exception as exc:  # noqa: BLE001 - a user's hook must not harm a renewal
                _complain(exc)

    def joined(self, flight: int) -> None:
        """Tell those who want to know that a caller waits."""
        for observer in self._observers:
            try:
                observer.joined(flight)
            except Exception as exc:  # noqa: BLE001 - as above
                _complain(exc)


def _complain(exc: Exception) -> None:
    # By class alone: the text of an exception that is not ours may hold anything.
    logger.error("a token hook failed: %s", type(exc).__name__)


_UNSAID: Final = ("key", "at")


def describe(event: TokenEvent) -> str:
    """One line for a log, of plain numbers and stable names, and of a sentence where a user should do something."""
    unsaid = (*_UNSAID, "reason") if event.advice else _UNSAID  # the advice says it
    own = (field.name for field in attrs.fields(type(event)) if field.name not in unsaid)
    words = " ".join(f"{name}={_plain(getattr(event, name))}" for name in own)
    line = f"token {event.name}: grant={event.key.grant or 'custom'} client_id={event.key.client_id} {words}"
    return f"{line}. {event.advice}" if event.advice else line


def _plain(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
