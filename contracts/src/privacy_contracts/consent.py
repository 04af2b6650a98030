"""The `consent` topic: choices as they were made, and every decision whether a disclosure may happen."""

from typing import Annotated, ClassVar
from uuid import UUID

from privacy_contracts.envelope import Event
from privacy_contracts.fields import Channel, Choice, Code, Hash, Known, Purpose, Subject, SystemName, Time, Version

DecisionReason = Annotated[Code, Known(("granted", "refused", "withdrawn", "no_choice", "deleted"))]


class ConsentChanged(Event):
    """A person chose. Refusals are evidence as much as grants; `version` counts per subject and purpose."""

    type: ClassVar[str] = "consent.changed"
    stream: ClassVar[str] = "consent"

    subject_id: Subject
    purpose: Purpose
    choice: Choice
    version: Version
    text_hash: Hash
    channel: Channel
    received_at: Time
    policy_version: Version | None = None

    @property
    def key(self) -> str:
        """The subject."""
        return self.subject_id

    @property
    def subject(self) -> str:
        """The subject."""
        return self.subject_id


class DisclosureDecided(Event):
    """Somebody asked whether this person's data may go to this recipient for this purpose, and was told."""

    type: ClassVar[str] = "disclosure.decided"
    stream: ClassVar[str] = "consent"

    decision: UUID
    subject_id: Subject
    recipient: Code
    purpose: Purpose
    allowed: bool
    reason: DecisionReason
    consent_version: Version | None = None
    policy_version: Version | None = None
    asked_by: SystemName
    decided_at: Time

    @property
    def key(self) -> str:
        """The subject."""
        return self.subject_id

    @property
    def subject(self) -> str:
        """The subject."""
        return self.subject_id
