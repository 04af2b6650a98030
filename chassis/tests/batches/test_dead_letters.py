"""Dead letters: what they hold, who opens them, how they are replayed and discarded, and when they are erased."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from chassis.app.runtime import App, Runtime
from chassis.consumer import Handlers, Received, Rejected
from chassis.consumer.dead_letters import Done, act
from chassis.database import Connection, transaction
from chassis.testing import START, deliver_records, outbox, record, until
from privacy_contracts.accesses import OperatorActed
from privacy_contracts.accounts import AccountStated
from privacy_contracts.envelope import LARGEST_BODY
from privacy_contracts.notices import NoticePosted
from privacy_contracts.topology import topics

from .conftest import Sample, effects, letters, posted


class Died(BaseException):
    """The process is gone."""


def stated(version: int) -> AccountStated:
    ann = {"id": "a1", "version": version, "email": "ann@example.com", "name": "Ann", "registered_at": START}
    return AccountStated.model_validate(ann)


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
    await deliver_records(sample.app, rt, replace(padded, value=(padded.value or b"") + b" " * LARGEST_BODY))
    (letter,) = await letters(rt.pool)
    assert letter["reason"] == "too-large"
    assert await rt.pool.fetchval("SELECT body FROM chassis.dead_letters") is None


async def test_a_letter_that_comes_again_without_an_id_is_kept_once(sample: Sample, rt: Runtime[Any]) -> None:
    nameless = record(posted(1), headers={"ce_id": None})
    await deliver_records(sample.app, rt, nameless)
    await rt.pool.execute("UPDATE chassis.positions SET next_offset = 0")
    await deliver_records(sample.app, rt, nameless)
    assert len(await letters(rt.pool)) == 1
