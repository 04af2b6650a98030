"""One person who is in every place of the company, and goes; a guest who goes; and one who never answered.

`before` is what the scanner saw while the person was a customer, `after` what it saw once everything had happened that
`docs/operations.md` counts on: the nightly rewrite, the removal of old write-ahead log, the compaction of the topic.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import httpx

from chassis.sealing import Sealing
from chassis.settings import keys_by_version
from local_stack import ROOT, clock
from local_stack.databases import SERVICES
from local_stack.observe import until
from local_stack.postgres import binaries
from local_stack.stack import Stack
from local_stack.state import keys_file, ledger_file

from ..log import Planted, publish
from ..people import Company
from .places import Found, dump, kafka, look
from .scanner import Hit, Scanner

TOUCHED = b"UPDATE orders.invoices SET cents = cents"
"""What is kept is used; so the write-ahead log has it again and again."""
REWRITE = ROOT / "deploy" / "postgres" / "rewrite.sql"
MARK = uuid4().hex[:10]
ADDRESS = f"Ada.{MARK}=x+shop@Example.com"
NAME = f"Zoë O'Hara-{MARK} & Søn"
POSTAL = f"{MARK} Härbor Läne, Long Beach, CA 90802"
NOBODY = f"Nobody.{MARK}+tag@Example.org"
GUEST = f"Guest.{MARK}+tag@Example.org"
GUEST_NAME = f"Günther Mustermann-{MARK}"
GUEST_POSTAL = f"Suite {MARK}, Ocean Boulevard"
STAYS = f"Boris.{MARK}@example.org"
VALUES = {"address": ADDRESS, "name": NAME, "postal address": POSTAL, "who stays": STAYS}
VALUES |= {"nobody's address": NOBODY, "guest's address": GUEST}
VALUES |= {"guest's name": GUEST_NAME, "guest's postal address": GUEST_POSTAL}
"""What is searched for; `who stays` has an account all the while."""


KEYED = (
    ("dsr", "address", ADDRESS),
    ("dsr", "mailbox", ADDRESS.replace("+shop", "")),
    ("dsr", "address", GUEST),
    ("dsr", "address", NOBODY),
    ("notifier", "notices.address", ADDRESS),
)
"""Keyed hashes of the address: by service, purpose, and what is hashed."""
KEYS = "SELECT wrapped FROM keys.owners WHERE owner IN ('account/' || $1, 'request/' || $1)"


@dataclass(frozen=True)
class Story:
    """What happened: the account and its requests, the dumps from before the deletion, and both looks."""

    account: str
    request: str
    withdrawn: str
    unanswered: str
    dumps: Mapping[str, bytes]
    before: Found
    after: Found
    compacted_in: float
    """Seconds from the deletion's last event to the moment at which the topic's segments were without the person."""
    said: list[str]
    """What the nightly job printed, a line for each database."""
    suffix: str
    """What stands behind the names of databases."""


async def told(stack: Stack) -> Story:
    """The whole story."""
    scanner = Scanner(VALUES)
    for service, purpose, value in KEYED:
        fingerprint = sealing(stack, service).fingerprint(purpose, value.lower())
        scanner.know(Hit(f"{service}'s keyed hash of {purpose}", "keyed"), fingerprint)
    async with httpx.AsyncClient(timeout=15) as http:
        company = Company(http, stack)
        unanswered = await company.ask(NOBODY)
        await company.post("accounts", "/v1/customers", {"email": STAYS, "name": "Boris"})
        account = await _a_customer(company)
        withdrawn, link = await company.begin(ADDRESS)
        await company.press(link, "withdraw")
        await company.status(withdrawn, "withdrawn")
        await company.mail(NOBODY, "/r/")
        await _everywhere(company, account)
        for service in SERVICES:
            for row in await company.rows(service, KEYS, account) if service != "orders" else ():
                scanner.know(Hit(f"{service}'s key", "wrapped"), row["wrapped"])
        dumps = dict(zip(SERVICES, await asyncio.gather(*(dump(stack, each) for each in SERVICES)), strict=True))
        before = await look(stack, scanner)
        (request, _), (guest, _) = await asyncio.gather(company.begin(ADDRESS), company.begin(GUEST))
        await company.closed(ADDRESS, request, 90)
        await company.closed(GUEST, guest, 90)
        deleted_at = time.monotonic()
        await until("the topic to lose the person", lambda: _left_the_topic(stack, scanner), 60, every=0.3)
        compacted_in = time.monotonic() - deleted_at
        clock.move(stack.directory / "clock", "+45d")
        await until("nothing to be held about a request", lambda: _forgotten(company, account), 60)
        await tidy(stack)  # it leaves what an open transaction may still see; the next night takes it
        said = await tidy(stack)
        after = await look(stack, scanner)
    return Story(
        account, request, withdrawn, unanswered, dumps, before, after, compacted_in, said, str(stack.plan()["suffix"])
    )


async def _a_customer(company: Company) -> str:
    body = {"email": ADDRESS, "name": NAME, "region": "US-CA"}
    account = str((await company.post("accounts", "/v1/customers", body))["id"])
    await company.post("accounts", "/v1/customers", body, status=409)  # Postgres refuses it, and logs that
    order = {"item": "Parcel", "cents": 4200}
    theirs = order | {"account": account, "ship_to": POSTAL}
    guests = order | {"email": GUEST, "name": GUEST_NAME, "ship_to": GUEST_POSTAL}

    async def ordered() -> bool:
        return (await company.send("POST", "orders", "/orders", json=theirs)).status_code == 201

    async def known() -> bool:
        return bool(await company.value("dsr", "SELECT true FROM dsr.accounts WHERE id = $1", account))

    await until("orders to know the customer", ordered, 60)
    assert (await company.send("POST", "orders", "/orders", json=guests)).status_code == 201
    await until("dsr to know the account", known, 60)
    return account


async def _everywhere(company: Company, account: str) -> None:
    """The person stands in a partner's file, on the marketing list, in statistics, and in dead letters."""
    choice = {"purpose": "third_party_marketing", "choice": "granted", "text": "Yes.", "channel": "website"}
    await company.post("consent", "/v1/choices", {"subject": f"account/{account}"} | choice)
    feed = {"recipient": "adco", "purpose": "third_party_marketing"}
    await company.post("accounts", "/v1/feeds", feed, "operator-01", status=202)
    for service in ("accounts", "orders"):
        await company.as_owner(service, "ANALYZE")
    await publish(company.stack, _unreadable(account))
    here = company.stack.directory

    async def there() -> bool:
        files = [*(here / "feeds").glob("adco-*.csv"), here / "marketing" / "subscribers.csv"]
        count = "SELECT count(*) FROM chassis.dead_letters WHERE sealed_for = $1"
        letters = [await company.value(each, count, f"account/{account}") for each in ("dsr", "notifier")]
        return letters == [1, 1] and len(files) == 2 and all(ADDRESS in file.read_text("utf-8") for file in files)

    await until("the person to stand everywhere", there, 60)


def _unreadable(account: str) -> Planted:
    """A state of the account that nobody can apply."""
    body = {"id": account, "version": -1, "email": ADDRESS, "name": NAME, "registered_at": "2026-01-01T00:00:00Z"}
    headers = {"ce_specversion": "1.0", "ce_id": f"planted-{uuid4()}", "ce_type": "account.stated"}
    headers |= {"ce_source": "accounts", "ce_subject": f"account/{account}", "ce_sequence": "1"}
    headers |= {"ce_time": datetime.now(UTC).isoformat(), "content-type": "application/json"}
    pairs = [(name, value.encode()) for name, value in headers.items()]
    return Planted("accounts", account.encode(), json.dumps(body).encode(), pairs)


async def _forgotten(company: Company, account: str) -> bool:
    """What has its time, has had it: counted mails, unanswered requests, letters that the account's key opened."""
    held = (
        "SELECT EXISTS (SELECT FROM dsr.messages) OR EXISTS (SELECT FROM dsr.requests WHERE typed_address IS NOT NULL)"
    )
    return not await company.value("dsr", held)


def sealing(stack: Stack, service: str) -> Sealing:
    """A service's own keys."""
    masters = keys_by_version(keys_file(stack.directory, service))
    keys = {int(version): key for version, key in masters.items()}
    return Sealing(keys, ledger_file(stack.directory, service))


async def tidy(stack: Stack) -> list[str]:
    """What happens each night, and whenever Postgres removes old write-ahead log; what the nightly job said."""
    said = await asyncio.gather(*(_rewritten(stack, each) for each in SERVICES))
    superuser = await asyncpg.connect(stack.deployment.servers.postgres.url)
    try:
        for statement in ("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"):
            await superuser.execute(statement)
    finally:
        await superuser.close()
    await psql(stack.database_url("orders"), TOUCHED)
    return said


async def _rewritten(stack: Stack, service: str) -> str:
    return (await psql(stack.database_url(service, owner=True), REWRITE.read_bytes())).decode()


async def psql(url: str, script: bytes) -> bytes:
    """Run a script as `psql` does; what it printed."""
    command = [str(binaries() / "psql"), "-qXAt", "-v", "ON_ERROR_STOP=1", url]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    said, _ = await process.communicate(script)
    assert process.returncode == 0
    return said


async def _left_the_topic(stack: Stack, scanner: Scanner) -> bool:
    hits = [hit for _, blob in kafka(stack, "accounts") for hit, _ in scanner.forms_in(blob)]
    return not [hit for hit in hits if hit.value != "who stays"]
