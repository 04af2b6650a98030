"""Every operation of every OpenAPI document, with a caller who may, and a body that would do.

A path that is not here fails the tests: whoever adds a route says here who may call it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

NOBODY = str(UUID(int=0))
PUBLIC = ""


@dataclass(frozen=True)
class Operation:
    """`client` is one of the issuer's who may call it, empty where anybody may."""

    service: str
    method: str
    path: str
    client: str
    body: dict[str, Any] | None = None
    query: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.service}{self.path}"

    @property
    def filled(self) -> str:
        """The path with things that do not exist."""
        return self.path.format_map(_Nowhere())


class _Nowhere(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "1000000" if name in ("index", "version") else NOBODY


SUBJECT = f"account/{NOBODY}"
POLICY = {"text": "# P", "summary": "S", "material": False, "reasons": ["typo"]}
CHOICE = {
    "subject": SUBJECT,
    "purpose": "own_marketing",
    "choice": "granted",
    "text": "Yes",
    "channel": "website",
}
SERVICES = ("dsr", "consent", "notifier", "audit", "accounts")


def _of_operators(service: str) -> Iterator[Operation]:
    """What chassis gives every service."""
    letters, why = "/v1/dead-letters", {"reason": "mended"}
    yield Operation(service, "GET", letters, "operator-01", wrong={"cursor": "?", "limit": "?"})
    yield Operation(service, "GET", f"{letters}/{{letter}}", "operator-01")
    yield Operation(service, "POST", f"{letters}/{{letter}}/replay", "operator-01", why)
    yield Operation(service, "POST", f"{letters}/{{letter}}/discard", "operator-01", why)


OPERATIONS = (
    *(operation for service in SERVICES for operation in _of_operators(service)),
    Operation("dsr", "POST", "/v1/requests", "website", {"type": "delete", "email": "a@example.com"}),
    Operation("dsr", "GET", "/v1/requests/{request_id}", "website"),
    Operation(
        "dsr",
        "POST",
        "/v1/requests/{request_id}/outstanding",
        "officer-01",
        {"systems": ["orders"], "reason": "no_answer"},
    ),
    Operation("dsr", "POST", "/v1/requests/{request_id}/messages", "notifier", {"template": "verification"}),
    Operation("dsr", "GET", "/v1/requests/{request_id}/identifiers", "marketing"),
    Operation("dsr", "GET", "/v1/tasks", "marketing", query={}, wrong={"cursor": "?", "limit": "?"}),
    Operation("dsr", "POST", "/v1/tasks/{task_id}/reply", "marketing", {"outcome": "done", "evidence": "SUP-1"}),
    Operation("dsr", "GET", "/v1/findings", "operator-01", wrong={"cursor": "?", "limit": "?"}),
    Operation("consent", "POST", "/v1/choices", "website", CHOICE),
    Operation("consent", "GET", "/v1/choices", "website", query={"subject": SUBJECT}, wrong={"subject": "?"}),
    Operation(
        "consent",
        "POST",
        "/v1/decisions",
        "accounts",
        {"subject": SUBJECT, "recipient": "adco", "purpose": "own_marketing"},
    ),
    Operation("consent", "POST", "/v1/policies", "officer-01", POLICY),
    Operation("consent", "GET", "/v1/policies", PUBLIC, wrong={"cursor": "?", "limit": "?"}),
    Operation("consent", "GET", "/v1/policies/{version}", PUBLIC),
    Operation("consent", "GET", "/v1/notice", PUBLIC),
    Operation("audit", "GET", "/v1/entries", "auditor-01", query={"request": NOBODY}, wrong={"request": "?"}),
    Operation("audit", "GET", "/v1/entries/{index}", "auditor-01"),
    Operation("audit", "GET", "/v1/findings", "auditor-01", wrong={"limit": "?"}),
    Operation("audit", "GET", "/v1/subjects/recipients", "auditor-01", query={"subject": SUBJECT}),
    Operation("audit", "GET", "/v1/requests/{request}/completeness", "auditor-01"),
    Operation("accounts", "POST", "/v1/customers", "website", {"email": "a@example.com", "name": "A"}),
    Operation("accounts", "PATCH", "/v1/customers/{account_id}", "website", {"name": "B"}),
    Operation("accounts", "DELETE", "/v1/customers/{account_id}", "website"),
    Operation("accounts", "POST", "/v1/customers/find", "website", {"email": "a@example.com"}),
    Operation(
        "accounts", "POST", "/v1/feeds", "operator-01", {"recipient": "adco", "purpose": "third_party_marketing"}
    ),
    Operation("accounts", "GET", "/v1/feeds/{feed_id}", "operator-01"),
    Operation("accounts", "GET", "/v1/marketing-list", "marketing"),
)
