"""The development issuer, as a client sees it."""

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from local_stack.issuer import build

ISSUER = "http://issuer.example.com"
SECRET = "s3:cret/+"
CLIENTS = {
    "marketing": {"secret": SECRET, "scopes": ["system"]},
    "officer-01": {"secret": "other", "scopes": ["officer"], "name": "Olive Officer"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clients.json").write_text(json.dumps(CLIENTS))
    return tmp_path


def client(folder: Path) -> httpx.AsyncClient:
    app = build(ISSUER, folder / "clients.json", folder / "key.pem")
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER)


async def token(http: httpx.AsyncClient, name: str = "marketing", secret: str = SECRET, **form: str) -> Any:
    form = {"grant_type": "client_credentials", "audience": "dsr", **form}
    return await http.post("/token", data=form, auth=(name, secret))


async def test_a_token_names_its_audience_and_carries_the_clients_scopes(folder: Path) -> None:
    async with client(folder) as http:
        answer = (await token(http)).json()
        keys = KeySet.import_key_set((await http.get("/jwks")).json())

    claims = jwt.decode(answer["access_token"], keys, algorithms=["RS256"]).claims
    assert {k: claims[k] for k in ("iss", "sub", "aud", "scope")} == {
        "iss": ISSUER,
        "sub": "marketing",
        "aud": "dsr",
        "scope": "system",
    }
    assert claims["exp"] - claims["iat"] == answer["expires_in"]


async def test_an_officer_has_a_name(folder: Path) -> None:
    async with client(folder) as http:
        answer = (await token(http, "officer-01", "other")).json()
        keys = KeySet.import_key_set((await http.get("/jwks")).json())

    assert jwt.decode(answer["access_token"], keys, algorithms=["RS256"]).claims["name"] == "Olive Officer"


async def test_the_secret_may_stand_in_the_body(folder: Path) -> None:
    form = {"grant_type": "client_credentials", "audience": "dsr", "client_id": "officer-01", "client_secret": "other"}
    async with client(folder) as http:
        assert (await http.post("/token", data=form)).status_code == 200


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"secret": "wrong"}, 401, "invalid_client"),
        ({"name": "nobody"}, 401, "invalid_client"),
        ({"name": "nobody", "secret": ""}, 401, "invalid_client"),
        ({"audience": ""}, 400, "invalid_request"),
        ({"scope": "officer"}, 400, "invalid_scope"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    ],
)
async def test_what_is_refused(folder: Path, given: dict[str, str], status: int, code: str) -> None:
    async with client(folder) as http:
        answer = await token(http, **given)

    assert (answer.status_code, answer.json()) == (status, {"error": code})


async def test_the_key_survives_a_restart_and_only_its_owner_may_read_it(folder: Path) -> None:
    async with client(folder) as first, client(folder) as second:
        assert (await first.get("/jwks")).json() == (await second.get("/jwks")).json()
        assert "d" not in (await first.get("/jwks")).json()["keys"][0]

    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


async def test_discovery_names_the_endpoints(folder: Path) -> None:
    async with client(folder) as http:
        found = (await http.get("/.well-known/openid-configuration")).json()

    assert (found["issuer"], found["token_endpoint"], found["jwks_uri"]) == (
        ISSUER,
        f"{ISSUER}/token",
        f"{ISSUER}/jwks",
    )
