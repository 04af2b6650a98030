"""What each process is told: its environment, and for our own two the command line.

Invariant: a process gets its own secrets and nobody else's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from local_stack import ROOT, databases
from local_stack.layout import EVERY
from local_stack.ports import LOOPBACK
from local_stack.servers import Servers
from local_stack.state import inherited, keys_file, ledger_file

COMPANY = ROOT / "examples" / "company" / "company.toml"
CALLED = ("dsr", "consent", "notifier", "audit", "accounts", "website")


@dataclass(frozen=True)
class Deployment:
    """One deployment's folder, names, ports and secrets, from which every environment follows."""

    directory: Path
    prefix: str
    suffix: str
    ports: dict[str, int]
    secrets: dict[str, str]
    servers: Servers


def url(deployment: Deployment, name: str) -> str:
    """Return the address of a process."""
    return f"http://{LOOPBACK}:{deployment.ports[name]}"


def database_url(deployment: Deployment, service: str, *, owner: bool = False) -> str:
    """Return the address of a service's database as its runtime role, or as its owner."""
    postgres = deployment.servers.postgres
    role = f"{service}_owner" if owner else service
    return databases.url(postgres.port, role, postgres.roles[role], f"{service}{deployment.suffix}")


def command(deployment: Deployment, name: str) -> list[str]:
    """Return the command line of a process."""
    import sys

    here, port = deployment.directory, str(deployment.ports[name])
    if name == "sink":
        smtp = str(deployment.ports["smtp"])
        options = ["--directory", str(here / "mail"), "--smtp-port", smtp, "--port", port]
        return [sys.executable, "-m", "local_stack.sink", *options]
    if name == "issuer":
        options = ["--clients", str(here / "clients.json"), "--key", str(here / "issuer-key.pem"), "--port", port]
        return [sys.executable, "-m", "local_stack.issuer", *options]
    return list(EVERY[name].command)


def environment(deployment: Deployment, name: str) -> dict[str, str]:
    """Return the environment of a process, before any overrides. Instances differ by `INSTANCE` and port alone."""
    service = EVERY[name].service
    given = {
        **inherited(),
        "ENVIRONMENT": "local",
        "HOST": LOOPBACK,
        "PORT": str(deployment.ports[name]),
        "INSTANCE": name,
        "PUBLIC_URL": url(deployment, service),
        "COMPANY": str(COMPANY),
        "CLOCK_OFFSET": str(deployment.directory / "clock"),
    }
    if service in deployment.secrets:
        given |= {
            "ISSUER": url(deployment, "issuer"),
            "CLIENT_ID": service,
            "CLIENT_SECRET": deployment.secrets[service],
            "SERVICE_URLS": json.dumps({called: url(deployment, called) for called in CALLED}),
        }
    if EVERY[name].stored:
        given |= _stored(deployment, service)
    return given | _own(deployment, service)


def _stored(deployment: Deployment, service: str) -> dict[str, str]:
    kafka = deployment.servers.kafka
    return {
        "DATABASE_URL": database_url(deployment, service),
        "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "KAFKA_USERNAME": service,
        "KAFKA_PASSWORD": kafka.users[service],
        "KAFKA_TLS": "false",
        "TOPIC_PREFIX": deployment.prefix,
        "MASTER_KEYS": str(keys_file(deployment.directory, service)),
        "ERASURE_LEDGER": str(ledger_file(deployment.directory, service)),
    }


def _own(deployment: Deployment, service: str) -> dict[str, str]:
    match service:
        case "notifier":
            return {"SMTP_HOST": LOOPBACK, "SMTP_PORT": str(deployment.ports["smtp"]), "SMTP_TLS": "none"}
        case "accounts":
            return {"FEED_DIR": str(deployment.directory / "feeds")}
        case "orders":
            return {"SCHEMAS": str(ROOT / "contracts" / "schemas"), "DSR_URL": url(deployment, "dsr")}
        case "marketing":
            return {
                "DSR_URL": url(deployment, "dsr"),
                "ACCOUNTS_URL": url(deployment, "accounts"),
                "DATA_DIR": str(deployment.directory / "marketing"),
                "INTERVAL": "1",
            }
        case _:
            return {}
