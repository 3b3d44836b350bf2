"""HTML: the consent page and the error page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import cast
from urllib.parse import urlsplit

from ..messages import Response, headers

_STYLE = """
:root { color-scheme: light dark; --page: #f3f5f4; --card: #fff; --ink: #10201a; --soft: #50625a; --line: #d5ddd9;
  --accent: #00694d; --on-accent: #fff; --warn: #7a4300; }
@media (prefers-color-scheme: dark) { :root { --page: #0e1512; --card: #18221e; --ink: #eaf2ee; --soft: #a6b8b0;
  --line: #35463f; --accent: #4fd6ab; --on-accent: #04231a; --warn: #ffc078; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; background: var(--page);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { width: 100%; max-width: 30rem; padding: clamp(1.25rem, 5vw, 2.25rem); background: var(--card);
  border: 1px solid var(--line); border-radius: 1rem; overflow-wrap: anywhere; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
p { margin: .5rem 0; }
ul { margin: 0; padding: 0; list-style: none; border-top: 1px solid var(--line); }
li { padding: .75rem 0; border-bottom: 1px solid var(--line); }
li span, .soft { display: block; color: var(--soft); font-size: .9rem; }
.warn { color: var(--warn); }
a { color: var(--accent); }
form { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.5rem; }
button { flex: 1 1 8rem; min-height: 3rem; padding: .5rem 1rem; border: 1px solid var(--accent); border-radius: .6rem;
  background: transparent; color: var(--accent); font: inherit; font-weight: 600; cursor: pointer; }
button.allow { background: var(--accent); color: var(--on-accent); }
button:focus-visible, a:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def consent_page(consent: Mapping[str, object], hidden: Mapping[str, str], cookie: str) -> Response:
    """The page to allow or deny an authorization request. `consent` is the data of its consent token."""
    plain_name = escape(str(consent["name"]) or str(consent["client_id"]))
    name = f"<bdi>{plain_name}</bdi>"  # so that a name written from right to left does not reorder the text around it
    redirect_uri = str(consent["redirect_uri"])
    scopes = cast(Sequence[Mapping[str, str]], consent["requested_scopes"])
    items = "".join(
        f"<li><strong>{escape(s['name'])}</strong> <span>{escape(s['description'])}</span></li>" for s in scopes
    )
    unverified = "" if consent["verified"] else '<p class="warn">Telnyx has not verified this application.</p>'
    links = [
        f'<a href="{escape(str(consent[key]))}" rel="noreferrer">{label}</a>'
        for key, label in (("policy_uri", "Privacy policy"), ("tos_uri", "Terms of service"))
        if consent[key]
    ]
    paragraph = f"<p>{' · '.join(links)}</p>" if links else ""
    fields = "".join(f'<input type="hidden" name="{escape(key)}" value="{escape(hidden[key])}">' for key in hidden)
    body = f"""
<h1>Allow {name} to use your Telnyx account?</h1>
<p class="soft">You are signed in to the Telnyx sandbox. Nothing here reaches a real account.</p>
{unverified}
<h2 id="asked">{name} asks for</h2>
<ul aria-labelledby="asked">{items}</ul>
<p class="soft">Afterwards you are sent to {escape(_origin(redirect_uri))}.</p>
{paragraph}
<form method="post" action="/consent">{fields}
<button class="allow" name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
</form>"""
    return _page(200, f"Allow {plain_name}?", body, f"'self' {_form_targets(redirect_uri)}", (("Set-Cookie", cookie),))


def error_page(status: int, message: str) -> Response:
    """A page that says why the request failed."""
    body = f'<h1>This request cannot go on</h1>\n<p role="alert">{escape(message)}</p>'
    return _page(status, "This request cannot go on", f"{body}\n<p>Go back to the application and start again.</p>")


def _origin(uri: str) -> str:
    """The origin of a redirect URI, for people to read."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}" if host else f"{parts.scheme}:"


def _form_targets(redirect_uri: str) -> str:
    """The targets for `form-action` in the page's Content-Security-Policy."""
    # Chromium checks every redirect after the form against `form-action`, also the redirects of the application itself.
    # The origin of the redirect URI alone would break applications that redirect to another host.
    scheme = urlsplit(redirect_uri).scheme
    return "https: http:" if scheme in ("http", "https") else f"{scheme}:"


def _page(
    status: int, title: str, body: str, form_action: str = "'none'", pairs: tuple[tuple[str, str], ...] = ()
) -> Response:
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    html = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<main>{body}\n</main>\n</body>\n</html>\n"
    )
    return Response(
        status,
        headers(
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Security-Policy", policy),
            # Not no-referrer: browsers would then send `Origin: null` with the form, and its Origin is checked.
            ("Referrer-Policy", "same-origin"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Cache-Control", "no-store"),
            *pairs,
        ),
        html.encode(),
    )
