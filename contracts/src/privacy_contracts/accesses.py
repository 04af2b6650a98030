"""The `accesses.<system>` topics: personal data that somebody or something inside the company read."""

from typing import Annotated, ClassVar
from uuid import UUID

from privacy_contracts.envelope import Event, Part
from privacy_contracts.fields import Actor, Category, Code, Count, Hash, Known, Subject, SystemName, Time

Action = Annotated[Code, Known(("view", "search", "export"))]
AccessPurpose = Annotated[Code, Known(("request", "notice", "audit", "operation", "feed"))]
OperatorAction = Annotated[Code, Known(("dead_letter_shown", "dead_letter_replayed", "dead_letter_discarded"))]


class PersonalDataAccessed(Event):
    """Personal data was read. A search over many people carries the query's hash and the count instead of a subject."""

    type: ClassVar[str] = "personal_data.accessed"
    stream: ClassVar[str] = "accesses"

    access: UUID
    system: SystemName
    actor: Actor
    action: Action
    purpose: AccessPurpose
    categories: list[Category]
    subject_id: Subject | None = None
    query_hash: Hash | None = None
    results: Count | None = None
    case: UUID | None = None
    accessed_at: Time

    @property
    def topic(self) -> str:
        """The system's own topic."""
        return f"{self.stream}.{self.system}"

    @property
    def key(self) -> str:
        """The subject, or the access itself where there is none."""
        return self.subject_id or str(self.access)

    @property
    def subject(self) -> str:
        """The subject, or the access itself where there is none."""
        return self.subject_id or f"access/{self.access}"


class OperatorActed(Event):
    """An operator looked at, replayed or discarded a dead letter; `subject_id` is whom it is about, if anybody."""

    type: ClassVar[str] = "operator.acted"
    stream: ClassVar[str] = "accesses"

    act: UUID
    system: SystemName
    actor: Actor
    action: OperatorAction
    dead_letter: UUID
    reason: Code
    subject_id: Subject | None = None
    acted_at: Time

    @property
    def topic(self) -> str:
        """The system's own topic."""
        return f"{self.stream}.{self.system}"

    @property
    def key(self) -> str:
        """The dead letter."""
        return str(self.dead_letter)

    @property
    def subject(self) -> str:
        """The person, or the dead letter where it names none."""
        return self.subject_id or f"dead_letter/{self.dead_letter}"


class Renumbered(Part):
    """A topic of the system, and the last number that was given there, as the database and as Kafka had it.

    Where Kafka's is lower, the events between were lost from it; where it is higher, the database had lost them.
    """

    topic: Code
    database: Count
    log: Count


class MovedPosition(Part):
    """Where reading a partition goes on, and where it would have: what lies between is skipped, or read again."""

    topic: Code
    partition: Count
    was: Count
    now: Count


class ServiceRecovered(Event):
    """An operator made a service go on with a database and a Kafka of different ages, after one was restored."""

    type: ClassVar[str] = "service.recovered"
    stream: ClassVar[str] = "accesses"

    recovery: UUID
    system: SystemName
    actor: Actor
    reason: Code
    topics: list[Renumbered]
    positions: list[MovedPosition]
    recovered_at: Time

    @property
    def topic(self) -> str:
        """The system's own topic."""
        return f"{self.stream}.{self.system}"

    @property
    def key(self) -> str:
        """The recovery."""
        return str(self.recovery)

    @property
    def subject(self) -> str:
        """The recovery."""
        return f"recovery/{self.recovery}"
