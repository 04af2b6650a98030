"""What a stack writes into its folder: secrets, keys, ports. All of it is made once and then found again.

Invariant: every file that holds a secret has mode 600.
"""

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any

from local_stack.databases import SERVICES
from local_stack.layout import CLIENTS, PORTS
from local_stack.passwords import passwords, write_private
from local_stack.ports import configured, free_port, is_free, last_ports


def client_secrets(directory: Path) -> dict[str, str]:
    """Return the secret of each client of the issuer, and write the file that the issuer reads."""
    known = passwords(directory / "secrets.json", list(CLIENTS))
    clients = {
        client: {"secret": known[client], "scopes": scopes, "name": name} for client, (scopes, name) in CLIENTS.items()
    }
    write_private(directory / "clients.json", json.dumps(clients, indent=1))
    return known


def master_keys(directory: Path) -> None:
    """Give each service its own first master key (32 bytes) unless it has one, and a place for its ledger."""
    (directory / "erasures").mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        path = keys_file(directory, service)
        if not path.exists():
            write_private(path, json.dumps({"1": base64.b64encode(secrets.token_bytes(32)).decode()}))


def keys_file(directory: Path, service: str) -> Path:
    """Return where a service's master keys are."""
    return directory / "keys" / f"{service}.json"


def ledger_file(directory: Path, service: str) -> Path:
    """Return where a service writes down which keys it erased."""
    return directory / "erasures" / f"{service}.ledger"


def variable(port: str) -> str:
    """Return the environment variable that moves a port."""
    return f"{port.upper().replace('-', '_')}_PORT"


def choose_ports(directory: Path, base: int | None, *, keep: bool) -> dict[str, int]:
    """Return a port for each name: the variable's, else from `base` on, else last time's, else a free one.

    With `keep`, while something of this stack runs, they are last time's: everyone was told everyone else's.
    """
    last = last_ports(directory)
    if keep and set(PORTS) <= set(last):
        return last
    chosen: dict[str, int] = {}
    for index, name in enumerate(PORTS):
        again = last[name] if base is None and name in last and is_free(last[name]) else None
        chosen[name] = configured(variable(name)) or (base + index if base else None) or again or free_port()
    write_private(directory / "ports.json", json.dumps(chosen))
    return chosen


def write_plan(directory: Path, plan: dict[str, Any]) -> None:
    """Write down how to make a stack again, for the supervisor."""
    write_private(directory / "plan.json", json.dumps(plan))


def inherited() -> dict[str, str]:
    """Return the part of our own environment that every process gets."""
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "JAVA_HOME")
    ours = {name: value for name, value in os.environ.items() if name in kept or name.startswith("OTEL_")}
    return {"LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", **ours}
