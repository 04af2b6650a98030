"""The whole way of a person in a real browser, with and without scripts: shop, mail, confirmation, status, policy.

With `UPDATE_PICTURES=1` the pictures of the README are taken anew.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from local_stack import ROOT

from ..people import Company, Customer

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK = {"width": 1000, "height": 720}
PICTURES = ROOT / "docs" / "pictures"
UPDATE = bool(os.environ.get("UPDATE_PICTURES"))

pytestmark = pytest.mark.browser


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    assert CHROMIUM, "no browser: set CHROMIUM to one, or install Debian's chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Eyes:
    """Looks at each page: nothing may be inaccessible, nothing may break the page's own rules."""

    def __init__(self, page: Page, folder: Path, *, scripts: bool) -> None:
        self.page, self.folder, self.scripts = page, folder, scripts
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)

    async def look(self, name: str) -> None:
        """Check the page that is open, and take its picture if asked."""
        if self.scripts:
            found = await Axe().run(self.page)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        assert self.faults == [], name
        if UPDATE and self.scripts:
            await self.page.screenshot(path=self.folder / f"{name}.png")


async def walk(company: Company, page: Page, eyes: Eyes, customer: Customer) -> None:
    """From the home page to the finished deletion, as a person clicks."""
    stack = company.stack
    await page.goto(f"{stack.url('website')}/")
    assert "privacy policy was updated" in await page.inner_text("body")
    await eyes.look("1-shop")
    await page.goto(f"{stack.url('website')}/privacy")
    await eyes.look("2-request")
    await page.fill("input[name=email]", customer.email)
    await page.click("main button[type=submit]")
    await eyes.look("3-requested")
    mail = await company.mail(customer.email, "/r/")
    link = next(each for each in mail["links"] if "/r/" in each)
    request = link.split("/r/")[1].split("/")[0]
    await page.goto(link)
    await eyes.look("4-is-this-you")
    await page.click("text=Yes, this is me")
    await eyes.look("5-account-goes-too")
    await page.click("text=Delete my data and my account")
    assert "about to start" in await page.inner_text("h1")
    await eyes.look("6-cooling-off")
    await company.closed(customer.email, request)
    await page.goto(link)
    assert "Your data is deleted" in await page.inner_text("h1")
    body = await page.inner_text("body")
    assert "Kept: invoices" in body
    assert "6001" in body
    await eyes.look("7-deleted")


@pytest.mark.promise(67, 68, 82, 84)
@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
async def test_a_person_gets_from_the_shop_to_the_end(company: Company, scripts: bool, tmp_path: Path) -> None:
    for material in (False, True):
        await company.revise(material=material)
    customer = await company.register("browser", order=True)
    async with chromium() as browser:
        context = await browser.new_context(viewport=DESK, java_script_enabled=scripts)  # type: ignore[arg-type]  # a TypedDict
        page = await context.new_page()
        eyes = Eyes(page, tmp_path, scripts=scripts)
        await walk(company, page, eyes, customer)
        await page.goto(f"{company.stack.url('consent')}/policy")
        assert "last revised" in (await page.inner_text("body")).lower()
        await eyes.look("8-policy")
        if UPDATE and scripts:
            await compose(browser, tmp_path)


async def compose(browser: Browser, folder: Path) -> None:
    """One picture of the story, small enough for the first screen of the README."""
    named: list[tuple[str, str]] = [
        ("1-shop", "The shop's notice"),
        ("2-request", "A request"),
        ("4-is-this-you", "The link in the mail"),
        ("7-deleted", "What was deleted, what is kept"),
    ]
    figures = "".join(
        f'<figure><img src="{(folder / f"{name}.png").as_uri()}"><figcaption>{title}</figcaption></figure>'
        for name, title in named
    )
    style = (
        "body{margin:0;padding:14px;display:grid;grid-template-columns:1fr 1fr;gap:14px;width:1000px}"
        "body{font:15px system-ui}"
        "figure{margin:0}img{width:100%;border:1px solid #bbb;border-radius:6px}figcaption{padding:4px 2px}"
    )
    page = await browser.new_page(viewport={"width": 1028, "height": 800})
    sheet = folder / "sheet.html"
    sheet.write_text(f"<!doctype html><style>{style}</style>{figures}")
    await page.goto(sheet.as_uri())
    await page.screenshot(path=PICTURES / "story.png", full_page=True)
