"""One run of a command: the service's address, the credentials, and the output."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..protocol.urls import check_base_url, root_of
from ..types import BaseModel
from .credentials import access_token, calling_profile, token_manager
from .failures import Failure
from .output import Output, clean
from .profiles import Profile, check_shape

if TYPE_CHECKING:
    from ..blocking.rows import Page
    from ..protocol.token import Token
    from ..sync.client import Telnyx
    from ..tokens.events import TokenEvent

T = TypeVar("T")


@attrs.define(slots=False)
class Session:
    """One run of a command: the service's address, the credentials, and the output."""

    out: Output
    base_url: str | None = None
    profile_name: str | None = None
    allow_insecure: bool = False
    _advice: list[str] = attrs.field(factory=list[str], init=False)

    @cached_property
    def profile(self) -> Profile | None:
        """The profile that the command acts for, if any."""
        return calling_profile(self.profile_name, self.base_url)

    @property
    def address(self) -> str:
        """The service's address."""
        return self.address_for(self.profile)

    def address_for(self, profile: Profile | None) -> str:
        """The service's address for a profile: --base-url, else the environment's, else the profile's.

        A profile that was chosen by name keeps its own address, whatever the environment says. Plain http to another
        machine has to be allowed: by the profile for its own address, by the command, or by the environment.
        """
        from ..options import BASE_URL, environment_allows_insecure

        own = None if profile is None else profile.base_url
        by_name = own if self.profile_name else None
        variable = os.environ.get("TELNYX_BASE_URL")
        from_environment = not self.base_url and not by_name and bool(variable)
        name = "TELNYX_BASE_URL" if from_environment else "base_url"
        address = check_shape(self.base_url or by_name or variable or own or BASE_URL, name)
        allowed = self.allow_insecure or environment_allows_insecure()
        allowed = allowed or (profile is not None and profile.allow_insecure and address == profile.base_url)
        word = "TELNYX_ALLOW_INSECURE=1" if from_environment else "--allow-insecure"
        return check_base_url(address, allow_insecure=allowed, name=name, word=word)

    @property
    def root(self) -> str:
        """The address without the path: by default the issuer of the service's tokens, and their audience."""
        return root_of(self.address)

    def client(self, *, public: bool = False, audience: str | None = None, issuer: str | None = None) -> Telnyx:
        """A client for this run, to use as a context manager. With `public` it does not use the profile."""
        from ..sync.client import Telnyx

        tokens = token_manager(self.profile) if self.profile is not None and not public else None
        return Telnyx(
            tokens=tokens,
            base_url=self.address,  # which has been checked
            audience=audience or (),
            issuer=issuer,
            allow_insecure=True,
            token_hooks=() if tokens is not None else (self._hear,),
        )

    def _hear(self, event: TokenEvent) -> None:
        if event.advice and event.advice not in self._advice:
            self._advice.append(event.advice)

    def advise(self) -> None:
        """Print the advice of the token events, each once, beside the result."""
        for advice in self._advice:
            self.out.note(advice)

    def token(self, **options: Any) -> Token:
        """The caller's token. Takes what `TokenManager.get` takes."""
        if self.profile is not None:
            return access_token(self.profile, **options)
        with self.client() as client:
            return client.tokens.get(**options)

    def answer(self, answer: BaseModel | None, *, secrets: bool = False) -> None:
        """Show one answer of the API. With `secrets` they are shown too, with the advice to keep them."""
        if answer is None:
            raise Failure("The service's answer is empty.", code="invalid_response")
        self.out.answer(answer, secrets=secrets)
        if secrets and getattr(answer, "client_secret", None):
            self.out.note("The client_secret is told this once. Keep it now.")

    def gather(self, first: Page[T], limit: int | None) -> list[T]:
        """The items of all pages from `first` on, at most `limit`, with a progress bar on a terminal."""
        items: list[T] = []
        # Not `for item in first`: the bar moves page by page, and `limit` ends at the page that reaches it.
        with self.out.progress() as show:
            for page in first.iter_pages():
                items += page.data
                show(len(items), page.meta.total_results if page.meta else None)
                if limit is not None and len(items) >= limit:
                    break
        return items[:limit]

    def done(self, words: str, **facts: object) -> None:
        """Print that something was done; as JSON, `facts`."""
        if self.out.as_json:
            self.out.json(facts)
        else:
            self.out.line(clean(words))
