"""Reading the record: where a list goes on, and what is recorded about whoever reads."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from privacy_contracts.accesses import PersonalDataAccessed

_SUBJECT = re.compile(r"(account|device|request)/[A-Za-z0-9_-]{1,56}")
_SUB = re.compile(r"[a-z0-9][a-z0-9_.-]{0,55}")


class BadCursor(Exception):
    """The cursor is not one of this list's. Start again without one."""


@dataclass(frozen=True)
class Query:
    """What somebody asks for. Every part that is given must hold."""

    of: str
    request: UUID | None = None
    subject: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    index: int | None = None
    open: bool | None = None

    def digest(self) -> str:
        """SHA-256 over what was asked, as lower-case hex."""
        asked = {name: str(value) for name, value in vars(self).items() if value is not None}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Access:
    """Who reads (the `sub` of a token), what is asked, and when. The purpose is the audit; a case is the query's."""

    reader: str
    query: Query
    at: datetime


def is_too_wide(query: Query) -> bool:
    """Whether a search could give out the whole record: it names neither a request, nor a subject, nor both times."""
    return query.request is None and query.subject is None and (query.since is None or query.until is None)


@dataclass(frozen=True)
class Place:
    """Where a page starts: after this number, and below `end`, which every page of one reading shares.

    Reading adds entries to what is read; the shared end is what lets a reading come to one.
    """

    after: int
    end: int


def cursor(query: Query, place: Place) -> str:
    """An opaque text that `place_at` turns back, for the same query only."""
    return base64.urlsafe_b64encode(json.dumps([place.after, place.end, query.digest()[:16]]).encode()).decode()


def place_at(query: Query, text: str) -> Place:
    """The place that a cursor names. Raises `BadCursor`."""
    try:
        after, end, digest = json.loads(base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    if type(after) is not int or type(end) is not int or digest != query.digest()[:16]:
        raise BadCursor
    if not -1 <= after <= end < 2**62:
        raise BadCursor
    return Place(after, end)


def accessed(
    read: UUID, access: Access, subjects: Iterable[str | None], results: int, holds: Sequence[str]
) -> PersonalDataAccessed:
    """The record of one reading that gives `results` rows about `subjects`.

    `holds` are the categories that an answer about persons may hold; findings are about nobody. The person is named
    when the question or the answer is about that one person alone.
    """
    query = access.query
    return PersonalDataAccessed(
        access=read,
        system="audit",
        actor=_actor(access.reader),
        action="view" if query.index is not None else "search",
        purpose="audit",
        categories=[] if query.of == "findings" else list(holds),
        subject_id=query.subject if query.subject and _SUBJECT.fullmatch(query.subject) else _person(subjects),
        query_hash=query.digest(),
        results=results,
        case=query.request,
        accessed_at=access.at,
    )


def _person(subjects: Iterable[str | None]) -> str | None:
    """The one account or device among the subjects, else the one requester; None when there are more, or none."""
    persons = {subject for subject in subjects if subject and _SUBJECT.fullmatch(subject)}
    known = {person for person in persons if not person.startswith("request/")} or persons
    return known.pop() if len(known) == 1 else None


def _actor(reader: str) -> str:
    """`staff/<sub>`; a `sub` of another shape stands as the start of its hash."""
    return f"staff/{reader if _SUB.fullmatch(reader) else hashlib.sha256(reader.encode()).hexdigest()[:16]}"
