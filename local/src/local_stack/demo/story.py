"""The steps of the demo, in the order in which they are told.

Each does what a website, a person, a company system or an auditor can do, and reads back what it claims.
"""

import re
import time
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from local_stack import ROOT, Misuse, clock, observe
from local_stack.demo.telling import Telling, event
from local_stack.layout import PROCESSES
from local_stack.observe import mails, newest, places, trail, until

POLICY = ROOT / "examples" / "company" / "policy"
PEOPLE = {"Alice Moran": "alice@example.com", "Bob Tran": "bob@example.com", "Carol Diaz": "carol@example.com"}
ALICE, TYPED = PEOPLE["Alice Moran"], "ALICE@Example.com"
MARKETING = "third_party_marketing"
OFFER = "Yes, partners may write to me about their goods."
ADDRESS = "12 Harbor Lane, Long Beach, CA 90802"
AGENT = "agent-01"
LONGEST_POLICY = 39_000
"""Characters; consent takes 40,000, and the demo appends a sentence."""
SENTENCES = (
    "This sentence was appended by the demo, to show a correction.",
    "This sentence was appended by the demo, to show a material revision.",
)


@dataclass(frozen=True)
class Revision:
    """A text, what the officer decides about it, and what is to be known of it."""

    text: str
    summary: str
    material: bool
    reasons: list[str]
    note: str = ""


def revisions(given: str | None) -> list[Revision]:
    """The sample's three texts; or the one of the `given` file, and that with a sample sentence appended, twice.

    Raises:
        Misuse: the file cannot serve as a policy; the message names it.

    """
    data = tomllib.loads((POLICY / "revisions.toml").read_text("utf-8"))["revision"]
    sample = [Revision((POLICY / each.pop("file")).read_text("utf-8"), **each) for each in data]
    if given is None:
        return sample
    text = _text(Path(given).absolute())
    return [
        replace(sample[0], text=text, note="the text as given"),
        *(
            replace(each, text=f"{text}\n\n{sentence}\n", summary=sentence, note="the demo appended a sample sentence")
            for each, sentence in zip(sample[1:], SENTENCES, strict=True)
        ),
    ]


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
    except OSError as error:
        raise Misuse(f"POLICY: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misuse(f"POLICY: {path} is not UTF-8 text") from None
    if not text.strip():
        raise Misuse(f"POLICY: {path} is empty")
    if "\0" in text or len(text) > LONGEST_POLICY:
        raise Misuse(f"POLICY: {path} is no text of at most {LONGEST_POLICY} characters")
    return text


async def introduce(t: Telling) -> None:
    """Who is there."""
    t.head("The stack")
    for name, process in PROCESSES.items():
        t.say(f"{name}: {process.about}", t.stack.url(name) if process.http else "no port of its own")


async def publish(t: Telling, revision: Revision) -> dict[str, Any]:
    """An officer publishes a version."""
    body = asdict(revision)
    note = body.pop("note")
    told = await t.post("consent", "/v1/policies", body, "officer-01")
    version = told["version"]
    entry = await found(t, f"policy version {version}", type="policy.revised", version=version)
    what = "a material revision" if revision.material else "not material"
    t.say(
        f"policy v{version} published by officer-01 (Olivia Marsh), {what}, revised on {told['revised_on']}, "
        f"SHA-256 {told['text_hash'][:12]}…{f'; {note}' if note else ''}",
        event(entry),
    )
    return told


async def found(t: Telling, what: str, seconds: float = 30, **wanted: Any) -> dict[str, Any]:
    """The newest audit entry with these payload values; waits for it."""
    query: dict[str, str] = {name: str(wanted.pop(name)) for name in ("type", "request", "subject") if name in wanted}
    if "request" not in query and "subject" not in query:
        query |= {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}

    async def search() -> dict[str, Any] | None:
        entries = await trail(t.http, t.stack, **query)
        hits = [
            each
            for each in entries
            if all((each["payload"] or {}).get(name) == value for name, value in wanted.items())
        ]
        return hits[-1] if hits else None

    return await until(f"the record of {what}", search, seconds, every=0.3)  # each look is itself recorded


async def register(t: Telling) -> None:
    """Three customers; two agree to third-party marketing, one of those takes it back."""
    t.head("Customers and their choices")
    for name, email in PEOPLE.items():
        told = await t.post("accounts", "/v1/customers", {"email": email, "name": name, "region": "US-CA"})
        t.customers[email] = told["id"]
        entry = await found(t, f"{name}'s account", subject=f"account/{told['id']}", type="account.stated")
        t.say(f"{email} registers; the audit record holds the envelope only, no address", event(entry))
    for email, choice in ((ALICE, "granted"), ("bob@example.com", "granted"), ("bob@example.com", "withdrawn")):
        subject = f"account/{t.customers[email]}"
        body = {"subject": subject, "purpose": MARKETING, "choice": choice, "text": OFFER, "channel": "website"}
        told = await t.post("consent", "/v1/choices", body)
        entry = await found(t, "the choice", subject=subject, type="consent.changed", version=told["version"])
        t.say(f"{email}: third-party marketing {choice}, version {told['version']}", event(entry))
    order = {"account": t.customers[ALICE], "item": "Parcel to Lisbon", "cents": 4200, "ship_to": ADDRESS}
    told = await until("the order system to know Alice", lambda: _order(t, order))
    t.say(f"{ALICE} orders something", f"order {told['id'][:8]}…, invoice {told['invoice']}")


async def _order(t: Telling, order: dict[str, Any]) -> dict[str, Any] | None:
    answer = await t.http.post(f"{t.stack.url('orders')}/orders", json=order)
    told: dict[str, Any] = answer.json()
    return told if answer.status_code == 201 else None


async def feed(t: Telling) -> None:
    """The accounts system wants to feed a partner; consent decides about each person."""
    t.head("A feed to an advertising partner")
    await t.post("accounts", "/v1/feeds", {"recipient": "adco", "purpose": MARKETING}, "operator-01", status=202)
    disclosed = 0
    for email in PEOPLE.values():
        subject = f"account/{t.customers[email]}"
        decided = await found(t, "the decision", subject=subject, type="disclosure.decided", recipient="adco")
        allowed, reason = decided["payload"]["allowed"], decided["payload"]["reason"]
        kind = "personal_data.disclosed" if allowed else "disclosure.refused"
        entry = await found(t, "the outcome", subject=subject, type=kind, recipient="adco")
        disclosed += allowed
        t.say(f"{email}: {'disclosed' if allowed else 'refused'}, because: {reason.replace('_', ' ')}", event(entry))
    t.check(disclosed == 1, f"{disclosed} people were disclosed, not 1")


async def revise(t: Telling, correction: Revision, material: Revision) -> None:
    """Every change shows on the home page; a material one is mailed to every account."""
    t.head("The policy changes")
    before = len(await mails(t.http, t.stack))
    told = await publish(t, correction)
    await _home_page_shows(t, told["url"])
    told = await publish(t, material)
    await _home_page_shows(t, told["url"])

    async def all_told() -> list[dict[str, Any]] | None:
        new = (await mails(t.http, t.stack))[before:]
        return new if len(new) >= len(PEOPLE) else None

    sent = await until("a mail to every account", all_told)
    addressed = sorted(address for each in sent for address in each["recipients"])
    t.check(addressed == sorted(PEOPLE.values()), f"mails went to {addressed}")
    t.say(
        "the correction brought no mail; the material revision one to every primary address, opted out or not",
        ", ".join(f"mail {each['id']} to {each['recipients'][0]}" for each in sent),
    )
    entry = await found(t, "the mailing's end", type="notice.completed", policy_version=told["version"])
    t.say(f"{entry['payload']['sent']} sent, {entry['payload']['failed']} failed", event(entry))


async def _home_page_shows(t: Telling, url: str) -> None:
    policy = url.rsplit("/", 1)[0]

    async def shown() -> str | None:
        page = (await t.http.get(f"{t.stack.url('website')}/")).text
        return page if policy in page and "privacy policy was updated" in page else None

    await until("the notice on the home page", shown)
    t.say("the shop's home page shows the notice", t.stack.url("website"))


async def ask(t: Telling) -> None:
    """A person asks for deletion on the website; an unknown address gets the very same answer."""
    t.head("A deletion request")
    website = t.stack.url("website")
    known = await t.http.post(f"{website}/privacy", data={"email": TYPED})
    unknown = await t.http.post(f"{website}/privacy", data={"email": "nobody@example.com"})
    same = (known.status_code, _plain(known.text)) == (unknown.status_code, _plain(unknown.text))
    t.check(known.is_success and same, f"the answers differ: {known.status_code}, {unknown.status_code}")
    t.say(
        f"the website sends a request for {TYPED}, as typed, and one for nobody@example.com: the same answer",
        f"{known.status_code}, {unknown.status_code}",
    )
    mail = await letter(t, ALICE, "/r/")
    t.link = next(link for link in mail["links"] if "/r/" in link)
    t.request = t.link.split("/r/")[1].split("/")[0]
    entry = await found(t, "the request", request=t.request, type="request.received")
    t.say("the request is received; whose it is, nobody knows yet", event(entry))
    t.check(mail["recipients"] == [ALICE], f"the mail with the link went to {mail['recipients']}")
    t.say(f"a mail with a link goes to {ALICE}, the account's address, not to what was typed", f"mail {mail['id']}")
    honest = await until("the honest mail", lambda: _first(t, "nobody@example.com"))
    t.say(
        "nobody@example.com is told the truth: no account there; with a link, for guests",
        f"mail {honest['id']}: {honest['subject']}",
    )


def _plain(page: str) -> str:
    """A page without what is new on every page: the form's own key."""
    return re.sub(r'value="[^"]*"', "", page)


async def _first(t: Telling, address: str) -> dict[str, Any] | None:
    return next(iter(await mails(t.http, t.stack, address)), None)


async def letter(t: Telling, to: str, part: str) -> dict[str, Any]:
    """The newest mail to an address that has a link with this part."""

    async def search() -> dict[str, Any] | None:
        got = [each for each in await mails(t.http, t.stack, to) if any(part in link for link in each["links"])]
        return got[-1] if got else None

    return await until(f"a mail with a link to {to}", search)


async def confirm(t: Telling) -> None:
    """A scanner's GET changes nothing; the person confirms, and confirms that the account goes."""
    t.head("The person confirms")
    entries = len(await trail(t.http, t.stack, request=t.request, type="request.verified"))
    for _ in range(3):
        await t.http.get(t.link)
    status = await t.get("dsr", f"/v1/requests/{t.request}", "website")
    t.check(entries == 0 and status["status"] == "received", f"opening the link changed the request: {status}")
    t.say("a mail scanner opens the link three times: nothing changes", f"status {status['status']}")
    await t.http.post(f"{t.link}/verify", follow_redirects=True)
    entry = await found(t, "the verification", request=t.request, type="request.verified")
    t.say("the person says: yes, this is me", event(entry))
    await t.http.post(f"{t.link}/confirm", follow_redirects=True)
    entry = await found(t, "the confirmation", request=t.request, type="deletion.confirmed")
    t.say(f"and: yes, my account goes too; revocable until {entry['payload']['irrevocable_at'][:19]} UTC", event(entry))


async def search_before(t: Telling) -> int:
    """Where the address stands before anything is deleted."""
    found_places = await places(t.stack, ALICE)
    on_topic = await _on_accounts(t)
    for place in found_places:
        t.say("the address stands in", str(place))
    t.say(f"the address stands in {len(found_places)} tables, and in {on_topic} newest value(s) on the accounts topic")
    t.check(found_places and on_topic, "the address should stand somewhere before the deletion")
    return sum(place.rows for place in found_places) + on_topic


async def _on_accounts(t: Telling) -> int:
    values = (await newest(t.stack, "accounts")).values()
    return sum(ALICE.encode() in (each.value or b"") for each in values)


async def delete(t: Telling) -> None:
    """All systems delete or say what they keep; the order system is killed in the middle of it."""
    t.head("Every system deletes")
    entry = await found(t, "the first stage", request=t.request, type="deletion.requested", stage="company")
    t.say(f"deletion requested of {', '.join(entry['payload']['systems'])}: no way back from here", event(entry))
    t.stack.kill("orders")
    t.say("kill -9: the order system dies in the middle of its task")
    await staff(t)
    for system in ("marketing", "support", "orders", "consent", "notifier", "dsr", "audit", "accounts"):
        reply = await _reply(t, system)
        t.say(f"{system}: {_told(reply)}", event(reply))
    entry = await found(t, "the account's end", subject=f"account/{t.customers[ALICE]}", type="account.deleted")
    t.say("account deleted", event(entry))
    entry = await found(t, "the closing", request=t.request, type="request.closed")
    t.say(f"request closed: {entry['payload']['outcome']}", event(entry))
    done = await until("the completion mail", lambda: _completion(t))
    t.first_finished = time.monotonic() - t.began
    t.say(f"the person is told: {done['subject']}", f"mail {done['id']} to {done['recipients'][0]}")
    replies = [each for each in await trail(t.http, t.stack, request=t.request) if each["topic"] == "replies.orders"]
    ids = {each["id"] for each in replies}
    t.check(len(ids) == 1, f"orders answered {len(ids)} times with different ids")
    t.say("the order system was killed and came back, and did nothing twice", f"{len(ids)} reply, id {ids.pop()[:8]}…")


async def staff(t: Telling) -> None:
    """A member of staff does what is open in systems that are paper, and says where it can be looked up."""
    for task in (await t.get("dsr", "/v1/tasks", AGENT))["tasks"]:
        ticket = f"SUP-{int(task['id'][-6:], 16)}"
        path = f"/v1/tasks/{task['id']}/reply"
        await t.post("dsr", path, {"outcome": "done", "evidence": ticket}, AGENT, status=202)
        t.say(
            f"agent-01 (Agnes Vale) takes {' and '.join(task['categories'])} out of the {task['system']} desk's paper "
            "files, and answers over HTTP",
            f"evidence {ticket}",
        )


async def _completion(t: Telling) -> dict[str, Any] | None:
    got = [each for each in await mails(t.http, t.stack, ALICE) if "delet" in each["subject"].lower()]
    closed = [each for each in await trail(t.http, t.stack, request=t.request, type="notice.sent")]
    done = any(each["payload"]["template"] == "completion" for each in closed)
    return got[-1] if got and done else None


async def _reply(t: Telling, system: str) -> dict[str, Any]:
    async def search() -> dict[str, Any] | None:
        entries = await trail(t.http, t.stack, request=t.request)
        return next((each for each in entries if each["topic"] == f"replies.{system}"), None)

    return await until(f"the answer of {system}", search, 60, every=0.3)


def _told(reply: dict[str, Any]) -> str:
    if reply["type"] == "reply.retained":
        items = (
            f"{each['category']} until {each['until']} under {each['legal_basis']}"
            for each in reply["payload"]["items"]
        )
        return f"deleted, but keeps {', '.join(items)}"
    plain = {"reply.done": "deleted everything", "reply.not_found": "held nothing"}
    return plain.get(reply["type"], str(reply["type"]))


async def prove(t: Telling, before: int) -> None:
    """What an auditor finds: who saw the data, what nobody can alter, whether the trail is whole, what is left."""
    t.head("The proof")
    subject = f"account/{t.customers[ALICE]}"
    told = await t.get("audit", "/v1/subjects/recipients", observe.AUDITOR, subject=subject)
    t.say(f"who received or saw the data of {subject[:16]}…?")
    for each in told["received"]:
        basis = (each["basis"] or "").replace("_", " ")
        t.say(
            f"  {each['recipient']} received {', '.join(each['categories'])} for {each['purpose']}", f"basis: {basis}"
        )
    for each in told["seen"]:
        times = "once" if each["times"] == 1 else f"{each['times']} times"
        t.say(f"  {each['actor']} saw {', '.join(each['categories'])} for {each['purpose']}", times)
    await _refused(t)
    whole = await t.get("audit", f"/v1/requests/{t.request}/completeness", observe.AUDITOR)
    t.check(whole["complete"], f"missing from the trail: {whole['missing']}")
    t.say(
        "the trail is complete: every system of systems.toml was asked and answered", f"{len(whole['systems'])} systems"
    )
    left, on_topic = await places(t.stack, ALICE), await _on_accounts(t)
    t.check(not left and not on_topic, f"the address still stands in {[str(each) for each in left]}, topic {on_topic}")
    t.say(f"the address in every database and on the accounts topic: {before} before, 0 now")
    for place in await places(t.stack, "Alice Moran"):
        t.say("kept by law, by name", str(place))
        t.check(place.database == "orders", f"the name stands in {place}")
    t.say(f"the mail server keeps what it delivered: {len(await mails(t.http, t.stack, ALICE))} mails to {ALICE}")


async def _refused(t: Telling) -> None:
    import asyncpg

    connection = await asyncpg.connect(t.stack.database_url("audit"))
    try:
        await connection.execute("UPDATE audit.entries SET subject = NULL WHERE request = $1", t.request)
    except asyncpg.InsufficientPrivilegeError as error:
        t.say("UPDATE on the audit entries, tried as the service's own role: refused by Postgres", str(error))
    else:
        t.check(False, "an UPDATE on the audit entries went through")
    finally:
        await connection.close()


async def silent(t: Telling) -> None:
    """With BREAK=orders: a system never answers; it is reminded, then its owner is told."""
    t.head("A system that never answers")
    await found(t, "the first stage", request=t.request, type="deletion.requested", stage="company")
    await staff(t)
    reply = await _reply(t, "marketing")
    t.say(f"marketing: {_told(reply)}; orders says nothing", event(reply))
    t.say(f"the clock moves: domain time is {clock.move(t.stack.directory / 'clock', '+20d').days} days ahead")
    entry = await found(t, "the reminder", request=t.request, type="deletion.requested", reminder=True)
    t.say(f"{', '.join(entry['payload']['systems'])} is reminded, attempt {entry['payload']['attempt']}", event(entry))
    entry = await found(t, "the escalation", request=t.request, type="system.escalated")
    t.say(f"{entry['payload']['system']} is escalated to its owner", event(entry))
    page = (await t.http.get(t.link)).text
    t.check("It is late" in page, "the status page does not say that a system is late")
    t.say("the person's status page says so too", t.link.rsplit("/", 1)[0] + "/…")
