"""One run of one command: where it goes, as whom, and where its results are shown."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..protocol.urls import check_base_url, root_of
from ..types import BaseModel
from .failures import AuthenticationNeeded, Failure, WrongUsage
from .output import Output, clean
from .profiles import DEFAULT, Profile, load, usable

if TYPE_CHECKING:
    from ..blocking.rows import Page
    from ..protocol.token import Token
    from ..sync.client import Telnyx
    from ..tokens.events import TokenEvent

T = TypeVar("T")


@attrs.define(slots=False)
class Session:
    """One run of one command: where it goes, as whom, and where its results are shown."""

    out: Output
    base_url: str | None = None
    profile_name: str | None = None
    allow_insecure: bool = False
    _advice: list[str] = attrs.field(factory=list[str], init=False)

    @property
    def environment_identity(self) -> bool:
        """Whether the environment says who is calling."""
        given = {name for name in ("API_KEY", "CLIENT_ID", "CLIENT_SECRET") if os.environ.get(f"TELNYX_{name}")}
        return "API_KEY" in given or given == {"CLIENT_ID", "CLIENT_SECRET"}

    @cached_property
    def profile(self) -> Profile | None:
        """Who has signed in: in the profile that was asked for, else, unless the environment says who is calling, the default.

        The default one is nobody's where another address is asked for: its tokens are not for there.
        """
        if self.profile_name is None:
            elsewhere = self.base_url or os.environ.get("TELNYX_BASE_URL")
            found = None if self.environment_identity else load(DEFAULT)
            if found is None or (elsewhere and _shaped(elsewhere) != found.base_url):
                return None
            return usable(found)
        found = load(self.profile_name)
        if found is None:
            hint = f"Sign in: telnyx-oauth login --profile {self.profile_name}"
            raise AuthenticationNeeded(f"There is no profile {self.profile_name}.", hint, code="no_profile")
        if self.base_url and _shaped(self.base_url) != found.base_url:
            raise WrongUsage(
                f"The profile {found.name} is for {found.base_url}, and for no other address.", code="usage"
            )
        return usable(found)

    @property
    def address(self) -> str:
        """Where the service is."""
        return self.address_for(self.profile)

    def address_for(self, profile: Profile | None) -> str:
        """Where the service is for a profile. One that was asked for by name is not led elsewhere by the environment.

        Plain http to another machine has to be allowed: by the profile for its own address, else by the command or the
        environment.
        """
        from ..options import BASE_URL, environment_allows_insecure

        kept = None if profile is None else profile.base_url
        by_name = kept if self.profile_name else None
        named = os.environ.get("TELNYX_BASE_URL")
        from_environment = not self.base_url and not by_name and bool(named)
        name = "TELNYX_BASE_URL" if from_environment else "base_url"
        address = _shaped(self.base_url or by_name or named or kept or BASE_URL, name)
        allowed = self.allow_insecure or environment_allows_insecure()
        allowed = allowed or (profile is not None and profile.allow_insecure and address == profile.base_url)
        word = "TELNYX_ALLOW_INSECURE=1" if from_environment else "--allow-insecure"
        return check_base_url(address, allow_insecure=allowed, name=name, word=word)

    @property
    def root(self) -> str:
        """The service's own address: unless told otherwise, who issues its tokens and whom they are for."""
        return root_of(self.address)

    def client(self, *, public: bool = False, audience: str | None = None, issuer: str | None = None) -> Telnyx:
        """A client for this run. Use it as a context manager. With `public`, it is for what anyone may ask."""
        from ..sync.client import Telnyx

        tokens = None
        if self.profile is not None and not public:
            from .login import manager_of

            tokens = manager_of(self.profile)
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
        """Say what was noticed of the tokens beside the result."""
        for advice in self._advice:
            self.out.note(advice)

    def token(self, **wanted: Any) -> Token:
        """The token of whoever is calling. Takes what `TokenManager.get` takes."""
        if self.profile is not None:
            from .login import token_of

            return token_of(self.profile, **wanted)
        with self.client() as client:
            return client.tokens.get(**wanted)

    def answer(self, answer: BaseModel | None, *, secrets: bool = False) -> None:
        """Show one answer of the API. Of those with `secrets`, a person is told to keep them."""
        if answer is None:
            raise Failure("The service's answer is empty.", code="invalid_response")
        self.out.answer(answer, secrets=secrets)
        if secrets and getattr(answer, "client_secret", None):
            self.out.note("The client_secret is told this once. Keep it now.")

    def gather(self, first: Page[T], limit: int | None) -> list[T]:
        """The items of all pages from `first` on, at most `limit`. Says how far it is while that goes on."""
        items: list[T] = []
        with self.out.progress() as tell:
            for page in first.iter_pages():
                items += page.data
                tell(len(items), page.meta.total_results if page.meta else None)
                if limit is not None and len(items) >= limit:
                    break
        return items[:limit]

    def done(self, words: str, **facts: object) -> None:
        """Say that something was done; as JSON, `facts`."""
        if self.out.as_json:
            self.out.json(facts)
        else:
            self.out.line(clean(words))


def _shaped(address: str, name: str = "base_url") -> str:
    return check_base_url(address, allow_insecure=True, name=name)
