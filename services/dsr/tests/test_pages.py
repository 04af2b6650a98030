"""The pages in a real browser: without scripts, on a phone, and for people who do not see them (axe)."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from chassis.app.service import http
from dsr.pages import brand, words
from privacy_contracts.accounts import AccountDeleted

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip
PHONE, DESK = {"width": 375, "height": 720}, {"width": 1200, "height": 900}
PICTURES = os.environ.get("PICTURES")
"""A folder; each page is then left there as a picture."""

browsed = pytest.mark.browser


@asynccontextmanager
async def served(dsr: Any) -> AsyncIterator[str]:
    """The service on a port of loopback."""
    config = uvicorn.Config(
        http(dsr.runtime, dsr.app, None), port=0, log_level="error", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not running.done()
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    assert CHROMIUM, "no browser: set CHROMIUM to one, or install Debian's chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


async def looked_at(page: Page, name: str) -> None:
    """No fault that axe knows, nothing wider than the window; a picture where somebody wants one."""
    results = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    width: int = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert width <= 0
    if PICTURES:
        size = page.viewport_size or DESK
        await page.screenshot(path=Path(PICTURES) / f"{name}-{size['width']}.png", full_page=True)


async def prepared(dsr: Any) -> dict[str, str]:
    """Paths by name, to a page of each kind."""
    paths = {"form": "/delete", "received": "/delete/received", "lost": "/r/x/y"}

    async def customer(name: str) -> str:
        await dsr.customer(name, f"{name}@example.com")
        return f"{name}@example.com"

    request, paths["outstanding"] = await dsr.deleting(await customer("a7"))
    for system in ("marketing", "support"):
        await dsr.reply(request, system, account="a7")
    await dsr.pass_time(timedelta(days=41))  # the answer is due
    left, officer = {"systems": ["orders"], "reason": "no_answer"}, dsr.headers("officer-01", "officer")
    await dsr.http.post(f"/v1/requests/{request}/outstanding", json=left, headers=officer)
    for system in ("consent", "notifier", "audit", "accounts"):
        await dsr.relay()
        await dsr.reply(request, system, account="a7")
    await customer("a8")
    await dsr.deliver(AccountDeleted(id="a8", version=2, deleted_at=dsr.clock.now()))
    request = await dsr.pool.fetchval("SELECT id FROM dsr.requests WHERE channel = 'profile'")
    for system in ("orders", "marketing", "support", "consent", "notifier", "audit"):
        await dsr.reply(request, system, account="a8")
        await dsr.relay()
    paths["account_closed"] = await dsr.link(request, "completion")

    request, paths["done"] = await dsr.deleting(await customer("a1"))
    await dsr.reply(request, "orders", "retained")
    await dsr.reply(request, "marketing", "not_found")
    await dsr.reply(request, "support")
    for system in ("consent", "notifier", "audit", "accounts"):
        await dsr.relay()
        await dsr.reply(request, system)
    request, paths["deleting"] = await dsr.deleting(await customer("a2"))
    await dsr.reply(request, "orders", "retained", account="a2")
    await dsr.pass_time(timedelta(days=11))
    paths["verify"] = await dsr.link(await dsr.ask(await customer("a3")))
    _, paths["confirmed"] = await dsr.confirmed(await customer("a4"))
    paths["confirm"] = await dsr.link(await dsr.ask(await customer("a5")))
    await dsr.press(paths["confirm"], "verify")
    _, paths["withdrawn"] = await dsr.confirmed(await customer("a6"))
    await dsr.press(paths["withdrawn"], "withdraw")
    return paths


async def prepared_without_account(dsr: Any) -> dict[str, str]:
    """The same for people who have no account."""
    paths = {}
    request, paths["guest-done"] = await dsr.deleting("g1@example.org")
    await dsr.answered_by_all(request, None)
    paths["guest-verify"] = await dsr.link(await dsr.ask("g2@example.org"))
    paths["guest-confirm"] = await dsr.link(await dsr.ask("g3@example.org"))
    await dsr.press(paths["guest-confirm"], "verify")
    _, paths["guest-confirmed"] = await dsr.confirmed("g4@example.org")
    paths["guest-withdrawn"] = await dsr.link(await dsr.ask("g5@example.org"))
    await dsr.press(paths["guest-withdrawn"], "withdraw")
    return paths


def _heard(faults: list[str], message: ConsoleMessage) -> None:
    faults.append(message.text)


@browsed
async def test_every_page_is_readable_for_everybody_on_every_screen(dsr: Any) -> None:
    paths = await prepared(dsr) | await prepared_without_account(dsr)
    async with served(dsr) as url, chromium() as browser:
        for viewport in (PHONE, DESK):
            context = await browser.new_context(viewport=viewport, bypass_csp=False)  # type: ignore[arg-type]  # a size
            page = await context.new_page()
            faults: list[str] = []
            page.on("console", partial(_heard, faults))
            for name, path in paths.items():
                await page.goto(url + path)
                await looked_at(page, name)
            assert [fault for fault in faults if "404" not in fault] == []  # no style or form refused by the policy
            await context.close()


@browsed
@pytest.mark.promise(68)
async def test_a_person_gets_to_the_end_without_scripts(dsr: Any) -> None:
    await dsr.customer()
    async with served(dsr) as url, chromium() as browser:
        context: BrowserContext = await browser.new_context(viewport=PHONE, java_script_enabled=False)  # type: ignore[arg-type]  # a size
        page = await context.new_page()
        await page.goto(f"{url}/delete")
        await page.get_by_label("Your mail address").fill("Ann@example.com")
        await page.get_by_role("button", name="Send").click()
        assert await page.get_by_role("heading", level=1).inner_text() == "Look into your inbox"
        request = await dsr.pool.fetchval("SELECT id FROM dsr.requests WHERE channel = 'form'")
        await page.goto(url + await dsr.link(request))
        await page.get_by_role("button", name="Yes, this is me").click()
        assert await page.get_by_role("heading", level=1).inner_text() == "Your account goes too"
        assert await dsr.status(request) == "verified"
        await page.get_by_role("button", name="Delete my data and my account").click()
        assert await page.get_by_role("heading", level=1).inner_text() == "Your deletion is about to start"
        await page.get_by_role("button", name="Keep my account").click()
        assert await page.get_by_role("heading", level=1).inner_text() == "You took your request back"
        assert await dsr.status(request) == "withdrawn"
        await context.close()


@pytest.mark.promise(67)
@pytest.mark.promise(70)
async def test_the_status_names_what_is_kept_why_and_until_when(dsr: Any, text_of: Callable[[str], str]) -> None:
    paths = await prepared(dsr)
    done = text_of((await dsr.http.get(paths["done"])).text)
    assert "Kept: invoices until 15 April 2034, because tax law asks for it (26 U.S.C. § 6001)" in done
    assert "may live on in caches and archives that are not ours" in done
    assert "Marketing mail address, marketing lists Held nothing about you" in done
    under_way = text_of((await dsr.http.get(paths["deleting"])).text)
    assert "1 of 8 systems have answered" in under_way
    assert "It is late; its owner has been told." in under_way


async def test_no_page_speaks_of_an_account_to_somebody_who_has_none(dsr: Any, text_of: Callable[[str], str]) -> None:
    said = {
        name: text_of((await dsr.http.get(path)).text) for name, path in (await prepared_without_account(dsr)).items()
    }
    assert not [name for name, text in said.items() if re.search(r"\b(your|my|the|this) account\b", text, re.I)]
    assert "We know no account with it" in said["guest-verify"]
    assert "looks for your mail address and deletes what it finds" in said["guest-confirm"]
    assert "Nothing was deleted." in said["guest-withdrawn"]
    assert "Every system has answered" in said["guest-done"]


async def test_a_page_claims_no_end_that_is_not_there(dsr: Any, text_of: Callable[[str], str]) -> None:
    paths = await prepared(dsr)
    outstanding = text_of((await dsr.http.get(paths["outstanding"])).text)
    assert "Not everything is deleted yet" in outstanding
    assert "We have no word from 1 of 8 systems, named below" in outstanding
    assert "Your data is deleted" in text_of((await dsr.http.get(paths["account_closed"])).text)


async def test_no_page_names_the_address_or_another_site(dsr: Any) -> None:
    for path in (await prepared(dsr) | await prepared_without_account(dsr)).values():
        html = (await dsr.http.get(path)).text
        assert not re.search(r"\b[ag]\d@example\.(com|org)", html)
        assert "<script" not in html
        assert not re.search(r"(?:src|href|action)=\"(?!/|mailto:)", html)


async def test_the_style_sheet_wears_the_companys_colour(dsr: Any) -> None:
    answer = await dsr.http.get("/style.css")
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.text.startswith(":root{--brand:#0b5cad;--on-brand:#ffffff}")


@pytest.mark.parametrize("color", ["#0b5cad", "#ffd400", "#ffffff", "#000000", "#808080", "#d7263d"])
def test_text_on_any_brand_colour_can_be_read(color: str) -> None:
    found = re.search(r"--on-brand:(#\w+)", brand.variables(color))
    assert found
    assert brand.contrast(found[1], color) >= 4.5


@pytest.mark.parametrize("color", ["red", "#fff", "#12345g", "#0b5cad;}body{}"])
def test_a_colour_that_is_none_stops_the_start(color: str) -> None:
    with pytest.raises(ValueError, match="brand_color"):
        brand.variables(color)


def test_a_companys_name_is_text_and_never_markup(dsr_company: Callable[[str], str]) -> None:
    assert "<b>" not in dsr_company("<b>Sample</b>")


@pytest.fixture
def dsr_company() -> Callable[[str], str]:
    from chassis.testing import COMPANY
    from dsr.pages.routes import templates

    return lambda name: templates().get_template("lost.html").render(company=COMPANY.model_copy(update={"name": name}))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (259_200, "3 days"),
        (86_400, "1 day"),
        (129_600, "36 hours"),
        (90, "90 seconds"),
        (2, "2 seconds"),
        (0, "0 seconds"),
    ],
)
def test_a_duration_in_words(seconds: int, text: str) -> None:
    assert words.duration(timedelta(seconds=seconds)) == text


def test_times_are_the_companys() -> None:
    zone = ZoneInfo("America/Los_Angeles")
    at = datetime(2026, 11, 21, 7, 30, tzinfo=UTC)
    assert words.moment(at, zone) == "20 November 2026, 23:30 PST"
    assert words.day(at, zone) == "20 November 2026"
    assert words.day(date(2034, 4, 15), zone) == "15 April 2034"


def test_what_has_no_words_yet_stands_for_itself() -> None:
    assert words.system("loyalty-club") == "Loyalty club"
    assert words.category("web_logs") == "web logs"
    assert words.law("us.ny.gbl899") == "a law asks for it (us.ny.gbl899)"
