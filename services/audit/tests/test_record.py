"""The record on a real database: gapless, without repeats, and with everything that came."""

import asyncio
import hashlib
from datetime import timedelta
from itertools import count
from uuid import uuid4

import asyncpg
import pytest

from chassis.testing import deliver_records, outbox
from local_stack.servers import Servers
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.fields import Personal

from .conftest import Service
from .records import AT, REQUEST, deletion, of, raw, record

ADDRESS = "maria.rossi@example.com"


async def test_a_batch_becomes_entries_in_its_order(audit: Service) -> None:
    await audit.take(record(id="a"), record(id="b"))
    await audit.take(record(id="c"))
    assert await audit.rows("index, ce_id, topic, subject, request, ce_time, recorded_at") == [
        (index, name, "requests", "account/a1", REQUEST, AT, audit.runtime.clock.now())
        for index, name in enumerate("abc")
    ]


async def test_the_kept_payload_is_the_text_that_was_hashed(audit: Service) -> None:
    await audit.take(record())
    [(payload, body_hash)] = await audit.rows("payload::text, body_hash")
    assert hashlib.sha256(payload.encode()).digest() == body_hash


async def test_two_writers_leave_no_gap_and_no_repeat(audit: Service) -> None:
    """Given two instances that take batches side by side, some events in both, then all are there once."""
    numbers = count(1)
    shared = [of(deletion(), id=f"both-{n}", sequence=next(numbers)) for n in range(20)]

    async def write(name: str) -> None:
        for batch in range(20):
            own = [of(deletion(), id=f"{name}-{batch}-{n}", sequence=next(numbers)) for n in range(10)]
            await audit.take(*own, shared[batch])

    await asyncio.gather(write("one"), write("two"))
    indexes = [index for (index,) in await audit.rows()]
    assert indexes == list(range(420))
    assert len({name for (name,) in await audit.rows("ce_id")}) == 420
    assert await audit.pool.fetchval("SELECT size FROM audit.log_state") == 420
    assert await audit.kinds() == []
    assert await audit.pool.fetchval("SELECT missing::text FROM audit.tracks") == "{}"


async def test_a_batch_that_fails_leaves_nothing(audit: Service) -> None:
    await audit.take(record())
    handler = audit.app.handlers.raw_handler
    assert handler is not None

    async def failing() -> None:
        async with audit.pool.acquire() as tx, tx.transaction():
            await handler([record(), record()], tx)
            await tx.execute("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await failing()
    await audit.take(record())
    assert await audit.rows() == [(0,), (1,)]


async def test_repeats_are_recognised_in_later_batches(audit: Service) -> None:
    one, nameless = record(id="one", sequence=1), raw("requests", b"?", offset=5)
    await audit.take(one, nameless)
    await audit.take(of(deletion(), id="one", sequence=1), nameless, record(id="two", sequence=2))
    assert await audit.rows("index, ce_id") == [(0, "one"), (1, None), (2, "two")]
    assert await audit.kinds() == ["undecodable"]


async def test_a_conflict_is_a_finding_and_the_first_stays(audit: Service) -> None:
    other = record(id="one", systems=("marketing",), sequence=1, offset=77)
    await audit.take(record(id="one", sequence=1))
    await audit.take(other)
    await audit.take(other)
    [(payload,)] = await audit.rows("payload->'systems'->>0")
    assert payload == "orders"
    finding = await audit.pool.fetchrow('SELECT kind, topic, entry, "offset", body_hash FROM audit.findings')
    assert finding is not None
    assert tuple(finding)[:4] == ("conflict", "requests", 0, 77)
    assert finding["body_hash"] == hashlib.sha256(other.value or b"").digest()
    assert await audit.kinds() == ["conflict"]


async def test_poison_is_recorded_and_holds_nothing_up(audit: Service) -> None:
    """Undecodable bytes, no headers, null headers, no key, a tombstone: each an entry, between others of its key."""
    key = str(REQUEST).encode()
    poison = [
        raw("requests", b"\xff\x00\xfe", key=key),
        raw("requests", b'{"request": "\\u0000"}', [("ce_type", b"request.closed"), ("ce_id", b"\x00")], key=key),
        raw("requests", deletion().to_bytes(), [("ce_type", None)], key=None),
        raw("requests", None, record().headers, key=key),
        raw("accounts", None, key=b"a1"),
        raw("requests", b"x" * 500_000, [("ce_source", b"dsr"), ("ce_id", b"big"), ("ce_type", b"x.y")], key=b"\x00"),
    ]
    await deliver_records(audit.app, audit.runtime, record(id="before"), *poison, record(id="after"))
    rows = await audit.rows("index, omitted, ce_id")
    assert [index for index, _, _ in rows] == list(range(8))
    omitted = {index: reason for index, reason, _ in rows}
    assert sorted(filter(None, omitted.values())) == ["undecodable"] * 6
    assert await audit.pool.fetchval("SELECT count(*) FROM chassis.dead_letters") == 0
    assert await audit.pool.fetchval("SELECT bool_and(octet_length(body_hash) = 32) FROM audit.entries")


async def test_a_foreign_source_is_recorded_and_found(audit: Service) -> None:
    await audit.take(record(source="orders", systems=("audit",)))
    assert await audit.rows("ce_source, foreign_source") == [("orders", True)]
    assert await audit.kinds() == ["foreign_source"]
    assert await outbox(audit.pool) == []
    assert await audit.pool.fetchval("SELECT count(*) FROM audit.tracks") == 0


@pytest.mark.promise(76)
async def test_the_address_of_an_account_is_in_no_table(audit: Service, servers: Servers) -> None:
    stated = AccountStated(id="a1", version=1, email=Personal(ADDRESS), name=Personal("Maria Rossi"), registered_at=AT)
    stray = of(stated)
    await deliver_records(
        audit.app,
        audit.runtime,
        of(stated, id="s1"),
        of(stated, id="s1"),
        raw("accounts", stated.to_bytes(), key=ADDRESS.encode()),
        raw("requests", stated.to_bytes(), stray.headers),
        raw("requests", stated.to_bytes(), [("x-address", ADDRESS.encode()), (ADDRESS, b"1")]),
        of(AccountDeleted(id="a1", version=2, deleted_at=AT)),
    )
    assert await audit.rows("topic, ce_type, subject") == [
        ("accounts", "account.stated", "account/a1"),
        ("accounts", None, None),
        ("requests", "account.stated", "account/a1"),
        ("requests", None, None),
        ("accounts", "account.deleted", "account/a1"),
    ]
    assert await found_in_any_table(audit, servers, ADDRESS) == []
    assert await found_in_any_table(audit, servers, "Rossi") == []
    assert await found_in_any_table(audit, servers, "account.stated") == ["audit.entries"], "the search itself works"
    bare = hashlib.sha256(stated.to_bytes()).hexdigest()
    assert await found_in_any_table(audit, servers, bare) == [], "a plain hash would let a guess be checked"


async def found_in_any_table(audit: Service, servers: Servers, text: str) -> list[str]:
    """The tables of the database in which a row holds the text, plain or as bytes."""
    name = await audit.pool.fetchval("SELECT current_database()")
    everyone = await asyncpg.connect(servers.postgres.url, database=name)
    try:
        tables = await everyone.fetch(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        assert len(tables) > 10
        return [
            f"{schema}.{table}"
            for schema, table in tables
            if await everyone.fetchval(
                f"SELECT EXISTS (SELECT FROM {schema}.{table} AS t"  # noqa: S608 - names from the catalogue
                " WHERE strpos(t::text, $1) > 0 OR strpos(t::text, $2) > 0)",
                text,
                text.encode().hex(),
            )
        ]
    finally:
        await everyone.close()


async def test_a_deletion_that_names_audit_is_answered_once(audit: Service) -> None:
    """11 CCR 7101(a)."""
    asked = of(deletion(["consent", "audit"], stage="own"), id="one")
    await audit.take(asked, of(deletion(["orders"])))
    await audit.take(of(deletion(["consent", "audit"], stage="own"), id="one"))
    [reply] = await outbox(audit.pool)
    assert (reply.type, reply.topic, reply.key) == ("reply.retained", "replies.audit", str(REQUEST))
    assert reply.body["items"] == [{"category": "requests", "legal_basis": "us.ca.11ccr7101", "until": "2028-03-01"}]


async def test_what_audit_itself_emits_is_recorded_and_emits_nothing(audit: Service) -> None:
    await audit.take(of(deletion(["audit"])))
    [reply] = await outbox(audit.pool)
    headers = [("ce_id", str(reply.id).encode()), ("ce_type", reply.type.encode()), ("ce_source", b"audit")]
    body = await audit.pool.fetchval("SELECT body FROM chassis.outbox")
    await audit.take(raw("replies.audit", body, [*headers, ("ce_sequence", b"1")], key=reply.key.encode()))
    assert await audit.rows("ce_type, omitted") == [("deletion.requested", None), ("reply.retained", None)]
    assert len(await outbox(audit.pool)) == 1


async def test_recorded_times_never_run_backwards(audit: Service) -> None:
    await audit.take(record())
    audit.runtime.clock.at -= timedelta(hours=1)  # type: ignore[attr-defined]  # the tests' clock
    await audit.take(record())
    times = [at for (at,) in await audit.rows("recorded_at")]
    assert times == sorted(times)


async def test_any_record_in_any_batch_is_kept_by_the_database(audit: Service) -> None:
    """What Python lets pass as text, Postgres must take: a batch that it refuses would be tried for ever."""
    odd = ["\x00", "\ud800", "ﬀ", "\u202e", "'", '"', "\\", "\x7f", "\n", "a" * 300, "{}", "NULL"]
    headers = [(name, text.encode("utf-8", "surrogatepass")) for text in odd for name in ("ce_id", "ce_source", text)]
    for name, value in headers:
        await audit.take(raw("consent", value, [(name, value), ("ce_type", value)], key=value))
    assert len(await audit.rows()) == len(headers)
    assert len(await audit.rows("DISTINCT ON (index) index")) == len(headers)


async def test_gauges(audit: Service) -> None:
    await audit.take(of(deletion(), sequence=2), of(deletion(), sequence=5), record(source="orders"))
    async with audit.pool.acquire() as tx:
        values = {name: await read(tx) for name, read in audit.app.gauges.items()}
    assert values["audit_intake_lag_seconds"] > 0
    del values["audit_intake_lag_seconds"]
    assert values == {"audit_entries": 3, "audit_open_gaps": 2, "audit_open_findings": 1}


async def test_a_first_batch_of_nothing_new_is_fine(audit: Service) -> None:
    one = record(id=str(uuid4()))
    await audit.take(one)
    await audit.take(one)
    assert await audit.rows() == [(0,)]
