"""The `policy` topic: each version of the privacy policy, as a fact."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from privacy_contracts.envelope import Event
from privacy_contracts.fields import Actor, Code, Hash, Known, Time, Version

PolicyName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
"""Which of the company's policies; short enough for `policy/<name>` to be a subject."""

RevisionReason = Annotated[
    Code,
    Known(("first_version", "typo", "clarified", "new_purpose", "new_recipient", "new_category", "rights_changed")),
]


class PolicyRevised(Event):
    """A version was published; it never changes afterwards. Text travels over HTTP, its hash here.

    The home page announces it until `announced_until`, or until a newer version is published, whichever comes first.
    """

    type: ClassVar[str] = "policy.revised"
    stream: ClassVar[str] = "policy"

    policy: PolicyName
    version: Version
    supersedes: Version | None = None
    text_hash: Hash
    revised_on: date
    published_at: Time
    effective_at: Time
    announced_until: Time | None = None
    material: bool
    reasons: list[RevisionReason]
    decided_by: Actor

    @property
    def key(self) -> str:
        """The policy."""
        return self.policy

    @property
    def subject(self) -> str:
        """The policy."""
        return f"policy/{self.policy}"
