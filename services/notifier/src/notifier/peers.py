"""What the notifier asks of other services: whom to write to about a request, and what a policy version says.

Answers hold personal data; they live in memory for as long as one mail takes, and hide themselves in errors.
"""

from datetime import date
from typing import Literal, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from chassis.auth import Caller
from chassis.jobs import Retry
from notifier.domain.notices import Asked


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


A = TypeVar("A", bound=_Answer)


class KeptItem(_Answer):
    """Something that a system keeps about a deleted account."""

    system: str
    category: str
    legal_basis: str
    until: date


class OutstandingSystem(_Answer):
    """A system that has not answered, and an officer went on without."""

    system: str
    categories: list[str]
    reason: str


class Addressed(_Answer):
    """Whom to write to about a request, and what to say. `link` opens the request and is a secret."""

    template: Literal["verification", "unknown_address", "completion"]
    to: SecretStr
    account: str | None = None
    link: SecretStr | None = None
    systems: list[str] = []
    kept: list[KeptItem] = []
    outstanding: list[OutstandingSystem] = []
    account_closed: bool = False


class PolicyText(_Answer):
    """What changed with a policy version, in the company's words, and where the whole text stands."""

    version: int
    summary: str
    url: str


class Gone(Exception):
    """There is nothing to send any more: the request was withdrawn, has ended, or never was."""


async def addressed(call: Caller, request: UUID, asked: Asked) -> Addressed:
    """Ask dsr for a message about a request. Each time a further link is minted. Raises `Gone` or `Retry`."""
    try:
        response = await call.post("dsr", f"/v1/requests/{request}/messages", json={"template": asked})
    except httpx.HTTPError as error:
        raise Retry(reason=f"dsr_{type(error).__name__}") from None
    if response.status_code == 410:  # dsr's own word; a 404 may be anybody's, and passes
        raise Gone
    return _read(Addressed, response, "dsr")


async def policy_text(call: Caller, version: int) -> PolicyText:
    """Ask consent what a policy version says. Raises `Retry`."""
    try:
        response = await call.get("consent", f"/v1/policies/{version}")
    except httpx.HTTPError as error:
        raise Retry(reason=f"consent_{type(error).__name__}") from None
    return _read(PolicyText, response, "consent")


def _read(kind: type[A], response: httpx.Response, peer: str) -> A:
    if response.status_code != 200:
        raise Retry(reason=f"{peer}_{response.status_code}")
    try:
        return kind.model_validate_json(response.content)
    except ValidationError:
        raise Retry(reason=f"{peer}_answer") from None
