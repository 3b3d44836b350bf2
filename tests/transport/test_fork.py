from __future__ import annotations

import gc
import os
import weakref

import pytest

from telnyx_oauth.transport.fork import on_fork

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


class Owner:
    def __init__(self) -> None:
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1


def resets_in_a_child(*owners: Owner) -> list[int]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, bytes(owner.resets for owner in owners))
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        resets = list(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    return resets


def test_each_owner_is_reset_once_in_a_child_and_not_in_the_parent():
    owners = [Owner(), Owner()]
    for owner in owners:
        on_fork(owner, Owner.reset)
    assert resets_in_a_child(*owners) == [1, 1]
    assert [owner.resets for owner in owners] == [0, 0]


def test_an_owner_may_be_collected():
    owner = Owner()
    on_fork(owner, Owner.reset)
    watched = weakref.ref(owner)
    del owner
    gc.collect()
    assert watched() is None
    assert resets_in_a_child() == []
