"""What the website is told by its environment. Every fault is reported at once, before anything starts."""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "SERVICE_URLS", "COMPANY")
CALLED = ("accounts", "consent", "dsr")


@dataclass(frozen=True)
class Company:
    """Who the shop is, from `company.toml`."""

    name: str
    legal_name: str
    brand_color: str
    support_mailbox: str
    postal_address: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """`service_urls` are base addresses by service name; `notice_seconds` is how long a fetched notice is shown."""

    host: str
    port: int
    issuer: str
    client_id: str
    client_secret: str
    service_urls: dict[str, str]
    policy_url: str
    company: Company
    notice_seconds: float = 10.0


def company(path: Path) -> Company:
    """Read `company.toml`."""
    told = tomllib.loads(path.read_text("utf-8"))
    return Company(
        name=told["company"]["name"],
        legal_name=told["company"]["legal_name"],
        brand_color=told["company"]["brand_color"],
        support_mailbox=told["mail"]["support_mailbox"],
        postal_address=tuple(told["post"]["postal_address"]),
    )


def read(environ: dict[str, str] | None = None) -> Settings:
    """The settings, or `SystemExit` with a line per fault."""
    env = dict(os.environ) if environ is None else environ
    faults = [f"{name} is not set" for name in NEEDED if not env.get(name)]
    urls: dict[str, str] = {}
    if env.get("SERVICE_URLS"):
        try:
            urls = {name: str(url).rstrip("/") for name, url in json.loads(env["SERVICE_URLS"]).items()}
        except (ValueError, AttributeError):
            faults.append('SERVICE_URLS is not JSON such as {"dsr": "http://127.0.0.1:8002"}')
        else:
            faults += [f"SERVICE_URLS names no {name}" for name in CALLED if name not in urls]
    if env.get("COMPANY") and not Path(env["COMPANY"]).is_file():
        faults.append("COMPANY is not a file")
    if faults:
        raise SystemExit("\n".join(faults))
    return Settings(
        host=env.get("HOST", "127.0.0.1"),
        port=int(env.get("PORT", "8080")),
        issuer=env["ISSUER"].rstrip("/"),
        client_id=env["CLIENT_ID"],
        client_secret=env["CLIENT_SECRET"],
        service_urls=urls,
        policy_url=env.get("POLICY_URL") or f"{urls['consent']}/policy",
        company=company(Path(env["COMPANY"])),
        notice_seconds=float(env.get("NOTICE_SECONDS", "10")),
    )
