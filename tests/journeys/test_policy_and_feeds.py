"""Policy revisions and who is told; choices, and who gets to see what because of them."""

import csv
import re
from typing import Any

import pytest

from ..log import read, unique
from ..people import Company, Customer, eventually

MARKETING = "third_party_marketing"


@pytest.mark.promise(81)
@pytest.mark.promise(82)
@pytest.mark.promise(84)
async def test_a_typo_stands_on_the_home_page_and_brings_no_mail(company: Company) -> None:
    await company.register("hal")
    told = await company.revise(material=False)
    await eventually("the notice on the home page", lambda: _on_home_page(company, told))
    page = (await company.http.get(told["url"])).text
    assert re.sub(r"\s+", " ", page).index("evis") < page.index("<h2") if "<h2" in page else "evis" in page
    posted = await eventually("the notice in the record", lambda: _about(company, "notice.posted", told["version"]))
    assert [event["place"] for event in posted] == ["home_page"]
    assert await _about(company, "notice.sent", told["version"]) is None


@pytest.mark.promise(82)
@pytest.mark.promise(83)
async def test_a_material_revision_is_mailed_once_to_every_account_opted_out_or_not(company: Company) -> None:
    fond, shy = await company.register("ida"), await company.register("jon")
    await company.choose(fond, "granted", "own_marketing")
    await company.choose(shy, "refused", "own_marketing")
    await company.choose(shy, "refused")
    accounts = {row["id"]: row["email"] for row in await company.rows("accounts", "SELECT id, email FROM accounts")}

    told = await company.revise(material=True, summary="We now tell partners less.")
    completed = await eventually("the end", lambda: _about(company, "notice.completed", told["version"]), 90)

    assert (completed[0]["total"], completed[0]["failed"]) == (len(accounts), 0)
    sent = await _about(company, "notice.sent", told["version"]) or []
    assert {event["account"] for event in sent} == set(accounts)
    for customer in (fond, shy):
        mails = [mail for mail in await company.mails(customer.email) if "tell partners less" in mail["text"]]
        assert len(mails) == 1
        assert told["url"] in mails[0]["text"]
    await eventually("the notice on the home page", lambda: _on_home_page(company, told))


async def _on_home_page(company: Company, told: dict[str, Any]) -> bool:
    page = (await company.http.get(company.stack.url("website"))).text
    return "privacy policy was" in page and told["revised_on"] in page and told["url"].rpartition("/")[0] in page


async def _about(company: Company, kind: str, version: int) -> list[dict[str, Any]] | None:
    """The bodies of the notices of this type about a policy version, None where there are none."""
    events = unique(await read(company.stack, "notices"), kind)
    return [event.body for event in events if event.body.get("policy_version") == version] or None


@pytest.mark.promise(44)
@pytest.mark.promise(50)
@pytest.mark.promise(53)
async def test_a_feed_discloses_those_alone_who_agree_at_that_moment(company: Company) -> None:
    granted, withdrawn, silent = [await company.register(name) for name in ("kim", "leo", "mia")]
    await company.choose(granted, "granted")
    await company.choose(withdrawn, "granted")
    await company.choose(withdrawn, "withdrawn")

    first = await _feed(company)
    assert await _outcome(company, granted, first) == ("personal_data.disclosed", None)
    assert await _outcome(company, withdrawn, first) == ("disclosure.refused", "withdrawn")
    assert await _outcome(company, silent, first) == ("disclosure.refused", "no_choice")
    assert await _in_file(company, first) >= {granted.email}
    assert not await _in_file(company, first) & {withdrawn.email, silent.email}

    await company.choose(granted, "withdrawn")
    second = await _feed(company)
    assert await _outcome(company, granted, second) == ("disclosure.refused", "withdrawn")
    assert granted.email not in await _in_file(company, second)

    await company.delete(granted)
    await eventually("the partner's file without the deleted", lambda: _gone(company, first, granted))


async def _feed(company: Company) -> str:
    body = {"recipient": "adco", "purpose": MARKETING}
    feed = str((await company.post("accounts", "/v1/feeds", body, "operator-01", status=202))["id"])

    async def written() -> bool:
        state = await company.get("accounts", f"/v1/feeds/{feed}", "operator-01")
        return state["pending"] == 0 and state["written_at"] is not None

    await eventually("the feed to be written", written)
    return feed


async def _outcome(company: Company, customer: Customer, feed: str) -> tuple[str, str | None]:
    """What is on record about a customer in a feed: the decision it names must be consent's own."""
    decisions = {
        event.body["decision"]: event.body
        for event in unique(await read(company.stack, "consent"), "disclosure.decided")
        if event.body["subject_id"] == customer.subject
    }

    async def recorded() -> tuple[str, str | None] | None:
        for event in reversed(await read(company.stack, "disclosures.accounts")):
            body = event.body
            if body["subject_id"] == customer.subject and body["decision"] in decisions and _of(body, feed):
                decided = decisions[body["decision"]]
                assert decided["allowed"] == (event.type == "personal_data.disclosed")
                return event.type, body.get("reason")
        return None

    decision = await company.value(
        "accounts", "SELECT decision FROM deliveries WHERE feed = $1::uuid AND account = $2", feed, customer.account
    )

    def _of(body: dict[str, Any], _: str) -> bool:
        return bool(str(decision) == body["decision"])

    return await eventually("the outcome on record", recorded)


async def _in_file(company: Company, feed: str) -> set[str]:
    """The addresses in a feed's file."""
    folder = company.stack.directory / "feeds"
    [file] = [each for each in folder.rglob("*") if feed in each.name]
    return {value for row in csv.reader(file.read_text("utf-8").splitlines()) for value in row if "@" in value}


async def _gone(company: Company, feed: str, customer: Customer) -> bool:
    return customer.email not in await _in_file(company, feed)
