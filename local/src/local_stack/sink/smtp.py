"""The SMTP side, with the faults that a test asks for."""

import asyncio
from fnmatch import fnmatchcase
from typing import Literal

from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic import BaseModel, Field

from local_stack.ports import LOOPBACK
from local_stack.sink.store import Store


class Fault(BaseModel):
    """What goes wrong for the next `times` messages to a matching recipient.

    `at` rcpt: the recipient is answered with `reply`. `at` data: after the final dot, wait `delay_before`, answer
    `reply` (the message is not kept) or, without one, keep it, wait `delay_after`, then accept or, with `drop`, close
    the connection without a word.
    """

    times: int = Field(default=1, ge=1)
    recipient: str = "*"
    at: Literal["rcpt", "data"] = "data"
    reply: str | None = Field(default=None, pattern=r"^[45]\d\d .{1,200}$")
    delay_before: float = Field(default=0, ge=0, le=120)
    delay_after: float = Field(default=0, ge=0, le=120)
    drop: bool = False


class Receiver:
    """aiosmtpd's handler: keeps messages, and does as the faults say."""

    def __init__(self, store: Store) -> None:
        self.faults: list[Fault] = []
        self._store = store

    def _fault(self, at: str, recipients: list[str]) -> Fault | None:
        for fault in self.faults:
            if fault.at == at and any(fnmatchcase(r.lower(), fault.recipient.lower()) for r in recipients):
                fault.times -= 1
                if fault.times == 0:
                    self.faults.remove(fault)
                return fault
        return None

    async def handle_RCPT(  # aiosmtpd calls it by this name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept a recipient, or answer by a fault."""
        fault = self._fault("rcpt", [address])
        if fault is not None and fault.reply:
            return fault.reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # as above
        """Keep a message, then accept it."""
        recipients = [str(recipient) for recipient in envelope.rcpt_tos]
        fault = self._fault("data", recipients) or Fault()
        await asyncio.sleep(fault.delay_before)
        if fault.reply:
            return fault.reply
        content = envelope.content
        if not isinstance(content, bytes):
            return "554 no content"
        message = self._store.keep(envelope.mail_from or "", recipients, content)
        await asyncio.sleep(fault.delay_after)
        if fault.drop and isinstance(server.transport, asyncio.Transport):
            server.transport.abort()
        return f"250 kept as {message.id}"


async def listen(receiver: Receiver, port: int) -> asyncio.Server:
    """Listen for SMTP on loopback; the caller closes the server."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: SMTP(receiver, hostname="localhost", ident="mail sink", enable_SMTPUTF8=True, loop=loop),
        LOOPBACK,
        port,
    )
