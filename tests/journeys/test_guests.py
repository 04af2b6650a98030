"""Persons without an account: a guest whom only orders knows, and somebody who opens an account on the way."""

import pytest

from local_stack.observe import places
from privacy_contracts.topology import systems

from ..invariants import Evidence, assert_all_hold
from ..log import Record, read, unique
from ..people import Company, eventually


@pytest.mark.promise(67)
async def test_a_guest_whom_only_orders_knows_is_forgotten_by_the_whole_company(company: Company) -> None:
    """Asked for, proven by the link in the mail, confirmed, deleted, told; the invoice stays, and is named."""
    guest = await company.guest("gale")
    other = await company.guest("gwen")

    request, _ = await company.begin(guest.email)
    last = await company.closed(guest.email, request)

    assert "no account" in last["text"]
    assert "6001" in last["text"]
    seen = await assert_all_hold(company, {request: guest})
    _every_reply_is_about_the_request(seen, request)
    [kept] = [each for each in about(seen, "reply.retained", request) if each.body["system"] == "orders"]
    assert [item["legal_basis"] for item in kept.body["items"]] == ["us.irc.6001"]
    assert _readers(seen, request) == {"system/orders", "system/marketing"}
    words = [text.encode() for text in (guest.email, guest.name)]
    assert [each.place for each in seen.records if any(word in _bytes(each) for word in words)] == []
    assert [str(place) for place in await places(company.stack, guest.name)] == ["orders: orders.invoices, 1 row"]
    assert [str(place) for place in await places(company.stack, other.email)] == ["orders: orders.orders, 1 row"]


async def test_who_opens_an_account_before_the_deletion_starts_is_deleted_with_it(company: Company) -> None:
    """The proof stays good; from then on the request is the account's, and what was ordered as a guest goes too."""
    guest = await company.guest("nora")
    request = await company.ask(guest.email)
    link = await company.link(guest.email, request)
    await company.press(link, "verify")

    customer = await company.register("nora", order=True, email=guest.email)

    matched = await eventually("the request to be matched", lambda: _matched(company, request))
    assert matched.body["account"] == customer.account
    await company.press(link, "confirm")
    last = await company.closed(guest.email, request)
    assert "account is deleted" in last["subject"]
    seen = await assert_all_hold(company, {request: customer})
    assert {each.body["account"] for each in about(seen, "deletion.requested", request)} == {customer.account}
    assert await places(company.stack, guest.email) == []
    assert {place.table for place in await places(company.stack, guest.name)} == {"orders.invoices"}


def about(seen: Evidence, kind: str, request: str) -> list[Record]:
    """The events of a type about a request."""
    return [each for each in seen.events(kind) if each.body["request"] == request]


def _every_reply_is_about_the_request(seen: Evidence, request: str) -> None:
    replies = [
        each for kind in ("reply.done", "reply.retained", "reply.not_found") for each in about(seen, kind, request)
    ]
    assert {each.body["system"] for each in replies} == set(systems().by_name)
    assert {each.header("ce_subject") for each in replies} == {f"request/{request}"}
    assert not [each for each in replies if "account" in each.body]


def _readers(seen: Evidence, request: str) -> set[str]:
    """The systems of the company that are on record as having learnt whom the request is about."""
    accesses = [each.body for each in seen.events("personal_data.accessed") if each.body.get("case") == request]
    of_systems = [each for each in accesses if each["actor"].startswith("system/")]
    assert {(each["subject_id"], *each["categories"]) for each in of_systems} == {(f"request/{request}", "contact")}
    return {each["actor"] for each in of_systems}


def _bytes(record: Record) -> bytes:
    return b"".join([record.key or b"", record.value or b"", *(value or b"" for _, value in record.headers)])


async def _matched(company: Company, request: str) -> Record | None:
    events = unique(await read(company.stack, "requests"), "request.matched")
    return next((each for each in events if each.body["request"] == request), None)
