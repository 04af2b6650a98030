"""Lists page by an opaque cursor."""

from typing import Annotated

from fastapi import Query

from audit.domain import reading
from chassis.problems import Problem

Cursor = Annotated[str | None, Query(max_length=256, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=1000)]


def place(query: reading.Query, cursor: str | None, start: reading.Place) -> reading.Place:
    """Where the page starts. Raises a 400 problem for a cursor that is not this list's."""
    if cursor is None:
        return start
    try:
        return reading.place_at(query, cursor)
    except reading.BadCursor:
        raise Problem(400, "bad-cursor", "The cursor is not one of this list's: start again without one") from None
