"""A dump from before a deletion, restored, gives nothing back: the ledger erases again, and Kafka deletes again.

Every database is restored as it was when the person was a customer; Kafka, the ledgers and the mail server are not.
"""

import asyncio
from dataclasses import dataclass

import httpx
import pytest
from confluent_kafka import KafkaException

from chassis.database import open_pool, transaction
from chassis.sealing import KeyErased
from local_stack import databases, servers
from local_stack.databases import SERVICES
from local_stack.observe import mails, until
from local_stack.stack import Stack

from ..people import Company
from .conftest import World
from .places import Found, look, superuser_url
from .scanner import Scanner
from .story import ADDRESS, GUEST, VALUES, Story, psql, sealing, tidy
from .test_deletion import unlisted

SEALED = {"dsr": "dsr.accounts", "notifier": "notifier.accounts"}
ON_CHASSIS = [each for each in SERVICES if each != "orders"]
GONE = {
    "dsr": "SELECT EXISTS (SELECT FROM dsr.deleted_accounts WHERE id = $1)",
    "notifier": "SELECT EXISTS (SELECT FROM notifier.tombstones WHERE account = $1)",
    "accounts": "SELECT EXISTS (SELECT FROM accounts.deletions WHERE id = $1)",
    "orders": "SELECT EXISTS (SELECT FROM orders.customers WHERE account = $1 AND gone)",
}


@dataclass(frozen=True)
class Restored:
    """What was seen: who opened at once, how many keys the ledger left, mails since, and everything in the end."""

    keys: dict[str, tuple[int, int]]
    opened: list[str]
    told: list[int]
    mails: tuple[int, int]
    found: Found


@pytest.fixture(scope="module")
def restored(world: World, story: Story) -> Restored:
    """Everything, restored and running again."""
    stack = world.stack
    stack.stop(*SERVICES)
    return asyncio.run(_restore(stack, story))


async def _restore(stack: Stack, story: Story) -> Restored:
    await asyncio.gather(*(_replaced(stack, each, story.dumps[each]) for each in SERVICES))
    await _read_anew(stack)
    before = {each: await _keys(stack, each, story.account) for each in SEALED}
    for service in SEALED:  # as any verb: first of all the ledger
        await asyncio.to_thread(_verb, stack, service, "dead-letters", "list")
    opened = [each for each in SEALED if await _opens(stack, each, story.account)]
    keys = {each: (before[each], await _keys(stack, each, story.account)) for each in SEALED}
    async with httpx.AsyncClient(timeout=15) as http:
        company = Company(http, stack)
        many = await _mails(company)
        for service in ON_CHASSIS:
            await asyncio.to_thread(_verb, stack, service, "recover", "--operator", "operator-01")
        await asyncio.to_thread(stack.start, *SERVICES)
        await asyncio.to_thread(stack.wait, *SERVICES, seconds=90)

        async def gone() -> bool:
            return all([await company.value(each, query, story.account) for each, query in GONE.items()])

        await until("the person to be deleted again", gone, 90)
        list_ = await company.send("GET", "accounts", "/v1/marketing-list", "marketing")
        search = await company.send("POST", "accounts", "/v1/customers/find", "website", json={"email": ADDRESS})
        page = await company.send("GET", "dsr", f"/v1/requests/{story.request}", "website")
        told = [search.status_code, int(ADDRESS in list_.text), int(ADDRESS in page.text)]
        for _ in range(2):
            await tidy(stack)
        found = await look(stack, Scanner(VALUES))
        return Restored(keys, opened, told, (many, await _mails(company)), found)


async def _replaced(stack: Stack, service: str, dumped: bytes) -> None:
    superuser = stack.deployment.servers.postgres.url
    name = stack.database_url(service).rpartition("/")[2]
    await databases.drop_database(superuser, name)
    await databases.create_database(superuser, service, name)
    await psql(superuser_url(stack, service), dumped)


async def _read_anew(stack: Stack) -> None:
    """`kafka-consumer-groups.sh --delete`: the order system keeps its offsets in Kafka, and reads from the start."""
    client, group = servers.admin(stack.deployment.servers), f"{stack.deployment.prefix}orders"

    async def deleted() -> bool:
        try:
            for future in client.delete_consumer_groups([group]).values():
                await asyncio.to_thread(future.result)
        except KafkaException:
            return False  # the broker waits for a member that it has not missed yet
        return True

    await until("the group to be deleted", deleted, 60, every=0.5)


def _verb(stack: Stack, service: str, *verb: str) -> None:
    status, said = stack.run(service, *verb)
    assert status == 0, said[-400:]


async def _keys(stack: Stack, service: str, account: str) -> int:
    async with httpx.AsyncClient() as http:
        count = "SELECT count(*) FROM keys.owners WHERE owner = $1"
        return int(await Company(http, stack).value(service, count, f"account/{account}"))


async def _opens(stack: Stack, service: str, account: str) -> bool:
    """Whether the address in the restored projection can be opened with the service's own keys."""
    keys = sealing(stack, service)
    pool = await open_pool(stack.database_url(service), service)
    try:
        async with transaction(pool) as tx:
            sealed = await tx.fetchval(f"SELECT email FROM {SEALED[service]} WHERE id = $1", account)  # noqa: S608 - constants
            assert sealed is not None
            return bool(await keys.open(tx, f"account/{account}", sealed, "accounts.email"))
    except KeyErased:
        return False
    finally:
        await pool.close()


async def _mails(company: Company) -> int:
    return sum([len(await mails(company.http, company.stack, each)) for each in (ADDRESS, GUEST)])


def test_the_dump_brought_the_keys_back_and_the_ledger_erased_them(restored: Restored) -> None:
    assert restored.keys == {"dsr": (1, 0), "notifier": (1, 0)}


def test_what_was_sealed_does_not_open(restored: Restored) -> None:
    assert restored.opened == []


def test_no_page_search_or_list_gives_the_person_back(restored: Restored) -> None:
    assert restored.told == [404, 0, 0]


def test_no_mail_is_sent_again(restored: Restored) -> None:
    before, after = restored.mails
    assert after == before


def test_what_was_not_sealed_was_deleted_again_from_kafka(restored: Restored) -> None:
    assert unlisted(restored.found) == []
    assert any(hit.value == "who stays" for hit, _ in restored.found["dump accounts accounts.accounts"])
