"""OAuth grants: list, show, revoke."""

from __future__ import annotations

from ..messages import Response
from .access import READ_SCOPES, WRITE_SCOPES, require_bearer
from .answers import answer
from .calls import Call
from .listing import known, moment, paged
from .state import Grant, State


def list_grants(state: State, call: Call) -> Response:
    """The grants, oldest first."""
    require_bearer(state, call, *READ_SCOPES)
    return paged(call, [_shown(grant) for grant in state.grants.values()])


def show_grant(state: State, call: Call) -> Response:
    """One grant."""
    require_bearer(state, call, *READ_SCOPES)
    return answer({"data": _shown(known(state.grants, call))})


def revoke_grant(state: State, call: Call) -> Response:
    """End a grant; its tokens are worth nothing from here on. The answer is the grant as it was."""
    require_bearer(state, call, *WRITE_SCOPES)
    grant = known(state.grants, call)
    del state.grants[grant.id]
    return answer({"data": _shown(grant)})


def _shown(grant: Grant) -> dict[str, object]:
    return {
        "id": grant.id,
        "record_type": "oauth_grant",
        "client_id": grant.client_id,
        "scopes": grant.scopes,
        "created_at": moment(grant.created_at),
        "last_used_at": None if grant.last_used_at is None else moment(grant.last_used_at),
    }
