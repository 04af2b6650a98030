"""What auditors may ask over HTTP, who may, and that every answer is recorded before it leaves."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from chassis.testing import outbox
from local_stack.servers import Servers
from privacy_contracts.accesses import OperatorActed, PersonalDataAccessed
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.consent import ConsentChanged
from privacy_contracts.disclosures import DisclosureRefused, PersonalDataDisclosed
from privacy_contracts.fields import Subject
from privacy_contracts.requests import RequestMatched

from .conftest import Service
from .records import AT, REQUEST, deletion, of, raw, record
from .test_completeness import whole, without_account

Headers = dict[str, str]
ROUTES = [
    f"/v1/entries?request={REQUEST}",
    "/v1/entries/0",
    "/v1/findings",
    "/v1/subjects/recipients?subject=account/a1",
    f"/v1/requests/{REQUEST}/completeness",
]


def choice(subject: Subject, version: int = 1) -> ConsentChanged:
    return ConsentChanged(
        subject_id=subject,
        purpose="third_party_marketing",
        choice="refused",
        version=version,
        text_hash="0" * 64,
        channel="website",
        received_at=AT,
    )


def disclosed(recipient: str, *, categories: list[str], at: datetime = AT) -> PersonalDataDisclosed:
    return PersonalDataDisclosed(
        disclosure=uuid4(),
        system="accounts",
        subject_id="account/a1",
        recipient=recipient,
        purpose="third_party_marketing",
        recipient_class="third_party",
        categories=categories,
        basis="consent",
        method="file",
        disclosed_at=at,
    )


def seen(actor: str, subject: str = "account/a1") -> PersonalDataAccessed:
    return PersonalDataAccessed(
        access=uuid4(),
        system="dsr",
        actor=actor,
        action="view",
        purpose="request",
        categories=["contact"],
        subject_id=subject,
        accessed_at=AT,
    )


def looked(action: str) -> OperatorActed:
    """What an operator did with a dead letter about a person."""
    return OperatorActed(
        act=uuid4(),
        system="dsr",
        actor="staff/operator-01",
        action=action,
        dead_letter=uuid4(),
        reason="inspection",
        subject_id="account/a1",
        acted_at=AT,
    )


async def indexes(http: httpx.AsyncClient, query: str, headers: Headers) -> list[int]:
    answer = await http.get(f"/v1/entries?{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    return [entry["index"] for entry in answer.json()["entries"]]


async def test_an_entry_shows_all_that_is_kept(audit: Service, http: httpx.AsyncClient, auditor: Headers) -> None:
    await audit.take(record(id="one", sequence=1))
    entry = (await http.get("/v1/entries/0", headers=auditor)).json()
    assert (entry["index"], entry["id"], entry["source"], entry["type"]) == (0, "one", "dsr", "deletion.requested")
    assert (entry["request"], entry["subject"], entry["sequence"]) == (str(REQUEST), "account/a1", 1)
    assert entry["payload"]["systems"] == ["orders"]
    assert (entry["omitted"], entry["foreign_source"], len(entry["body_hash"])) == (None, False, 64)
    assert (await http.get("/v1/entries/1", headers=auditor)).status_code == 404


async def test_search_by_request_subject_type_and_time(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    clock: Any = audit.runtime.clock
    start = clock.now()
    await audit.take(record(), of(choice("account/a1")))
    middle = clock.advance(timedelta(minutes=1))
    await audit.take(of(choice("account/a2")), of(deletion(request=UUID(int=7))))
    clock.advance(timedelta(minutes=1))
    await audit.take(raw("requests", b"?"))
    at = "from={}&to={}".format

    def z(time: datetime) -> str:
        return time.isoformat().replace("+00:00", "Z")

    assert await indexes(http, f"request={REQUEST}", auditor) == [0]
    assert await indexes(http, "subject=account/a1", auditor) == [0, 1, 3]
    assert await indexes(http, "subject=account/a1&type=consent.changed", auditor) == [1]
    assert await indexes(http, f"subject=account/a1&from={z(middle)}", auditor) == [3]
    assert await indexes(http, f"subject=account/a1&to={z(middle)}", auditor) == [0, 1]
    assert await indexes(http, at(z(start), z(middle)), auditor) == [0, 1]
    assert await indexes(http, at(z(middle), z(clock.now() + timedelta(1))), auditor) == [2, 3, 4]
    assert await indexes(http, at(z(start - timedelta(1)), z(start)), auditor) == []
    assert await indexes(http, f"request={REQUEST}&subject=account/a2", auditor) == []


async def test_pages_lead_through_everything_once_and_end(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    """Given that each page read adds an entry to what is read, when somebody reads on, then they come to an end."""
    await audit.take(*(record() for _ in range(7)))
    read: list[int] = []
    url = f"/v1/entries?request={REQUEST}&limit=3"
    answer = (await http.get(url, headers=auditor)).json()
    for _ in range(10):
        read += [entry["index"] for entry in answer["entries"]]
        await audit.take(record())
        if answer["next"] is None:
            break
        answer = (await http.get(f"{url}&cursor={answer['next']}", headers=auditor)).json()
    assert read == list(range(7))
    assert [event.body["results"] for event in await outbox(audit.pool)] == [3, 3, 1]


WRONG = (
    ("", 400, "too-wide"),
    ("type=consent.changed", 400, "too-wide"),
    ("from=2026-01-01T00:00:00Z", 400, "too-wide"),
    ("to=2026-01-01T00:00:00Z", 400, "too-wide"),
    ("request=x", 422, "invalid"),
    ("subject=maria@example.com", 422, "invalid"),
    ("subject=account/", 422, "invalid"),
    ("subject=account/a1&type=;DROP", 422, "invalid"),
    ("subject=account/a1&from=2026-01-01T00:00:00", 422, "invalid"),
    ("subject=account/a1&from=yesterday", 422, "invalid"),
    ("subject=account/a1&from=0001-01-01T00:00:00%2B14:00", 422, "invalid"),
    ("subject=account/a1&to=9999-12-31T23:59:59-14:00", 422, "invalid"),
    ("subject=account/a1&limit=0", 422, "invalid"),
    ("subject=account/a1&limit=1001", 422, "invalid"),
    ("subject=account/a1&cursor=x", 400, "bad-cursor"),
    ("subject=account/a1&cursor=" + "A" * 300, 422, "invalid"),
    ("subject=account/a1&cursor=%00", 400, "bad-cursor"),
)


async def test_a_wrong_question_is_a_problem_that_repeats_nothing(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    for query, status, code in WRONG:
        answer = await http.get(f"/v1/entries?{query}", headers=auditor)
        assert (answer.status_code, answer.json()["type"]) == (status, f"/problems/{code}"), query
        assert answer.headers["content-type"] == "application/problem+json"
        for value in ("maria@example.com", "DROP", "yesterday"):
            assert value not in answer.text
    assert await outbox(audit.pool) == []


async def test_a_cursor_of_another_question_is_refused(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    await audit.take(record(), record())
    page = (await http.get("/v1/entries?subject=account/a1&limit=1", headers=auditor)).json()
    other = await http.get(f"/v1/entries?subject=account/a2&cursor={page['next']}", headers=auditor)
    assert other.json()["type"] == "/problems/bad-cursor"


async def test_only_auditors_with_a_token_for_audit(
    audit: Service, http: httpx.AsyncClient, bearer: Callable[..., Headers]
) -> None:
    await audit.take(record())
    for route in ROUTES:
        for status, headers in (
            (401, {}),
            (401, {"Authorization": "Bearer x"}),
            (401, bearer("auditor-01", "auditor", audience="dsr")),
            (401, bearer("auditor-01", "auditor", audience="audit", lifetime=-60)),
            (403, bearer("officer-01", "officer", audience="audit")),
            (403, bearer("operator-01", "operator", "system", "service", "website", audience="audit")),
        ):
            assert (await http.get(route, headers=headers)).status_code == status, route
    assert await outbox(audit.pool) == []


@pytest.mark.promise(76)
async def test_every_answer_is_recorded(audit: Service, http: httpx.AsyncClient, auditor: Headers) -> None:
    await audit.take(record())
    for number, route in enumerate(ROUTES):
        assert (await http.get(route, headers=auditor)).status_code == 200
        *_, event = recorded = await outbox(audit.pool)
        assert len(recorded) == number + 1
        assert (event.type, event.topic) == ("personal_data.accessed", "accesses.audit")
        assert event.time == audit.runtime.clock.now()
        assert (event.body["actor"], event.body["purpose"]) == ("staff/auditor-01", "audit")
        assert len(event.body["query_hash"]) == 64
        assert event.body["results"] in (0, 1)
        assert event.body.get("subject_id") == (None if route == "/v1/findings" else "account/a1")


async def test_every_route_is_tried_above(audit: Service) -> None:
    routes = {route.path for router in audit.app.routers for route in router.routes}  # type: ignore[attr-defined]  # API routes
    assert len(routes) == len(ROUTES), f"a new route must record its readings: {routes}"


async def test_what_cannot_be_recorded_is_not_shown(
    audit: Service, http: httpx.AsyncClient, auditor: Headers, servers: Servers
) -> None:
    """Given a database that takes no events, when an auditor asks, then the answer is 503 and shows nothing."""
    await audit.take(record())
    name = await audit.pool.fetchval("SELECT current_database()")
    owner = await asyncpg.connect(servers.postgres.url, database=name)
    await owner.execute("REVOKE INSERT ON chassis.outbox FROM audit")
    await owner.close()
    for route in ROUTES:
        answer = await http.get(route, headers=auditor)
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-recorded")
        assert "a1" not in answer.text


async def test_a_lost_database_is_a_503(audit: Service, http: httpx.AsyncClient, auditor: Headers) -> None:
    await audit.pool.close()
    for route in ROUTES:
        assert (await http.get(route, headers=auditor)).status_code == 503


async def test_findings_open_and_resolved(audit: Service, http: httpx.AsyncClient, auditor: Headers) -> None:
    await audit.take(record(source="orders"), record(id="x", sequence=1))
    await audit.take(record(id="x", systems=("marketing",)))
    await audit.pool.execute(
        "INSERT INTO audit.findings (kind, topic, source, missing, found_at)"
        " VALUES ('gap', 'requests', 'dsr', '{[2,5),[7,8)}', now())"
    )
    await audit.pool.execute("INSERT INTO audit.resolutions VALUES (3, 'arrived', now())")
    found = (await http.get("/v1/findings", headers=auditor)).json()["findings"]
    assert [(each["kind"], each["entry"]) for each in found] == [("foreign_source", 0), ("conflict", 1), ("gap", None)]
    assert (found[2]["missing"], found[2]["missing_count"], found[2]["resolution"]) == ([[2, 4], [7, 7]], 4, "arrived")
    still = (await http.get("/v1/findings?open=true", headers=auditor)).json()["findings"]
    assert [each["id"] for each in still] == [1, 2]
    done = (await http.get("/v1/findings?open=false", headers=auditor)).json()["findings"]
    assert [each["id"] for each in done] == [3]
    page = (await http.get("/v1/findings?limit=2", headers=auditor)).json()
    rest = (await http.get(f"/v1/findings?limit=2&cursor={page['next']}", headers=auditor)).json()
    assert ([each["id"] for each in rest["findings"]], rest["next"]) == ([3], None)


@pytest.mark.promise(73)
async def test_who_received_or_saw_a_persons_data(audit: Service, http: httpx.AsyncClient, auditor: Headers) -> None:
    later = AT + timedelta(days=3)
    refusal = DisclosureRefused(
        disclosure=uuid4(),
        system="accounts",
        subject_id="account/a1",
        recipient="dataco",
        purpose="third_party_marketing",
        reason="withdrawn",
        decision=uuid4(),
        refused_at=AT,
    )
    await audit.take(
        of(disclosed("adco", categories=["contact"])),
        of(disclosed("adco", categories=["contact", "orders"], at=later)),
        of(disclosed("mailco", categories=["contact"])),
        of(disclosed("forged", categories=["contact"]), source="orders"),
        of(refusal),
        of(seen("service/notifier")),
        of(seen("service/notifier")),
        of(seen("staff/agent-1", subject="account/a2")),
        *(of(looked(action)) for action in ("dead_letter_shown", "dead_letter_discarded")),
    )
    found = (await http.get("/v1/subjects/recipients?subject=account/a1", headers=auditor)).json()
    assert [(each["recipient"], each["times"], each["categories"], each["systems"]) for each in found["received"]] == [
        ("adco", 2, ["contact", "orders"], ["accounts"]),
        ("mailco", 1, ["contact"], ["accounts"]),
    ]
    first, last = (datetime.fromisoformat(found["received"][0][name]) for name in ("first", "last"))
    assert (first, last) == (AT, later)
    assert [(each["recipient"], each["reason"]) for each in found["refused"]] == [("dataco", "withdrawn")]
    assert [(each["actor"], each["system"], each["times"]) for each in found["seen"]] == [
        ("service/notifier", "dsr", 2),
        ("staff/operator-01", "dsr", 1),
    ]


async def test_what_was_read_of_a_person_before_the_account_was_known_is_on_the_accounts_list(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    guest, other = f"request/{REQUEST}", f"request/{UUID(int=9)}"
    await audit.take(of(seen("service/notifier", guest)), of(seen("system/orders", other)))

    async def seen_of(subject: str) -> list[str]:
        found = (await http.get(f"/v1/subjects/recipients?subject={subject}", headers=auditor)).json()
        return [each["actor"] for each in found["seen"]]

    assert await seen_of(guest) == ["service/notifier"]
    assert await seen_of("account/a1") == []
    await audit.take(of(RequestMatched(request=REQUEST, account="a1", matched_at=AT)))
    await audit.take(of(RequestMatched(request=UUID(int=9), account="a1", matched_at=AT), source="orders"))  # forged
    assert await seen_of("account/a1") == ["service/notifier"]


async def test_all_about_somebody_without_an_account_is_found_by_the_request(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    events = without_account(whole())
    await audit.take(*(of(event) for event in events), of(seen("system/orders", f"request/{REQUEST}")))
    assert await indexes(http, f"subject=request/{REQUEST}&limit=200", auditor) == list(range(len(events) + 1))
    answer = (await http.get(f"/v1/requests/{REQUEST}/completeness", headers=auditor)).json()
    assert (answer["complete"], answer["missing"], answer["unexpected"]) == (True, [], [])


async def test_nobody_received_anything(http: httpx.AsyncClient, auditor: Headers) -> None:
    found = (await http.get("/v1/subjects/recipients?subject=account/none", headers=auditor)).json()
    assert found == {"subject": "account/none", "received": [], "refused": [], "seen": []}


@pytest.mark.promise(88)
async def test_a_trail_is_complete_or_names_what_is_missing(
    audit: Service, http: httpx.AsyncClient, auditor: Headers
) -> None:
    url = f"/v1/requests/{REQUEST}/completeness"
    *most, last = whole()
    await audit.take(*(of(event) for event in most), of(last, source="orders"))
    answer = (await http.get(url, headers=auditor)).json()
    assert (answer["complete"], answer["missing"]) == (False, ["account.deleted", "notice completion"])
    await audit.take(of(AccountDeleted(id="a1", version=9, deleted_at=AT)), of(last))
    answer = (await http.get(url, headers=auditor)).json()
    assert (answer["complete"], answer["missing"], answer["unexpected"]) == (True, [], [])
    orders = next(each for each in answer["systems"] if each["system"] == "orders")
    assert orders == {
        "system": "orders",
        "stage": "company",
        "asked": 1,
        "answer": "reply.retained",
        "final": True,
        "outstanding": None,
    }


async def test_a_request_that_nobody_knows_is_not_complete(http: httpx.AsyncClient, auditor: Headers) -> None:
    answer = (await http.get(f"/v1/requests/{UUID(int=9)}/completeness", headers=auditor)).json()
    assert not answer["complete"]
    assert "request.received" in answer["missing"]
