"""The development token issuer: OIDC discovery, keys, and tokens by client credentials (RFC 6749, section 4.4).

Invariant: a token names one audience and only scopes that the client was given; the signing key survives a restart.
It stands in for the company's identity provider and is for `ENVIRONMENT=local` alone.
"""

import argparse
import base64
import binascii
import hmac
import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.jwk import RSAKey

from local_stack.passwords import write_private
from local_stack.ports import LOOPBACK

TTL_SECONDS = 600


@dataclass(frozen=True)
class Client:
    """Who may ask for tokens. `name` is a person's, for those who decide something."""

    secret: str = field(repr=False)
    scopes: tuple[str, ...]
    name: str | None = None


class TokenError(Exception):
    """A refusal, by its code of RFC 6749, section 5.2."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_clients(path: Path) -> dict[str, Client]:
    """Read the generated file: client id to secret, scopes and name."""
    given: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
    return {name: Client(c["secret"], tuple(c["scopes"]), c.get("name")) for name, c in given.items()}


def signing_key(path: Path) -> RSAKey:
    """Return the key of the folder, made on first use."""
    if not path.exists():
        write_private(path, RSAKey.generate_key(2048).as_pem(private=True).decode())
    pem = path.read_text("utf-8")
    key = RSAKey.import_key(pem)
    return RSAKey.import_key(pem, {"kid": key.thumbprint(), "use": "sig", "alg": "RS256"})


def issue(
    key: RSAKey, issuer: str, clients: dict[str, Client], credentials: tuple[str, str], form: dict[str, str]
) -> dict[str, Any]:
    """Answer a token request: the body of RFC 6749, section 5.1.

    Raises:
        TokenError: the client is unknown, asks for what it may not, or names no audience.

    """
    name, secret = credentials
    client = clients.get(name)
    if not hmac.compare_digest(client.secret.encode() if client else b"", secret.encode()) or client is None:
        raise TokenError("invalid_client")
    if form.get("grant_type") != "client_credentials":
        raise TokenError("unsupported_grant_type")
    if not form.get("audience"):
        raise TokenError("invalid_request")
    scopes = form["scope"].split() if form.get("scope") else list(client.scopes)
    if not set(scopes) <= set(client.scopes):
        raise TokenError("invalid_scope")
    now = int(time.time())
    claims = {
        "iss": issuer,
        "sub": name,
        "aud": form["audience"],
        "scope": " ".join(scopes),
        "iat": now,
        "exp": now + TTL_SECONDS,
        "jti": str(uuid.uuid4()),
    }
    if client.name:
        claims["name"] = client.name
    token = jwt.encode({"alg": "RS256", "typ": "JWT", "kid": key.kid}, claims, key)
    return {"access_token": token, "token_type": "Bearer", "expires_in": TTL_SECONDS, "scope": " ".join(scopes)}


def build(issuer: str, clients_file: Path, key_file: Path) -> FastAPI:
    """Build the issuer's web application. The clients' file is read anew for each request."""
    key = signing_key(key_file)
    app = FastAPI(title="Development token issuer")

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, Any]:
        return {
            "issuer": issuer,
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/jwks",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    @app.get("/jwks")
    async def jwks() -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False)]}

    @app.post("/token")
    async def token(request: Request) -> JSONResponse:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode("utf-8", "replace")).items()}
        credentials = _basic(request.headers.get("authorization", "")) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        try:
            body = issue(key, issuer, read_clients(clients_file), credentials, form)
        except TokenError as refusal:
            status = 401 if refusal.code == "invalid_client" else 400
            return JSONResponse({"error": refusal.code}, status, {"WWW-Authenticate": "Basic"} if status == 401 else {})
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app


def _basic(header: str) -> tuple[str, str] | None:
    """Read HTTP basic credentials; RFC 6749, section 2.3.1, has both parts form-encoded."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return unquote(name), unquote(secret)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(prog="python -m local_stack.issuer", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    arguments = parser.parse_args()
    app = build(f"http://{LOOPBACK}:{arguments.port}", arguments.clients, arguments.key)
    uvicorn.run(app, host=LOOPBACK, port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
