"""The sample as a process: any start order, readiness that names what lacks, an end within ten seconds, its verbs."""

import asyncio
import json
import re
import signal
import ssl
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from chassis.app import verbs
from chassis.app.runtime import Runtime
from chassis.database import transaction
from chassis.jobs import put
from chassis.outbox import emit
from chassis.settings import Settings, load
from chassis.testing import record, until
from local_stack.ports import free_port
from local_stack.servers import Servers

from .conftest import Processes, Subscribed, Told, effects, letters, reached
from .sample import SERVICE, Letter, Note, Sample
from .test_subscription import forward


def letter(number: int, name: str = "a", **changes: Any) -> Any:
    return record(Letter(name=name, number=number), source="tester", sequence=number, **changes)


TLS = ssl.create_default_context()  # made once: each client would read all authorities' certificates again


class Site:
    """What the process answers over HTTP."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{environment['PORT']}"

    async def get(self, path: str) -> httpx.Response | None:
        async with httpx.AsyncClient(verify=TLS) as http:
            try:
                return await http.get(self.url + path, timeout=5)
            except httpx.TransportError:
                return None

    async def missing(self) -> dict[str, str] | None:
        answer = await self.get("/readyz")
        return answer.json()["missing"] if answer else None

    async def ready(self) -> bool:
        answer = await self.get("/readyz")
        return answer is not None and answer.status_code == 200


async def test_any_start_order_works_and_what_lacks_is_named(
    rt: Runtime[Any], tell: Told, process: Processes, environment: dict[str, str], servers: Servers
) -> None:
    site, database, broker = Site(environment), free_port(), free_port()
    url = environment["DATABASE_URL"].replace(f":{servers.postgres.port}/", f":{database}/")
    await tell(letter(1))
    await process("serve", DATABASE_URL=url, KAFKA_BOOTSTRAP=f"127.0.0.1:{broker}")

    async def names(part: str, what: str) -> bool:
        return what in ((await site.missing()) or {}).get(part, "")

    await until(lambda: names("database", "Unavailable"))
    assert await names("service", "waiting: Unavailable")
    alive = await site.get("/livez")
    assert alive is not None
    assert alive.status_code == 200
    async with forward(database, f"127.0.0.1:{servers.postgres.port}"):
        await until(lambda: names("service", "waiting: KafkaConnectionError"))
        assert set(await site.missing() or {}) == {"service", "consumer", "relay"}
        served = await site.get("/database")
        assert served is not None
        assert served.status_code == 200
        async with forward(broker, servers.kafka.bootstrap):
            await until(site.ready)
            assert await reached(rt.pool, 1) == [1]
            metrics = await site.get("/metrics")
    assert metrics is not None
    for name in ("consumer_applied_total", "outbox_oldest_seconds", "dead_letters", "oldest_hold_seconds"):
        assert re.search(rf"^{name}\{{.*\}} \d", metrics.text, re.MULTILINE), name


async def test_a_frozen_database_is_named_in_time_and_leaves_the_process_alive(
    rt: Runtime[Any], process: Processes, environment: dict[str, str], servers: Servers
) -> None:
    site, database, gate = Site(environment), free_port(), asyncio.Event()
    gate.set()
    url = environment["DATABASE_URL"].replace(f":{servers.postgres.port}/", f":{database}/")
    async with forward(database, f"127.0.0.1:{servers.postgres.port}", gate):
        await process("serve", DATABASE_URL=url)
        await until(site.ready)
        gate.clear()

        async def named() -> bool:
            return (await site.missing() or {}).get("database") == "TimeoutError"

        await until(named)
        assert await site.get("/livez") is not None
        gate.set()
        await until(site.ready)


async def test_an_unexpected_error_reaches_no_log(process: Processes, environment: dict[str, str]) -> None:
    serving, site = await process("serve"), Site(environment)
    await until(site.ready)
    boom = await site.get("/boom?who=ann@example.com")
    assert boom is not None
    assert boom.status_code == 500
    await site.get("/ann@example.com")
    serving.terminate()
    out, err = await serving.communicate()
    assert b"ann@example.com" not in out + err
    assert b"Traceback" not in err
    assert b"unexpected ValueError" in err


async def test_a_service_that_is_told_to_end_finishes_what_it_does(
    rt: Runtime[Any], tell: Told, process: Processes, environment: dict[str, str], tmp_path: Path
) -> None:
    serving, site, outside = await process("serve"), Site(environment), tmp_path / "outside"
    await until(site.ready)
    await tell(letter(1))
    await reached(rt.pool, 1)
    async with transaction(rt.pool) as tx:
        await put(tx, "call", "slow", {"file": str(outside), "seconds": 2}, timedelta(minutes=1))
    await until(lambda: asyncio.sleep(0, outside.exists()))
    start = time.monotonic()
    serving.terminate()
    await serving.communicate()
    assert time.monotonic() - start < 10
    assert serving.returncode in (0, -signal.SIGTERM)
    assert await effects(rt.pool, "slow") == [1], "the job under way ended with its effect"
    assert not await rt.pool.fetchval("SELECT expires_at > now() FROM chassis.leases")


async def test_it_ends_in_time_with_neither_broker_nor_database(
    rt: Runtime[Any], process: Processes, environment: dict[str, str], servers: Servers
) -> None:
    """Also when the broker goes away while events wait to be published."""
    site, broker = Site(environment), free_port()
    async with forward(broker, servers.kafka.bootstrap):
        serving = await process("serve", KAFKA_BOOTSTRAP=f"127.0.0.1:{broker}")
        await until(site.ready)
    async with transaction(rt.pool) as tx:
        await emit(tx, Note(name="a", number=1), rt.clock.now())
    absent = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    alone = await process("serve", PORT=str(free_port()), DATABASE_URL=absent, KAFKA_BOOTSTRAP="127.0.0.1:1")
    assert alone.stderr is not None
    while b"cannot start yet" not in await alone.stderr.readline():
        pass
    start = time.monotonic()
    for each in (serving, alone):
        each.terminate()
    await asyncio.gather(serving.communicate(), alone.communicate())
    assert time.monotonic() - start < 10


async def test_missing_migrations_are_waited_for_and_too_new_ones_refused(
    rt: Runtime[Any], process: Processes, environment: dict[str, str], servers: Servers, database_url: str
) -> None:
    site = Site(environment)
    admin = await asyncpg.connect(servers.postgres.url.rsplit("/", 1)[0] + "/" + database_url.rsplit("/", 1)[1])
    await admin.execute("UPDATE public.migrations SET name = 'x' WHERE name = '0001_sample.sql'")
    try:
        await process("serve")

        async def says(what: str) -> bool:
            return ((await site.missing()) or {}).get("service", "") == what

        await until(lambda: says("migrations missing: dsr/0001_sample.sql"))
        await admin.execute("UPDATE public.migrations SET requires = 99 WHERE name = 'x'")
        await until(lambda: says("the schema needs newer code: 99 or higher, and this is 1"))
        await admin.execute("UPDATE public.migrations SET requires = 1, name = '0001_sample.sql' WHERE name = 'x'")
        await until(site.ready)
    finally:
        await admin.execute("UPDATE public.migrations SET requires = 1, name = '0001_sample.sql' WHERE name = 'x'")
        await admin.close()


async def test_dead_letters_are_listed_shown_replayed_and_discarded_by_command(
    rt: Runtime[Any],
    tell: Told,
    subscribed: Subscribed,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    async def command(*arguments: str) -> str:
        """What `dead-letters <arguments>` prints, or why it ends."""
        operator = [] if arguments[0] == "list" else ["--operator", "op-1"]
        parsed = verbs._parser(SERVICE).parse_args(["dead-letters", *arguments, *operator])
        try:
            await verbs._do(parsed, load(Settings), lambda runtime: Sample().app(runtime), SERVICE, [])
        except SystemExit as end:
            return str(end)
        return capsys.readouterr().out

    await tell(letter(1, "a", value=b"{}"), letter(2, "a"), letter(3, "b", key=None), letter(4, "c"))
    async with subscribed():
        await until(lambda: settled(rt))
        assert await reached(rt.pool, 1) == [4]
    first, second = (json.loads(line) for line in (await command("list")).splitlines())
    assert (first["reason"], first["waiting"]) == ("schema", 1)
    assert (second["reason"], second["waiting"]) == ("no-key", 0)
    assert json.loads(await command("show", second["id"]))["body"] == '{"name":"b","number":3}'
    assert await command("replay", second["id"], "--reason", "mended") == "it failed again: Undecodable"
    assert "applied 1" in await command("discard", first["id"], "--reason", "broken")
    assert "take codes" in await command("show", second["id"], "--reason", "It broke")
    unknown = await command("show", "00000000-0000-0000-0000-000000000000")
    assert "no dead letter has the id" in unknown
    with pytest.raises(SystemExit):
        await command("discard", second["id"])
    assert await effects(rt.pool, "a") == [2]
    assert await letters(rt.pool) == [("no-key", 2)]


async def settled(rt: Runtime[Any]) -> bool:
    return len(await letters(rt.pool)) == 3


async def said(process: Processes, *arguments: str, **changes: str) -> tuple[int | None, str]:
    started = await process(*arguments, **changes)
    out, err = await started.communicate()
    return started.returncode, out.decode() + err.decode()


async def test_migrate_and_replay_are_verbs(
    rt: Runtime[Any], tell: Told, process: Processes, servers: Servers, database_url: str
) -> None:
    owner = database_url.replace("//dsr:", "//dsr_owner:").replace(
        servers.postgres.roles["dsr"], servers.postgres.roles["dsr_owner"]
    )
    (migrated, words), (replayed, count) = await asyncio.gather(
        said(process, "migrate", OWNER_DATABASE_URL=owner), said(process, "replay")
    )
    assert (migrated, words) == (0, "")
    assert replayed == 0
    assert "replayed 0 events" in count


async def test_half_a_service_ends(rt: Runtime[Any], process: Processes, environment: dict[str, str]) -> None:
    """A part that ends by itself takes the process with it, for whoever restarts it."""
    serving = await process("serve", BROKEN_PART="1")
    out, err = await serving.communicate()
    assert serving.returncode == -signal.SIGTERM, (out, err)
    assert b"a part of the service has ended: ZeroDivisionError" in err


async def test_nothing_is_answered_before_what_was_erased_is_erased_again(
    rt: Runtime[Any], process: Processes, environment: dict[str, str]
) -> None:
    """A restored backup may have brought keys back; whoever asks meanwhile is told to come again."""
    site = Site(environment)
    async with transaction(rt.pool) as tx:
        await tx.execute("LOCK TABLE keys.owners IN ACCESS EXCLUSIVE MODE")
        await process("serve")
        alive = await until(lambda: site.get("/livez"))
        early = await site.get("/v1/dead-letters")
        assert (alive.status_code, early and early.status_code) == (200, 503)
        assert early is not None
        assert early.json()["type"] == "/problems/starting"
    await until(site.ready)
    late = await site.get("/v1/dead-letters")
    assert late is not None
    assert late.status_code == 401
