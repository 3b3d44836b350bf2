"""`doctor` finds what is wrong and says what to do."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from telnyx_oauth.cli.command import Session
from telnyx_oauth.cli.doctor import Visit, _handshake
from telnyx_oauth.cli.output import Output

CHECKS = ["environment", "connection", "encryption", "metadata", "clock", "keys", "token", "verification"]


@pytest.fixture
def examine(run):
    def ask(*arguments: str):
        shown = run("doctor", "--json", *arguments)
        document = json.loads(shown.stdout)
        assert [each["check"] for each in document["checks"]] == CHECKS
        assert document["ok"] is (shown.exit_code == 0)
        return shown.exit_code, {each.pop("check"): each for each in document["checks"]}

    return ask


def failed(checks) -> list[str]:
    return [name for name, each in checks.items() if each["verdict"] == "failed"]


def test_all_is_well_with_the_sandbox(examine, run):
    exit_code, checks = examine()
    assert exit_code == 0
    assert {each["verdict"] for each in checks.values()} == {"ok", "skipped"}
    assert checks["verification"]["verdict"] == "ok"
    assert run("doctor").stdout.count("\n") == len(CHECKS)


def test_no_secret_is_shown(run, sandbox):
    assert sandbox.client_secret not in run("doctor").output


def test_half_an_identity_is_warned_of_and_authentication_needed(examine, monkeypatch):
    monkeypatch.delenv("TELNYX_CLIENT_SECRET")
    exit_code, checks = examine()
    assert exit_code == 4
    assert checks["environment"]["verdict"] == "warning"
    assert failed(checks) == ["token"]


def test_an_api_key_is_tried(examine, monkeypatch, sandbox):
    monkeypatch.delenv("TELNYX_CLIENT_ID")
    monkeypatch.delenv("TELNYX_CLIENT_SECRET")
    monkeypatch.setenv("TELNYX_API_KEY", sandbox.api_key)
    exit_code, checks = examine()
    assert (exit_code, checks["token"]["detail"]) == (0, "the API key is accepted")


def test_a_service_that_is_not_there_ends_the_checks(examine):
    exit_code, checks = examine("--base-url", "http://127.0.0.1:1/v2")
    assert (exit_code, failed(checks)) == (1, ["connection"])
    assert checks["token"]["verdict"] == "skipped"


def test_a_name_without_an_address_differs_from_a_closed_port(examine):
    _, checks = examine("--base-url", "https://nowhere.invalid/v2")
    assert checks["connection"]["detail"] == "nowhere.invalid has no address"


def test_plain_http_to_another_machine_is_a_failure(examine, monkeypatch, sandbox):
    for name in ("TELNYX_CLIENT_ID", "TELNYX_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("TELNYX_API_KEY", sandbox.api_key)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    exit_code, checks = examine("--base-url", "http://api.example/v2", "--allow-insecure")
    assert exit_code == 1
    assert checks["connection"]["detail"] == "calls go through the proxy 127.0.0.1"
    assert "https" in checks["encryption"]["advice"]


def test_what_a_proxy_hides_is_not_looked_at(examine, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    exit_code, checks = examine("--base-url", "https://api.example/v2")
    assert exit_code == 1
    assert [checks[name]["verdict"] for name in ("connection", "encryption", "metadata")] == [
        "skipped",
        "skipped",
        "failed",
    ]


@pytest.mark.parametrize("exempt", ["nowhere.invalid", "nowhere.invalid:443", "x,*.invalid"])
def test_what_no_proxy_names_is_looked_at_as_calls_go_there(examine, monkeypatch, exempt):
    monkeypatch.setenv("ALL_PROXY", "127.0.0.1:1")
    _, checks = examine("--base-url", "https://nowhere.invalid/v2")
    assert checks["connection"]["detail"] == "calls go through the proxy 127.0.0.1"
    monkeypatch.setenv("NO_PROXY", exempt)
    _, checks = examine("--base-url", "https://nowhere.invalid/v2")
    assert checks["connection"]["detail"] == "nowhere.invalid has no address"


@pytest.mark.parametrize("exempt", ["127.0.0.1", "127.0.0.0/8", ""])
def test_a_service_on_this_machine_is_looked_at_whatever_the_proxy(examine, monkeypatch, exempt):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", exempt)
    exit_code, checks = examine()
    assert (exit_code, checks["connection"]["verdict"]) == (0, "ok")


def test_a_proxy_that_there_is_no_way_through_is_found(examine, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://u:planted@127.0.0.1:9")
    _, checks = examine("--base-url", "https://api.example/v2")
    assert checks["connection"]["verdict"] == "failed"
    assert checks["connection"]["detail"] == "`ALL_PROXY` must be an http:// or https:// address"


def test_a_clock_that_is_off_is_found(examine, sandbox):
    late = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)
    sandbox.faults.add("/.well-known/*", kind="latency", headers={"Date": late}, times=None)
    exit_code, checks = examine()
    assert (exit_code, failed(checks)) == (1, ["clock"])
    assert "behind the service" in checks["clock"]["detail"]


@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"])
def test_a_date_in_any_form_is_utc_wherever_this_machine_is(examine, sandbox, monkeypatch, form):
    if not hasattr(time, "tzset"):
        pytest.skip("this system has one time zone per machine")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        now = datetime.now(UTC).strftime(form)
        sandbox.faults.add("/.well-known/*", kind="latency", headers={"Date": now}, times=None)
        exit_code, checks = examine()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (exit_code, checks["clock"]["verdict"]) == (0, "ok")


def test_a_service_that_says_no_time_is_not_held_against_it(examine, sandbox):
    sandbox.faults.add("/.well-known/*", kind="latency", headers={"Date": "soon"}, times=None)
    _, checks = examine()
    assert checks["clock"]["verdict"] == "skipped"


def test_a_document_of_another_issuer_is_found(examine, sandbox):
    sandbox.faults.add("/.well-known/*", kind="latency", body=b'{"issuer": "https://evil.example"}', times=None)
    _, checks = examine()
    assert failed(checks) == ["metadata"]


def test_an_empty_key_set_is_found(examine, sandbox):
    sandbox.faults.add("/oauth/jwks", kind="latency", body=b'{"keys": []}', times=None)
    _, checks = examine()
    assert failed(checks)[:1] == ["keys"]


@pytest.mark.parametrize("audience, verdict", [("https://other.example", "warning"), (None, "ok")])
def test_a_token_for_another_audience_is_a_warning(examine, sandbox, audience, verdict):
    body = {"access_token": sandbox.issue_token(audience=audience), "token_type": "Bearer", "expires_in": 1800}
    sandbox.faults.add("/oauth/token", kind="latency", body=json.dumps(body).encode(), times=None)
    exit_code, checks = examine()
    assert (exit_code, checks["verification"]["verdict"]) == (0, verdict)


@pytest.mark.parametrize("claims, verdict", [({"nonce": "id"}, "failed"), (None, "skipped")])
def test_a_token_that_no_api_would_take_is_found(examine, sandbox, claims, verdict):
    token = sandbox.issue_token(claims=claims, header={"typ": "JWT"}) if claims else sandbox.issue_token(opaque=True)
    body = {"access_token": token, "token_type": "Bearer", "expires_in": 1800}
    sandbox.faults.add("/oauth/token", kind="latency", body=json.dumps(body).encode(), times=None)
    _, checks = examine()
    assert checks["verification"]["verdict"] == verdict


@pytest.fixture
def certified(tmp_path, monkeypatch):
    """Serve TLS for one connection with a certificate for so many days. Gives the port; the certificate is trusted."""
    threads = []

    def serve(days: int, *, trusted: bool) -> int:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(key, hashes.SHA256())
        )  # fmt: skip
        pem = tmp_path / "certificate.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=answer, args=(context, listener))
        thread.start()
        threads.append(thread)
        return listener.getsockname()[1]

    yield serve
    for thread in threads:
        thread.join(10)


def answer(context: ssl.SSLContext, listener: socket.socket) -> None:
    with listener:
        connection, _ = listener.accept()
        with connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()


@pytest.fixture
def visit():
    return Visit(Session(Output(), None), client=None)


@pytest.mark.parametrize("days, verdict", [(365, "ok"), (3, "warning")])
def test_a_certificate_is_looked_at(certified, visit, days, verdict):
    finding = _handshake(visit, "127.0.0.1", certified(days, trusted=True))
    assert finding.verdict == verdict
    assert finding.detail.startswith("TLSv1.")


def test_an_untrusted_certificate_is_a_failure(certified, visit):
    finding = _handshake(visit, "127.0.0.1", certified(365, trusted=False))
    assert (finding.verdict, visit.reached) == ("failed", False)
    assert "SSL_CERT_FILE" in finding.advice


def test_a_port_that_speaks_no_tls_is_a_failure(visit, sandbox):
    finding = _handshake(visit, "127.0.0.1", sandbox.port)
    assert (finding.verdict, visit.reached) == ("failed", False)
