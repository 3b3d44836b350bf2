"""Profiles: the sign-ins of a user, each a file in the platform's configuration folder. They hold no secret."""

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


def check_shape(base_url: str, name: str = "base_url") -> str:
    """The address in the form that addresses are compared in. Raises `ValueError` for one that is malformed.

    Plain http passes here: `usable` and `Session.address_for` decide about it.
    """
    return check_base_url(base_url, allow_insecure=True, name=name)


@attrs.frozen
class Profile:
    """One sign-in. `port` is the port of the redirect URI that the client was registered with; 0 is any.

    `allow_insecure` permits plain http to another machine in `base_url`. `auth_method` is how a client that `login`
    registered authenticates; its secret, if it has one, is in the token store. It is empty for the user's own client.
    """

    name: str
    base_url: str = attrs.field(converter=check_shape)
    client_id: str = attrs.field(validator=_TEXT)
    scopes: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...], validator=deep_iterable(_TEXT))
    resource: str | None = attrs.field(default=None, validator=optional(_TEXT))
    store: Store = attrs.field(default="file", validator=in_(get_args(Store)))
    port: int = attrs.field(default=0, validator=instance_of(int))
    allow_insecure: bool = attrs.field(default=False, validator=instance_of(bool))
    auth_method: Literal["", AuthMethod] = attrs.field(default="", validator=in_(("", *get_args(AuthMethod))))

    @property
    def has_secret(self) -> bool:
        """`True` if the token store holds the client's secret too."""
        return self.auth_method not in ("", "none")


def folder() -> Path:
    """The folder for a user's configuration on this platform."""
    from platformdirs import user_config_path

    return user_config_path("telnyx-oauth", appauthor=False)


def load(name: str) -> Profile | None:
    """The profile of this name, if there is one. Raises `Failure` for a damaged file."""
    path = _path(name)
    try:
        return Profile(name, **json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (AttributeError, TypeError, ValueError):  # no JSON, no object, or members that a profile does not have
        pass
    raise Failure(f"The profile {path} is damaged.", "Repair it, or remove it and sign in again.", code="profile")


def usable(profile: Profile) -> Profile:
    """The profile. Raises `Failure` if it is for plain http to another machine and does not allow that."""
    if is_insecure(profile.base_url) and not profile.allow_insecure:
        raise Failure(
            f"The profile {profile.name} is for {profile.base_url}, which {INSECURE}.",
            f"Sign in at an https address, or allow it: telnyx-oauth login --profile {profile.name} --allow-insecure",
            code="profile",
        )
    return profile


def save(profile: Profile) -> None:
    """Write a profile, over any of the same name."""
    # Written beside the old one and moved over it, so that there is a whole profile at each moment.
    path = _path(profile.name)
    draft = path.with_name(f".{profile.name}.{secrets.token_hex(4)}")
    members = attrs.asdict(profile, filter=attrs.filters.exclude("name"))
    with os.fdopen(create_private(draft), "w", encoding="utf-8") as file:
        file.write(json.dumps(members, indent=2) + "\n")
    draft.replace(path)


def prepare() -> None:
    """Check that a profile can be written, before the user signs in. Raises `OSError` if not."""
    where = _path(DEFAULT).parent
    make_private(where)
    probe = where / f".{secrets.token_hex(4)}"
    os.close(create_private(probe))
    probe.unlink()


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise WrongUsage("A profile's name has letters, digits, `.`, `_` and `-`.", code="usage")
    return folder() / "profiles" / f"{name}.json"
