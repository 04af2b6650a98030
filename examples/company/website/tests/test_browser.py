"""The pages in Chromium: accessible, narrow and wide, and whole without JavaScript."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, sync_playwright

from .conftest import Upstream

ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = pytest.mark.browser


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=ARGS
        )
        yield chromium
        chromium.close()


def test_every_page_is_accessible_and_fits_every_width(
    site: str, upstream: Upstream, browser: Browser, tmp_path: Path
) -> None:
    pictures = Path(os.environ.get("PICTURES", tmp_path))
    console: list[ConsoleMessage] = []
    for width in (360, 1280):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.on("console", lambda said: console.append(said))  # noqa: PLW0108 - playwright sets an attribute on it
        for path in ("/", "/register", "/privacy", "/choices"):
            page.goto(site + path)
            assert Axe().run(page).response["violations"] == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            page.screenshot(path=pictures / f"website{path.replace('/', '-')}-{width}.png", full_page=True)
        page.close()
    assert [said.text for said in console if said.type == "error"] == []  # such as a breach of the page's own policy


def test_the_forms_work_without_javascript(site: str, upstream: Upstream, browser: Browser) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(site)
    page.get_by_role("link", name="Open an account").first.click()
    page.get_by_label("Name", exact=True).fill("Ann")
    page.get_by_label("E-mail address", exact=True).fill("ann@example.com")
    page.get_by_label("Where you live").select_option("US-CA")
    page.get_by_label("advertising partners").check()
    page.get_by_role("button", name="Open the account").click()
    assert page.get_by_role("heading", name="Welcome").is_visible()
    assert upstream.bodies("/consent/v1/choices")[0]["choice"] == "granted"

    page.goto(f"{site}/choices")
    page.get_by_label("E-mail address", exact=True).fill("ann@example.com")
    page.get_by_label("Stop giving my details").check()
    page.get_by_role("button", name="Save my choice").click()
    assert page.get_by_role("heading", name="Saved").is_visible()

    page.goto(f"{site}/privacy")
    page.get_by_label("E-mail address", exact=True).fill("ann@example.com")
    page.get_by_role("button", name="Ask for deletion").click()
    assert page.get_by_role("heading", name="Look in your mailbox").is_visible()
    assert upstream.bodies("/dsr/v1/requests") == [{"type": "delete", "email": "ann@example.com"}]


def test_a_form_with_a_fault_is_accessible(site: str, upstream: Upstream, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{site}/choices")
    page.get_by_label("E-mail address", exact=True).fill("ann@example.com")
    page.get_by_role("button", name="Save my choice").click()
    assert page.get_by_role("alert").is_visible()
    assert Axe().run(page).response["violations"] == []
