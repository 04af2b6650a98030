"""Whether an address has an account is told to its mailbox alone: answers are equal, and so is the work before them."""

import re
from typing import Any
from uuid import uuid4

import httpx

from ..people import Company

OWN = {"date", "content-length"}


async def test_known_and_unknown_addresses_get_equal_answers_after_equal_work(company: Company) -> None:
    """The notifier is stopped, so that what stands in the tables is what was done before the answer."""
    known, unknown = (await company.register("vera")).email, f"nobody-{uuid4().hex[:8]}@example.com"
    await company.off_loop(company.stack.stop, "notifier")
    try:
        answers, work = [], []
        for email in (known, unknown):
            body = {"type": "delete", "email": email}
            answer = await company.send("POST", "dsr", "/v1/requests", "website", json=body)
            answers.append((answer.status_code, _shape(answer)))
            work.append(await _work(company, answer.json()["id"]))
        assert answers[0] == answers[1]
        assert answers[0][0] == 202
        assert work[0] == work[1]
        for url, field in (
            (f"{company.stack.url('dsr')}/delete", "email"),
            (f"{company.stack.url('website')}/privacy", "email"),
        ):
            pages = [await company.http.post(url, data={field: each}) for each in (known, unknown)]
            assert pages[0].status_code == pages[1].status_code < 400
            assert _plain(pages[0]) == _plain(pages[1])
            assert pages[0].headers.keys() == pages[1].headers.keys()
    finally:
        await company.off_loop(company.stack.start, "notifier")
        await company.off_loop(company.stack.wait, "notifier")


def _shape(answer: httpx.Response) -> tuple[Any, ...]:
    """All of an answer but the request's own id."""
    body = {name: value for name, value in answer.json().items() if name != "id"}
    return body, sorted(answer.json()), {name: value for name, value in answer.headers.items() if name not in OWN}


def _plain(page: httpx.Response) -> str:
    """A page without what is new on each: the form's own number."""
    return re.sub(r'value="[0-9a-f-]{36}"', "", page.text)


async def _work(company: Company, request: str) -> dict[str, Any]:
    """What the request left in dsr's tables: which columns are filled, and what is to be done later."""
    [row] = await company.rows("dsr", "SELECT * FROM dsr.requests WHERE id = $1::uuid", request)
    timers = await company.rows("dsr", "SELECT kind FROM chassis.timers WHERE key = $1 ORDER BY 1", request)
    jobs = await company.rows("dsr", "SELECT kind FROM chassis.jobs WHERE key = $1", request)
    links = await company.rows("dsr", "SELECT count(*) FROM dsr.links WHERE request_id = $1::uuid", request)
    return {
        "filled": {name: value is not None for name, value in row.items()},
        "timers": [each["kind"] for each in timers],
        "jobs": [each["kind"] for each in jobs],
        "links": links[0][0],
    }


async def test_links_that_open_nothing_look_alike(company: Company) -> None:
    """A wrong secret of a real request, of an unknown one, and no link at all; the right one opens all the while."""
    customer = await company.register("walt")
    request = await company.ask(customer.email)
    link = await company.link(customer.email, request)
    dsr = company.stack.url("dsr")
    wrong = [
        f"{dsr}/r/{request}/{'A' * 43}",
        f"{dsr}/r/{uuid4()}/{link.rsplit('/', 1)[1]}",
        f"{dsr}/r/nothing/at-all",
    ]
    for method in ("GET", "POST"):
        pages = [await company.http.request(method, url if method == "GET" else f"{url}/verify") for url in wrong]
        assert {page.status_code for page in pages} == {404}
        assert len({page.text for page in pages}) == 1
        assert len({str(sorted(page.headers.keys())) for page in pages}) == 1
    for _ in range(25):
        await company.http.get(wrong[0])
    assert (await company.http.get(link)).status_code == 200
    findings = (await company.get("dsr", "/v1/findings", "operator-01"))["findings"]
    assert {each["scope"] for each in findings if each["kind"] == "wrong_secrets"} == {"link", "network"}
    assert request in {each["about"] for each in findings}
