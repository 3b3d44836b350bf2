"""`login`, `logout`, and commands that act for who has signed in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest

from telnyx_oauth import Telnyx
from telnyx_oauth.cli import login as module
from tests.cli.conftest import PATIENCE

pytestmark = pytest.mark.blocks_loop  # the loop is the command's own, and it prints while it waits


def visit(address: str) -> str:
    """What a browser shows at an address of this machine."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=30) as page:
            return page.read().decode()
    except HTTPError as error:
        with error:
            return error.read().decode()


@pytest.fixture
def person(shell, run, monkeypatch, sandbox):
    """A user without credentials, whose browser agrees to every request. Gives the pages that they saw."""
    for name in ("TELNYX_CLIENT_ID", "TELNYX_CLIENT_SECRET"):
        monkeypatch.delenv(name)
        shell.variables.pop(name)
    monkeypatch.setenv("BROWSER", "one that the test stands in for")
    seen: Queue[str] = Queue()
    monkeypatch.setattr(webbrowser, "open", lambda url: seen.put(visit(sandbox.approve(url))))
    return seen


@pytest.fixture
def configuration(home) -> Path:
    path = home / "config" / "telnyx-oauth"
    if sys.platform != "linux":
        pytest.skip("looks into the folder where Linux has it")
    return path


def kept(configuration: Path) -> list[str]:
    return [path.name for path in configuration.glob("tokens/*.json")]


def age(configuration: Path, seconds: float = 3600) -> None:
    """Let an hour go by for what is stored."""
    for path in configuration.glob("tokens/*.json"):
        record = json.loads(path.read_text())
        if record["expires_at"] is None:
            continue
        path.write_text(json.dumps(record | {name: record[name] - seconds for name in ("issued_at", "expires_at")}))


def test_after_a_login_commands_act_for_the_user(run, person, sandbox):
    assert "no profile default" in run("logout").stderr
    shown = run("login", "--scope", "voice.read admin")
    assert (shown.exit_code, shown.stdout) == (0, "Signed in: profile default, for admin voice.read.\n")
    assert "You are signed in" in person.get(timeout=30)
    assert json.loads(run("status", "--json").stdout)["identity"] == "signed in"
    assert run("verify", stdin=run("token").stdout).exit_code == 0
    assert run("clients", "list").exit_code == 0
    assert run("doctor").exit_code == 0
    assert sandbox.requests.count("/oauth/token") == 1


def test_what_is_for_clients_alone_says_so_to_a_person(run, person, sandbox):
    run("login", "--scope", "admin")
    shown = run("introspect", "token")
    assert shown.exit_code == 4
    assert "Introspection is for OAuth clients" in shown.stderr
    shown = run("demo", "--base-url", sandbox.base_url)
    assert shown.exit_code == 0
    assert "skipped: the service answers OAuth clients alone" in shown.stdout
    assert "accepted   yes" in shown.stdout


def test_a_logout_deletes_the_tokens_and_keeps_the_client(run, person, sandbox):
    run("login")
    assert run("logout", "--json").stdout == '{\n  "profile": "default"\n}\n'
    for command in ("status", "token", "doctor"):
        shown = run(command)
        assert shown.exit_code == 4
    assert "Sign in again: telnyx-oauth login" in run("token").stderr
    assert run("metadata").exit_code == 0
    assert run("login").exit_code == 0
    assert sandbox.requests.count("/oauth/register") == 1


@pytest.fixture
def registers(sandbox):
    """Makes the service register a confidential client for every request; gives its secret."""

    def make(**more: object) -> str:
        with Telnyx(api_key=sandbox.api_key, base_url=sandbox.base_url) as client:
            made = client.oauth_clients.create(
                name="n",
                allowed_scopes=["admin", "voice.read"],
                client_type="confidential",
                allowed_grant_types=["authorization_code", "refresh_token"],
                redirect_uris=["http://127.0.0.1/callback"],
            ).data
        body = {"client_id": made.client_id, "client_secret": made.client_secret, **more}
        sandbox.faults.add("/oauth/register", kind="latency", body=json.dumps(body).encode())
        return made.client_secret

    return make


@pytest.mark.parametrize("answer", [{}, {"token_endpoint_auth_method": "client_secret_post"}])
def test_a_secret_that_comes_of_registering_is_kept_with_the_tokens_and_used(
    run, person, registers, configuration, sandbox, answer
):
    secret = registers(**answer, client_secret_expires_at=0)
    shown = run("login", "--scope", "voice.read")
    assert shown.exit_code == 0
    (profile,) = configuration.glob("profiles/*.json")
    assert secret not in profile.read_text() + shown.output
    assert {path.stat().st_mode & 0o777 for path in configuration.glob("tokens/*.json")} == {0o600}
    first = run("token").stdout
    age(configuration)
    renewed = run("token", "--min-ttl", "60")
    assert renewed.exit_code == 0, renewed.stderr
    assert renewed.stdout != first
    assert run("logout").exit_code == 0
    assert run("login").exit_code == 0
    assert sandbox.requests.count("/oauth/register") == 1
    for request in sandbox.requests.find("/oauth/token"):
        assert ("Authorization" in request.headers) is not bool(answer)
        assert ("client_secret" in request.form) is bool(answer)


def test_a_registered_client_whose_secret_has_ended_or_is_gone_is_replaced_at_the_next_login(
    run, person, registers, configuration, sandbox
):
    registers(client_secret_expires_at=int(time.time()) - 5)
    assert run("login").exit_code == 0
    second = registers()
    assert run("login").exit_code == 0
    assert sandbox.requests.count("/oauth/register") == 2
    (kept_secret,) = configuration.glob("tokens/client-*.json")
    assert json.loads(kept_secret.read_text())["access_token"] == second
    kept_secret.unlink()
    age(configuration)
    shown = run("token", "--min-ttl", "60")
    assert shown.exit_code != 0
    assert "telnyx-oauth login" in shown.stderr
    assert run("login").exit_code == 0
    assert sandbox.requests.count("/oauth/register") == 3


def test_profiles_part_people(run, person, configuration):
    run("login", "--profile", "one", "--scope", "voice.read")
    run("login", "--profile", "two", "--scope", "fax.read")
    printed = [json.loads(run("status", "--profile", name, "--json").stdout)["scope"] for name in ("one", "two")]
    assert printed == ["voice.read", "fax.read"]
    assert run("status").exit_code == 4
    assert len(kept(configuration)) == 2
    assert {path.stat().st_mode & 0o777 for path in configuration.glob("tokens/*.json")} == {0o600}


def test_a_profile_that_is_not_there_is_named(run, person):
    shown = run("token", "--profile", "nobody")
    assert shown.exit_code == 4
    assert "login --profile nobody" in shown.stderr


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden"])
def test_a_profiles_name_leads_nowhere_else(run, person, name):
    assert run("token", "--profile", name).exit_code == 2


def test_the_environments_credentials_win_and_login_says_so(run, person, monkeypatch, sandbox):
    monkeypatch.setenv("TELNYX_API_KEY", sandbox.api_key)
    assert "still win over this" in run("login").stderr
    assert json.loads(run("status", "--json").stdout)["identity"] == "API key"
    assert json.loads(run("status", "--json", "--profile", "default").stdout)["identity"] == "signed in"


def test_tokens_go_nowhere_but_where_they_are_from(run, person, monkeypatch):
    run("login")
    assert run("token", "--base-url", "http://127.0.0.1:1/v2").exit_code == 4
    shown = run("token", "--base-url", "http://127.0.0.1:1/v2", "--profile", "default")
    assert shown.exit_code == 2
    assert "for no other address" in shown.stderr
    monkeypatch.setenv("TELNYX_BASE_URL", "http://127.0.0.1:1/v2")
    assert run("token").exit_code == 4
    assert run("token", "--profile", "default").exit_code == 0


def test_a_client_of_ones_own_proves_itself_with_the_environments_secret(
    run, person, monkeypatch, sandbox, configuration
):
    monkeypatch.setenv("TELNYX_CLIENT_ID", sandbox.client_id)
    monkeypatch.setenv("TELNYX_CLIENT_SECRET", sandbox.client_secret)
    assert run("login", "--profile", "mine").exit_code == 0
    assert sandbox.requests.count("/oauth/register") == 0
    age(configuration)
    assert run("token", "--profile", "mine").exit_code == 0
    assert sandbox.requests.find("/oauth/token")[-1].form["grant_type"] == "refresh_token"


def test_another_client_takes_the_place_of_the_one_before_and_of_its_tokens(run, person, sandbox, configuration):
    run("login")
    before = kept(configuration)
    with sandbox.client(trust_env=False) as client:
        other = client.oauth_clients.create(
            name="Other", client_type="public", allowed_grant_types=["authorization_code", "refresh_token"],
            allowed_scopes=["admin"], redirect_uris=["http://127.0.0.1/callback"],
        ).data.client_id  # fmt: skip
    assert run("login", "--client-id", other).exit_code == 0
    assert json.loads(run("status", "--json").stdout)["client_id"] == other
    assert len(kept(configuration)) == 1
    assert kept(configuration) != before


def test_another_port_is_another_registration(run, person, sandbox):
    run("login")
    assert run("login", "--port", str(module._free_port())).exit_code == 0
    assert sandbox.requests.count("/oauth/register") == 2


def test_a_denial_is_explained_and_what_was_stored_stays(run, person, monkeypatch, sandbox):
    run("login")
    person.get(timeout=30)
    monkeypatch.setattr(webbrowser, "open", lambda url: person.put(visit(sandbox.deny(url))))
    shown = run("login")
    assert shown.exit_code == 1
    assert "Signing in did not work" in person.get(timeout=30)
    assert run("token").exit_code == 0


def test_the_wait_for_a_browser_ends_with_its_timeout(run, person):
    shown = run("login", "--no-browser", "--timeout", "1")
    assert shown.exit_code == 1
    assert "Traceback" not in shown.output


def test_a_taken_port_is_a_clear_sentence(run, person, monkeypatch, sandbox):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        shown = run("login", "--port", str(taken.getsockname()[1]))
    assert shown.exit_code == 1
    assert "another port" in shown.stderr
    assert person.empty()


def test_a_damaged_profile_is_named_and_left_alone(run, person, configuration):
    run("login")
    path = configuration / "profiles" / "default.json"
    for damage in (b"{", b"[]", b'"text"', b'{"base_url": "x"}', path.read_bytes().replace(b"port", b"harbour")):
        path.write_bytes(damage)
        for command in ("token", "login", "logout"):
            shown = run(command)
            assert shown.exit_code == 1
            assert str(path) in shown.stderr
        assert path.read_bytes() == damage


def test_a_folder_that_takes_no_profile_is_known_before_anyone_signs_in(run, person, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for name in ("XDG_CONFIG_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    shown = run("login")
    assert shown.exit_code == 1
    assert str(tmp_path / "file") in shown.stderr
    assert person.empty()


def test_tokens_that_cannot_be_kept_are_an_error(run, person, configuration, monkeypatch, sandbox):
    def spoil(url: str) -> None:
        (configuration / "tokens").chmod(0o755)
        visit(sandbox.approve(url))

    monkeypatch.setattr(webbrowser, "open", spoil)
    shown = run("login")
    assert shown.exit_code == 1
    assert str(configuration) in shown.stderr
    assert run("status").exit_code == 4


def test_a_machine_without_a_keyring_says_so_before_anyone_signs_in(run, person, monkeypatch):
    keyring = pytest.importorskip("keyring")
    from keyring.backends.fail import Keyring

    monkeypatch.setattr(keyring, "get_keyring", Keyring)
    shown = run("login", "--store", "keyring")
    assert shown.exit_code == 1
    assert "no keyring on this machine" in shown.stderr
    assert person.empty()


@pytest.mark.parametrize(
    "platform, display, opens", [("darwin", "", True), ("linux", "", False), ("linux", ":0", True), ("win32", "", True)]
)
def test_a_browser_is_opened_where_it_has_a_window(monkeypatch, platform, display, opens):
    for name in ("BROWSER", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(sys, "platform", platform)
    assert module._has_browser() is opens


# --- as processes


def test_processes_that_start_at_once_share_one_grant_for_as_long_as_it_lasts(
    shell, run, person, sandbox, configuration
):
    assert run("login").exit_code == 0
    age(configuration)
    with ThreadPoolExecutor(3) as pool:
        shown = list(pool.map(lambda _: shell("token"), range(3)))
    assert [each.returncode for each in shown] == [0, 0, 0]
    assert all(each.stderr == "" for each in shown)
    assert len({each.stdout for each in shown}) == 1
    (refreshed,) = sandbox.requests.find("/oauth/token")[1:]
    assert (refreshed.form["grant_type"], refreshed.status) == ("refresh_token", 200)


def test_a_command_that_ends_amid_a_refresh_loses_no_grant(shell, run, person, sandbox, configuration):
    """Of its two requests the second finds the token in its advisory window, and the refresh outlasts the command's work."""
    assert run("login", "--scope", "admin").exit_code == 0
    with sandbox.client() as client:
        for number in range(110):  # more than one page
            client.oauth_clients.create(
                client_type="public",
                allowed_grant_types=["client_credentials"],
                allowed_scopes=["admin"],
                name=f"c{number}",
            )
    age(configuration, 1500)  # of 1,800
    sandbox.faults.add("/oauth/token", kind="latency", seconds=1.0, times=None)
    sandbox.faults.add("/oauth/clients", kind="latency", seconds=0.3, times=None)

    def refreshes():
        return [
            seen.status for seen in sandbox.requests.find("/oauth/token") if seen.form["grant_type"] == "refresh_token"
        ]

    listed = shell("clients", "list", "--json")
    assert (listed.returncode, listed.stderr, refreshes()) == (0, "", [200])
    age(configuration)
    again = shell("token")
    assert (again.returncode, again.stderr, refreshes()) == (0, "", [200, 200])


def test_a_second_login_while_one_waits_is_an_error_and_disturbs_nothing(shell, run, person, sandbox):
    run("login")
    with shell.start("login", "--no-browser", stdin=subprocess.DEVNULL) as waiting:
        waiting.stderr.readline()
        url = waiting.stderr.readline().strip()
        second = run("login")
        page = visit(sandbox.approve(url))
        printed, _ = waiting.communicate(timeout=30)
    assert second.exit_code == 1
    assert "Another sign-in may be waiting there" in second.stderr
    assert (waiting.returncode, "You are signed in" in page) == (0, True)
    assert printed.startswith("Signed in: profile default")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals here")
@pytest.mark.parametrize("length", [0, 5_000, 100_000])  # a terminal by itself keeps 4,096 bytes of a line
def test_at_a_terminal_the_address_can_be_pasted(shell, person, sandbox, length):
    from tests.cli.conftest import COMMAND
    from tests.cli.terminal import Terminal

    shown = Terminal((*COMMAND, "login", "--no-browser"), shell.environment, columns=60)
    shown.wait_for("Or paste the address that it ended at: ")
    url = next(line for line in shown.text.splitlines() if line.startswith("http"))
    assert parse_qs(urlsplit(url).query)["code_challenge_method"] == ["S256"]
    shown.press("nonsense\n")
    shown.wait_for("nonsense")
    shown.wait_for("ended at: \x1b"[:10] if False else "ended at: ")
    shown.press(sandbox.approve(url) + f"&pad={'x' * length}\n")
    assert shown.end() == 0
    assert "Signed in: profile default" in shown.text
    assert shell("status").returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals here")
def test_ctrl_c_while_the_browser_is_awaited_ends_it(shell, person):
    from tests.cli.conftest import COMMAND
    from tests.cli.terminal import Terminal

    shown = Terminal((*COMMAND, "login", "--no-browser"), shell.environment)
    shown.wait_for("Or paste")
    assert shown.interrupt() == 1
    assert "Traceback" not in shown.seen
    assert shell("status").returncode == 4


@pytest.mark.skipif(os.name != "posix", reason="there are no such modes")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277, 0o777], ids=oct)
def test_what_a_sign_in_leaves_is_its_owners_alone_whatever_the_umask(home, umask):
    """A process of its own; the profile is written before the tokens are, here without a sign-in."""
    code = """
from telnyx_oauth.cli.profiles import Profile, folder, prepare, save
prepare()
save(Profile("default", "https://api.telnyx.com/v2", "client"))
print(folder())
"""
    above = home / "config"
    environment = {**os.environ, "XDG_CONFIG_HOME": str(above)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, umask=umask, check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    made = Path(done.stdout.strip())
    assert made.parent == above
    assert {each.stat().st_mode & 0o777 for each in (above, made, made / "profiles")} == {0o700}
    assert [each.stat().st_mode & 0o777 for each in (made / "profiles").iterdir()] == [0o600]


INSECURE = "http://telnyx.invalid/v2"


def profile_at(configuration: Path, base_url: str, **members: object) -> Path:
    path = configuration / "profiles" / "away.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"base_url": base_url, "client_id": "c", **members}))
    return path


def test_a_profile_for_plain_http_to_another_machine_has_to_allow_it(run, person, configuration, monkeypatch):
    monkeypatch.delenv("TELNYX_BASE_URL")
    profile_at(configuration, INSECURE)
    for command in (["token"], ["clients", "list"], ["status"]):
        shown = run(*command, "--profile", "away")
        assert (shown.exit_code, shown.stdout) == (1, "")
        assert f"The profile away is for {INSECURE}, which is plain http to another machine" in shown.stderr
        assert "telnyx-oauth login --profile away --allow-insecure" in shown.stderr
    shown = run("login", "--profile", "away")
    assert (shown.exit_code, "--allow-insecure" in shown.stderr) == (2, True)
    assert run("logout", "--profile", "away").exit_code == 0
    profile_at(configuration, INSECURE, allow_insecure=True)
    shown = run("token", "--profile", "away")
    assert (shown.exit_code, "Sign in again" in shown.stderr) == (4, True)
    profile_at(configuration, INSECURE, allow_insecure="yes")
    assert "is damaged" in run("token", "--profile", "away").stderr


def test_a_login_over_plain_http_is_allowed_once_and_the_profile_keeps_that(run, person, configuration, monkeypatch):
    async def signed_in(out, profile, timeout, *, browser):
        return profile, ["admin"]

    monkeypatch.setattr(module, "_sign_in", signed_in)
    shown = run("login", "--profile", "away", "--base-url", INSECURE, "--client-id", "c")
    assert (shown.exit_code, "--allow-insecure" in shown.stderr) == (2, True)
    shown = run("login", "--profile", "away", "--base-url", INSECURE, "--client-id", "c", "--allow-insecure")
    assert shown.exit_code == 0
    assert "Sign in again" in run("token", "--profile", "away").stderr
    assert run("login", "--profile", "away").exit_code == 0
    assert run("login", "--profile", "away", "--base-url", "https://telnyx.invalid/v2").exit_code == 0
    assert json.loads((configuration / "profiles" / "away.json").read_text())["allow_insecure"] is False
