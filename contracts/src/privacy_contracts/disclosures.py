"""The `disclosures.<system>` topics: personal data that went to a recipient, and what was refused."""

from typing import Annotated, ClassVar
from uuid import UUID

from privacy_contracts.envelope import Event
from privacy_contracts.fields import Category, Code, Known, Purpose, Subject, SystemName, Time, Version

RecipientClass = Annotated[Code, Known(("third_party", "service_provider", "subject"))]
DisclosureBasis = Annotated[Code, Known(("consent", "request_of_subject", "legal_notice"))]
Method = Annotated[Code, Known(("email", "file", "page", "api"))]


class _DisclosureEvent(Event):
    stream: ClassVar[str] = "disclosures"

    disclosure: UUID
    system: SystemName
    subject_id: Subject
    recipient: Code
    purpose: Purpose

    @property
    def topic(self) -> str:
        """The system's own topic."""
        return f"{self.stream}.{self.system}"

    @property
    def key(self) -> str:
        """The subject."""
        return self.subject_id

    @property
    def subject(self) -> str:
        """The subject."""
        return self.subject_id


class PersonalDataDisclosed(_DisclosureEvent):
    """Recorded in the transaction of the effect. `case` is the request or notice it happened for."""

    type: ClassVar[str] = "personal_data.disclosed"

    recipient_class: RecipientClass
    categories: list[Category]
    basis: DisclosureBasis
    method: Method
    case: UUID | None = None
    decision: UUID | None = None
    consent_version: Version | None = None
    policy_version: Version | None = None
    disclosed_at: Time


class DisclosureRefused(_DisclosureEvent):
    """The data stayed where it was; `decision` names consent's answer."""

    type: ClassVar[str] = "disclosure.refused"

    reason: Code
    decision: UUID
    refused_at: Time
