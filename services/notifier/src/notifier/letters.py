"""What a mail says: templates in files, as text and as HTML, and the message around them.

Nothing in a mail is loaded from elsewhere, and nothing in it tells anybody that it was opened. Values are escaped in
HTML; a header can hold one line only (the message refuses others).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from functools import cached_property
from textwrap import TextWrapper
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from chassis.settings import Company
from notifier.domain.revisions import Revision
from notifier.peers import KeptItem

WIDTH = 72

LAWS = {
    "us.irc.6001": "tax law asks for it (26 U.S.C. § 6001)",
    "us.ca.11ccr7101": "privacy law asks us to be able to show what we did (11 CCR § 7101)",
    "us.ca.civ1798.105d8": "another law asks for it (Cal. Civ. Code § 1798.105(d)(8))",
}
"""Legal bases in words, the same as on the pages; one that is not here is shown by its code."""

CATEGORIES = {
    "contact": "mail address",
    "identity": "name and sign-in",
    "orders": "orders",
    "invoices": "invoices",
    "marketing": "marketing lists",
    "correspondence": "letters and calls with our support",
    "choices": "privacy choices",
    "requests": "the record of privacy requests",
    "notices": "the record of mails sent",
}
"""Categories in words, the same as on the pages; one that is not here is shown by its code."""

SYSTEMS = {
    "accounts": "customer accounts",
    "audit": "audit record",
    "consent": "privacy choices",
    "dsr": "request desk",
    "notifier": "notices by mail",
    "support": "support desk",
}
"""Systems whose names say little outside the company; any other is shown as it is called. The same as on the
pages."""


REASONS = {
    "no_answer": "it has not answered us",
    "system_retired": "it is not in use any more and could not be asked",
    "technical_fault": "a technical fault keeps it from answering",
}
"""Why an officer went on without a system's answer, in words, the same as on the pages."""


@dataclass(frozen=True)
class Letter:
    """A mail's subject and its two bodies, before it has a recipient."""

    company: Company
    subject: str
    text: str
    html: str

    @cached_property
    def same_for_all(self) -> bytes:
        """Headers and bodies that do not depend on the recipient: encoded once, however many a mailing reaches.

        `Auto-Submitted` asks other machines not to answer (RFC 3834 5). Raises `ValueError` when a header would hold
        more than one line.
        """
        mail = EmailMessage(policy=SMTP)
        mail["From"] = Address(self.company.name, addr_spec=self.company.sender)
        mail["Reply-To"] = self.company.privacy_mailbox
        mail["Subject"] = self.subject
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(self.text)
        mail.add_alternative(self.html, subtype="html")
        return mail.as_bytes()


class Letters:
    """The templates, with the company's own facts filled in."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._written: dict[tuple[int, ...], Letter] = {}
        self._zone = ZoneInfo(company.time_zone)
        self._templates = Environment(
            loader=PackageLoader("notifier"),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._templates.globals["company"] = company
        filters: dict[str, Callable[..., Any]] = {
            "day": self._day,
            "law": lambda code: LAWS.get(code, f"a law asks for it ({code})"),
            "category": lambda code: CATEGORIES.get(code, code.replace("_", " ")),
            "system": lambda name: SYSTEMS.get(name, name.replace("-", " ")),
            "reason": lambda code: REASONS.get(code, code.replace("_", " ")),
            "gathered": _gathered,
            "wrap": _wrap,
            "paragraphs": _paragraphs,
        }
        self._templates.filters.update(filters)

    def write(self, template: str, values: Mapping[str, Any]) -> Letter:
        """Fill in a template. Its text begins with the line `Subject: ...`."""
        head, _, text = self._templates.get_template(f"{template}.txt").render(values).partition("\n")
        subject = head.removeprefix("Subject:").strip()
        html = self._templates.get_template(f"{template}.html").render(values, subject=subject)
        return Letter(self._company, subject, text.strip() + "\n", html)

    def revised(self, revisions: Sequence[Revision]) -> Letter:
        """The mail about one or more versions, oldest first; the same for every account, so it is written once."""
        key = tuple(each.version for each in revisions)
        if key not in self._written:
            self._written[key] = self.write("policy_revised", {"revisions": revisions, "latest": revisions[-1]})
        return self._written[key]

    def _day(self, when: date) -> str:
        """`23 November 2026`; a moment is told as the day it falls on where the company is."""
        day = when.astimezone(self._zone) if isinstance(when, datetime) else when
        return f"{day.day} {day:%B %Y}"


def message(letter: Letter, to: str, message_id: str, now: datetime) -> bytes:
    """The mail as it is handed over. Raises `ValueError` when a header would hold more than one line."""
    head = EmailMessage(policy=SMTP if to.isascii() else SMTPUTF8)
    head["To"] = to
    head["Date"] = format_datetime(now)
    head["Message-ID"] = message_id
    return head.as_bytes().removesuffix(b"\r\n") + letter.same_for_all


def _gathered(kept: Sequence[KeptItem]) -> list[tuple[str, str, date, list[str]]]:
    """What is kept, one line for all systems that keep the same for the same time under the same law."""
    found: dict[tuple[str, str, date], list[str]] = {}
    for item in kept:
        found.setdefault((item.category, item.legal_basis, item.until), []).append(item.system)
    return [(*what, by) for what, by in found.items()]


def _paragraphs(text: str) -> Sequence[str]:
    return [" ".join(each.split()) for each in text.replace("\r\n", "\n").split("\n\n") if each.strip()]


def _wrap(text: str, indent: int = 0) -> str:
    """Lines of at most 72 characters; a link is never broken."""
    margin = " " * indent
    lines = TextWrapper(
        WIDTH, initial_indent=margin, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
    )
    return "\n\n".join(map(lines.fill, _paragraphs(text)))
