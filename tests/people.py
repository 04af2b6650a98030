"""Those who use the company: a website, persons, company systems, staff. They know what such a one may know."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import httpx

from local_stack.observe import AUDITOR, mails, token, until
from local_stack.stack import Stack

T = TypeVar("T")
ADDRESS = "12 Harbor Lane, Long Beach, CA 90802"
AGENT = "agent-01"
AWAY = (502, 503, 504)


@dataclass(frozen=True)
class Customer:
    """Somebody with an account, the number of the invoice of what they ordered, if they did, and how many they have.

    Who gets no answer orders again, so there may be more than one.
    """

    account: str
    email: str
    name: str
    invoice: int | None = None
    invoices: int = 0

    @property
    def subject(self) -> str:
        """The account, as events name it."""
        return f"account/{self.account}"


@dataclass(frozen=True)
class Guest:
    """Somebody who ordered without an account, and the number of the invoice."""

    email: str
    name: str
    invoice: int
    invoices: int = 1
    account: None = None


Person = Customer | Guest


@dataclass
class Company:
    """One deployment, from outside. Whatever is away is asked again, under the same idempotency key.

    `patience` are the seconds for which somebody waits for an answer or for a link.
    """

    patience = 120.0
    http: httpx.AsyncClient
    stack: Stack
    _tokens: dict[tuple[str, str], tuple[str, float]] = field(default_factory=dict)
    _by_staff: set[str] = field(default_factory=set)
    """The requests for which staff have done their tasks."""

    # Ways in

    def at(self, service: str) -> str:
        """The address at which a service is asked."""
        return self.stack.url(service)

    async def bearer(self, client: str, audience: str) -> dict[str, str]:
        """A client's token for a service, as a header."""
        known, since = self._tokens.get((client, audience), ("", 0.0))
        if time.monotonic() - since > 300:
            known = await token(self.http, self.stack, client, audience)
            self._tokens[client, audience] = known, time.monotonic()
        return {"Authorization": f"Bearer {known}"}

    async def send(  # each is a part of one request
        self, method: str, service: str, path: str, client: str | None = None, **request: Any
    ) -> httpx.Response:
        """One request; asked again while the service is away, with some patience."""
        headers = request.pop("headers", {}) | (await self.bearer(client, service) if client else {})
        if method in ("POST", "DELETE") and client:
            headers.setdefault("Idempotency-Key", str(uuid4()))
        deadline = time.monotonic() + self.patience
        while True:
            try:
                answer = await self.http.request(method, f"{self.at(service)}{path}", headers=headers, **request)
                if answer.status_code not in AWAY or time.monotonic() > deadline:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def post(
        self, service: str, path: str, body: dict[str, Any], client: str = "website", status: int = 201, **request: Any
    ) -> dict[str, Any]:
        """POST as a client; the answer's body."""
        answer = await self.send("POST", service, path, client, json=body, **request)
        assert answer.status_code == status, f"POST {service}{path}: {answer.status_code} {answer.text}"
        told: dict[str, Any] = answer.json()
        return told

    async def get(self, service: str, path: str, client: str, **query: str) -> dict[str, Any]:
        """GET as a client; the answer's body."""
        answer = await self.send("GET", service, path, client, params=query)
        assert answer.status_code == 200, f"GET {service}{path}: {answer.status_code} {answer.text}"
        told: dict[str, Any] = answer.json()
        return told

    # Acts

    async def register(self, name: str, *, order: bool = False, email: str | None = None) -> Customer:
        """Open an account, under a new address unless one is given, and order something if asked."""
        email, full = email or _address(name), f"{name.title()} {uuid4().hex[:8]}"
        body = {"email": email, "name": full, "region": "US-CA"}
        account = (await self.post("accounts", "/v1/customers", body))["id"]
        await until("dsr to know the account", lambda: self._known(account), 60)
        invoice = await self._order({"account": account}) if order else None
        written = await self.value("orders", "SELECT count(*) FROM orders.invoices WHERE account = $1", account)
        return Customer(account, email, full, invoice, written)

    async def guest(self, name: str) -> Guest:
        """Order something under a new address, without an account."""
        email, full = _address(name), f"{name.title()} {uuid4().hex[:8]}"
        return Guest(email, full, await self._order({"email": email.title(), "name": full}))

    async def _known(self, account: str) -> bool:
        """Whether a request about the account would find it: before, its address is as unknown as any other."""
        return bool(await self.value("dsr", "SELECT true FROM dsr.accounts WHERE id = $1", account))

    async def _order(self, whose: dict[str, str]) -> int:
        body = whose | {"item": "Parcel", "cents": 4200, "ship_to": ADDRESS}

        async def place() -> dict[str, Any] | None:
            answer = await self.send("POST", "orders", "/orders", json=body)
            told: dict[str, Any] = answer.json()
            return told if answer.status_code == 201 else None

        return int((await until("orders to take the order", place, 60))["invoice"])

    async def choose(self, customer: Customer, choice: str, purpose: str = "third_party_marketing") -> dict[str, Any]:
        """Record a choice as the website does."""
        body = {"subject": customer.subject, "purpose": purpose, "choice": choice, "text": "Yes.", "channel": "website"}
        return await self.post("consent", "/v1/choices", body)

    async def revise(self, *, material: bool, **changes: Any) -> dict[str, Any]:
        """Publish a version of the policy."""
        body = {
            "text": f"# Policy\n\nVersion {uuid4()}.",
            "summary": "A word was put right.",
            "material": material,
            "reasons": ["new_purpose" if material else "typo"],
        }
        return await self.post("consent", "/v1/policies", body | changes, "officer-01")

    async def ask(self, email: str, **request: Any) -> str:
        """Ask for deletion as the website does; the request's id."""
        body = {"type": "delete", "email": email}
        return str((await self.post("dsr", "/v1/requests", body, status=202, **request))["id"])

    async def mail(self, to: str, part: str, seconds: float = 40) -> dict[str, Any]:
        """The newest mail to an address with this in its text."""

        async def search() -> dict[str, Any] | None:
            try:
                return next((each for each in reversed(await self.mails(to)) if part in each["text"]), None)
            except httpx.TransportError:
                return None

        return await until(f"a mail to {to} with {part}", search, seconds)

    async def mails(self, to: str | None = None) -> list[dict[str, Any]]:
        """What the mail server took; asked again where a kept connection was closed meanwhile."""
        try:
            return await mails(self.http, self.stack, to)
        except httpx.TransportError:
            return await mails(self.http, self.stack, to)

    async def link(self, email: str, request: str) -> str:
        """The link of a request, from the mail about it."""
        mail = await self.mail(email, f"/r/{request}/", self.patience)
        return str(next(link for link in mail["links"] if f"/r/{request}/" in link))

    async def press(self, link: str, button: str) -> httpx.Response:
        """Press a button of the link's page; the page that follows."""
        path = link.removeprefix(self.stack.url("dsr"))
        return await self.send("POST", "dsr", f"{path}/{button}", follow_redirects=True)

    async def begin(self, email: str) -> tuple[str, str]:
        """Ask for deletion and confirm twice; the request and its link."""
        request = await self.ask(email)
        link = await self.link(email, request)
        await self.press(link, "verify")
        await self.press(link, "confirm")
        return request, link

    async def close_account(self, customer: Customer) -> None:
        """Close the account on the profile page, as the website does it."""
        answer = await self.send("DELETE", "accounts", f"/v1/customers/{customer.account}", "website")
        assert answer.status_code == 200, answer.text

    async def request_of(self, customer: Customer) -> str:
        """The request that an account's end opens."""
        wanted = "SELECT id::text FROM dsr.requests WHERE account = $1"

        async def opened() -> str | None:
            found: str | None = await self.value("dsr", wanted, customer.account)
            return found

        return await until(f"a request of account {customer.account}", opened)

    async def staff_answer(self) -> None:
        """A member of staff does the tasks of systems that are paper; whoever else does them too says the same.

        Release 1 has no tasks for staff, and refuses.
        """
        answer = await self.send("GET", "dsr", "/v1/tasks", AGENT)
        for task in answer.json()["tasks"] if answer.status_code != 403 else ():
            reply = {"outcome": "done", "evidence": f"SUP-{UUID(task['id']).int % 10**9}"}
            once = {"Idempotency-Key": f"{task['id']}-{task['attempt']}"}
            await self.post("dsr", f"/v1/tasks/{task['id']}/reply", reply, AGENT, status=202, headers=once)
            self._by_staff.add(task["request"])

    async def closed(self, email: str, request: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for the end of a deletion, to which staff contribute; the mail about it."""
        await self.status(request, "closed", seconds)
        return await self.completion(email, request, seconds)

    async def completion(self, email: str, request: str, seconds: float = 40, mails: int = 2) -> dict[str, Any]:
        """The last mail of a request, of so many in all: the one with a link that came after the closing."""

        async def search() -> dict[str, Any] | None:
            found = [each for each in await self.mails(email) if f"/r/{request}/" in each["text"]]
            distinct = {each["message_id"]: each for each in found}
            return list(distinct.values())[-1] if len(distinct) >= mails else None

        return await until(f"the last mail to {email}", search, seconds)

    async def delete(self, customer: Customer, seconds: float = 60) -> str:
        """A deletion from the first word to the last mail; the request."""
        request, _ = await self.begin(customer.email)
        await self.closed(customer.email, request, seconds)
        return request

    async def status(self, request: str, wanted: str, seconds: float = 40) -> None:
        """Wait until a request has this status; until it is closed, staff do what is theirs."""

        async def reached() -> bool:
            if wanted == "closed" and request not in self._by_staff:
                await self.staff_answer()
            answer = await self.send("GET", "dsr", f"/v1/requests/{request}", "website")
            return answer.status_code == 200 and answer.json()["status"] == wanted

        await until(f"request {request} to be {wanted}", reached, seconds)

    async def waits_for(self, request: str, *systems: str) -> None:
        """Wait until dsr waits for these alone: when its clock moves, it writes to whoever has not answered."""

        async def waits() -> bool:
            answer = await self.send("GET", "dsr", f"/v1/requests/{request}", "website")
            return sorted(answer.json().get("waiting_for", [])) == sorted(systems)

        await until(f"request {request} to wait for {systems} alone", waits)

    # What can be looked up

    async def trail(self, **query: str) -> list[dict[str, Any]]:
        """What an auditor finds, all pages of it."""
        found: list[dict[str, Any]] = []
        while True:
            page = await self.get("audit", "/v1/entries", AUDITOR, **query)
            found += page["entries"]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    async def complete(self, request: str) -> dict[str, Any]:
        """Whether an auditor finds the trail of a deletion whole."""
        return await self.get("audit", f"/v1/requests/{request}/completeness", AUDITOR)

    async def rows(self, service: str, statement: str, *values: Any) -> list[asyncpg.Record]:
        """Rows of a service's database, as its runtime role."""
        connection = await asyncpg.connect(self.stack.database_url(service))
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    async def value(self, service: str, statement: str, *values: Any) -> Any:
        """The first value of the first row, None where there is none."""
        found = await self.rows(service, statement, *values)
        return found[0][0] if found else None

    async def as_owner(self, service: str, statement: str) -> None:
        """Change a service's tables, as only their owner may."""
        connection = await asyncpg.connect(self.stack.database_url(service, owner=True))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def off_loop(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Something that starts, stops or waits for processes, without stopping the others of this test."""
        return await asyncio.to_thread(work, *arguments, **named)

    async def run(self, service: str, *arguments: str) -> tuple[int, str]:
        """What an operator types, such as `dsr recover`: exit status and output."""
        return await self.off_loop(self.stack.run, service, *arguments)


def _address(name: str) -> str:
    return f"{name}-{uuid4().hex[:10]}@example.com"


async def eventually(what: str, condition: Callable[[], Awaitable[T | None]], seconds: float = 30) -> T:
    """The condition's first true value."""
    return await until(what, condition, seconds)


async def answer_tasks(company: Company, reply: dict[str, Any], times: int = 1, client: str = "marketing") -> list[Any]:
    """Take part as a system without Kafka: fetch tasks, answer so many of them in the same way."""
    answered: list[Any] = []

    async def some() -> bool:
        for task in (await company.get("dsr", "/v1/tasks", client))["tasks"]:
            if len(answered) < times:
                await company.post("dsr", f"/v1/tasks/{task['id']}/reply", reply, client, status=202)
                answered.append(task)
        return len(answered) >= times

    await until(f"{times} tasks for {client}", some)
    return answered
