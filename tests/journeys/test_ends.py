"""Ends that no click leads to: an account closed in its own system, and an officer's closing over a silent one."""

from typing import Any

import pytest

from local_stack import clock

from ..invariants import FINAL, assert_all_hold
from ..log import read
from ..people import Company, eventually


@pytest.mark.promise(67)
async def test_an_account_that_is_closed_on_the_profile_page_is_deleted_everywhere(company: Company) -> None:
    customer = await company.register("finn", order=True)
    await company.close_account(customer)
    request = await company.request_of(customer)
    await company.status(request, "closed", 60)

    last = await company.completion(customer.email, request, mails=1)

    assert "Your account was closed" in last["text"]
    assert "6001" in last["text"]
    seen = await assert_all_hold(company, {request: customer})
    said = [event.type for event in seen.records if event.topic == "requests" and event.key == request.encode()]
    assert sorted(said) == ["deletion.requested", "deletion.requested", "request.closed", "request.received"]
    trail = await company.complete(request)
    assert "accounts" not in [each["system"] for each in trail["systems"]]


@pytest.mark.promise(67)
async def test_an_officer_closes_over_a_silent_system_which_comes_back_and_still_deletes(company: Company) -> None:
    left = {"systems": ["marketing"], "reason": "no_answer"}
    await company.off_loop(company.stack.stop, "marketing")
    try:
        customer = await company.register("gwen")
        request, link = await company.begin(customer.email)
        await company.status(request, "deleting")
        path = f"/v1/requests/{request}/outstanding"
        early = await company.send("POST", "dsr", path, "officer-01", json=left)
        assert early.status_code == 409
        await company.waits_for(request, "marketing", "support")
        clock.move(company.stack.directory / "clock", "+45d")
        await company.post("dsr", path, left, "officer-01", status=200)
        last = await company.closed(customer.email, request)
        trail = await eventually("audit to have read all of it", lambda: _whole(company, request))
    finally:
        await company.off_loop(company.stack.start, "marketing")

    assert "not everything is deleted yet" in last["subject"]
    assert "marketing" in last["text"].partition("What is not confirmed")[2]
    page = (await company.http.get(link)).text
    assert "Not everything is deleted yet" in page
    assert "remain obliged" in page
    assert trail["outstanding"] == ["marketing"]
    await eventually("marketing to answer all the same", lambda: _answered(company, request, "marketing"))
    await assert_all_hold(company, {request: customer})  # after all, each system was asked once and answered once


async def _whole(company: Company, request: str) -> dict[str, Any] | None:
    """The trail, once nothing is missing."""
    trail = await company.complete(request)
    return trail if trail["complete"] else None


async def _answered(company: Company, request: str, system: str) -> bool:
    replies = await read(company.stack, f"replies.{system}")
    return any(reply.type in FINAL and reply.key == request.encode() for reply in replies)
