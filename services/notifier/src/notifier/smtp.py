"""A few connections to one mail server, used again and again.

A connection is lent to one mail at a time. One that died while it was idle is found out by MAIL, before anything is
handed over, and replaced; what a server answers after DATA is the only proof there is, so nothing is repeated here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from aiosmtplib import SMTP, SMTPException, SMTPResponse, SMTPResponseException

from notifier.domain.notices import Step

CONNECT_SECONDS, COMMAND_SECONDS, DATA_SECONDS = 10, 10, 30
IDLE_SECONDS = 30
"""Servers drop idle clients after some minutes; older connections are closed rather than tried."""

CLOSING = 421
"""Service not available, closing transmission channel (RFC 5321 3.8)."""


@dataclass(frozen=True)
class Server:
    """Where mail is handed over; `our_name` is what we say in EHLO."""

    host: str
    port: int
    our_name: str
    tls: Literal["none", "starttls", "tls"] = "none"
    username: str | None = None
    password: str | None = None


@dataclass
class Refused(Exception):
    """The server said no to this step. Its text may quote an address and is not kept."""

    step: Step
    code: int


class Lost(Exception):
    """No answer: the connection could not be made, broke or went silent."""


class Line:
    """One connection to the mail server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._smtp: SMTP | None = None
        self._used = 0.0
        self._clean = True

    async def ready(self) -> None:
        """Connected; a connection that idled for long is replaced. Raises `Refused` or `Lost`."""
        idle = asyncio.get_running_loop().time() - self._used
        if self._smtp is None or not self._smtp.is_connected or idle > IDLE_SECONDS:
            self.close()
            await self._connect()

    async def envelope(self, sender: str, to: str) -> None:
        """MAIL and RCPT. Raises `Refused` or `Lost`; a connection that was closed meanwhile is made anew once."""
        options = None if to.isascii() else ["SMTPUTF8"]
        try:
            await self._mail(sender, options)
        except (Lost, Refused):
            if self._smtp is not None:  # a refusal, and the connection stands
                raise
            await self._connect()
            await self._mail(sender, options)
        self._clean = False
        await self._said("recipient", self._live().rcpt(to, encoding="utf-8", timeout=COMMAND_SECONDS))

    async def data(self, message: bytes) -> int:
        """Hand the message over; the server's acceptance. Raises `Refused`, or `Lost` when it may have arrived."""
        code = await self._said("data", self._live().data(message, timeout=DATA_SECONDS))
        self._clean = True
        return code

    async def settle(self) -> None:
        """Make it fit for the next mail, or close it."""
        self._used = asyncio.get_running_loop().time()
        if self._clean or self._smtp is None:
            return
        try:
            await self._said("connect", self._smtp.rset(timeout=COMMAND_SECONDS))
            self._clean = True
        except (Refused, Lost):
            self.close()

    def close(self) -> None:
        """Drop the connection without a word."""
        if self._smtp is not None:
            self._smtp.close()
        self._smtp, self._clean = None, True

    async def _connect(self) -> None:
        self.close()
        server = self._server
        smtp = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=server.our_name,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            username=server.username,
            password=server.password,
            timeout=CONNECT_SECONDS,
        )
        self._smtp = smtp
        await self._said("connect", _connected(smtp))
        self._used = asyncio.get_running_loop().time()

    async def _mail(self, sender: str, options: list[str] | None) -> None:
        if options and not self._live().supports_extension("smtputf8"):
            raise Refused("recipient", 553)  # mailbox name not allowed (RFC 6531 3.5)
        await self._said("sender", self._live().mail(sender, options=options, timeout=COMMAND_SECONDS))

    def _live(self) -> SMTP:
        if self._smtp is None:
            raise Lost("not connected")
        return self._smtp

    async def _said(self, step: Step, command: Awaitable[SMTPResponse]) -> int:
        try:
            reply = await command
        except SMTPResponseException as error:
            if error.code == CLOSING:
                self.close()
            raise Refused(step, error.code) from None
        except (SMTPException, OSError) as error:
            self.close()
            raise Lost(type(error).__name__) from None
        return int(reply.code)


async def _connected(smtp: SMTP) -> SMTPResponse:
    await smtp.connect()
    return await smtp.ehlo()


class Connections:
    """At most `size` lines, the last used first, so that surplus ones grow old and are closed."""

    def __init__(self, server: Server, size: int) -> None:
        self._server = server
        self._free = asyncio.Semaphore(size)
        self._idle: list[Line] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Line]:
        """A line that is connected. Raises `Refused` or `Lost`."""
        async with self._free:
            line = self._idle.pop() if self._idle else Line(self._server)
            try:
                await line.ready()
                yield line
            except Exception:
                await line.settle()
                raise
            except BaseException:  # cancelled in mid-sentence
                line.close()
                raise
            else:
                await line.settle()
            finally:
                self._idle.append(line)

    def close(self) -> None:
        """Drop every idle connection."""
        for line in self._idle:
            line.close()
        self._idle.clear()
