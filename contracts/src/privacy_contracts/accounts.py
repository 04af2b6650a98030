"""The `accounts` topic: full state per account with a version, or deleted. The only stream with personal data."""

from typing import Annotated, ClassVar

from pydantic import FieldSerializationInfo, StringConstraints, field_serializer

from privacy_contracts.envelope import Event
from privacy_contracts.fields import AccountId, Count, Personal, Time, Version

Region = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
"""ISO 3166: a country, or a country and its subdivision (`US-CA`)."""


class AccountStated(Event):
    """The whole present state of an account; a higher version replaces a lower one."""

    type: ClassVar[str] = "account.stated"
    stream: ClassVar[str] = "accounts"

    id: AccountId
    version: Version
    email: Personal[str]
    name: Personal[str]
    region: Region | None = None
    registered_at: Time

    @field_serializer("email", "name")
    def _reveal(self, value: Personal[str], info: FieldSerializationInfo) -> str | Personal[str]:
        """In the body that goes to the topic, and nowhere else."""
        return value.get_secret_value() if info.mode == "json" else value

    @property
    def key(self) -> str:
        """The account."""
        return self.id

    @property
    def subject(self) -> str:
        """The account, as a subject."""
        return f"account/{self.id}"


class AccountDeleted(Event):
    """The account is gone; no later state may bring it back."""

    type: ClassVar[str] = "account.deleted"
    stream: ClassVar[str] = "accounts"

    id: AccountId
    version: Version
    deleted_at: Time

    @property
    def key(self) -> str:
        """The account."""
        return self.id

    @property
    def subject(self) -> str:
        """The account, as a subject."""
        return f"account/{self.id}"


class Heartbeat(Event):
    """An append without content, so that the broker rolls the segment and compaction erases what was deleted.

    A record's partition follows from its key's hash; `salt` is the smallest number with which the key reaches
    `partition`.
    """

    type: ClassVar[str] = "accounts.heartbeat"
    stream: ClassVar[str] = "accounts"

    partition: Count
    salt: Count = 0
    at: Time

    @property
    def key(self) -> str:
        """One per partition, so that compaction keeps one."""
        return f"heartbeat/{self.partition}" + (f"/{self.salt}" if self.salt else "")

    @property
    def subject(self) -> str:
        """The partition."""
        return self.key
