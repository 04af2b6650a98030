"""Dead letters over HTTP, for operators: what the command does, with the caller's own name on the record."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from uuid_utils.compat import uuid7

from chassis.app.runtime import App, Runtime
from chassis.auth import Principal
from chassis.consumer import dead_letters
from chassis.consumer.dead_letters import Done, Letter, NoSuchLetter
from chassis.database import is_transient, transaction
from chassis.problems import Problem
from chassis.settings import Settings
from privacy_contracts.accesses import OperatorActed
from privacy_contracts.fields import Code


class Listed(BaseModel):
    """A dead letter without its body; `waiting` records of its key stand behind it."""

    id: UUID
    topic: str
    partition: int
    offset: int
    reason: str
    recorded_at: datetime
    waiting: int


class Listing(BaseModel):
    """Letters, oldest first; `next` is the cursor of the next page, if there is one."""

    items: list[Listed]
    next: str | None


class Shown(BaseModel):
    """A letter as it came: bytes that are no text stand as escapes. `erased`: the body went with the person's key."""

    id: UUID
    topic: str
    partition: int
    offset: int
    key: str | None
    headers: list[tuple[str, str | None]]
    body: str | None
    reason: str
    erased: bool

    @classmethod
    def of(cls, letter: Letter) -> "Shown":
        """What of a letter is shown."""
        record = letter.record
        fields: dict[str, Any] = {name: getattr(record, name) for name in ("topic", "partition", "offset")}
        fields |= {"key": _text(record.key), "body": _text(record.value), "erased": letter.erased}
        fields |= {"headers": [(name, _text(value)) for name, value in record.headers]}
        return cls(id=letter.id, reason=letter.reason, **fields)


class Why(BaseModel):
    """Why an operator does something: a code, such as `mended`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    reason: Code


class Applied(BaseModel):
    """How many events were applied, those that waited too; `stuck`: why the next of them is a dead letter now."""

    applied: int
    stuck: str | None


def _place(cursor: object) -> object:
    return UUID(bytes=urlsafe_b64decode(f"{cursor}==")) if isinstance(cursor, str) else cursor


def router(runtime: Runtime[Settings], app: App) -> APIRouter:
    """Routes under `/v1/dead-letters`."""
    routes = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])
    Operator = Annotated[Principal, Depends(runtime.auth.require("operator"))]

    async def act(letter: UUID, caller: Principal, action: str, reason: str) -> Done:
        what = {"action": f"dead_letter_{action}", "dead_letter": letter, "reason": reason, "act": uuid7()}
        who = {"actor": f"staff/{caller.subject}", "system": runtime.name, "acted_at": runtime.clock.now()}
        try:
            acted = OperatorActed.model_validate(what | who)
        except ValidationError:
            raise Problem(403, "forbidden", "The token's subject is no name that can stand in a record") from None
        try:
            return await dead_letters.act(runtime.pool, runtime.sealing, app.handlers, acted)
        except NoSuchLetter:
            raise Problem(404, "not-found", "No such dead letter") from None
        except Exception as error:
            if is_transient(error):
                raise
            raise Problem(409, "fails-again", "It failed again", {"error": type(error).__name__}) from None

    @routes.get("")
    async def listing(
        _: Operator,
        cursor: Annotated[UUID | None, BeforeValidator(_place)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Listing:
        """What could not be applied, and how much waits behind it."""
        async with transaction(runtime.pool) as tx:
            found = await dead_letters.listing(tx, cursor, limit + 1)
        more = urlsafe_b64encode(found[limit - 1]["id"].bytes).decode().rstrip("=") if len(found) > limit else None
        return Listing(items=[Listed(**each) for each in found[:limit]], next=more)

    @routes.get("/{letter}")
    async def show(letter: UUID, caller: Operator, response: Response) -> Shown:
        """One letter with its body, which may hold an address. Looking is recorded before it is shown."""
        response.headers["Cache-Control"] = "no-store"
        return Shown.of((await act(letter, caller, "shown", "inspection")).letter)

    @routes.post("/{letter}/replay")
    async def replay(letter: UUID, body: Why, caller: Operator) -> Applied:
        """Apply a letter (409: it fails again), then what waits behind it, in order, up to the first that fails."""
        done = await act(letter, caller, "replayed", body.reason)
        return Applied(applied=done.applied, stuck=done.stuck)

    @routes.post("/{letter}/discard")
    async def discard(letter: UUID, body: Why, caller: Operator) -> Applied:
        """Drop a letter for good and apply what waits behind it."""
        done = await act(letter, caller, "discarded", body.reason)
        return Applied(applied=done.applied, stuck=done.stuck)

    return routes


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")
