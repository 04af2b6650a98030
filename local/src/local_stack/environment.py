"""What each process is told: its environment, and for our own two the command line.

Invariant: a process gets its own secrets and nobody else's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from local_stack import ROOT, databases
from local_stack.layout import PROCESSES
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
    return list(PROCESSES[name].command)


def environment(deployment: Deployment, name: str) -> dict[str, str]:
    """Return the environment of a process, before any overrides."""
    given = {
        **inherited(),
        "ENVIRONMENT": "local",
        "HOST": LOOPBACK,
        "PORT": str(deployment.ports[name]),
        "PUBLIC_URL": url(deployment, name),
        "COMPANY": str(COMPANY),
        "CLOCK_OFFSET": str(deployment.directory / "clock"),
    }
    if name in deployment.secrets:
        given |= {
            "ISSUER": url(deployment, "issuer"),
            "CLIENT_ID": name,
            "CLIENT_SECRET": deployment.secrets[name],
            "SERVICE_URLS": json.dumps({called: url(deployment, called) for called in CALLED}),
        }
    if PROCESSES[name].stored:
        given |= _stored(deployment, name)
    return given | _own(deployment, name)


def _stored(deployment: Deployment, name: str) -> dict[str, str]:
    kafka = deployment.servers.kafka
    return {
        "DATABASE_URL": database_url(deployment, name),
        "KAFKA_BOOTSTRAP": kafka.bootstrap,
        "KAFKA_USERNAME": name,
        "KAFKA_PASSWORD": kafka.users[name],
        "KAFKA_TLS": "false",
        "TOPIC_PREFIX": deployment.prefix,
        "MASTER_KEYS": str(keys_file(deployment.directory, name)),
        "ERASURE_LEDGER": str(ledger_file(deployment.directory, name)),
    }


def _own(deployment: Deployment, name: str) -> dict[str, str]:
    match name:
        case "notifier":
            return {"SMTP_HOST": LOOPBACK, "SMTP_PORT": str(deployment.ports["smtp"]), "SMTP_TLS": "none"}
        case "accounts":
            return {"FEED_DIR": str(deployment.directory / "feeds")}
        case "orders":
            return {"SCHEMAS": str(ROOT / "contracts" / "schemas")}
        case "marketing":
            return {
                "DSR_URL": url(deployment, "dsr"),
                "ACCOUNTS_URL": url(deployment, "accounts"),
                "DATA_DIR": str(deployment.directory / "marketing"),
                "INTERVAL": "1",
            }
        case _:
            return {}
