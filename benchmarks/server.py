"""The canned server: a process of its own that answers prepared bytes, so that the client is what is measured.

`python -m benchmarks.server` prints its port. It knows the paths of the API that the benchmarks ask for, lists of any
length in pages of any size, a token endpoint, and `/control`, which sets a latency and tells what was counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from functools import cache
from urllib.parse import parse_qsl

TOTAL = 10_000
"""How many clients the list has."""


def record(number: int) -> dict[str, object]:
    """A client as the API answers it."""
    return {
        "record_type": "oauth_client",
        "client_id": f"client-{number}",
        "name": f"Application {number}",
        "org_id": "8f2c61b0-1f3f-4c5b-9b1e-2f8f2f0d7c11",
        "user_id": "3d1f2f38-7c9f-4a4c-9f57-0d6b4f6f6d02",
        "client_type": "confidential",
        "allowed_grant_types": ["client_credentials", "authorization_code"],
        "allowed_scopes": ["admin", "messages:read"],
        "redirect_uris": ["https://app.example.com/callback"],
        "require_pkce": False,
        "logo_uri": "https://app.example.com/logo.png",
        "policy_uri": "https://app.example.com/policy",
        "tos_uri": "https://app.example.com/terms",
        "created_at": "2025-11-03T12:34:56.789Z",
        "updated_at": "2025-11-04T12:34:56.789Z",
    }


def answer(value: object) -> bytes:
    """A 200 with a JSON body."""
    body = json.dumps(value, separators=(",", ":")).encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nX-Request-Id: 5b1f0b1e-7a4e\r\n"
        f"Date: Sat, 01 Nov 2025 12:00:00 GMT\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


ONE = answer({"data": record(1)})


@cache
def page(number: int, size: int, total: int = TOTAL) -> bytes:
    """One page of the list."""
    first = (number - 1) * size
    meta = {
        "page_number": number,
        "page_size": size,
        "total_pages": -(-total // size),
        "total_results": total,
    }
    return answer({"data": [record(first + i) for i in range(min(size, total - first))], "meta": meta})


@cache
def issuer() -> Issuer:
    """The signer of tokens; its key is made when the first is asked for."""
    return Issuer()


class Issuer:
    """Issues real access tokens and publishes their key."""

    def __init__(self) -> None:
        from joserfc.jwk import RSAKey

        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"}, private=True)
        self.jwks = answer({"keys": [self.key.as_dict(private=False)]})

    @cache  # noqa: B019 - what it keeps alive lives as long as the process
    def signed(self, client_id: str) -> bytes:
        """The token endpoint's answer with a signed token that lives for an hour from the first call."""
        import time

        from joserfc import jwt

        now = int(time.time())
        claims = {
            "iss": "https://api.telnyx.com",
            "sub": client_id,
            "client_id": client_id,
            "aud": "https://api.telnyx.com",
        }
        claims |= {"iat": now, "exp": now + 3600, "jti": "1", "scope": "admin"}
        token = jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": "1"}, claims, self.key)
        return answer({"access_token": token, "token_type": "Bearer", "expires_in": 3600})


UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class State:
    """What the server does and has seen."""

    def __init__(self) -> None:
        self.latency = 0.0
        self.signs = False
        self.lifetime = 3600
        self.issued = 0
        self.counts: Counter[str] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0

    def opaque(self) -> bytes:
        """The token endpoint's answer with a token that is like no other, and says nothing."""
        self.issued += 1
        token = f"opaque-{self.issued}-{'a' * 40}"
        return answer({"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime})

    def control(self, body: bytes) -> bytes:
        """Change what is given, start counting anew, and tell what was counted till now."""
        told = answer({**self.counts, "most_in_flight": self.most_in_flight})
        for name, value in json.loads(body or b"{}").items():
            setattr(self, name, value)
        self.counts.clear()
        self.most_in_flight = 0
        return told


class Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._state.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = 0
            at = head.lower().find(b"\r\ncontent-length:")
            if at >= 0:
                length = int(head[at + 17 :].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._serve(head.split(b" ", 2)[1].decode(), body)

    def _serve(self, target: str, body: bytes) -> None:
        state = self._state
        if target == "/control":
            self._transport.write(state.control(body))
            return
        reply = self._answer(target)
        if not state.latency:
            self._transport.write(reply)
            return
        state.in_flight += 1
        state.most_in_flight = max(state.most_in_flight, state.in_flight)
        asyncio.get_running_loop().call_later(state.latency, self._later, reply)

    def _later(self, reply: bytes) -> None:
        self._state.in_flight -= 1
        self._transport.write(reply)

    def _answer(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        counts = self._state.counts
        # The official package spells it with an underscore; the API serves both.
        name = path.removeprefix("/v2").replace("/oauth_clients", "/oauth/clients")
        if name.startswith("/oauth/clients/"):
            counts["objects"] += 1
            return ONE
        if name == "/oauth/clients":
            counts["pages"] += 1
            asked = dict(parse_qsl(query))
            return page(int(asked.get("page[number]", 1)), int(asked.get("page[size]", 20)))
        if name == "/oauth/token":
            counts["tokens"] += 1
            return issuer().signed("bench") if self._state.signs else self._state.opaque()
        if name == "/oauth/jwks":
            counts["jwks"] += 1
            return issuer().jwks
        return UNKNOWN


async def serve() -> None:
    """Serve until standard input ends, so that the server never outlives who started it."""
    state = State()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
