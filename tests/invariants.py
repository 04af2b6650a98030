"""What holds for any run of the company, whatever died in it.

Counted from the mail server, the systems' own databases and Kafka, never from the tables in which our services keep
the state that they decide by. Two such tables are read, as what is to be proven: the audit entries, and, for a mail
that arrived twice, what the notifier says in public about it (`repeats` of `notice.sent`).
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_stack.observe import newest, places_of_each
from privacy_contracts.topology import systems, topics

from .log import Record, read, unique
from .people import Company, Person

FINAL = ("reply.done", "reply.retained", "reply.not_found")
KEEPS_NAMES = "orders"
"""The one database in which a name may stand after a deletion: on the invoices that the tax office asks for."""


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen at one moment. `deleted` are those whose requests ran, guests too, by request."""

    records: list[Record]
    mails: list[dict[str, Any]]
    entries: list[Mapping[str, Any]]
    orders: dict[str, tuple[int, int, int]]
    accounts_left: set[str]
    deleted: Mapping[str, Person]
    unknown: Mapping[str, str] = field(default_factory=dict)

    def events(self, kind: str) -> list[Record]:
        """The distinct events of a type, as systems wrote them."""
        return unique(self.records, kind)


async def gather(company: Company, deleted: Mapping[str, Person], unknown: Mapping[str, str] | None = None) -> Evidence:
    """Look everywhere. `unknown` are the addresses without an account that asked, by request."""
    records, mails, entries = await asyncio.gather(
        read(company.stack),
        company.mails(),
        company.rows("audit", 'SELECT index, topic, partition, "offset", ce_source, ce_id FROM audit.entries'),
    )
    orders = {}
    for request, customer in deleted.items():
        rows = await company.rows(
            "orders",
            "SELECT (SELECT count(*) FROM orders.orders WHERE account = $1 OR email = $2), (SELECT count(*) FROM"
            " orders.invoices WHERE account = $1 OR number = $3),"
            " (SELECT count(*) FROM orders.answers WHERE request = $4::uuid)",
            *(customer.account, customer.email, customer.invoice, request),
        )
        orders[request] = tuple(rows[0])
    left = await company.rows(
        "accounts",
        "SELECT id FROM accounts.accounts WHERE id = ANY($1)",
        [each.account for each in deleted.values() if each.account],
    )
    return Evidence(records, mails, entries, orders, {row["id"] for row in left}, deleted, unknown or {})


def closed_once(seen: Evidence) -> Iterable[str]:
    """Each request has one end; a deletion that was confirmed ends completed."""
    ends = defaultdict(list)
    for event in seen.events("request.closed"):
        ends[event.body["request"]].append(event.body["outcome"])
    for request in seen.deleted:
        if ends[request] != ["completed"]:
            yield f"request {request} was closed {ends[request]}"
    for request, outcomes in ends.items():
        if len(outcomes) > 1:
            yield f"request {request} was closed {len(outcomes)} times"


def asked_once(seen: Evidence) -> Iterable[str]:
    """Each system of `systems.toml` is asked once for each request, in the order of the stages, and answers once.

    `accounts` is not asked where it said by itself that the account is gone.
    """
    order = systems()
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    closed: set[str] = set()
    for event in seen.events("deletion.requested"):
        body = event.body
        if body.get("account_closed_at"):
            closed.add(body["request"])
        if body["attempt"] == 1 and not body.get("reminder"):
            asked[body["request"]] += [(body["stage"], system) for system in body["systems"]]
    answers = Counter((event.body["request"], event.body["system"]) for kind in FINAL for event in seen.events(kind))
    for request in seen.deleted:
        wanted = [
            (system.stage, name)
            for name, system in order.by_name.items()
            if name != "accounts" or request not in closed
        ]
        if sorted(asked[request]) != sorted(wanted):
            yield f"request {request} asked {sorted(asked[request])}"
        stages = [order.stages.index(stage) for stage, _ in asked[request]]
        if stages != sorted(stages):
            yield f"request {request} took its stages out of order: {asked[request]}"
        for _, system in wanted:
            if answers[request, system] != 1:
                yield f"{system} answered request {request} {answers[request, system]} times"


def effective_once(seen: Evidence) -> Iterable[str]:
    """In the systems' own books each deletion happened once: no order is left, invoices are, the account is not."""
    gone = Counter(event.body["id"] for event in seen.events("account.deleted"))
    for request, customer in seen.deleted.items():
        orders, invoices, answers = seen.orders[request]
        if (orders, invoices, answers) != (0, customer.invoices, 1):
            yield f"orders holds {orders} orders, {invoices} invoices and {answers} answers for request {request}"
        if customer.account and gone[customer.account] != 1:
            yield f"account {customer.account} was deleted {gone[customer.account]} times"
        if customer.account in seen.accounts_left:
            yield f"account {customer.account} is still there"


def stays_deleted(seen: Evidence) -> Iterable[str]:
    """Nothing is said about an account after its end: the newest value of its key is the deletion."""
    last = {record.key: record for record in seen.records if record.topic == "accounts" and not record.planted}
    for customer in (each for each in seen.deleted.values() if each.account):
        found = last.get(customer.account.encode())
        if found is None or found.type != "account.deleted":
            yield f"the newest value of account {customer.account} is {found.type if found else 'missing'}"


def no_mail_lost(seen: Evidence) -> Iterable[str]:
    """Each request that somebody made brought its first mail, each deletion its last; what is recorded as sent arrived.

    A mail whose answer was lost in a crash, and whose request went on before it could be repeated, is recorded as
    failed: nobody knows of it that it arrived.
    """
    copies = Counter(mail["message_id"] for mail in seen.mails)
    by_profile = {event.body["request"] for event in seen.events("request.received") if event.body.get("account")}
    for request, customer in seen.deleted.items():
        ids = {mail["message_id"] for mail in _to(seen, customer.email) if f"/r/{request}/" in mail["text"]}
        if len(ids) != (wanted := 1 if request in by_profile else 2):
            yield f"{len(ids)} mails about request {request} reached {customer.email}, not {wanted}"
    for request, email in seen.unknown.items():
        ids = {mail["message_id"] for mail in _to(seen, email) if f"/r/{request}/" in mail["text"]}
        if len(ids) != 1 or len({mail["message_id"] for mail in _to(seen, email)}) != 1:
            yield f"{email} (request {request}) got {[mail['subject'] for mail in _to(seen, email)]}"
    sent = {event.body["notice"] for event in seen.events("notice.sent")}
    failed = {event.body["notice"]: event.body["reason"] for event in seen.events("notice.failed")}
    arrived = {identifier.strip("<>").partition("@")[0] for identifier in copies}
    for notice in sent - arrived:
        yield f"notice {notice} is recorded as sent and did not arrive"
    for notice in arrived - sent - failed.keys():
        yield f"notice {notice} arrived and nothing is recorded of its end"
    for notice in sent & failed.keys():
        yield f"notice {notice} is recorded as sent and as failed ({failed[notice]})"


def repeats_are_marked(seen: Evidence) -> Iterable[str]:
    """The record says how often a mail may have arrived: once and its repeats, or each attempt without an answer."""
    copies = Counter(mail["message_id"].strip("<>").partition("@")[0] for mail in seen.mails)
    most = {event.body["notice"]: 1 + event.body["repeats"] for event in seen.events("notice.sent")}
    most |= {event.body["notice"]: event.body["unanswered"] for event in seen.events("notice.failed")}
    for notice, times in copies.items():
        if times > most.get(notice, 0):
            yield f"notice {notice} arrived {times} times, and the record says {most.get(notice, 0)} at most"


def sequences_whole(seen: Evidence) -> Iterable[str]:
    """Each writer's events on a topic are numbered from 1 without gaps, each number one event."""
    numbers: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    known = topics()
    for record in seen.records:
        if known[record.topic].sequenced and not record.planted:
            numbers[record.topic][int(record.header("ce_sequence"))].add(record.id)
    for topic, given in numbers.items():
        if sorted(given) != list(range(1, len(given) + 1)):
            missing = sorted(set(range(1, max(given) + 1)) - set(given))
            yield f"{topic}: of 1 to {max(given)}, {missing[:10]} are missing"
        for number, ids in given.items():
            if len(ids) > 1:
                yield f"{topic}: number {number} stands on {len(ids)} events"


def repeats_are_equal(seen: Evidence) -> Iterable[str]:
    """What stands more than once under a writer's id is the same to the byte, and has one number."""
    said: dict[tuple[str, str], set[tuple[bytes | None, str]]] = defaultdict(set)
    for record in seen.records:
        if not record.planted:
            said[record.topic, record.id].add((record.value, record.header("ce_sequence")))
    for (topic, event), different in said.items():
        if len(different) > 1:
            yield f"{topic}: event {event} stands there in {len(different)} forms"


def all_is_recorded(seen: Evidence) -> Iterable[str]:
    """The audit record has an entry for every record of every topic; a repeat has the entry of its first."""
    where = {(entry["topic"], entry["partition"], entry["offset"]) for entry in seen.entries}
    named = {(entry["topic"], entry["ce_source"], entry["ce_id"]) for entry in seen.entries}
    for record in seen.records:
        if record.place not in where and (record.topic, record.header("ce_source"), record.id) not in named:
            yield f"no entry for {record.topic}/{record.partition}@{record.offset} ({record.type})"
    indices = sorted(entry["index"] for entry in seen.entries)
    if indices != list(range(len(indices))):
        yield "the audit record's index has gaps"


Check = Callable[[Evidence], Iterable[str]]
CHECKS: tuple[Check, ...] = (
    closed_once,
    asked_once,
    effective_once,
    stays_deleted,
    no_mail_lost,
    repeats_are_marked,
    sequences_whole,
    repeats_are_equal,
    all_is_recorded,
)


def _to(seen: Evidence, email: str) -> list[dict[str, Any]]:
    return [mail for mail in seen.mails if email in mail["recipients"]]


def repeated_mails(seen: Evidence) -> int:
    """How many mails arrived beside the first of their Message-ID."""
    return len(seen.mails) - len({mail["message_id"] for mail in seen.mails})


async def forgotten(company: Company, customers: Iterable[Person]) -> list[str]:
    """Where an address or a name of deleted customers still stands and should not: rows, newest values, files."""
    customers = list(customers)
    found = await places_of_each(company.stack, [text for each in customers for text in (each.email, each.name)])
    accounts, left = await newest(company.stack, "accounts"), []
    for customer in customers:
        kept = [place for place in found[customer.name] if place.database != KEEPS_NAMES]
        left += [f"{customer.email} in {place}" for place in (*found[customer.email], *kept)]
        for key, record in accounts.items():
            if customer.email.encode() in (record.value or b""):
                left.append(f"{customer.email} in the newest value of {key} on accounts")
    return left + await asyncio.to_thread(_in_files, company.stack.directory, customers)


def _in_files(folder: Path, customers: Iterable[Person]) -> list[str]:
    """The files in which an address or a name stands: lists, feeds, ledgers, logs; not the servers' own."""
    ours = [file for file in folder.rglob("*") if file.relative_to(folder).parts[0] not in ("mail", "servers")]
    files = [file for file in ours if file.is_file()]
    told = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    texts = [(each.email, text.encode()) for each in customers for text in (each.email, each.name)]
    return [f"{email} in {file}" for file, content in told.items() for email, text in texts if text in content]


async def assert_all_hold(
    company: Company,
    deleted: Mapping[str, Person],
    unknown: Mapping[str, str] | None = None,
    *,
    checks: Iterable[Check] = CHECKS,
    seconds: float = 40,
) -> Evidence:
    """Wait until all checks hold at one moment, and nothing of those who were deleted is left; what was seen then."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await gather(company, deleted, unknown)
        broken = [f"{check.__name__}: {fault}" for check in checks for fault in check(seen)]
        if not broken:
            broken += [f"forgotten: {place}" for place in await forgotten(company, deleted.values())]
        for request in deleted if not broken else ():
            trail = await company.complete(request)
            broken += [f"complete: {request} lacks {trail['missing']}"] if not trail["complete"] else []
        if not broken:
            return seen
        assert time.monotonic() < deadline, "\n".join(broken)
        await asyncio.sleep(1)
