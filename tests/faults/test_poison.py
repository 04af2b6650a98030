"""Records that nobody can apply: each becomes a dead letter with its reason, holds its own key, and stops nobody else.

They are written with an admin's rights, since no writer could; audit records them all and never holds.
"""

import asyncio
import json
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from local_stack.observe import places
from privacy_contracts import Event
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.notices import NoticeSent
from privacy_contracts.policy import PolicyRevised
from privacy_contracts.replies import ReplyDone
from privacy_contracts.requests import DeletionRequested
from privacy_contracts.topology import read_by, topics

from ..log import OURS, Planted, Record, publish, read, unique
from ..people import Company, eventually

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOLDING = ("dsr", "consent", "notifier", "accounts")
"""The services on chassis that hold keys; audit takes everything as it comes, orders has a client of its own."""
IN_DETAIL = ("requests", "notices")
"""Each way to be unreadable is shown on these; every other topic gets one. More would look like a bad deploy."""


def asking(request: UUID, *wanted: str, attempt: int = 1) -> DeletionRequested:
    """A deletion of an account that nobody knows."""
    return DeletionRequested(
        request=request,
        account="nobody",
        stage="company",
        systems=list(wanted),
        attempt=attempt,
        requested_at=NOW,
        due_at=NOW,
    )


def harmless(topic: str) -> Event:
    """A valid event for the topic, which its readers handle and which changes nothing."""
    stream, _, system = topic.partition(".")
    match stream:
        case "accounts":
            return AccountDeleted(id=f"nobody-{uuid4().hex}", version=1, deleted_at=NOW)
        case "requests":
            return asking(uuid4(), "nobody")
        case "notices":
            return NoticeSent(notice=uuid4(), template="verification", sent_at=NOW)
        case "replies":
            return ReplyDone(
                request=uuid4(), account="nobody", system=system, answered_by=f"system/{system}", answered_at=NOW
            )
        case _:
            return PolicyRevised(
                policy="another",
                version=1,
                text_hash="0" * 64,
                revised_on=date(2026, 1, 1),
                published_at=NOW,
                effective_at=NOW,
                material=False,
                reasons=["typo"],
                decided_by="staff/nobody",
            )


def planted(event: Event, **changes: Any) -> Planted:
    """An event as its writer would write it, but for `changes`: of key, value or single headers."""
    key, value = changes.pop("key", event.key.encode()), changes.pop("value", event.to_bytes())
    headers: dict[str, bytes | None] = {
        "ce_specversion": b"1.0",
        "ce_id": f"{OURS}{uuid4()}".encode(),
        "ce_type": event.type.encode(),
        "ce_source": topics()[event.topic].writer.encode(),
        "ce_subject": event.subject.encode(),
        "ce_time": NOW.isoformat().encode(),
        "ce_sequence": b"1",
        "content-type": b"application/json",
        "reply_to": b"somewhere-else",
    }
    given = headers | changes.pop("headers", {})
    dropped = changes.pop("without", ())
    return Planted(event.topic, key, value, [(name, given[name]) for name in given if name not in dropped])


def spoilt(topic: str) -> dict[str, Planted]:
    """Every way to be unreadable, by the reason that is noted."""
    ways: dict[str, dict[str, Any]] = {
        "schema": {"value": b"\xff\xfe{"},
        "schema-types": {"value": json.dumps({"request": 7, "notice": [], "id": {}}).encode()},
        "no-type": {"without": ("ce_type",)},
        "envelope-incomplete": {"without": ("ce_id", "ce_time")},
        "header-null": {"headers": {"ce_type": None}},
        "header-not-utf8": {"headers": {"ce_type": b"\xff\xfe"}},
        "foreign-source": {"headers": {"ce_source": b"somebody"}},
        "no-body": {"value": None},
        "foreign-key": {"key": str(uuid4()).encode()},
        "no-key": {"key": None},
    }
    return {reason: planted(harmless(topic), **changes) for reason, changes in ways.items()}


async def _letters(company: Company, service: str) -> dict[tuple[str, int, int], str | None]:
    rows = await company.rows(service, 'SELECT topic, partition, "offset", reason FROM chassis.dead_letters')
    return {(row["topic"], row["partition"], row["offset"]): row["reason"] for row in rows}


async def operate(company: Company, service: str, *arguments: str) -> tuple[int, str]:
    """What an operator types: exit status and output."""
    who = [] if arguments[0] == "list" or "--operator" in arguments else ["--operator", "operator-01"]
    return await company.run(service, "dead-letters", *arguments, *who)


async def test_unreadable_records_become_dead_letters_and_stop_nobody(company: Company) -> None:
    subscribed = {topic.name for service in HOLDING for topic in read_by(service)}
    poison = {reason: each for topic in IN_DETAIL for reason, each in spoilt(topic).items()}
    wanted: list[tuple[str, Planted]] = [each for topic in IN_DETAIL for each in spoilt(topic).items()]
    wanted += [("schema", planted(harmless(topic), value=b"\xff")) for topic in sorted(subscribed - set(IN_DETAIL))]
    placed = await publish(company.stack, *(each for _, each in wanted))
    reasons = {record.place: reason.removesuffix("-types") for (reason, _), record in zip(wanted, placed, strict=True)}
    assert len(poison) == 10

    for service in HOLDING:
        mine = {place: reasons[place] for place in reasons if place[0] in {each.name for each in read_by(service)}}

        async def dead(service: str = service, mine: dict[Any, Any] = mine) -> bool:
            found = await _letters(company, service)
            return all(found.get(place) == reason for place, reason in mine.items())

        await eventually(f"{service} to put aside what it cannot read", dead)
    await eventually("orders to note what it cannot read", lambda: _noted(company, placed))
    await _all_recorded(company, placed)

    customer = await company.register("eve", order=True)
    await company.delete(customer)

    await _operators_see_and_discard(company, reasons)
    for service in HOLDING:
        await company.rows(service, "DELETE FROM chassis.dead_letters")


async def _noted(company: Company, placed: list[Record]) -> bool:
    """Orders notes the body that it cannot read; it takes no notice of envelopes that name no type of its own."""
    rows = await company.rows("orders", 'SELECT topic, partition, "offset" FROM orders.unreadable')
    noted = {str(row["topic"]).rpartition(".")[2]: row for row in rows}
    return {"accounts", "requests"} <= noted.keys() and company.stack.lacking("orders") is None and bool(placed)


async def _all_recorded(company: Company, placed: list[Record]) -> None:
    """Audit has an entry for each, holds none of them, and says which were unreadable."""

    async def recorded() -> bool:
        rows = await company.rows("audit", 'SELECT topic, partition, "offset" FROM audit.entries')
        return {record.place for record in placed} <= {tuple(row) for row in rows}

    await eventually("an entry for each", recorded)
    assert await company.value("audit", "SELECT count(*) FROM chassis.dead_letters") == 0
    kinds = {row["kind"] for row in await company.rows("audit", "SELECT DISTINCT kind FROM audit.findings")}
    assert {"undecodable", "foreign_source"} <= kinds


async def _operators_see_and_discard(company: Company, reasons: dict[tuple[str, int, int], str]) -> None:
    status, listed = await operate(company, "dsr", "list")
    assert status == 0
    letters = [json.loads(line) for line in listed.splitlines() if line.startswith("{")]
    assert {each["reason"] for each in letters} == {*reasons.values()}
    one, other = letters[0]["id"], letters[1]["id"]
    shown, again, dropped = await asyncio.gather(
        operate(company, "dsr", "show", one, "--operator", "oscar"),
        operate(company, "dsr", "replay", one, "--operator", "oscar"),
        operate(company, "dsr", "discard", other, "--reason", "unreadable", "--operator", "oscar"),
    )
    assert shown[0] == 0
    assert letters[0]["reason"] in shown[1]
    assert again[0] != 0
    assert dropped[0] == 0
    left = {each["id"] for each in map(json.loads, (await operate(company, "dsr", "list"))[1].splitlines())}
    assert one in left
    assert other not in left

    async def recorded() -> bool:
        acts = unique(await read(company.stack, "accesses.dsr"), "operator.acted")
        done = {(act.body["action"], act.body["dead_letter"], act.body["actor"]) for act in acts}
        return {
            ("dead_letter_shown", one, "staff/oscar"),
            ("dead_letter_discarded", other, "staff/oscar"),
        } <= done

    await eventually("the operator's acts on record", recorded)


async def test_the_broker_refuses_a_record_over_its_limit(company: Company) -> None:
    with pytest.raises(MessageSizeTooLargeError):
        await publish(company.stack, planted(harmless("requests"), value=b"x" * 200_000))


async def test_an_event_that_always_fails_holds_its_key_until_it_is_mended(company: Company) -> None:
    """Two copies of the accounts topic: in dsr the letter is replayed, in the notifier it is discarded."""
    customer, other = await company.register("fay"), await company.register("gus")
    copies = {"dsr": "dsr.accounts", "notifier": "notifier.accounts"}
    await eventually("both to know both", lambda: _versions(company, copies, other.account, 1))
    for service, table in copies.items():
        check = f"CHECK (id <> '{customer.account}') NOT VALID"
        await company.as_owner(service, f"ALTER TABLE {table} ADD CONSTRAINT planted {check}")
    try:
        for version in (2, 3, 4):
            await _correct(company, customer.account, f"Fay {version}")
        await _correct(company, other.account, "Gus 2")

        await eventually("the other's correction", lambda: _versions(company, copies, other.account, 2))
        for service in copies:
            held = await eventually("the letters", partial(_held, company, service, customer.account))
            assert [reason is None for reason in held] == [False, True, True]
        assert not [place for place in await places(company.stack, customer.email) if "dead_letters" in place.table]
    finally:
        for service, table in copies.items():
            await company.as_owner(service, f"ALTER TABLE {table} DROP CONSTRAINT planted")

    (replayed, _), (discarded, _) = await asyncio.gather(
        operate(company, "dsr", "replay", await _dead(company, "dsr"), "--reason", "mended"),
        operate(company, "notifier", "discard", await _dead(company, "notifier"), "--reason", "stale"),
    )
    assert (replayed, discarded) == (0, 0)
    assert await _versions(company, copies, customer.account, 4)
    for service in copies:
        assert await _letters(company, service) == {}


async def _correct(company: Company, account: str, name: str) -> None:
    answer = await company.send("PATCH", "accounts", f"/v1/customers/{account}", "website", json={"name": name})
    assert answer.status_code == 200, answer.text


async def _versions(company: Company, copies: dict[str, str], account: str, wanted: int) -> bool:
    found = [
        await company.value(service, f"SELECT version FROM {table} WHERE id = $1", account)  # noqa: S608 - constants
        for service, table in copies.items()
    ]
    return found == [wanted] * len(copies)


async def _held(company: Company, service: str, key: str) -> list[str | None] | None:
    """The reasons of a key's letters in their order, once there are three."""
    statement = 'SELECT reason FROM chassis.dead_letters WHERE key = $1 ORDER BY "offset"'
    rows = await company.rows(service, statement, key.encode())
    return [row["reason"] for row in rows] if len(rows) == 3 else None


async def _dead(company: Company, service: str) -> str:
    return str(await company.value(service, "SELECT id FROM chassis.dead_letters WHERE reason IS NOT NULL"))


async def test_a_reaction_that_fails_is_done_once_and_in_order_when_it_is_replayed(company: Company) -> None:
    """Consent and accounts cannot answer one request, twice asked; all others are answered meanwhile."""
    stuck, other = uuid4(), uuid4()
    services = ("consent", "accounts")
    for service in services:
        await company.as_owner(
            service, f"ALTER TABLE chassis.outbox ADD CONSTRAINT planted CHECK (key <> '{stuck}') NOT VALID"
        )
    try:
        await publish(
            company.stack,
            *(planted(asking(stuck, *services, attempt=attempt)) for attempt in (1, 2)),
            planted(asking(other, *services)),
        )
        for service in services:
            await eventually("the other answer", partial(_answers, company, service, other, 1))
            await eventually("the letters", partial(_count, company, service, stuck, 2))
            assert await _answers(company, service, stuck, 0) == 0
    finally:
        for service in services:
            await company.as_owner(service, "ALTER TABLE chassis.outbox DROP CONSTRAINT planted")
    for service in services:
        assert (await operate(company, service, "replay", await _dead(company, service))) == (0, "applied 2\n")
        await eventually("both answers", partial(_answers, company, service, stuck, 2))
        assert await _letters(company, service) == {}


async def _answers(company: Company, service: str, request: UUID, least: int) -> int | None:
    events = unique(await read(company.stack, f"replies.{service}"), "reply.not_found")
    count = sum(event.body["request"] == str(request) for event in events)
    return count if count >= least else None


async def _count(company: Company, service: str, request: UUID, least: int) -> bool:
    rows = await company.rows(service, "SELECT id FROM chassis.dead_letters WHERE key = $1", str(request).encode())
    return len(rows) >= least
