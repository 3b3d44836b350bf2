"""Profiles: whom one signs in as, and where. In the platform's configuration folder; no secret is in them."""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Final, Literal, get_args

import attrs
from attrs.validators import deep_iterable, in_, instance_of, optional

from ..protocol.token_endpoint import AuthMethod
from ..protocol.urls import INSECURE, check_base_url, is_insecure
from ..tokens.folders import create_private, make_private
from .failures import Failure, WrongUsage

Store = Literal["file", "keyring"]
DEFAULT: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TEXT: Final = instance_of(str)


def _address(base_url: str) -> str:
    return check_base_url(base_url, allow_insecure=True)


@attrs.frozen
class Profile:
    """One sign-in. `port` is where the browser's answer is awaited, as the client is registered; 0 is any.

    `allow_insecure` is what lets `base_url` be plain http to another machine. `auth_method` is how a client that was
    registered here authenticates; its secret, if it has one, is where the tokens are. Empty: it was not registered here.
    """

    name: str
    base_url: str = attrs.field(converter=_address)
    client_id: str = attrs.field(validator=_TEXT)
    scopes: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...], validator=deep_iterable(_TEXT))
    resource: str | None = attrs.field(default=None, validator=optional(_TEXT))
    store: Store = attrs.field(default="file", validator=in_(get_args(Store)))
    port: int = attrs.field(default=0, validator=instance_of(int))
    allow_insecure: bool = attrs.field(default=False, validator=instance_of(bool))
    auth_method: Literal["", AuthMethod] = attrs.field(default="", validator=in_(("", *get_args(AuthMethod))))

    @property
    def has_secret(self) -> bool:
        """Whether a secret is kept beside the tokens."""
        return self.auth_method not in ("", "none")


def folder() -> Path:
    """Where this platform keeps a user's configuration."""
    from platformdirs import user_config_path

    return user_config_path("telnyx-oauth", appauthor=False)


def load(name: str) -> Profile | None:
    """The profile of this name, if there is one. A damaged one is a `Failure` that says where it is."""
    path = _path(name)
    try:
        return Profile(name, **json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (AttributeError, TypeError, ValueError):
        pass
    raise Failure(f"The profile {path} is damaged.", "Repair it, or remove it and sign in again.", code="profile")


def usable(profile: Profile) -> Profile:
    """The profile. One for plain http to another machine that does not allow it is a `Failure`."""
    if is_insecure(profile.base_url) and not profile.allow_insecure:
        raise Failure(
            f"The profile {profile.name} is for {profile.base_url}, which {INSECURE}.",
            f"Sign in at an https address, or allow it: telnyx-oauth login --profile {profile.name} --allow-insecure",
            code="profile",
        )
    return profile


def save(profile: Profile) -> None:
    """Keep a profile, in the place of any of its name."""
    path = _path(profile.name)
    draft = path.with_name(f".{profile.name}.{secrets.token_hex(4)}")
    members = attrs.asdict(profile, filter=attrs.filters.exclude("name"))
    with os.fdopen(create_private(draft), "w", encoding="utf-8") as file:
        file.write(json.dumps(members, indent=2) + "\n")
    draft.replace(path)


def prepare() -> None:
    """Make sure that a profile can be kept. Raises `OSError` when not, before anyone has signed in in vain."""
    where = _path(DEFAULT).parent
    make_private(where)
    probe = where / f".{secrets.token_hex(4)}"
    os.close(create_private(probe))
    probe.unlink()


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise WrongUsage("A profile's name has letters, digits, `.`, `_` and `-`.", code="usage")
    return folder() / "profiles" / f"{name}.json"
