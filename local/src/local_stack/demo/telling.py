"""How the demo speaks: a line for each fact, with the seconds since its start."""

import sys
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from local_stack.observe import token
from local_stack.stack import Stack


class Failed(Exception):
    """A step of the demo did not show what it promises; the message names what was seen instead."""


@dataclass
class Telling:
    """The demo's voice and hands: a stack, an HTTP client, and what earlier steps learned.

    `began` is a monotonic time; `broken`: the order system never answers.
    """

    stack: Stack
    http: httpx.AsyncClient
    began: float
    broken: bool = False
    step: str = "start"
    customers: dict[str, str] = field(default_factory=dict)
    request: str = ""
    link: str = ""
    first_finished: float | None = None

    @property
    def invitation(self) -> tuple[str, str]:
        """What the person may do next at the shop's form, and what comes of it."""
        if self.broken:
            return "Ask for another deletion", "bob@example.com's will wait too, for orders to answer"
        return "Now delete another one yourself", "try bob@example.com"

    def head(self, title: str) -> None:
        """Begin a step."""
        self.step = title
        bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        print(f"\n{bold}{title}{plain}", flush=True)

    def say(self, text: str, fact: str = "") -> None:
        """One line: what happened, and a fact that was read back."""
        line(self.began, f"{text}  [{fact}]" if fact else text)

    def check(self, holds: object, otherwise: str) -> None:
        """Raises `Failed` unless it holds."""
        if not holds:
            raise Failed(otherwise)

    async def post(
        self, service: str, path: str, body: dict[str, Any], client: str = "website", status: int = 201
    ) -> dict[str, Any]:
        """POST with a client's own token. Raises `Failed` on another status."""
        headers = {"Authorization": f"Bearer {await token(self.http, self.stack, client, service)}"}
        answer = await self.http.post(f"{self.stack.url(service)}{path}", json=body, headers=headers)
        self.check(answer.status_code == status, f"POST {service}{path} answered {answer.status_code}: {answer.text}")
        told: dict[str, Any] = answer.json()
        return told

    async def get(self, service: str, path: str, client: str, **query: str) -> dict[str, Any]:
        """GET with a client's own token. Raises `Failed` on another status than 200."""
        headers = {"Authorization": f"Bearer {await token(self.http, self.stack, client, service)}"}
        answer = await self.http.get(f"{self.stack.url(service)}{path}", params=query, headers=headers)
        self.check(answer.status_code == 200, f"GET {service}{path} answered {answer.status_code}: {answer.text}")
        told: dict[str, Any] = answer.json()
        return told


def line(began: float, text: str) -> None:
    """A line, with the seconds since the beginning."""
    print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)


def event(entry: dict[str, Any]) -> str:
    """An audit entry in a few words: where the event stands, and where its record."""
    where = f"{entry['topic']}/{entry['partition']}@{entry['offset']}"
    return f"{entry['type']} {entry['id'][:8]}…, {where}, entry {entry['index']}"
