"""The kinds of value that an event may carry.

A field is an id, an open enumeration, a time, a hash, a number or a pattern-bound code. Free text and values about a
person travel over HTTP, never on a topic; `Personal` is for the accounts stream alone. The contract tests walk every
field and refuse a plain `str`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, Field, GetJsonSchemaHandler, Secret, StringConstraints
from pydantic_core import CoreSchema

T = TypeVar("T")

CODE = r"^[a-z][a-z0-9_.-]{0,63}$"

Code = Annotated[str, StringConstraints(pattern=CODE)]
"""A machine-readable word: lower case, at most 64 characters."""

AccountId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,48}$")]
"""An account's opaque id, chosen by the accounts system."""

Subject = Annotated[str, StringConstraints(pattern=r"^(account|device|request)/[A-Za-z0-9_-]{1,56}$", max_length=64)]
"""Whom an event is about: `account/<id>`, `device/<uuid>` or `request/<id>` (a requester without an account)."""

RequestId = UUID
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 as lower-case hex."""

Actor = Annotated[str, StringConstraints(pattern=r"^(person|staff|service|system)(/[a-z0-9][a-z0-9_.-]{0,55})?$")]
"""Who did it: `person` (the subject), `staff/<pseudonymous id>`, `service/<name>` or `system/<name>`."""

Evidence = Annotated[str, StringConstraints(pattern=r"^([A-Z]{1,10}(-)?[0-9]{1,12}|[0-9a-f]{64})$")]
"""Where it can be looked up that staff did it: a ticket's number, as `SUP-1042`, or the SHA-256 of a document."""

SystemName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""A name in `systems.toml`."""

LARGEST = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 7493, 2.2); it fits Postgres' bigint."""

Count = Annotated[int, Field(ge=0, le=LARGEST)]
Version = Annotated[int, Field(ge=1, le=LARGEST)]
"""A counter that only grows, from 1."""

Time = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
"""A time with its offset, within what every database and calendar can hold: one that none can would make a record that
nobody can read out again."""


@dataclass(frozen=True)
class Known:
    """Documents the values of an open enumeration that exist today; others are valid, so that old readers survive."""

    values: tuple[str, ...]

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Put the known values beside the pattern."""
        return {**handler(schema), "x-known-values": list(self.values)}


class Personal(Secret[T]):
    """A value about a person. It shows as `***` in repr, logs and validation errors; `get_secret_value()` opens it."""

    def _display(self) -> str:
        return "***"

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Mark the field, so that readers of the schema alone know it too."""
        return {**handler(schema), "x-personal": True}


RequestType = Annotated[Code, Known(("delete",))]
Channel = Annotated[Code, Known(("website", "form", "profile", "email", "post"))]
Stage = Annotated[Code, Known(("company", "own", "accounts"))]
Outcome = Annotated[Code, Known(("completed", "not_verified", "not_confirmed"))]
Purpose = Annotated[Code, Known(("third_party_marketing", "own_marketing", "targeted_advertising"))]
Choice = Annotated[Code, Known(("granted", "refused", "withdrawn"))]
Category = Annotated[
    Code,
    Known(
        ("contact", "identity", "orders", "invoices", "marketing", "correspondence", "choices", "requests", "notices")
    ),
]
