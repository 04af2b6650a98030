"""The privacy policy's versions: numbered from 1 without gaps, never changed once published, effective in order."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from consent.domain import Refusal
from privacy_contracts.policy import PolicyRevised

POLICY = "privacy"
"""The policy's name in events and in the database."""

CHANGES_TREATMENT = frozenset({"new_purpose", "new_recipient", "new_category", "rights_changed"})
"""Reasons that change how personal data is treated: a revision for one of these is material, and mailed."""


@dataclass(frozen=True)
class Version:
    """A published version."""

    version: int
    supersedes: int | None
    text: str
    text_hash: str
    summary: str
    material: bool
    reasons: tuple[str, ...]
    revised_on: date
    published_at: datetime
    effective_at: datetime
    announced_until: datetime


@dataclass(frozen=True)
class Present:
    """The newest published version."""

    version: int
    text_hash: str
    revised_on: date
    effective_at: datetime


@dataclass(frozen=True)
class Publish:
    """A text to publish. Without dates it was revised today and is effective at once.

    `announced_for` is how long the home page announces it, from its publication.
    """

    text: str
    material: bool
    reasons: tuple[str, ...]
    decided_by: str
    announced_for: timedelta
    revised_on: date | None = None
    effective_at: datetime | None = None


def sha256(text: str) -> str:
    """The SHA-256 of the text's UTF-8 bytes, as lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def publish(present: Present | None, command: Publish, now: datetime, today: date) -> PolicyRevised | Refusal:
    """The next version, or why not. `today` is the date in the company's time zone."""
    revised = PolicyRevised(
        policy=POLICY,
        version=present.version + 1 if present else 1,
        supersedes=present.version if present else None,
        text_hash=sha256(command.text),
        revised_on=command.revised_on or today,
        published_at=now,
        effective_at=command.effective_at or (max(now, present.effective_at) if present else now),
        announced_until=now + command.announced_for,
        material=command.material,
        reasons=list(command.reasons),
        decided_by=command.decided_by,
    )
    return next((Refusal(code) for code, holds in _objections(present, revised, today) if holds), revised)


def _objections(present: Present | None, revised: PolicyRevised, today: date) -> Iterator[tuple[str, bool]]:
    yield "effective-before-publication", revised.effective_at < revised.published_at
    yield "revised-in-future", revised.revised_on > today
    yield "material-by-reason", not revised.material and not CHANGES_TREATMENT.isdisjoint(revised.reasons)
    if present:
        yield "same-text", revised.text_hash == present.text_hash
        yield "effective-out-of-order", revised.effective_at < present.effective_at
        yield "revised-out-of-order", revised.revised_on < present.revised_on


@dataclass(frozen=True)
class Announcement:
    """What the home page tells about a version."""

    version: Version
    happened: Literal["published", "updated"]


def announce(newest: Version | None, now: datetime) -> Announcement | None:
    """The newest version, material or not, until the time that was set, and recorded, when it was published."""
    if newest is None or now >= newest.announced_until:
        return None
    return Announcement(newest, "updated" if newest.supersedes else "published")


@dataclass(frozen=True)
class Shown:
    """A version on its page. `in_force` is the number of the one that applies now.

    `applies_until` is there when that is this one, and another is to take its place.
    """

    version: Version
    newest: Version
    in_force: int | None
    applies_until: datetime | None


def show(versions: Sequence[Version], number: int | None, now: datetime) -> Shown | None:
    """The version with this number, without one the version published last. `versions` are all, from the newest."""
    version = next((each for each in versions if number in (None, each.version)), None)
    if version is None:
        return None
    in_force = next((each.version for each in versions if each.effective_at <= now), None)
    replaced = next((each.effective_at for each in versions if each.supersedes == version.version), None)
    return Shown(version, versions[0], in_force, replaced if version.version == in_force else None)
