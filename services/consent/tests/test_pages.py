"""The policy page: what it says, and how it looks and behaves in a browser."""

import os
import re
import shutil
import tomllib
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Route, async_playwright

from chassis.testing import START

SAMPLES = Path(__file__).parents[3] / "examples/company/policy"
REVISIONS = tomllib.loads((SAMPLES / "revisions.toml").read_text("utf-8"))["revision"]


async def publish_samples(consent: Any) -> None:
    """The sample company's three texts, a week apart."""
    for revision in REVISIONS:
        text = (SAMPLES / revision["file"]).read_text("utf-8")
        answer = await consent.publish(text, **{name: revision[name] for name in ("summary", "material", "reasons")})
        assert answer.status_code == 201
        consent.advance(days=7)


def words(html: str) -> str:
    """What a reader sees, in one line."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.S)))


async def test_before_the_first_version_the_page_says_so(consent: Any) -> None:
    for path in ("/policy", "/policy/1", "/policy/1/text"):
        page = await consent.http.get(path)
        assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "has not published a privacy policy here yet" in words((await consent.http.get("/policy")).text)


@pytest.mark.promise(84)
async def test_the_date_of_the_last_revision_stands_at_the_top(consent: Any) -> None:
    await consent.publish("# Policy\n\nLast updated: 1 January 1999\n", revised_on="2020-07-10")
    main = (await consent.http.get("/policy")).text.split("<main")[1]
    assert "Policy Last revised on 10 July 2020" in words("<" + main)[:80]
    assert main.index("10 July 2020") < main.index("<article")


@pytest.mark.promise(81)
async def test_the_page_shows_the_version_published_last_with_its_fingerprint(consent: Any) -> None:
    await consent.publish("# One")
    published = (await consent.publish("# Two\n\nNewer words.")).json()
    page = (await consent.http.get("/policy")).text
    assert "Newer words." in page
    assert published["text_hash"] in page
    assert 'href="/policy/2/text"' in page


@pytest.mark.promise(81)
async def test_earlier_versions_stay_to_be_read_and_say_what_they_are(consent: Any) -> None:
    await publish_samples(consent)
    present = (await consent.http.get("/policy")).text
    assert [f'href="/policy/{n}"' in present for n in (1, 2, 3)] == [True, True, False]
    earlier = await consent.http.get("/policy/1")
    assert earlier.status_code == 200
    assert "This is version 1, an earlier one. Read the present version , revised on 4 December 2026." in words(
        earlier.text
    )
    assert "becuase" in earlier.text
    assert "becuase" not in present
    assert "What changed in this version" in present
    assert "What changed in this version" not in earlier.text


async def test_a_version_that_is_not_yet_in_effect_names_the_one_that_is(consent: Any) -> None:
    await consent.publish("one")
    await consent.publish("two", effective_at=(START + timedelta(days=30)).isoformat())
    newest, earlier = await consent.http.get("/policy"), await consent.http.get("/policy/1")
    assert "This version takes effect on 20 December 2026. Until then, version 1 applies." in words(newest.text)
    assert "This is version 1, an earlier one. It applies until 20 December 2026." in words(earlier.text)
    consent.advance(days=30)
    assert "takes effect" not in (await consent.http.get("/policy")).text
    assert "It applies until" not in (await consent.http.get("/policy/1")).text


async def test_a_version_applies_until_the_next_and_not_until_the_last_of_several(consent: Any) -> None:
    await consent.publish("one")
    for text, days in (("two", 10), ("three", 30)):
        await consent.publish(text, effective_at=(START + timedelta(days=days)).isoformat())
    assert "It applies until 30 November 2026." in words((await consent.http.get("/policy/1")).text)
    assert "It applies until" not in (await consent.http.get("/policy/2")).text


async def test_no_such_version_is_a_page_too(consent: Any) -> None:
    await consent.publish()
    for number in ("0", "2", "x", "99999999999", "%3Cscript%3E"):
        page = await consent.http.get(f"/policy/{number}")
        assert (page.status_code, "There is no version" in page.text, "<script" in page.text) == (404, True, False)


async def test_a_text_cannot_bring_scripts_or_load_anything(consent: Any) -> None:
    await consent.publish("# A\n\n<script>alert(1)</script> ![x](https://example.com/x.gif)\n")
    page = await consent.http.get("/policy")
    assert "<script" not in page.text
    assert "<img" not in page.text
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert set(policy) == {"default-src", "base-uri", "form-action", "frame-ancestors", "style-src"}


def test_the_samples_differ_as_their_revisions_say() -> None:
    first, typo, material = ((SAMPLES / each["file"]).read_text("utf-8").splitlines() for each in REVISIONS)
    assert [(a, b) for a, b in zip(first, typo, strict=True) if a != b and a.replace("becuase", "because") != b] == []
    assert len(set(material) - set(typo)) == 2
    assert [each["material"] for each in REVISIONS] == [False, False, True]


SITE = "http://consent.example.com"


async def answered_by(consent: Any, page: Page) -> list[str]:
    """Let the service answer what the page asks for; the list fills with the paths."""
    asked: list[str] = []

    async def answer(route: Route) -> None:
        asked.append(route.request.url.removeprefix(SITE))
        got = await consent.http.get(asked[-1])
        await route.fulfill(status=got.status_code, headers=dict(got.headers), body=got.content)

    await page.route("**/*", answer)
    return asked


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert chromium, "set CHROMIUM to a Chromium or Chrome binary"
    quiet = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *(f"--{each}" for each in quiet)]
        )
        yield launched
        await launched.close()


LOOKS: list[tuple[int, Literal["light", "dark"]]] = [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")]


@pytest.mark.browser
class TestInABrowser:
    async def test_is_accessible_fits_and_keeps_to_its_policy(self, consent: Any, browser: Browser) -> None:
        await publish_samples(consent)
        said: list[str] = []
        for width, scheme in LOOKS:
            page = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.on("console", lambda message: said.append(message.text))
            asked = await answered_by(consent, page)
            for path in ("/policy", "/policy/1"):
                await page.goto(f"{SITE}{path}")
                bar = await page.eval_on_selector(".bar", "bar => getComputedStyle(bar).borderTopColor")
                assert bar == "rgb(11, 92, 173)"  # the style was let through, in the company's colour
                assert await page.evaluate("document.documentElement.scrollWidth") <= width
                found = await Axe().run(page)
                assert found.response["violations"] == []
                assert len(await page.query_selector_all("h1")) == 1
            assert asked == ["/policy", "/policy/1"]
            await page.close()
        assert said == []

    async def test_reads_without_scripts_and_leads_to_its_sections(self, consent: Any, browser: Browser) -> None:
        await publish_samples(consent)
        page = await browser.new_page(java_script_enabled=False)
        await answered_by(consent, page)
        await page.goto(f"{SITE}/policy")
        await page.click("nav >> text=Seeing, correcting and deleting")
        assert page.url.endswith("#seeing-correcting-and-deleting")
        await page.click("text=Version 1")
        assert "an earlier one" in await page.inner_text("main")
