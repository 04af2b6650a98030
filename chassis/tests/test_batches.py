"""Batches: positions, inbox, splitting, dead letters, holds, fencing, the breaker."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from chassis.app.runtime import App, Runtime
from chassis.consumer import Handlers, Received, Record, Rejected
from chassis.consumer.batches import EVERY, Batches, Breaker, Fenced
from chassis.consumer.dead_letters import Done, act, listing
from chassis.consumer.records import LARGEST
from chassis.database import Connection, Pool, transaction
from chassis.testing import START, deliver_records, outbox, record, until
from privacy_contracts.accesses import OperatorActed
from privacy_contracts.accounts import AccountStated
from privacy_contracts.notices import NoticePosted
from privacy_contracts.replies import ReplyDone
from privacy_contracts.topology import Topic, topics

NOTICES: Topic = topics()["notices"]


class Died(BaseException):
    """The process is gone."""


def posted(version: int, notice: Any = None) -> NoticePosted:
    return NoticePosted(
        notice=notice or uuid7(), place="home_page", policy_version=version, posted_at=START, until=START
    )


def stated(version: int) -> AccountStated:
    ann = {"id": "a1", "version": version, "email": "ann@example.com", "name": "Ann", "registered_at": START}
    return AccountStated.model_validate(ann)


class Sample:
    """A service that notes the versions it is told, and fails for those in `broken`."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.broken: dict[int, Exception] = {}
        handlers = Handlers([NOTICES])

        @handlers.reaction(NoticePosted)
        async def note(received: Received[NoticePosted], tx: Connection) -> None:
            version = received.event.policy_version
            if version in self.broken:
                raise self.broken[version]
            await tx.execute("INSERT INTO chassis.sequences (topic, last) VALUES ($1, $2)", received.id, version)
            self.seen.append(version)

        self.app = App(routers=[], handlers=handlers)


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
def rt(runtime: Any, pool: Pool) -> Runtime[Any]:
    return runtime("dsr", pool)  # type: ignore[no-any-return]  # the fixture's own type


async def effects(pool: Pool) -> list[int]:
    return [row["last"] for row in await pool.fetch("SELECT last FROM chassis.sequences ORDER BY last")]


async def letters(pool: Pool) -> list[dict[str, Any]]:
    async with transaction(pool) as tx:
        return await listing(tx)


async def operate(app: App, rt: Runtime[Any], letter: UUID, action: str = "replayed") -> Done:
    acted = OperatorActed(
        act=uuid7(),
        system="dsr",
        actor="staff/op-1",
        action=f"dead_letter_{action}",
        dead_letter=letter,
        reason="mended",
        acted_at=START,
    )
    return await act(rt.pool, rt.sealing, app.handlers, acted)


async def acts(rt: Runtime[Any]) -> list[tuple[str, str]]:
    return [(each.topic, each.body["action"]) for each in await outbox(rt.pool)]


async def test_an_event_is_applied_once_however_often_it_comes(sample: Sample, rt: Runtime[Any]) -> None:
    first = record(posted(1))
    await deliver_records(sample.app, rt, first, first, record(posted(2)))
    await deliver_records(sample.app, rt, first)
    assert await effects(rt.pool) == [1, 2]
    assert await letters(rt.pool) == []
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 4


async def test_a_failing_event_is_split_off_and_the_others_are_applied(sample: Sample, rt: Runtime[Any]) -> None:
    sample.broken[3] = ValueError("no")
    await deliver_records(sample.app, rt, *(record(posted(n)) for n in range(1, 6)))
    assert await effects(rt.pool) == [1, 2, 4, 5]
    (letter,) = await letters(rt.pool)
    assert letter["reason"] == "ValueError"


async def test_an_sql_error_that_a_handler_swallows_commits_nothing(sample: Sample, rt: Runtime[Any]) -> None:
    handlers = sample.app.handlers

    @handlers.reaction(NoticePosted)
    async def careless(_: Received[NoticePosted], tx: Connection) -> None:
        try:
            await tx.execute("SELECT 1 / 0")
        except asyncpg.PostgresError:
            pass

    await deliver_records(sample.app, rt, record(posted(1)))
    assert await effects(rt.pool) == []
    assert len(await letters(rt.pool)) == 1


POISON = {
    "undecodable": {"value": b"\xff\xfe"},
    "wrong schema": {"value": b'{"notice": 1}'},
    "no body": {"value": None},
    "no key": {"key": None},
    "another's key": {"key": b"other"},
}


@pytest.mark.parametrize("change", POISON.values(), ids=POISON.keys())
async def test_poison_becomes_a_dead_letter_and_others_go_on(
    sample: Sample, rt: Runtime[Any], change: dict[str, Any]
) -> None:
    await deliver_records(sample.app, rt, record(posted(1), **change), record(posted(2)))
    assert await effects(rt.pool) == [2]
    assert len(await letters(rt.pool)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"ce_id": None},
        {"ce_source": b"\xff"},
        {"ce_source": b"marketing"},
        {"ce_specversion": b"0.3"},
        {"ce_time": b"yesterday"},
        {"ce_sequence": b"x"},
        {"ce_type": None},
    ],
)
async def test_a_broken_envelope_becomes_a_dead_letter(
    sample: Sample, rt: Runtime[Any], headers: dict[str, bytes | None]
) -> None:
    await deliver_records(sample.app, rt, record(posted(1), headers=headers), record(posted(2)))
    assert await effects(rt.pool) == [2]
    assert len(await letters(rt.pool)) == 1


async def test_an_unknown_type_is_skipped(sample: Sample, rt: Runtime[Any]) -> None:
    await deliver_records(sample.app, rt, record(posted(1), headers={"ce_type": b"notice.invented"}))
    assert await effects(rt.pool) == []
    assert await letters(rt.pool) == []
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 1


async def test_a_dead_letter_holds_its_key_and_replay_keeps_the_order(sample: Sample, rt: Runtime[Any]) -> None:
    notice = uuid7()
    sample.broken[1] = ValueError("no")
    await deliver_records(
        sample.app,
        rt,
        record(posted(1, notice)),
        record(posted(2, notice)),
        record(posted(3)),
        record(posted(4, notice)),
    )
    await deliver_records(sample.app, rt, record(posted(5, notice)))
    assert sample.seen == [3]
    (letter,) = await letters(rt.pool)
    assert letter["waiting"] == 3
    with pytest.raises(ValueError, match="no"):
        await operate(sample.app, rt, letter["id"])
    assert await acts(rt) == []
    sample.broken.clear()
    applied = (await operate(sample.app, rt, letter["id"])).applied
    assert applied == 4
    assert await acts(rt) == [("accesses.dsr", "dead_letter_replayed")]
    assert sample.seen == [3, 1, 2, 4, 5]
    assert await letters(rt.pool) == []
    await deliver_records(sample.app, rt, record(posted(6, notice)))
    assert sample.seen[-1] == 6


async def test_discard_drops_one_and_resumes_the_rest(sample: Sample, rt: Runtime[Any]) -> None:
    notice = uuid7()
    sample.broken[1] = Rejected("not-ours")
    await deliver_records(sample.app, rt, record(posted(1, notice)), record(posted(2, notice)))
    (letter,) = await letters(rt.pool)
    assert letter["reason"] == "not-ours"
    await operate(sample.app, rt, letter["id"], "discarded")
    assert sample.seen == [2]
    assert await acts(rt) == [("accesses.dsr", "dead_letter_discarded")]


async def test_the_one_that_fails_while_draining_becomes_the_dead_one(sample: Sample, rt: Runtime[Any]) -> None:
    notice = uuid7()
    sample.broken |= {1: ValueError("no"), 2: KeyError("no")}
    await deliver_records(sample.app, rt, *(record(posted(n, notice)) for n in (1, 2, 3)))
    (letter,) = await letters(rt.pool)
    del sample.broken[1]
    done = await operate(sample.app, rt, letter["id"])
    assert (done.applied, done.stuck) == (1, "KeyError")
    (left,) = await letters(rt.pool)
    assert (left["reason"], left["waiting"]) == ("KeyError", 1)


async def test_bodies_of_topics_with_personal_data_are_sealed(sample: Sample, rt: Runtime[Any]) -> None:
    accounts = replace(topics()["accounts"])
    app = replace(sample.app, handlers=Handlers([accounts]))

    @app.handlers.reaction(AccountStated)
    async def fail(_: Received[AccountStated], __: Connection) -> None:
        raise Rejected("never")

    await deliver_records(app, rt, record(stated(1)))
    stored = await rt.pool.fetchrow("SELECT id, body FROM chassis.dead_letters")
    assert stored is not None
    assert b"ann@example.com" not in stored["body"]
    shown = (await operate(app, rt, stored["id"], "shown")).letter
    assert shown.record.value == stated(1).to_bytes()
    assert await acts(rt) == [("accesses.dsr", "dead_letter_shown")]
    (shown_to,) = await outbox(rt.pool)
    assert (shown_to.subject, shown_to.body["subject_id"]) == ("account/a1", "account/a1")


async def test_a_letter_of_a_person_goes_when_the_person_is_erased(sample: Sample, rt: Runtime[Any]) -> None:
    app = replace(sample.app, handlers=Handlers([topics()["accounts"]]))

    @app.handlers.reaction(AccountStated)
    async def fail(_: Received[AccountStated], __: Connection) -> None:
        raise Rejected("never")

    of_another = record(stated(4), key=b"b2")
    await deliver_records(app, rt, record(stated(1)), record(stated(2)), record(stated(3), key=b"\xff"), of_another)
    async with transaction(rt.pool) as tx:
        await rt.sealing.erase(tx, "account/a1")
    letter, *bodiless = await letters(rt.pool)
    shown = (await operate(app, rt, letter["id"], "shown")).letter
    assert (shown.record.value, shown.erased) == (None, True)
    assert await operate(app, rt, letter["id"]) == Done(shown, 2)
    assert await letters(rt.pool) == bodiless
    for each in bodiless:
        assert (await operate(app, rt, each["id"], "shown")).letter.record.value is None
    assert await rt.pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_an_erased_letter_holds_up_no_later_state(sample: Sample, rt: Runtime[Any]) -> None:
    app, seen = replace(sample.app, handlers=Handlers([topics()["accounts"]])), list[int]()

    @app.handlers.reaction(AccountStated)
    async def note(received: Received[AccountStated], _: Connection) -> None:
        if received.event.version == 1:
            raise Rejected("never")
        seen.append(received.event.version)

    await deliver_records(app, rt, record(stated(1)), record(stated(2)))
    assert seen == []
    async with transaction(rt.pool) as tx:
        await rt.sealing.erase(tx, "account/a1")
    await deliver_records(app, rt, record(stated(3)))
    assert seen == [3]
    assert await rt.pool.fetchval("SELECT count(*) FROM keys.owners") == 0


async def test_a_paused_predecessor_is_fenced_by_the_stored_position(sample: Sample, rt: Runtime[Any]) -> None:
    old = Batches(rt.pool, sample.app.handlers, rt.sealing)
    await old.assigned({("notices", 0): 0})
    new = Batches(rt.pool, sample.app.handlers, rt.sealing)
    await new.assigned({("notices", 0): 0})
    first = record(posted(1), offset=0)
    await new.handle([first])
    with pytest.raises(Fenced):
        await old.handle([first])
    assert await effects(rt.pool) == [1]


async def test_a_handler_of_raw_records_gets_every_one_and_passes_none(rt: Runtime[Any]) -> None:
    raw, failures, kept = Handlers([NOTICES]), [ValueError("no"), OSError("away"), KeyError("no")], list[int]()

    @raw.raw
    async def keep(records: Sequence[Record], _: Connection) -> None:
        if failures:
            raise failures.pop()
        kept.extend(each.offset for each in records)

    batches = Batches(rt.pool, raw, rt.sealing, pause=0.01)
    await batches.assigned({("notices", 0): 0})
    poison = record(posted(1), offset=1, value=b"\xff", headers={"ce_source": None})
    await batches.handle([record(posted(1), offset=0), poison, record(posted(2), offset=4)])
    assert kept == [0, 1, 4]
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 5
    assert await letters(rt.pool) == []


async def test_the_breaker_stops_before_everybody_is_dead(sample: Sample, rt: Runtime[Any]) -> None:
    sample.broken = {n: ValueError("deploy") for n in range(1, 60)}
    batches = await deliver_records(sample.app, rt, *(record(posted(n)) for n in range(1, 60)))
    assert batches.stopped == {EVERY: "20 of 20 keys failed within a minute"}
    assert len(await letters(rt.pool)) == 19
    await batches.handle([record(posted(100), offset=100)])
    assert sample.seen == []


async def test_a_writer_of_unreadable_records_stops_its_own_topic_alone(sample: Sample, rt: Runtime[Any]) -> None:
    broken = topics()["replies.orders"]
    both = Handlers([NOTICES, broken])
    both.events, both.reactions = sample.app.handlers.events | {"reply.done": ReplyDone}, sample.app.handlers.reactions
    reply = ReplyDone(request=uuid7(), system="orders", account="a1", answered_by="system", answered_at=START)
    poison = (record(reply, key=b"%d" % n, value=b"{") for n in range(60))
    batches = await deliver_records(replace(sample.app, handlers=both), rt, *poison, record(posted(1)))
    assert list(batches.stopped) == ["replies.orders"]
    assert len(await letters(rt.pool)) == 19
    assert sample.seen == [1]
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions WHERE topic = 'replies.orders'") == 19


def test_the_breaker_counts_distinct_keys_of_the_last_minute() -> None:
    busy = Breaker()
    busy.passed(range(1000), 0.0)
    assert not any(busy.opens(("few", n), 1.0) for n in range(49))
    assert any(busy.opens(("many", n), 2.0) for n in range(60))
    quiet = Breaker()
    assert not any(quiet.opens(("few", n), 0.0) for n in range(19))
    assert not quiet.opens(("few", 0), 1.0)
    assert not quiet.opens("later", 100.0)


UNSTORABLE: list[tuple[dict[str, bytes | None], dict[str, Any]]] = [
    ({"x-trace": b"\x00\x01"}, {"value": b"poison"}),
    ({"ce_id": b"a\x00b"}, {}),
    ({"ce_source": b"notifier\x00"}, {}),
    ({}, {"key": bytes(range(256)) * 16}),
]


@pytest.mark.parametrize(("headers", "changes"), UNSTORABLE, ids=["header", "id", "source", "long key"])
async def test_what_a_column_could_not_hold_stops_nobody(
    sample: Sample, rt: Runtime[Any], headers: dict[str, bytes | None], changes: dict[str, Any]
) -> None:
    await deliver_records(sample.app, rt, record(posted(1), headers=headers, **changes), record(posted(2)))
    assert sample.seen == [2]
    assert len(await letters(rt.pool)) == 1


async def test_nobody_can_use_up_the_id_of_anothers_event(sample: Sample, rt: Runtime[Any]) -> None:
    both = Handlers([NOTICES, topics()["replies.marketing"]])
    both.events, both.reactions = sample.app.handlers.events, sample.app.handlers.reactions
    app = replace(sample.app, handlers=both)
    true = record(posted(1))
    await deliver_records(app, rt, replace(true, topic="replies.marketing"))
    await deliver_records(app, rt, true)
    assert sample.seen == [1]


async def test_a_database_that_comes_back_older_is_read_for_again(sample: Sample, rt: Runtime[Any]) -> None:
    await deliver_records(sample.app, rt, *(record(posted(n)) for n in (1, 2, 3)))
    batches = Batches(rt.pool, sample.app.handlers, rt.sealing, pause=0.01)
    await batches.assigned({("notices", 0): 0})
    await rt.pool.execute("UPDATE chassis.positions SET next_offset = 1")
    sample.broken[4] = OSError("away")
    with pytest.raises(Fenced):
        await batches.handle([record(posted(4), offset=3)])
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 1


async def test_a_database_that_hangs_is_no_fault_of_an_event(
    sample: Sample, rt: Runtime[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = Batches(rt.pool, sample.app.handlers, rt.sealing, pause=0.01, backoff=(0.01, 0.01))
    await batches.assigned({("notices", 0): 0})
    advance, times = batches._advance, iter(range(5))

    async def hanging(tx: Connection, records: Any) -> Any:
        if next(times, None) is not None:
            raise TimeoutError
        return await advance(tx, records)

    monkeypatch.setattr(batches, "_advance", hanging)
    await batches.handle([record(posted(1))])
    assert sample.seen == [1]
    assert await letters(rt.pool) == []


async def test_a_schema_that_fits_no_event_stops_the_consumer_and_dead_letters_no_batch(
    sample: Sample, rt: Runtime[Any]
) -> None:
    records = (record(posted(n), value=b"{}") for n in range(1, 60))
    batches = await deliver_records(sample.app, rt, *records)
    assert list(batches.stopped) == ["notices"]
    assert len(await letters(rt.pool)) == 19


async def test_a_crash_while_draining_leaves_nothing_waiting_behind_nobody(sample: Sample, rt: Runtime[Any]) -> None:
    notice = uuid7()
    sample.broken[1] = ValueError("no")
    await deliver_records(sample.app, rt, *(record(posted(n, notice)) for n in (1, 2, 3)))
    (letter,) = await letters(rt.pool)

    async def dies(*_: Any) -> int:
        raise Died

    sample.broken.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chassis.consumer.dead_letters._drain", dies)
        with pytest.raises(Died):
            await operate(sample.app, rt, letter["id"])
    (left,) = await letters(rt.pool)
    assert (left["reason"], left["waiting"]) == ("resuming", 1)
    await operate(sample.app, rt, left["id"])
    assert sample.seen == [1, 2, 3]


async def test_a_batch_that_meets_a_key_being_drained_waits_for_it(sample: Sample, rt: Runtime[Any]) -> None:
    notice = uuid7()
    sample.broken[1] = ValueError("no")
    await deliver_records(sample.app, rt, record(posted(1, notice)), record(posted(2, notice)))
    (letter,) = await letters(rt.pool)
    sample.broken.clear()
    draining, go_on = asyncio.Event(), asyncio.Event()
    handlers = sample.app.handlers

    @handlers.reaction(NoticePosted)
    async def slowly(received: Received[NoticePosted], _: Connection) -> None:
        if received.event.policy_version == 2:
            draining.set()
            await go_on.wait()

    operator = asyncio.create_task(operate(sample.app, rt, letter["id"]))
    await draining.wait()
    batch = asyncio.create_task(deliver_records(sample.app, rt, record(posted(3, notice))))
    await until(lambda: rt.pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
    go_on.set()
    await asyncio.gather(operator, batch)
    assert sample.seen == [1, 2, 3]
    assert await rt.pool.fetchval("SELECT count(*) FROM chassis.dead_letters") == 0


async def test_a_letter_that_cannot_be_kept_is_no_reason_to_try_for_ever(
    sample: Sample, rt: Runtime[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise KeyError("no room")

    monkeypatch.setattr("chassis.consumer.dead_letters.insert", full)
    sample.broken[1] = Rejected("never")
    with pytest.raises(KeyError):
        await deliver_records(sample.app, rt, record(posted(1)))
    assert await rt.pool.fetchval("SELECT next_offset FROM chassis.positions") == 0


async def test_after_a_discard_the_mended_event_may_come_by_the_same_id(sample: Sample, rt: Runtime[Any]) -> None:
    broken = record(posted(1), value=b"{", event_id="one")
    await deliver_records(sample.app, rt, broken)
    (letter,) = await letters(rt.pool)
    await operate(sample.app, rt, letter["id"], "discarded")
    await deliver_records(sample.app, rt, record(posted(1), event_id="one"))
    assert sample.seen == [1]


async def test_a_body_beyond_any_event_is_neither_read_nor_kept(sample: Sample, rt: Runtime[Any]) -> None:
    padded = record(posted(1))
    await deliver_records(sample.app, rt, replace(padded, value=(padded.value or b"") + b" " * LARGEST))
    (letter,) = await letters(rt.pool)
    assert letter["reason"] == "too-large"
    assert await rt.pool.fetchval("SELECT body FROM chassis.dead_letters") is None


async def test_a_letter_that_comes_again_without_an_id_is_kept_once(sample: Sample, rt: Runtime[Any]) -> None:
    nameless = record(posted(1), headers={"ce_id": None})
    await deliver_records(sample.app, rt, nameless)
    await rt.pool.execute("UPDATE chassis.positions SET next_offset = 0")
    await deliver_records(sample.app, rt, nameless)
    assert len(await letters(rt.pool)) == 1


async def test_twenty_failures_among_many_keys_stop_nothing(sample: Sample, rt: Runtime[Any]) -> None:
    batches = Batches(rt.pool, sample.app.handlers, rt.sealing)
    await batches.assigned({("notices", 0): 0})
    sample.broken = {n: Rejected("never") for n in range(601, 626)}
    await batches.handle([record(posted(n), offset=n) for n in range(1, 601)])
    await batches.handle([record(posted(n), offset=n) for n in range(601, 626)])
    assert batches.stopped == {}
    assert len(await letters(rt.pool)) == 25
