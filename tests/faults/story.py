"""What people do in one cell: a customer who is deleted while something fails, and others who ask meanwhile.

Whoever is not served asks again under the same Idempotency-Key, and every answer is kept.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from local_stack.stack import Stack

from ..people import Company, Customer
from .matrix import Cell

PROBLEM = "application/problem+json"


@dataclass
class Story:
    """One cell's people. `deleted` and `unknown` are what the invariants need, `knocked` the last stranger's answer."""

    company: Company
    cell: Cell
    customer: Customer
    answers: list[tuple[str, int, str]] = field(default_factory=list)
    deleted: dict[str, Customer] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    knocked: int = 0
    _works: list["asyncio.Task[Any]"] = field(default_factory=list)
    _confirmed: bool = False

    @property
    def stack(self) -> Stack:
        """The deployment."""
        return self.company.stack

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do something beside all else; `finish` waits for it."""
        self._works.append(asyncio.create_task(work))

    async def ask(self) -> None:
        """The customer asks for the deletion."""
        told = await self._insist("dsr", "/v1/requests", {"type": "delete", "email": self.customer.email}, 202)
        self.deleted[told["id"]] = self.customer

    async def choose(self) -> None:
        """The customer makes a choice."""
        body = {"subject": self.customer.subject, "purpose": "third_party_marketing", "choice": "granted"}
        await self._insist("consent", "/v1/choices", body | {"text": "Yes.", "channel": "website"}, 201)

    async def knock(self) -> None:
        """Somebody without an account asks for a deletion."""
        email, self.knocked = f"nobody-{uuid4().hex[:10]}@example.com", 0
        told = await self._insist("dsr", "/v1/requests", {"type": "delete", "email": email}, 202)
        self.unknown[told["id"]] = email

    async def _insist(self, service: str, path: str, body: dict[str, Any], wanted: int) -> dict[str, Any]:
        """Post until it is accepted. Everything else must be a problem that says 503, or no answer at all."""
        url, headers = f"{self.stack.url(service)}{path}", await self.company.bearer("website", service)
        headers = headers | {"Idempotency-Key": str(uuid4())}
        async with asyncio.timeout(180):
            while True:
                try:
                    answer = await self.company.http.post(url, json=body, headers=headers)
                    self.answers.append((service, answer.status_code, answer.headers.get("content-type", "")))
                    self.knocked = answer.status_code
                    if answer.status_code == wanted:
                        told: dict[str, Any] = answer.json()
                        return told
                    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM), answer.text
                except httpx.TransportError as error:
                    self.answers.append((service, 0, type(error).__name__))
                await asyncio.sleep(0.2)

    async def confirm(self) -> None:
        """The customer follows the link and confirms twice."""
        if not self.deleted:
            await self.ask()
        (request,) = self.deleted
        link = await self.company.link(self.customer.email, request)
        await self.company.press(link, "verify")
        await self.company.press(link, "confirm")
        self._confirmed = True

    async def follow(self) -> None:
        """See the deletion to its closing while all else goes on: staff do what is theirs as soon as they are asked."""
        for request in self.deleted:
            await self.company.status(request, "closed", 240)

    async def finish(self) -> None:
        """Let everything come to its end."""
        await asyncio.gather(*self._works)
        if not self._confirmed:
            await self.confirm()
        for request in self.deleted:
            await self.company.closed(self.customer.email, request, 120)
