"""What the notifier is told: to whom, with which link, and when there is nothing to send any more."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from uuid_utils.compat import uuid7

from chassis.sealing import KeyErased
from privacy_contracts.notices import NoticeSent

ANN, NOBODY = "ann@example.com", "nobody@example.org"


async def test_the_link_goes_to_the_known_address_and_never_to_the_typed_one(dsr: Any) -> None:
    await dsr.customer("a1", "Ann@Example.com")
    request = await dsr.ask(" ANN@example.COM")
    answer = (await dsr.message(request)).json()
    assert (answer["template"], answer["to"], answer["account"]) == ("verification", "Ann@Example.com", "a1")
    assert answer["link"].startswith(f"http://dsr.example.com/r/{request}/")
    assert len(urlsplit(answer["link"]).path.rsplit("/", 1)[1]) == 43  # 256 bits
    assert await dsr.held(request) == {"fingerprint"}


async def test_the_secret_is_stored_as_its_hash_alone(dsr: Any) -> None:
    await dsr.customer()
    secret = (await dsr.link(await dsr.ask())).rsplit("/", 1)[1]
    for table in ("dsr.links", "dsr.requests", "chassis.outbox"):
        rows = await dsr.pool.fetch(f"SELECT t::text AS text FROM {table} AS t")  # noqa: S608 - named above
        assert rows
        assert not any(secret in row["text"] or secret.encode().hex() in row["text"] for row in rows)


async def test_an_unknown_address_gets_an_honest_mail_with_a_link_of_its_own(dsr: Any) -> None:
    request = await dsr.ask(NOBODY)
    answer = (await dsr.message(request)).json()
    assert (answer["template"], answer["to"], answer["account"]) == ("unknown_address", NOBODY, None)
    assert answer["link"].startswith(f"http://dsr.example.com/r/{request}/")
    await dsr.mail_ended("unknown_address", request)
    assert await dsr.held(request) == {"typed_address", "fingerprint", "mailbox", "key"}
    assert (await dsr.http.get(urlsplit(answer["link"]).path)).status_code == 200


@pytest.mark.parametrize("template", ["unknown_address", "verification"])
async def test_a_first_mail_that_cannot_have_arrived_lets_the_typed_address_be_forgotten(
    dsr: Any, template: str
) -> None:
    request = await dsr.ask(NOBODY)
    await dsr.mail_ended(template, request, unanswered=0)
    assert await dsr.held(request) == set()


async def test_a_first_mail_that_may_have_arrived_leaves_the_typed_address_to_the_person(dsr: Any) -> None:
    unread, read = await dsr.ask(NOBODY), await dsr.ask(NOBODY)
    await dsr.press(await dsr.link(read), "verify")
    await dsr.mail_ended("unknown_address", unread, unanswered=1)
    await dsr.mail_ended("unknown_address", read, unanswered=0)
    for request in (unread, read):
        assert "typed_address" in await dsr.held(request)


async def test_reading_an_address_is_recorded_with_who_why_and_in_which_case(dsr: Any) -> None:
    await dsr.customer()
    known, unknown = await dsr.ask(ANN), await dsr.ask(NOBODY)
    await dsr.message(known)
    await dsr.message(unknown)
    recorded = await dsr.events("personal_data.accessed")
    assert [(each["subject_id"], each["case"]) for each in recorded] == [
        ("account/a1", str(known)),
        (f"request/{unknown}", str(unknown)),
    ]
    assert {(each["actor"], each["purpose"], each["action"]) for each in recorded} == {
        ("service/notifier", "notice", "view")
    }


async def test_each_fetch_mints_a_further_link_and_all_of_them_open(dsr: Any) -> None:
    await dsr.customer()
    request = await dsr.ask()
    links = [await dsr.link(request) for _ in range(5)]
    assert len(set(links)) == 5
    for link in links:
        assert (await dsr.http.get(link)).status_code == 200


async def test_an_address_gets_three_mails_an_hour_and_the_website_never_notices(dsr: Any) -> None:
    await dsr.customer()
    requests = [await dsr.ask() for _ in range(5)]
    codes = [(await dsr.message(request)).status_code for request in requests]
    assert codes == [200, 200, 200, 410, 410]
    assert (await dsr.message(requests[0])).status_code == 200  # a repeat of the same mail is no further mail
    assert (await dsr.message(await dsr.ask(NOBODY))).status_code == 200
    await dsr.pass_time(timedelta(hours=1))
    assert (await dsr.message(requests[3])).status_code == 200


async def test_an_account_that_shows_up_before_the_first_mail_opens_no_way_around_that(dsr: Any) -> None:
    """Else whoever asks often while the notifier is away, and then opens an account, floods the mailbox."""
    requests = [await dsr.ask() for _ in range(5)]
    await dsr.customer()
    assert [(await dsr.message(request)).status_code for request in requests] == [200, 200, 200, 410, 410]


async def test_made_up_tags_neither_flood_a_mailbox_nor_use_up_the_links_of_its_account(dsr: Any) -> None:
    await dsr.customer(email="ann@example.com")
    tagged = [await dsr.message(await dsr.ask(f"Ann+{number}@example.com")) for number in range(5)]
    assert [answer.status_code for answer in tagged] == [200, 200, 200, 410, 410]
    assert (await dsr.message(await dsr.ask("ann@example.com"))).json()["template"] == "verification"


async def test_there_is_nothing_to_send_about_what_is_not_there_or_over(dsr: Any) -> None:
    await dsr.customer()
    withdrawn = await dsr.ask()
    await dsr.press(await dsr.link(withdrawn), "withdraw")
    expired = await dsr.ask()
    await dsr.pass_time(timedelta(days=31))
    for request in (withdrawn, expired, uuid7()):
        answer = await dsr.message(request)
        assert answer.status_code == 410
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await dsr.message(expired, "completion")).status_code == 410
    assert await dsr.held(expired) == set()


async def test_nothing_is_sent_to_an_account_that_is_gone(dsr: Any) -> None:
    await dsr.customer()
    request = await dsr.ask()
    await dsr.message(request)
    async with dsr.pool.acquire() as tx, tx.transaction():
        await dsr.runtime.sealing.erase(tx, "account/a1")
    assert (await dsr.message(request)).status_code == 410


async def test_two_accounts_with_one_address_are_not_mixed_up(dsr: Any) -> None:
    await dsr.customer("a2")
    await dsr.customer("a1")
    answer = (await dsr.message(await dsr.ask())).json()
    assert answer["account"] == "a1"  # registered at the same time; the lower id, always the same


@pytest.mark.promise(67)
async def test_the_last_mail_says_what_is_kept_and_finds_its_way_when_every_copy_is_gone(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.deleting()
    await dsr.reply(request, "orders", "retained")
    await dsr.reply(request, "marketing", "not_found")
    await dsr.reply(request, "support")
    for system in ("consent", "notifier", "audit", "accounts"):
        await dsr.relay()
        await dsr.reply(request, system)
    assert await dsr.pool.fetchval("SELECT count(*) FROM dsr.accounts") == 0
    answer = (await dsr.message(request, "completion")).json()
    assert (answer["template"], answer["to"], answer["account"]) == ("completion", ANN, "a1")
    assert answer["systems"] == ["orders", "marketing", "support", "consent", "notifier", "dsr", "audit", "accounts"]
    assert [(each["system"], each["legal_basis"], each["until"]) for each in answer["kept"]] == [
        ("orders", "us.irc.6001", "2034-04-15"),
        ("dsr", "us.ca.11ccr7101", "2029-01-03"),
    ]
    assert (await dsr.http.get(urlsplit(answer["link"]).path)).status_code == 200


@pytest.mark.parametrize("unanswered", [None, 0, 2])
async def test_the_final_address_is_destroyed_when_the_last_mail_has_ended(dsr: Any, unanswered: int | None) -> None:
    await dsr.customer()
    request, _ = await dsr.closed()
    await dsr.mail_ended("verification", request, unanswered)
    assert await dsr.held(request) == {"final_address", "key"}
    await dsr.mail_ended("completion", request, unanswered)
    assert await dsr.held(request) == set()
    assert (await dsr.message(request, "completion")).status_code == 410


async def test_the_final_address_is_destroyed_on_the_seventh_day_at_the_latest(dsr: Any) -> None:
    await dsr.customer()
    request, _ = await dsr.closed()
    sealed = await dsr.pool.fetchval("SELECT final_address FROM dsr.requests WHERE id = $1", request)
    await dsr.pass_time(timedelta(days=6, hours=23))
    assert await dsr.held(request) == {"final_address", "key"}
    await dsr.pass_time(timedelta(hours=1))
    assert await dsr.held(request) == set()
    async with dsr.pool.acquire() as tx:
        with pytest.raises(KeyErased):
            await dsr.runtime.sealing.open(tx, f"request/{request}", sealed, "requests.final_address")


async def test_a_notice_about_no_request_of_ours_changes_nothing(dsr: Any) -> None:
    await dsr.mail_ended("completion", uuid7())
    await dsr.deliver(NoticeSent(notice=uuid7(), template="policy_revised", policy_version=2, sent_at=dsr.clock.now()))
    assert await dsr.everything() == []
