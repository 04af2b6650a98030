"""The HTTP edge: the website opens, corrects and closes accounts; operators start feeds, marketing fetches a list."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError
from uuid_utils.compat import uuid7

from accounts import feeds, queries
from accounts.domain import Account, Feed, address, close, rectify, stated
from accounts.queries import Access
from accounts.settings import Settings
from chassis.app import Once, Runtime
from chassis.auth import Principal
from chassis.database import transaction
from chassis.outbox import emit
from chassis.problems import Problem
from privacy_contracts.accounts import Region
from privacy_contracts.fields import AccountId, Actor, Code

_ACTOR: TypeAdapter[str] = TypeAdapter(Actor)
LIST_READERS = frozenset({"marketing"})
"""The systems that may fetch the marketing list: as `topics.toml` says under `calls`."""


def _email(typed: str) -> str:
    email = address(typed)
    if email is None:
        raise ValueError("not a mail address")
    return email


Email = Annotated[str, StringConstraints(max_length=320), AfterValidator(_email)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class Body(BaseModel):
    """A request body: unknown members are refused, and no error repeats the input."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewCustomer(Body):
    """Somebody who opens an account. `offers` is false for one who does not want the company's own offers."""

    email: Email
    name: Name
    region: Region | None = None
    offers: bool = True


class Correction(Body):
    """What is to be put right; what is left out stays."""

    email: Email | None = None
    name: Name | None = None
    region: Region | None = None
    offers: bool | None = None


class Address(Body):
    """The address to look for; in a body, since addresses of pages are written down on the way."""

    email: Email


class NewFeed(Body):
    """To which partner, and what for."""

    recipient: Code
    purpose: Literal["third_party_marketing", "targeted_advertising"]


class Found(BaseModel):
    """An account's id."""

    id: AccountId


class Stated(BaseModel):
    """An account's id, and the version that was published."""

    id: AccountId
    version: int


class FeedStarted(BaseModel):
    """Consent is being asked about so many accounts."""

    id: UUID
    accounts: int


class FeedState(BaseModel):
    """How far a feed is: `pending` accounts are unanswered; `refused` counts by consent's reason."""

    id: UUID
    recipient: str
    purpose: str
    pending: int
    disclosed: int
    refused: dict[str, int]
    written_at: datetime | None


def routers(runtime: Runtime[Settings]) -> list[APIRouter]:
    """All routes under `/v1`."""
    return [_customers(runtime), _closing(runtime), _feeds(runtime), _marketing(runtime)]


def _customers(runtime: Runtime[Settings]) -> APIRouter:
    routes = APIRouter(prefix="/v1/customers", tags=["customers"])
    website = Annotated[Principal, Depends(runtime.auth.require("website"))]
    corrector = Annotated[Principal, Depends(runtime.auth.require("website", "agent"))]

    @routes.post("", status_code=201, response_model=Found)
    async def register(body: NewCustomer, caller: website, once: Once) -> Response:
        """Open an account. 409 where the address has one."""
        account = Account(str(uuid7()), 1, **body.model_dump(), registered_at=runtime.clock.now())

        async def work() -> Found:
            if not await queries.insert(tx, account):
                raise Problem(409, "exists", "There is an account with this address")
            await emit(tx, stated(account), account.registered_at)
            return Found(id=account.id)

        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, caller, 201, work)

    @routes.patch("/{account_id}", response_model=Stated)
    async def correct(account_id: AccountId, body: Correction, caller: corrector, once: Once) -> Response:
        """Put an account right and publish its new state; the read is recorded. 409 where another has the address."""
        access = _access(caller, runtime)

        async def work() -> Stated:
            account = await queries.read(tx, account_id, access)
            if account is None:
                raise Problem(404, "not-found", "No such account")
            corrected = rectify(account, **body.model_dump())
            if not await queries.update(tx, corrected):
                raise Problem(409, "exists", "There is another account with this address")
            await emit(tx, stated(corrected), access.at)
            return Stated(id=corrected.id, version=corrected.version)

        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, caller, 200, work)

    @routes.post("/find")
    async def find(body: Address, caller: website) -> Found:
        """Which account an address belongs to. The search is recorded. 404 where there is none."""
        access = _access(caller, runtime)
        keyed = runtime.sealing.fingerprint("accounts.search", body.email.lower()).hex()
        async with transaction(runtime.pool) as tx:
            account = await queries.find(tx, body.email, keyed, access)
        if account is None:
            raise Problem(404, "not-found", "No such account")
        return Found(id=account)

    return routes


def _closing(runtime: Runtime[Settings]) -> APIRouter:
    routes = APIRouter(prefix="/v1/customers", tags=["customers"])

    @routes.delete("/{account_id}", response_model=Stated)
    async def end(
        account_id: AccountId, caller: Annotated[Principal, Depends(runtime.auth.require("website"))], once: Once
    ) -> Response:
        """Close an account, as its customer asked on the profile page. What other systems hold goes by its event."""
        now = runtime.clock.now()

        async def work() -> Stated:
            held = await queries.hold(tx, account_id)
            if held is None:
                raise Problem(404, "not-found", "No such account")
            gone = close(held, now)
            await feeds.end(tx, gone, None)
            await emit(tx, gone, now)
            return Stated(id=gone.id, version=gone.version)

        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, caller, 200, work)

    return routes


def _feeds(runtime: Runtime[Settings]) -> APIRouter:
    routes = APIRouter(prefix="/v1/feeds", tags=["feeds"])
    operator = Annotated[Principal, Depends(runtime.auth.require("operator"))]

    @routes.post("", status_code=202, response_model=FeedStarted)
    async def begin(body: NewFeed, caller: operator, once: Once) -> Response:
        """Begin a feed: consent is asked about every account, and whom it allows goes into the partner's file."""
        feed = Feed(uuid7(), body.recipient, body.purpose)

        async def work() -> FeedStarted:
            return FeedStarted(id=feed.id, accounts=await feeds.start(tx, feed, f"staff/{caller.subject}", runtime))

        async with transaction(runtime.pool) as tx:
            return await once.answer(tx, caller, 202, work)

    @routes.get("/{feed_id}")
    async def state(feed_id: UUID, _: operator) -> FeedState:
        """How far a feed is."""
        async with transaction(runtime.pool) as tx:
            found = await queries.progress(tx, feed_id)
        if found is None:
            raise Problem(404, "not-found", "No such feed")
        return FeedState(
            id=found.feed.id,
            recipient=found.feed.recipient,
            purpose=found.feed.purpose,
            pending=found.pending,
            disclosed=found.disclosed,
            refused=found.refused,
            written_at=found.written_at,
        )

    return routes


def _marketing(runtime: Runtime[Settings]) -> APIRouter:
    routes = APIRouter(prefix="/v1/marketing-list", tags=["marketing"])
    system = Annotated[Principal, Depends(runtime.auth.require("system"))]

    @routes.get("", response_class=Response, responses={200: {"content": {"text/csv": {}}}, 304: {}})
    async def fetch(caller: system, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        """Lines of account and address, as CSV. 304 where nothing changed: then nobody's address is read."""
        if caller.subject not in LIST_READERS:
            raise Problem(403, "forbidden", "This list is not for the caller")
        async with transaction(runtime.pool) as tx:
            tag = f'"{await queries.listed(tx)}"'
            if tag == if_none_match:
                return Response(status_code=304, headers={"etag": tag})
            lines = await queries.marketing_list(tx, _access(caller, runtime))
        text = "".join(f"{account},{email}\r\n" for account, email in lines)
        return Response(f"account,email\r\n{text}", media_type="text/csv", headers={"etag": tag})

    return routes


def _access(caller: Principal, runtime: Runtime[Settings]) -> Access:
    """The caller's reading. Raises a 403 problem for one whose name can stand in no record."""
    kind = "staff" if "agent" in caller.scopes else "system"
    try:
        actor = _ACTOR.validate_python(f"{kind}/{caller.subject}")
    except ValidationError:
        raise Problem(403, "forbidden", "The token's subject is no name that can stand in a record") from None
    return Access(actor, "operation", runtime.clock.now())
