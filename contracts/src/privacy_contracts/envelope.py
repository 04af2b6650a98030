"""The base of every event: a frozen fact with a CloudEvents type, a topic, a key and a subject.

Unknown fields are ignored, so that an old reader survives a new writer; input never shows in an error.
"""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

LARGEST_BODY = 64 * 1024
"""Bytes of the largest event; larger things travel over HTTP. The broker's own limit counts compressed bytes."""


class Event(BaseModel):
    """A fact, in the past tense. `type` is the CloudEvents type; `stream` the topic, without prefix and system."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    type: ClassVar[str]
    stream: ClassVar[str]

    @property
    def topic(self) -> str:
        """The topic without its prefix; streams that each system has for itself append the system."""
        return self.stream

    @property
    def key(self) -> str:
        """What must stay in order."""
        raise NotImplementedError

    @property
    def subject(self) -> str:
        """Whom or what it is about (CloudEvents `subject`), at most 64 characters."""
        raise NotImplementedError

    @property
    def about(self) -> dict[str, str]:
        """What traces say it is about: the id of the request that it belongs to, where there is one."""
        request = getattr(self, "request", None)
        return {"request_id": str(request)} if request else {}

    def to_bytes(self) -> bytes:
        """The JSON body as it stands on the topic."""
        return self.model_dump_json(exclude_none=True).encode()


class Part(BaseModel):
    """A frozen piece of an event."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)
