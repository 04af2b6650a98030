"""Messages as received, one JSON file each."""

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Message:
    """A message with its envelope. `raw` is what came after DATA, in base64; `received_at` is ISO 8601, UTC."""

    id: int
    received_at: str
    sender: str
    recipients: list[str]
    raw: str = field(repr=False)

    @cached_property
    def parsed(self) -> EmailMessage:
        """The message as the standard library reads it."""
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def content(self) -> bytes:
        """The bytes as received."""
        return base64.b64decode(self.raw)

    def part(self, kind: str) -> str:
        """Return the `plain` or `html` body, empty when there is none."""
        body = self.parsed.get_body((kind,))
        return str(body.get_content()) if body is not None else ""

    def view(self) -> dict[str, Any]:
        """Return what the HTTP API shows of it."""
        return {
            "id": self.id,
            "received_at": self.received_at,
            "sender": self.sender,
            "recipients": self.recipients,
            "message_id": str(self.parsed.get("Message-ID", "")),
            "subject": str(self.parsed.get("Subject", "")),
            "headers": [[name, str(value)] for name, value in self.parsed.items()],
            "text": self.part("plain"),
            "html": self.part("html"),
            "links": sorted(set(re.findall(r"https?://[^\s\"'<>]+", self.part("plain")))),
        }


class Store:
    """The messages of a folder, in the order of their arrival."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)  # a mail's link opens a person's request
        self._directory = directory
        files = sorted(directory.glob("*.json"))
        self._messages = [Message(**json.loads(file.read_text("utf-8"))) for file in files]

    def keep(self, sender: str, recipients: list[str], content: bytes) -> Message:
        """Write a message to disk and return it."""
        number = self._messages[-1].id + 1 if self._messages else 1
        received = datetime.now(UTC).isoformat(timespec="milliseconds")
        message = Message(number, received, sender, recipients, base64.b64encode(content).decode())
        draft = self._directory / "draft"
        draft.write_text(json.dumps(asdict(message)), "utf-8")
        draft.replace(self._directory / f"{number:08}.json")
        self._messages.append(message)
        return message

    def find(self, to: str | None = None, after: int = 0) -> list[Message]:
        """Return the messages after an id, to an address (in any case), oldest first."""
        return [m for m in self._messages if m.id > after and (to is None or _among(to, m.recipients))]

    def get(self, number: int) -> Message | None:
        """Return one message by its id."""
        return next((message for message in self._messages if message.id == number), None)


def _among(address: str, recipients: Iterable[str]) -> bool:
    return address.lower() in (recipient.lower() for recipient in recipients)
