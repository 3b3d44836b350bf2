from __future__ import annotations

from enum import Enum
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telnyx_oauth import AsyncTelnyx, Telnyx
from telnyx_oauth.protocol.secret import Secret
from telnyx_oauth.protocol.urls import (
    check_base_url,
    check_endpoint,
    check_token_endpoint,
    is_loopback,
    join,
    origin,
    query,
    root_of,
    segment,
)

BASE = "https://api.telnyx.com/v2"
characters = st.characters(exclude_categories=["Cs"])


class Kind(str, Enum):  # noqa: UP042 - the spelling whose str() is not its value
    PUBLIC = "public"


# --- the base


@pytest.mark.parametrize(
    "given_, kept",
    [
        (BASE, BASE),
        (f" {BASE}// ", BASE),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080/v2/", "http://[::1]:8080/v2"),
        ("HTTPS://API.telnyx.com/v2", "HTTPS://API.telnyx.com/v2"),
        ("https://proxy.test/telnyx/v2", "https://proxy.test/telnyx/v2"),
    ],
)
def test_a_base_is_kept_without_its_trailing_slashes(given_, kept):
    assert check_base_url(given_) == kept


@pytest.mark.parametrize(
    "bad, why",
    [
        ("", "must begin with http"),
        ("api.telnyx.com/v2", "must begin with http"),
        ("/v2", "must begin with http"),
        ("ftp://api.telnyx.com", "must begin with http"),
        ("file:///etc/passwd", "must begin with http"),
        ("https://", "must name a host"),
        ("https:///v2", "must name a host"),
        ("https://:443", "must name a host"),
        ("https://api.telnyx.com:0", "must name a host"),
        ("https://api.telnyx.com:99999", "is not a URL"),
        ("https://api.telnyx.com:x", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://api telnyx.com", "only the characters of a URL"),
        ("https://api.telnyx.com/\r\nX: y", "only the characters of a URL"),
        ("https://api.telnyx.com/v\x002", "only the characters of a URL"),
        ("https://api.telnyx.com\\@evil.test", "only the characters of a URL"),
        ("https://api.telnyx.com\\evil.test", "only the characters of a URL"),
        ("https://telnyx.tést/v2", "only the characters of a URL"),
        ("https://api.telnyx.com/v２", "only the characters of a URL"),
        ("https://key:hunter2@api.telnyx.com", "no user or password"),
        ("https://@api.telnyx.com", "no user or password"),
        ("https://api.telnyx.com/v2?a=b", "no query and no fragment"),
        ("https://api.telnyx.com/v2?", "no query and no fragment"),
        ("https://api.telnyx.com/v2#a", "no query and no fragment"),
        ("https://api.telnyx.com/v2#", "no query and no fragment"),
    ],
)
def test_a_base_that_is_no_plain_http_address_is_refused_with_an_example(bad, why):
    with pytest.raises(ValueError, match=why) as caught:
        check_base_url(bad)
    assert "https://api.telnyx.com/v2" in str(caught.value)
    assert "hunter2" not in str(caught.value)


HOSTS = [
    "api..telnyx.com",
    ".telnyx.com",
    "api.telnyx.com..",
    "a" * 64 + ".com",
    "a.b." + "c" * 64,
    "a." * 127 + "b",
    "..",
    ".",
    "256.1.1.1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.4.",
    "01.2.3.4",
    "127.1",
    "999",
]
GOOD_HOSTS = [
    "a" * 63 + ".com",
    "a." * 126 + "b",
    "api.telnyx.com.",
    "xn--bcher-kva.example",
    "_a.b-c",
    "10.0.0.1",
    "[::2]",
]


def each_check(url: str):
    """Everything that takes an address, and what it calls it."""
    yield lambda: check_base_url(url), "base_url"
    yield lambda: check_endpoint(url, "uri", allow_insecure_loopback=True), "uri"
    yield lambda: check_token_endpoint(url, "token_endpoint", allow_insecure=False), "token_endpoint"
    yield lambda: AsyncTelnyx(base_url=url, api_key="KEY"), "base_url"
    yield lambda: Telnyx(base_url=url, api_key="KEY"), "base_url"


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_no_name_server_can_be_asked_for_is_refused_where_it_is_given(host):
    for check, name in each_check(f"https://{host}/v2"):
        with pytest.raises(ValueError, match=f"^{name} .*(host|labels)") as caught:
            check()
        assert not isinstance(caught.value, UnicodeError)
        assert caught.value.__cause__ is None


@pytest.mark.parametrize("host", GOOD_HOSTS)
def test_a_host_of_labels_or_an_address_is_taken(host):
    assert check_base_url(f"https://{host}/v2") == f"https://{host}/v2"
    assert check_token_endpoint(f"https://{host}/", "x", allow_insecure=False)


def test_the_environments_base_url_is_judged_by_its_name(monkeypatch):
    monkeypatch.setenv("TELNYX_BASE_URL", "https://api..telnyx.com/v2")
    with pytest.raises(ValueError, match=r"^TELNYX_BASE_URL .*labels"):
        Telnyx(api_key="KEY")


@pytest.mark.parametrize(
    "url", ["https://a.example/ x", "https://a.exa\nmple/", "https://exämple.com/", "https://a.example/\x7f"]
)
def test_an_endpoint_holds_only_the_characters_of_a_url(url):
    for check, name in each_check(url):
        with pytest.raises(ValueError, match=f"^{name} must .*characters of a URL"):
            check()


@pytest.mark.parametrize(
    "url, why",
    [
        ("https://someone:hunter2@api.telnyx.com/v2", "no user or password"),
        ("https://@api.telnyx.com/v2", "no user or password"),
        ("https://api.telnyx.com/v2#hunter2", "no .*fragment"),
        ("https://api.telnyx.com/v2#", "no .*fragment"),
        ("https://api.telnyx.com:0/v2", "a host"),
        ("https:///v2", "a host"),
        ("ftp://api.telnyx.com/v2", "http:// or https://"),
        ("api.telnyx.com/v2", "http:// or https://"),
        ("https://[::1", "not a URL"),
        ("https://api.telnyx.com:x/v2", "not a URL"),
    ],
)
def test_every_address_is_held_to_the_same_rules(url, why):
    for check, name in each_check(url):
        with pytest.raises(ValueError, match=f"^{name} .*{why}") as caught:
            check()
        assert "hunter2" not in str(caught.value)


def test_an_endpoint_may_have_a_query_and_a_base_may_not():
    url = "https://api.example/token?tenant=1"
    assert check_endpoint(url, "uri", allow_insecure_loopback=False) == url
    assert check_token_endpoint(url, "token_endpoint", allow_insecure=False) == url
    with pytest.raises(ValueError, match="no query"):
        check_base_url(url)


@pytest.mark.parametrize(
    "url, loopback, taken",
    [
        ("http://127.0.0.1/x", False, False),
        ("http://127.0.0.1/x", True, True),
        ("HTTP://localhost/x", False, False),
        ("HTTP://localhost/x", True, True),
        ("http://api.example/x", True, False),
        ("https://api.example/x", False, True),
    ],
)
def test_an_endpoint_is_https_or_on_this_machine_where_that_is_allowed(url, loopback, taken):
    if taken:
        assert check_endpoint(url, "uri", allow_insecure_loopback=loopback) == url
        return
    with pytest.raises(ValueError, match=r"^uri .*https"):
        check_endpoint(url, "uri", allow_insecure_loopback=loopback)


@pytest.mark.parametrize("url", ["http://api.example", "HTTP://api.example/v2", "http://10.0.0.1:8080", "http://[::2]"])
def test_plain_http_to_another_machine_needs_a_word(url):
    with pytest.raises(ValueError, match=r"^base_url is plain http to another machine.*say allow_insecure=True"):
        check_base_url(url)
    with pytest.raises(ValueError, match=r"^TELNYX_BASE_URL is plain http.*say THIS"):
        check_base_url(url, name="TELNYX_BASE_URL", word="THIS")
    assert check_base_url(url, allow_insecure=True) == url


@given(st.text())
def test_any_text_is_a_base_or_a_value_error(text):
    try:
        kept = check_base_url(text)
    except ValueError:
        return
    assert check_base_url(kept) == kept


# --- where a path leads


@pytest.mark.parametrize(
    "base, root",
    [
        (BASE, "https://api.telnyx.com"),
        ("https://api.telnyx.com", "https://api.telnyx.com"),
        ("https://proxy.test/telnyx/v2", "https://proxy.test/telnyx"),
        ("https://proxy.test/v2/telnyx", "https://proxy.test/v2/telnyx"),
        ("https://proxy.test/v2/v2", "https://proxy.test/v2"),
        ("https://proxy.test/env2", "https://proxy.test/env2"),
        ("http://v2", "http://v2"),
        ("http://v2/v2", "http://v2"),
    ],
)
def test_well_known_documents_are_beside_the_last_v2_and_not_under_it(base, root):
    assert root_of(base) == root
    assert join(base, "/.well-known/x") == f"{root}/.well-known/x"
    assert join(base, ".well-known/x") == f"{root}/.well-known/x"
    assert join(base, "/oauth/.well-known/x") == f"{base}/oauth/.well-known/x"


@pytest.mark.parametrize(
    "path, url",
    [
        ("/oauth_clients", f"{BASE}/oauth_clients"),
        ("oauth_clients", f"{BASE}/oauth_clients"),
        ("", f"{BASE}/"),
        ("/", f"{BASE}/"),
        ("//evil.test/x", f"{BASE}//evil.test/x"),
        ("/x?filter[name]=a&to=https://b.test", f"{BASE}/x?filter[name]=a&to=https://b.test"),
        ("/x/https://b.test", f"{BASE}/x/https://b.test"),
        ("://x", f"{BASE}/://x"),
        (f"{BASE}/x?y", f"{BASE}/x?y"),
        ("https://api.telnyx.com/other", "https://api.telnyx.com/other"),
        ("HTTPS://API.Telnyx.com:443/x", "HTTPS://API.Telnyx.com:443/x"),
    ],
)
def test_a_path_goes_under_the_base_and_an_address_of_its_origin_stays(path, url):
    assert join(BASE, path) == url


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.test/v2",
        "http://api.telnyx.com/v2",
        "https://api.telnyx.com:8443/v2",
        "https://api.telnyx.com.evil.test/v2",
        "https://api.telnyx.com@evil.test/v2",
        "https://key:hunter2@api.telnyx.com/v2",
        "https:///v2",
        "ftp://api.telnyx.com/x",
        "x://y",
    ],
)
def test_credentials_go_to_no_other_origin(elsewhere):
    with pytest.raises(ValueError, match="origin") as caught:
        join(BASE, elsewhere)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "/a b",
        "/a\r\nX: y",
        "/a\x00",
        "/a\tb",
        "/é",
        "/a\\b",
        '/"',
        "/<x>",
        "/a#b",
        f"{BASE}/a\r\nX: y",
        f"{BASE}\\@evil.test",
    ],
)
def test_what_is_not_escaped_is_refused(path):
    with pytest.raises(ValueError, match="escaped"):
        join(BASE, path)


@pytest.mark.parametrize("path", ["https://api.telnyx.com:x/", "https://[::1/"])
def test_an_address_that_is_none_is_a_value_error(path):
    with pytest.raises(ValueError):
        join(BASE, path)


@given(st.text())
def test_no_path_leads_to_another_origin(path):
    try:
        url = join(BASE, path)
    except ValueError:
        return
    assert origin(url) == origin(BASE)
    assert urlsplit(url).fragment == ""
    assert url.isascii()
    assert url.isprintable()


@pytest.mark.parametrize(
    "url, parts",
    [
        ("https://A.test/x", ("https", "a.test", 443)),
        ("HTTP://a.test", ("http", "a.test", 80)),
        ("http://[::1]:81/x", ("http", "::1", 81)),
        ("x", ("", "", 80)),
    ],
)
def test_an_origin_is_scheme_host_and_port(url, parts):
    assert origin(url) == parts


@pytest.mark.parametrize(
    "host, here",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("LocalHost", True),
        ("localhost.", True),
        ("api.localhost", True),
        ("a.b-c.localhost", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:7f00:1", True),
        ("::ffff:10.0.0.1", False),
        ("::7f00:1", False),
        (".localhost", False),
        ("a..localhost", False),
        ("a%2eb.localhost", False),
        ("notlocalhost", False),
        ("localhost..", False),
        ("localhost\n", False),
        ("127.1", False),
        ("2130706433", False),
        ("0:0:0:0:0:0:0:1", True),
        ("", False),
        ("0.0.0.0", False),
        ("128.0.0.1", False),
        ("127.0.0.1.evil.test", False),
        ("127.999.0.1", False),
        ("127.0.0.١", False),
        ("localhost.evil.test", False),
        ("::2", False),
    ],
)
def test_only_this_machine_is_loopback(host, here):
    assert is_loopback(host) is here


# --- what goes in between


@pytest.mark.parametrize(
    "value, escaped",
    [
        ("8d3f-_.~", "8d3f-_.~"),
        ("../x", "..%2Fx"),
        ("a/b", "a%2Fb"),
        ("%2e", "%252e"),
        ("%2e%2e", "%252e%252e"),
        ("a?b#c&d", "a%3Fb%23c%26d"),
        ("é", "%C3%A9"),
        ("a b+c", "a%20b%2Bc"),
        ("\r\n\x00", "%0D%0A%00"),
        ("...", "..."),
        (Kind.PUBLIC, "public"),
    ],
)
def test_a_path_parameter_is_escaped_to_one_segment(value, escaped):
    assert segment(value, "id") == escaped


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_path_parameter_that_would_change_the_path_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"for `consent_token` but|`consent_token` must not be"):
        segment(value, "consent_token")


@pytest.mark.parametrize("value", [None, 1, b"a", ["a"]])
def test_a_path_parameter_is_text(value):
    with pytest.raises(TypeError, match="`id` must be a str, not "):
        segment(value, "id")


def test_a_path_parameter_that_cannot_be_written_is_refused_without_being_told(secrets):
    with pytest.raises(ValueError, match="`id` must not hold half a character") as caught:
        segment(f"{secrets.code}\ud800", "id")
    assert secrets.found_in(caught.value) == []
    assert caught.value.__context__ is None


@given(st.text(characters, min_size=1).filter(lambda text: text not in {".", ".."}))
def test_each_path_parameter_is_one_segment_that_reads_back(value):
    escaped = segment(value, "id")
    assert unquote(escaped) == value
    assert join(BASE, f"/x/{escaped}/y").split("/")[-2] == escaped


@pytest.mark.parametrize(
    "pairs, text",
    [
        ({}, ""),
        ({"a": None}, ""),
        ({"filter[verified]": True, "b": False}, "filter%5Bverified%5D=true&b=false"),
        ({"filter[name][contains]": "a b/c&d"}, "filter%5Bname%5D%5Bcontains%5D=a%20b%2Fc%26d"),
        ({"page[size]": 20, "x": 1.5}, "page%5Bsize%5D=20&x=1.5"),
        ({"a": ["b", "c"], "d": ()}, "a=b&a=c"),
        ({"a": [True, None, 2]}, "a=true&a=2"),
        ({"a": Kind.PUBLIC, "b": [Kind.PUBLIC]}, "a=public&b=public"),
        ({"a": "", "é": "ü"}, "a=&%C3%A9=%C3%BC"),
        ({"a": "\r\nX: y"}, "a=%0D%0AX%3A%20y"),
    ],
)
def test_a_query_has_the_apis_spelling(pairs, text):
    assert query(Secret(pairs)) == text


@pytest.mark.parametrize("value", [{"name": "x"}, b"x", object(), [{"name": "x"}]])
def test_a_query_parameter_that_has_no_spelling_is_refused_by_name(value):
    with pytest.raises(TypeError, match="`filter` must be text, a number, a boolean or a sequence of them, not "):
        query(Secret({"filter": value}))


@given(st.dictionaries(st.text(characters, min_size=1), st.text(characters)))
def test_a_query_reads_back(pairs):
    assert dict(parse_qsl(query(Secret(pairs)), keep_blank_values=True, max_num_fields=1000)) == pairs
