"""What the mails say, and what they must never carry."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser
from typing import Any

import pytest

from chassis.testing import COMPANY
from notifier.domain.revisions import Revision
from notifier.letters import REASONS, Letter, Letters, message
from notifier.peers import KeptItem, OutstandingSystem

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REQUEST = "0199b2c4-0000-7000-8000-000000000000"
LINK = "https://privacy.example.com/r/0199b2c4-0000-7000-8000-000000000000/secret-" + "x" * 40
TEMPLATES = ("verification", "unknown_address", "completion", "policy_revised", "escalation")


def revision(version: int = 2, summary: str = "We name a new courier.\n\nNothing else changes.") -> Revision:
    return Revision(
        version=version,
        revised_on=date(2026, 11, 19),
        published_at=NOW,
        effective_at=datetime(2026, 12, 20, 7, 0, tzinfo=UTC),  # still the 19th in Los Angeles
        summary=summary,
        url="https://privacy.example.com/policy",
    )


def ended(letters: Letters, template: str = "completion", **given: Any) -> Letter:
    """A mail about a request; the last one as that of an account, of which every system has answered."""
    values = {"link": LINK, "account": True, "systems": [], "kept": [], "outstanding": [], "account_closed": False}
    return letters.write(template, values | given)


@pytest.fixture
def written(letters: Letters) -> Callable[..., Letter]:
    def write(template: str) -> Letter:
        if template == "policy_revised":
            return letters.revised([revision()])
        if template == "escalation":
            return letters.write(template, {"system": "orders", "request": REQUEST, "since": NOW})
        kept = [
            KeptItem(system="orders", category="invoices", legal_basis="us.irc.6001", until=date(2033, 12, 31)),
            KeptItem(system="audit", category="requests", legal_basis="us.ca.11ccr7101", until=date(2028, 12, 1)),
        ]
        return ended(letters, template, systems=["orders", "marketing", "accounts"], kept=kept)

    return write


class Loads(HTMLParser):
    """What a mail program would fetch, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in {"img", "script", "link", "iframe", "object", "embed", "video", "audio", "form"}:
            self.fetched.append(tag)
        if {"src", "srcset", "background", "ping", "action"} & given.keys() or "url(" in given.get("style", ""):
            self.fetched.append(f"{tag} {given}")
        if "href" in given:
            self.links.append(given["href"])


def loads(html: str) -> Loads:
    parser = Loads()
    parser.feed(html)
    return parser


@pytest.mark.promise(31)
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_loads_nothing_and_tracks_nobody(written: Callable[..., Letter], template: str) -> None:
    letter = written(template)
    found = loads(letter.html)
    assert found.fetched == []
    assert "@import" not in letter.html
    assert "url(" not in letter.html
    allowed = {LINK, f"mailto:{COMPANY.privacy_mailbox}", "https://privacy.example.com/policy"}
    assert set(found.links) <= allowed
    assert "http:" not in letter.text.replace(LINK, "")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_says_who_writes_and_why(written: Callable[..., Letter], template: str) -> None:
    letter = written(template)
    for body in (letter.text, letter.html):
        assert COMPANY.legal_name in body
        for line in COMPANY.postal_address[1:]:
            assert line in body
        assert COMPANY.privacy_mailbox in body
        assert "You get this mail because" in " ".join(body.split())
    assert "\n" not in letter.subject
    assert letter.subject


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_text_fits_a_narrow_window_and_no_link_is_broken(written: Callable[..., Letter], template: str) -> None:
    lines = written(template).text.splitlines()
    assert [line for line in lines if len(line) > 72 and not line.startswith("https://")] == []
    assert not re.search(r"\n{4,}", written(template).text)
    if template in ("verification", "unknown_address", "completion"):
        assert LINK in lines


@pytest.mark.promise(68)
def test_the_verification_mail_says_what_happens_and_what_does_not(written: Callable[..., Letter]) -> None:
    letter = written("verification")
    for body in (" ".join(letter.text.split()), " ".join(letter.html.split())):
        assert "changes nothing" in body
        assert "once more before the account itself goes" in body
        assert "take the request back until the deletion starts" in body
        assert LINK in body
        assert "not you" in body


@pytest.mark.promise(67)
def test_the_unknown_address_mail_is_honest_and_says_what_its_link_does(written: Callable[..., Letter]) -> None:
    letter = written("unknown_address")
    for body in (" ".join(letter.text.split()), " ".join(letter.html.split())):
        assert "no account with this as its primary address" in body
        assert "an order that you placed as a guest" in body
        assert "shows us that this mailbox is yours" in body
        assert "changes nothing yet" in body
        assert "in every system that we have" in body
        assert LINK in body
        assert "another address" in body
        assert "not you" in body
        assert "Nothing happens without your word" in body


def test_an_honest_mail_without_a_link_promises_none(letters: Letters) -> None:
    """A dsr of release 1 gives none."""
    letter = letters.write("unknown_address", {"link": None, "account": False, "systems": [], "kept": []})
    for body in (letter.text, letter.html):
        assert "no account" in " ".join(body.split())
        assert "None" not in body
        assert "The link" not in body


def test_the_escalation_mail_says_who_is_late_with_what_since_when_and_names_nobody(
    written: Callable[..., Letter],
) -> None:
    letter = written("escalation")
    assert letter.subject == "orders is late with a deletion"
    for body in (letter.text, letter.html):
        assert REQUEST in body
        assert "orders" in body
        assert "20 November 2026" in body
        assert "/r/" not in body


@pytest.mark.promise(70)
def test_the_completion_mail_says_what_went_what_stays_and_why(written: Callable[..., Letter]) -> None:
    letter = written("completion")
    for body in (" ".join(letter.text.split()), letter.html):
        assert "marketing" in body
        assert "orders" in body
        assert "until 31 December 2033" in body
        assert "because tax law asks for it (26 U.S.C. § 6001)" in body
        assert "caches and archives" in body
        assert "§7101" in body
        assert "§7022" in body
    assert "nvoices" in letter.html


def test_a_completion_mail_to_somebody_without_an_account_speaks_of_none_that_was_deleted(letters: Letters) -> None:
    letter = ended(letters, account=False, systems=["orders", "accounts"])
    assert "account" not in letter.subject
    for body in (" ".join(letter.text.split()), " ".join(letter.html.split())):
        assert "You have no account with us, so we looked for your address" in body
        assert "what they held about you is gone" in body
        for said_of_an_account in ("Your account", "your account", "the account is gone", "having been with us"):
            assert said_of_an_account not in body


@pytest.mark.promise(67)
@pytest.mark.parametrize("account", [True, False])
def test_a_last_mail_over_silent_systems_names_them_and_claims_no_end(letters: Letters, account: bool) -> None:
    orders = OutstandingSystem(system="orders", categories=["orders", "invoices"], reason="no_answer")
    letter = ended(letters, account=account, systems=["marketing", "accounts"], outstanding=[orders])
    assert letter.subject == f"Your {COMPANY.name} deletion request: not everything is deleted yet"
    for body in (" ".join(letter.text.split()), " ".join(letter.html.split())):
        assert "not every one of our systems has confirmed that it is done" in body
        assert "holds: orders, invoices," in body
        assert "not confirmed because it has not answered us" in body
        assert "We remain obliged to delete what these systems hold" in body
        assert "§7022" in body
        assert ("The account is gone." in body) is account
        assert ("For them alone we keep your address" in body) is not account
        for claim in ("It is done", "has been done"):
            assert claim not in body


@pytest.mark.parametrize("reason", ["technical_fault", "of_tomorrow"])
def test_a_last_mail_says_of_no_account_that_it_is_gone_while_accounts_is_silent(letters: Letters, reason: str) -> None:
    accounts = OutstandingSystem(system="accounts", categories=["identity"], reason=reason)
    letter = ended(letters, systems=["orders"], outstanding=[accounts])
    for body in (" ".join(letter.text.split()), " ".join(letter.html.split())):
        assert "The account itself is not confirmed as deleted." in body
        assert "account is gone" not in body
        assert f"because {REASONS.get(reason, 'of tomorrow')}" in body


def test_a_last_mail_about_an_account_that_was_closed_asks_for_no_credit_of_the_persons(letters: Letters) -> None:
    letter = ended(letters, systems=["orders", "marketing"], account_closed=True)
    assert letter.subject == f"Your data at {COMPANY.name} is deleted"
    for body in (" ".join(letter.text.split()), " ".join(letter.html.split())):
        assert "Your account was closed, so we asked every other system of ours" in body
        assert "what these systems held is gone" in body
        assert "You asked us" not in body
        assert "You get this mail because your account was closed." in body


def test_a_completion_mail_without_exceptions_promises_none(letters: Letters) -> None:
    letter = ended(letters, link=None, systems=["accounts"])
    assert "except" not in letter.text
    assert "What is kept, by whom" not in letter.html + letter.text
    assert "See each step" not in letter.html


def test_a_legal_basis_and_a_category_that_are_new_are_shown_by_their_code(letters: Letters) -> None:
    kept = [KeptItem(system="archive", category="scans", legal_basis="us.new.law", until=date(2030, 1, 1))]
    letter = ended(letters, link=None, systems=["archive"], kept=kept)
    assert "because a law asks for it (us.new.law)" in letter.text
    assert "kept by: archive" in letter.text


@pytest.mark.promise(84)
def test_the_policy_mail_says_what_changed_and_from_when(written: Callable[..., Letter]) -> None:
    letter = written("policy_revised")
    for body in (letter.text, letter.html):
        assert "We name a new courier." in body
        assert "Nothing else changes." in body
        assert "19 November 2026" in body
        assert "in effect from 19 December 2026" in body  # where the company is
        assert "https://privacy.example.com/policy" in body
        assert "not advertising" in body


@pytest.mark.promise(83)
def test_a_policy_mail_for_two_revisions_lists_both(letters: Letters) -> None:
    letter = letters.revised([revision(2, "A new courier."), revision(3, "A new purpose.")])
    for body in (letter.text, letter.html):
        assert body.index("version 2") < body.index("A new courier.") < body.index("version 3")
        assert "A new purpose." in body


def test_what_a_value_holds_is_shown_and_not_obeyed(letters: Letters) -> None:
    letter = letters.revised([revision(summary='<img src="https://example.org/x"> & {{ company.sender }}')])
    assert loads(letter.html).fetched == []
    assert "&lt;img src=" in letter.html
    assert "{{ company.sender }}" in letter.text


def test_a_message_can_be_read_by_any_mail_program(written: Callable[..., Letter]) -> None:
    letter = written("verification")
    content = message(letter, "one@example.com", "<id@example.com>", NOW)
    assert max(len(line) for line in content.split(b"\r\n")) <= 78
    assert b"\n" not in content.replace(b"\r\n", b"")
    read = message_from_bytes(content, policy=default)
    assert not read.defects
    assert read["From"] == "Sample Express <privacy@example.com>"
    assert read["To"] == "one@example.com"
    assert read["Message-ID"] == "<id@example.com>"
    assert read["Auto-Submitted"] == "auto-generated"
    assert read["Reply-To"] == "privacy@example.com"
    assert read["Date"].datetime == NOW
    assert read["List-Unsubscribe"] is None  # nobody can leave the circle of those who must be told
    text, html = read.get_body(("plain",)), read.get_body(("html",))
    assert text is not None
    assert html is not None
    assert LINK in text.get_content()
    assert LINK in html.get_content()


@pytest.mark.parametrize("to", ["one@example.com\r\nBcc: two@example.com", "one@example.com\nX: y"])
def test_a_header_holds_one_line(written: Callable[..., Letter], to: str) -> None:
    with pytest.raises(ValueError, match="may not contain linefeed"):
        message(written("verification"), to, "<id@example.com>", NOW)


def test_a_subject_holds_one_line(written: Callable[..., Letter]) -> None:
    letter = Letter(COMPANY, "Hello\r\nBcc: two@example.com", "x", "x")
    with pytest.raises(ValueError, match="may not contain linefeed"):
        message(letter, "one@example.com", "<id@example.com>", NOW)
