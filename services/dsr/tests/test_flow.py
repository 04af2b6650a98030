"""A deletion from the second word of its person to the closing, and the ways in which it does not get there."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chassis.consumer.records import Record
from chassis.testing import START, deliver_records, record, run_timers
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.fields import Personal
from privacy_contracts.topology import systems

OWN = ("consent", "notifier", "audit")


@pytest.mark.promise(67)
@pytest.mark.promise(68)
async def test_a_deletion_goes_through_all_stages_and_closes_once(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    assert [each["systems"] for each in await dsr.events("deletion.requested")] == [["orders", "marketing", "support"]]
    await dsr.reply(request, "orders", "retained")
    await dsr.reply(request, "marketing", "done")
    await dsr.reply(request, "support", "done")
    await dsr.relay()
    for system in OWN:
        await dsr.reply(request, system)
    await dsr.reply(request, "accounts")
    requested = await dsr.events("deletion.requested")
    assert [(each["stage"], each["attempt"]) for each in requested] == [("company", 1), ("own", 1), ("accounts", 1)]
    assert requested[1]["systems"] == ["consent", "notifier", "dsr", "audit"]
    assert requested[2]["systems"] == ["accounts"]
    (closed,) = await dsr.events("request.closed")
    assert (closed["outcome"], closed["account"]) == ("completed", "a1")
    assert await dsr.status(request) == "closed"
    assert await dsr.tasks(request) == {
        "orders": "retained",
        "marketing": "done",
        "support": "done",
        "consent": "done",
        "notifier": "done",
        "dsr": "retained",
        "audit": "done",
        "accounts": "done",
    }


async def test_events_of_a_request_come_in_the_order_of_what_happened(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.closed()
    types = [each.type for each in await dsr.everything() if each.key == str(request) and each.topic == "requests"]
    assert types == [
        "request.received",
        "request.verified",
        "deletion.confirmed",
        "deletion.requested",
        "deletion.requested",
        "deletion.requested",
        "request.closed",
    ]


async def test_this_service_deletes_too_and_answers_like_any_other_system(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    for system in ("orders", "marketing", "support"):
        await dsr.reply(request, system)
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 0
    assert not await dsr.pool.fetchval("SELECT EXISTS (SELECT FROM keys.owners WHERE owner = 'account/a1')")
    (own,) = await dsr.events("reply.retained")
    assert own["items"] == [{"category": "requests", "legal_basis": "us.ca.11ccr7101", "until": "2029-01-03"}]
    assert (await dsr.tasks(request))["dsr"] == "asked"
    await dsr.relay()
    assert (await dsr.tasks(request))["dsr"] == "retained"


async def test_no_later_state_brings_a_deleted_account_back(dsr: Any) -> None:
    await dsr.customer(version=1)
    await dsr.closed()
    await dsr.customer(version=9)
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 0
    assert (await dsr.message(await dsr.ask())).json()["template"] == "unknown_address"


async def test_an_account_that_its_system_deletes_is_forgotten_here_too(dsr: Any) -> None:
    await dsr.customer()
    await dsr.deliver(AccountDeleted(id="a1", version=2, deleted_at=dsr.clock.now()))
    await dsr.customer(version=3)
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 0
    assert not await dsr.pool.fetchval("SELECT EXISTS (SELECT FROM keys.owners WHERE owner = 'account/a1')")


async def aside(dsr: Any) -> tuple[str | None, bool]:
    """The body of the one dead letter, as an operator is shown it, and whether it was erased."""
    operator = dsr.headers("op-01", "operator")
    [letter] = (await dsr.http.get("/v1/dead-letters", headers=operator)).json()["items"]
    shown = (await dsr.http.get(f"/v1/dead-letters/{letter['id']}", headers=operator)).json()
    return shown["body"], shown["erased"]


def stated(version: int, **headers: bytes | None) -> Record:
    event = AccountStated(
        id="a1", version=version, email=Personal("ann@example.com"), name=Personal("Ann"), registered_at=START
    )
    return record(event, headers=headers)


async def test_what_was_put_aside_of_a_person_goes_with_the_person_known_here_or_not(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.deliver(AccountDeleted(id="a1", version=2, deleted_at=dsr.clock.now()))
    await deliver_records(dsr.app, dsr.runtime, stated(3, ce_type=None), stated(4))
    for system in ("orders", "marketing", "support"):
        await dsr.reply(request, system)
    assert await aside(dsr) == (None, True)
    assert not await dsr.pool.fetchval("SELECT EXISTS (SELECT FROM keys.owners WHERE owner = 'account/a1')")


async def test_a_key_that_came_back_after_the_deletion_goes_with_the_next_state(dsr: Any) -> None:
    await dsr.deliver(AccountDeleted(id="a1", version=2, deleted_at=dsr.clock.now()))
    async with dsr.pool.acquire() as tx, tx.transaction():
        await dsr.runtime.sealing.seal(tx, "account/a1", "a body that was put aside", "chassis.dead_letters.body")
    await dsr.customer(version=3)
    assert not await dsr.pool.fetchval("SELECT EXISTS (SELECT FROM keys.owners)")


async def test_the_newest_state_of_an_account_counts_in_whatever_order_it_comes(dsr: Any) -> None:
    await dsr.customer(email="old@example.com", version=1)
    await dsr.customer(email="new@example.com", version=3)
    await dsr.customer(email="late@example.com", version=2)
    assert (await dsr.message(await dsr.ask("new@example.com"))).json()["to"] == "new@example.com"
    assert (await dsr.message(await dsr.ask("late@example.com"))).json()["template"] == "unknown_address"


async def test_building_the_projection_again_gives_the_same_and_emits_nothing(dsr: Any) -> None:
    stated = [
        AccountStated(
            id=f"a{n}",
            version=1,
            email=Personal(f"p{n}@example.com"),
            name=Personal("P"),
            registered_at=dsr.clock.now(),
        )
        for n in range(3)
    ]
    gone = AccountDeleted(id="a1", version=2, deleted_at=dsr.clock.now())
    await dsr.deliver(*stated, gone)

    async def opened() -> list[tuple[Any, ...]]:
        rows = await dsr.pool.fetch(
            "SELECT id, version, email, fingerprint, registered_at FROM dsr.accounts ORDER BY id"
        )
        async with dsr.pool.acquire() as tx:
            honest = type(dsr.runtime.sealing).open.__wrapped__  # not counted: a test looks, nobody reads
            return [
                (
                    *row[:2],
                    await honest(dsr.runtime.sealing, tx, f"account/{row['id']}", row["email"], "accounts.email"),
                )
                for row in rows
            ]

    before, said = await opened(), await dsr.everything()
    assert [row[0] for row in before] == ["a0", "a2"]
    await dsr.pool.execute("DELETE FROM dsr.accounts")
    from chassis.consumer import decode

    topic = dsr.app.handlers.topics["accounts"]
    for event in [*stated, gone]:
        received = decode(record(event), topic, dsr.app.handlers.events)
        async with dsr.pool.acquire() as tx, tx.transaction():
            await dsr.app.handlers.apply(received, tx, again=True)
    assert await opened() == before
    assert await dsr.everything() == said


async def test_a_silent_system_is_reminded_then_escalated(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "marketing")
    await dsr.reply(request, "support")
    await dsr.pass_time(timedelta(days=5))
    reminders = [each for each in await dsr.events("deletion.requested") if each["reminder"]]
    assert [(each["systems"], each["attempt"]) for each in reminders] == [(["orders"], 2)]
    assert await dsr.events("system.escalated") == []
    await dsr.pass_time(timedelta(days=5))
    (escalated,) = await dsr.events("system.escalated")
    assert (escalated["system"], escalated["stage"]) == ("orders", "company")
    await dsr.pass_time(timedelta(days=30))
    assert len(await dsr.events("system.escalated")) == 1
    await dsr.reply(request, "orders")
    assert (await dsr.events("deletion.requested"))[-1]["stage"] == "own"


async def test_a_clock_that_jumps_twenty_days_reminds_and_escalates_at_once(dsr: Any) -> None:
    await dsr.customer()
    await dsr.deleting()
    await dsr.pass_time(timedelta(days=20))
    assert len([each for each in await dsr.events("deletion.requested") if each["reminder"]]) == 3
    assert {each["system"] for each in await dsr.events("system.escalated")} == {"orders", "marketing", "support"}


async def test_a_system_that_failed_is_asked_again(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "orders", "failed")
    assert len(await dsr.events("deletion.requested")) == 1
    await dsr.pass_time(timedelta(hours=1))
    again = (await dsr.events("deletion.requested"))[-1]
    assert (again["systems"], again["attempt"], again["reminder"]) == (["orders"], 2, False)
    await dsr.reply(request, "orders", "failed")
    await dsr.pass_time(timedelta(hours=1))
    assert (await dsr.events("deletion.requested"))[-1]["attempt"] == 3


async def test_a_reply_that_was_not_asked_for_is_recorded_and_changes_nothing(dsr: Any, reply_event: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    before = await dsr.tasks(request)
    await dsr.reply(request, "accounts")
    await dsr.reply(request, "orders", account="a2")
    lie = reply_event(request, "marketing", "done", dsr.clock.now())
    await dsr.deliver(lie, topic="replies.orders", source="orders")  # orders speaks for marketing
    assert await dsr.tasks(request) == before
    rows = await dsr.pool.fetch("SELECT system, outcome, effect FROM dsr.replies")
    assert sorted(tuple(row) for row in rows) == [
        ("accounts", "done", "none"),
        ("orders", "done", "none"),
        ("orders", "done", "none"),
    ]


async def test_a_reply_that_comes_again_after_the_inbox_forgot_it_is_kept_once(dsr: Any, reply_event: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    answer = reply_event(request, "orders", "done", dsr.clock.now())
    for _ in range(2):
        await dsr.deliver(answer, event_id="the-same")
        await dsr.pool.execute("DELETE FROM chassis.inbox")  # as after its thirty days
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.replies") == 1
    assert await dsr.pool.fetchval("SELECT count(*) FROM chassis.dead_letters") == 0


async def test_a_reply_after_the_closing_is_recorded_and_changes_nothing(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.closed()
    events = len(await dsr.everything())
    await dsr.reply(request, "orders", "retained")
    await dsr.reply(request, "accounts", "failed")
    assert len(await dsr.everything()) == events
    effects = await dsr.pool.fetch("SELECT effect FROM dsr.replies ORDER BY recorded_at, system DESC")
    assert [row["effect"] for row in effects].count("none") == 2


@pytest.mark.promise(68)
async def test_nothing_is_asked_of_any_system_while_there_is_a_way_back(dsr: Any) -> None:
    await dsr.customer()
    request, link = await dsr.confirmed()
    await dsr.pass_time(timedelta(days=2, hours=23))
    assert await dsr.events("deletion.requested") == []
    assert (await dsr.press(link, "withdraw")).status_code == 303
    (withdrawn,) = await dsr.events("request.withdrawn")
    assert withdrawn["account"] == "a1"
    await dsr.pass_time(timedelta(days=60))
    assert await dsr.events("deletion.requested") == []
    assert await dsr.status(request) == "withdrawn"
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 1


async def test_after_the_point_of_no_return_the_page_says_that_it_is_too_late(dsr: Any, text_of: Any) -> None:
    await dsr.customer()
    request, link = await dsr.deleting()
    answer = await dsr.press(link, "withdraw")
    assert answer.status_code == 409
    assert "too late" in text_of(answer.text)
    assert await dsr.status(request) == "deleting"
    assert await dsr.events("request.withdrawn") == []


async def test_taking_it_back_while_the_deletion_starts_ends_one_way_or_the_other(dsr: Any) -> None:
    await dsr.customer()
    for _ in range(3):
        request, link = await dsr.confirmed()
        dsr.clock.advance(timedelta(days=3))
        answer, _ = await asyncio.gather(dsr.press(link, "withdraw"), run_timers(dsr.app, dsr.runtime))
        asked = [each for each in await dsr.events("deletion.requested") if each["request"] == str(request)]
        back = [each for each in await dsr.events("request.withdrawn") if each["request"] == str(request)]
        status = await dsr.status(request)
        assert (answer.status_code, len(asked), len(back), status) in [
            (303, 0, 1, "withdrawn"),
            (409, 1, 0, "deleting"),
        ]


async def test_pressing_a_button_twice_counts_once(dsr: Any) -> None:
    await dsr.customer()
    request = await dsr.ask()
    link = await dsr.link(request)
    for action in ("verify", "verify", "confirm", "confirm", "verify"):
        assert (await dsr.press(link, action)).status_code == 303
    assert await dsr.status(request) == "confirmed"
    assert len(await dsr.events("request.verified")) == 1
    assert len(await dsr.events("deletion.confirmed")) == 1


async def test_confirming_without_having_said_who_one_is_does_nothing(dsr: Any) -> None:
    await dsr.customer()
    request = await dsr.ask()
    await dsr.press(await dsr.link(request), "confirm")
    assert await dsr.status(request) == "received"


async def test_what_nobody_confirms_ends_as_not_verified_or_not_confirmed(dsr: Any, text_of: Any) -> None:
    await dsr.customer()
    silent, half = await dsr.ask(), await dsr.ask()
    link = await dsr.link(half)
    await dsr.press(link, "verify")
    await dsr.pass_time(timedelta(days=30))
    outcomes = {each["request"]: each["outcome"] for each in await dsr.events("request.closed")}
    assert outcomes == {str(silent): "not_verified", str(half): "not_confirmed"}
    await dsr.press(link, "confirm")
    assert await dsr.status(half) == "closed"
    assert "not confirm it in time" in text_of((await dsr.http.get(link)).text)


async def test_the_list_of_systems_is_the_one_of_the_verification(dsr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marketing joins the company after the person was verified: this request does not wait for it."""
    today = systems()
    earlier = {name: system for name, system in today.by_name.items() if name != "marketing"}
    await dsr.customer()
    with monkeypatch.context() as then:
        then.setattr("dsr.case.systems", lambda: replace(today, by_name=earlier))
        request, _ = await dsr.confirmed()
    await dsr.pass_time(timedelta(days=3))
    assert set(await dsr.tasks(request)) == set(earlier)


async def test_overdue_and_open_requests_are_counted(dsr: Any) -> None:
    await dsr.customer()
    await dsr.deleting()
    await dsr.ask("nobody@example.org")

    async def read() -> tuple[float, float]:
        async with dsr.pool.acquire() as tx:
            gauges = dsr.app.gauges
            return await gauges["dsr_requests_open"](tx), await gauges["dsr_requests_overdue"](tx)

    assert await read() == (2, 0)
    await dsr.pass_time(timedelta(days=50))
    assert await read() == (1, 1)  # the unverified one was denied in time
