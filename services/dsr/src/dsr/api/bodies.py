"""What bodies and lists have in common: nothing unknown is taken, no error repeats the input, a cursor goes on."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Protocol
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, BeforeValidator, ConfigDict

Limit = Annotated[int, Query(ge=1, le=200)]


def _place(cursor: object) -> object:
    return UUID(bytes=urlsafe_b64decode(f"{cursor}==")) if isinstance(cursor, str) else cursor


Cursor = Annotated[UUID | None, BeforeValidator(_place)]
"""`next` of the page before; callers only hand it back."""


class Body(BaseModel):
    """What somebody sends."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Listed(Protocol):
    """What a list is ordered by."""

    @property
    def id(self) -> UUID: ...  # noqa: D102 - the name speaks


def following(found: Sequence[Listed], limit: int) -> str | None:
    """The cursor of the next page, where one more than `limit` was found."""
    return urlsafe_b64encode(found[limit - 1].id.bytes).decode().rstrip("=") if len(found) > limit else None
