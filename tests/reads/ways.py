"""Every way in: each route, job, timer, handler and command of each service, and whether it reads personal data.

Whoever adds one classifies it here, or the walk fails. A way that reads names the record that it leaves; one that does
not says why.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reads:
    """It reads personal data: on `topic` there is then an event of `type` with these fields.

    A value in braces stands for what the test's own request, account or partner is called.
    """

    topic: str
    type: str
    fields: dict[str, Any]


Way = Reads | str
"""A record, or the reason why none is needed."""

WRITES = "takes in what it is given, shows nothing of what is held"
IDS = "opaque ids, times and counts only"
STATE = "opaque ids, times and codes, and who of the list is silent, with what it holds of any person"
PUBLIC = "the same for everybody"
ERASES = "destroys, and opens nothing"
COPIES = "keeps a sealed copy of what the event brought, opens none"


def _accessed(topic: str, **fields: Any) -> Reads:
    return Reads(f"accesses.{topic}", "personal_data.accessed", {"system": topic} | fields)


_BY_AUDITOR = {"actor": "staff/auditor-01", "purpose": "audit"}

WAYS: dict[str, dict[str, Way]] = {
    "dsr": {
        "POST /v1/requests": WRITES,
        "GET /v1/requests/{request_id}": STATE,
        "POST /v1/requests/{request_id}/outstanding": STATE,
        "POST /v1/requests/{request_id}/messages": _accessed(
            "dsr", actor="service/notifier", purpose="notice", case="{request}", categories=["contact"]
        ),
        "GET /v1/requests/{request_id}/identifiers": _accessed(
            "dsr", actor="system/marketing", purpose="request", case="{request}", categories=["contact"]
        ),
        "GET /v1/tasks": IDS,
        "POST /v1/tasks/{task_id}/reply": WRITES,
        "GET /v1/findings": "keyed hashes and counts only",
        "GET /style.css": PUBLIC,
        "GET /delete": PUBLIC,
        "POST /delete": WRITES,
        "GET /delete/received": PUBLIC,
        "GET /r/{request_id}/{secret}": Reads(
            "disclosures.dsr",
            "personal_data.disclosed",
            {"recipient": "subject", "method": "page", "case": "{request}", "subject_id": "{subject}"},
        ),
        "POST /r/{request_id}/{secret}/{action}": _accessed("dsr", actor="person", purpose="request", case="{request}"),
        "timer verification_expiry": ERASES,
        "timer cooling_off": _accessed("dsr", actor="service/dsr", purpose="request", case="{request}"),
        "timer guest_cooling_off": "the same handler as `timer cooling_off`",
        "timer destroy_address": ERASES,
        "timer reminder": IDS,
        "timer escalation": IDS,
        "timer retry": IDS,
        "timer forget_counts": ERASES,
        "event account.stated": "keeps a sealed copy of what the event brought; matches requests by keyed hashes",
        "event account.deleted": _accessed("dsr", actor="service/dsr", purpose="request", subject_id="{closed}"),
        "event reply.done": IDS,
        "event reply.retained": IDS,
        "event reply.not_found": IDS,
        "event reply.failed": IDS,
        "event notice.sent": ERASES,
        "event notice.failed": ERASES,
    },
    "consent": {
        "POST /v1/choices": WRITES,
        "GET /v1/choices": _accessed("consent", subject_id="{subject}", actor="system/website"),
        "POST /v1/decisions": Reads(
            "consent", "disclosure.decided", {"subject_id": "{subject}", "recipient": "{partner}"}
        ),
        "POST /v1/policies": PUBLIC,
        "GET /v1/policies": PUBLIC,
        "GET /v1/policies/{version}": PUBLIC,
        "GET /v1/notice": PUBLIC,
        "GET /policy": PUBLIC,
        "GET /policy/{number}": PUBLIC,
        "GET /policy/{number}/text": PUBLIC,
        "event deletion.requested": ERASES,
        "event account.deleted": ERASES,
    },
    "notifier": {
        "job notice": _accessed("notifier", actor="service/notifier", purpose="notice", subject_id="{subject}"),
        "job revision": IDS,
        "event account.stated": COPIES,
        "event account.deleted": ERASES,
        "event policy.revised": IDS,
        "event request.received": IDS,
        "event request.closed": IDS,
        "event system.escalated": IDS,
        "event deletion.requested": ERASES,
    },
    "audit": {
        "GET /v1/entries": _accessed("audit", **_BY_AUDITOR, subject_id="{subject}", action="search"),
        "GET /v1/entries/{index}": _accessed("audit", **_BY_AUDITOR, action="view", subject_id="{subject}"),
        "GET /v1/findings": _accessed("audit", **_BY_AUDITOR, categories=[]),
        "GET /v1/subjects/recipients": _accessed("audit", **_BY_AUDITOR, subject_id="{subject}"),
        "GET /v1/requests/{request}/completeness": _accessed("audit", **_BY_AUDITOR, case="{request}"),
        "timer gaps": IDS,
        "every record": "keeps the envelope and coded facts; of `accounts` a keyed hash alone",
    },
    "accounts": {
        "POST /v1/customers": WRITES,
        "PATCH /v1/customers/{account_id}": _accessed("accounts", actor="system/website", action="view"),
        "DELETE /v1/customers/{account_id}": ERASES,
        "POST /v1/customers/find": _accessed("accounts", actor="system/website", action="search"),
        "POST /v1/feeds": IDS,
        "GET /v1/feeds/{feed_id}": IDS,
        "GET /v1/marketing-list": _accessed("accounts", actor="system/marketing"),
        "job feed.ask": Reads(
            "disclosures.accounts",
            "personal_data.disclosed",
            {"subject_id": "{subject}", "recipient": "{partner}", "basis": "consent"},
        ),
        "job feed.write": _accessed("accounts", actor="system/accounts", purpose="feed"),
        "timer heartbeat": "nothing about anybody",
        "event deletion.requested": ERASES,
    },
}


def _operated(how: str) -> Reads:
    return Reads("accesses.dsr", "operator.acted", {"action": f"dead_letter_{how}"})


OPERATORS: dict[str, Way] = {
    "GET /v1/dead-letters": "reasons and places, no bodies",
    "GET /v1/dead-letters/{letter}": Reads("accesses.dsr", "operator.acted", {"action": "dead_letter_shown"}),
    "POST /v1/dead-letters/{letter}/replay": Reads(
        "accesses.dsr", "operator.acted", {"action": "dead_letter_replayed"}
    ),
    "POST /v1/dead-letters/{letter}/discard": Reads(
        "accesses.dsr", "operator.acted", {"action": "dead_letter_discarded"}
    ),
}
"""What chassis adds to every service; shown with dead letters at hand, in the tests of chassis and of faults."""

COMMANDS: dict[str, Way] = {
    "serve": "the ways above",
    "migrate": "changes tables, shows no row",
    "replay": "the projections' own handlers, from the log into the same tables; prints a count",
    "recover": "the service's own events, from the log into its own tables; prints ids and codes, and is an event",
    "dead-letters list": "reasons and places, no bodies",
    "dead-letters show": Reads("accesses.dsr", "operator.acted", {"action": "dead_letter_shown"}),
    "dead-letters replay": Reads("accesses.consent", "operator.acted", {"action": "dead_letter_replayed"}),
    "dead-letters discard": Reads("accesses.dsr", "operator.acted", {"action": "dead_letter_discarded"}),
}
"""The same for every service. What an operator does is shown with dead letters at hand, in the tests of faults."""
