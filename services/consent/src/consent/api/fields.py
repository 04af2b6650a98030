"""The kinds of value that requests carry. Closed where the events are open: a mistyped purpose must not pass for a
choice that then nobody obeys."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Path
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

Purpose = Literal["third_party_marketing", "own_marketing", "targeted_advertising"]
Channel = Literal["website", "form", "profile", "email", "post"]
Choice = Literal["granted", "refused", "withdrawn"]
RevisionReason = Literal[
    "first_version", "typo", "clarified", "new_purpose", "new_recipient", "new_category", "rights_changed"
]

Words = Annotated[str, StringConstraints(min_length=1, max_length=40_000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
"""Text that is not blank; Postgres stores no NUL."""
ShortWords = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]

Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
"""A time with its offset, within what the database can hold."""

VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]


def opaque(place: str) -> str:
    """A place in a list, as a cursor that callers only hand back."""
    return urlsafe_b64encode(place.encode()).decode()


def _revealed(cursor: object) -> object:
    return urlsafe_b64decode(cursor).decode() if isinstance(cursor, str) else cursor


Reveal = BeforeValidator(_revealed)
"""Reads a cursor that `opaque` made; anything else is no valid value (`ValueError`)."""


class Body(BaseModel):
    """A request body: unknown members are refused, and no error repeats the input."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)
