"""Who is in the stack: the processes, in the order in which they start."""

import sys
from dataclasses import dataclass

from local_stack import ROOT
from local_stack.databases import SERVICES

MARKETING = ROOT / "examples" / "company" / "marketing" / "marketing.sh"


@dataclass(frozen=True)
class Process:
    """A process of the stack. One that answers HTTP is ready when `/readyz` says so, another while it lives.

    `beside` is the process whose work a second instance shares.
    """

    name: str
    command: tuple[str, ...]
    about: str
    http: bool = True
    beside: str | None = None

    @property
    def service(self) -> str:
        """What it is an instance of: whose settings, secrets and database it has."""
        return self.beside or self.name

    @property
    def stored(self) -> bool:
        """Whether it has a database and reads Kafka."""
        return self.service in SERVICES


def _module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *arguments)


PROCESSES = {
    process.name: process
    for process in (
        Process("sink", (), "receives all mail and shows it"),
        Process("issuer", (), "issues tokens"),
        Process("consent", _module("consent", "serve"), "keeps choices and policies, decides disclosures"),
        Process("dsr", _module("dsr", "serve"), "takes requests of persons and sees them through"),
        Process("notifier", _module("notifier", "serve"), "writes to persons"),
        Process("audit", _module("audit", "serve"), "records all of it"),
        Process("accounts", _module("accounts", "serve"), "the company's customers"),
        Process("orders", _module("orders"), "the company's orders and invoices"),
        Process("website", _module("website"), "the company's shop"),
        Process("marketing", ("sh", str(MARKETING)), "the company's mailings, over HTTP alone", http=False),
    )
}
SECONDS = {
    f"{name}-2": Process(f"{name}-2", PROCESSES[name].command, f"a second {name}, beside the first", beside=name)
    for name in ("consent", "dsr", "notifier", "audit", "accounts")
}
"""What can run twice. Nobody starts these unasked."""
EVERY = {**PROCESSES, **SECONDS}
MIGRATED = SERVICES

# Client id: scopes, and the name of a person.
CLIENTS: dict[str, tuple[tuple[str, ...], str | None]] = {
    "website": (("website",), None),
    "accounts": (("system",), None),
    "marketing": (("system",), None),
    "orders": (("system",), None),
    "dsr": (("service",), None),
    "consent": (("service",), None),
    "notifier": (("service",), None),
    "audit": (("service",), None),
    "officer-01": (("officer",), "Olivia Marsh"),
    "auditor-01": (("auditor",), "Adam Reyes"),
    "operator-01": (("operator",), "Oscar Lind"),
    "agent-01": (("agent",), "Agnes Vale"),
}

PORTS = (*PROCESSES, "smtp", *SECONDS)
"""Names of the ports; a stack on a base port gives them out in this order."""
