"""Commands over a keyring that is locked, absent, too small or hangs: no traceback, no endless wait, no grant lost."""

from __future__ import annotations

import json
import time

import keyring
import pytest

from telnyx_oauth.cli import credentials
from tests.cli.test_login import person  # noqa: F401 - a fixture
from tests.tokens.keyrings import (
    ERRORS,
    CuttingKeyring,
    FailingKeyring,
    HangingKeyring,
    SmallKeyring,
)

pytestmark = pytest.mark.blocks_loop  # the loop is the command's own

COMMANDS = ["login", "status", "token", "logout"]


@pytest.mark.parametrize("kind", [SmallKeyring, CuttingKeyring])
def test_a_small_keyring_keeps_who_is_signed_in(use, run, person, kind):  # noqa: F811
    small = use(kind())
    assert run("login", "--store", "keyring", "--scope", "admin").exit_code == 0
    assert not [name for _, name in small.kept if "probe" in name or "rehearsal" in name]
    assert json.loads(run("status", "--json").stdout)["store"] == "keyring"
    assert run("token").exit_code == 0
    assert run("logout").exit_code == 0
    assert run("status").exit_code == 4


def test_a_keyring_that_is_too_small_is_known_before_anyone_signs_in(use, run, person, sandbox):  # noqa: F811
    use(SmallKeyring(1000))
    shown = run("login", "--store", "keyring")
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert "does not take an entry of" in shown.stderr
    assert "--store file" in shown.stderr
    assert person.empty()
    assert sandbox.requests.count("/oauth/register") == 0
    assert run("login", "--store", "file").exit_code == 0


@pytest.mark.parametrize("error", ERRORS)
def test_a_keyring_that_fails_ends_each_command_with_a_sentence(use, run, person, sandbox, error):  # noqa: F811
    failing = use(FailingKeyring(error, broken=False))
    assert run("login", "--store", "keyring").exit_code == 0
    requests = len(sandbox.requests.find("/oauth/token"))
    failing.broken = True
    for command in COMMANDS:
        shown = run(command)
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert "keyring" in shown.stderr
    assert "keyring" in run("doctor").stdout
    document = json.loads(run("token", "--json").stderr)
    assert document["error"]["code"] == "token_persistence_failed"
    assert len(sandbox.requests.find("/oauth/token")) == requests
    failing.broken = False
    assert run("token").exit_code == 0


@pytest.mark.leaves_threads
def test_a_keyring_that_hangs_ends_each_command_in_time(use, run, person, monkeypatch):  # noqa: F811
    monkeypatch.setattr(credentials, "STORE_TIMEOUT", 0.2)
    hanging = use(HangingKeyring(broken=False))
    assert run("login", "--store", "keyring").exit_code == 0
    hanging.broken = True
    for command in COMMANDS:
        began = time.monotonic()
        shown = run(command)
        assert time.monotonic() - began < 8
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert "no answer" in shown.stderr
    hanging.let_go.set()
    hanging.broken = False
    assert run("token").exit_code == 0


def test_a_sign_in_to_another_store_works_though_the_old_one_fails(use, run, person):  # noqa: F811
    failing = use(FailingKeyring(keyring.errors.KeyringLocked, broken=False))
    run("login", "--store", "keyring")
    failing.broken = True
    shown = run("login", "--store", "file")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("Signed in")
    assert "still where they were" in shown.stderr
    assert "keyring is locked" in shown.stderr
    assert run("token").exit_code == 0
