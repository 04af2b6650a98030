"""`topics.toml` and `systems.toml` obey the rules; the check notices each way of breaking them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from privacy_contracts import EVENTS, topology
from privacy_contracts.check import CHECKPOINTS, OWN_STAGE, faults, main
from privacy_contracts.topology import Call, System, Systems, Topic, calls, read_by, systems, topics


@dataclass
class World:
    """A topology that a test may spoil."""

    topics: dict[str, Topic]
    systems: dict[str, System]
    calls: list[Call]

    def faults(self) -> list[str]:
        return faults(self.topics, Systems(systems().stages, self.systems), self.calls)

    def topic(self, name: str, **changes: object) -> "World":
        self.topics[name] = replace(self.topics[name], **changes)  # type: ignore[arg-type]  # any field
        return self

    def system(self, name: str, **changes: object) -> "World":
        self.systems[name] = replace(self.systems[name], **changes)  # type: ignore[arg-type]  # any field
        return self


@pytest.fixture
def world() -> World:
    return World(topics(), dict(systems().by_name), calls())


def test_the_topology_obeys_the_rules(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.faults() == []
    assert main() == 0, capsys.readouterr().err


def test_a_manual_system_needs_an_owner_and_dsr_as_the_writer_and_no_way_in_of_its_own(world: World) -> None:
    support = world.systems["support"]
    assert (support.transport, support.principal, support.client_id) == ("manual", None, None)
    assert world.topics["replies.support"].writer == "dsr"


def _new(name: str, **changes: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.topics[name] = replace(world.topics["notices"], name=name, **changes)  # type: ignore[arg-type]  # any field

    return change


SYSTEMS: list[tuple[Callable[[World], object], str]] = [
    (lambda w: w.system("orders", principal=None), "system 'orders': takes part over Kafka but has no principal"),
    (lambda w: w.system("marketing", client_id=None), "system 'marketing': takes part over HTTP but has no client_id"),
    (lambda w: w.system("support", client_id="support"),
     "system 'support': its tasks are done by staff, yet it has a principal or a client_id"),
    (lambda w: w.system("support", principal="support"),
     "system 'support': its tasks are done by staff, yet it has a principal or a client_id"),
    (lambda w: w.system("orders", owner=""), "system 'orders': has no owner"),
    (lambda w: w.system("marketing", owner=" "), "system 'marketing': has no owner"),
    (lambda w: w.system("marketing", transport="manual", owner=""), "system 'marketing': has no owner"),
    (lambda w: w.system("orders", owner_mailbox=""),
     "system 'orders': owner_mailbox is no mail address: nobody would hear that it is late"),
    (lambda w: w.system("orders", owner_mailbox="the orders team <orders-team@example.com>"),
     "system 'orders': owner_mailbox is no mail address: nobody would hear that it is late"),
    (lambda w: w.system("orders", transport="fax"), "system 'orders': transport 'fax' is none of kafka, http, manual"),
    (lambda w: w.system("orders", stage="later"), "system 'orders': stage 'later' is none of company, own, accounts"),
    (lambda w: w.system("orders", deadline_days=0), "system 'orders': deadline_days is below 1"),
    (lambda w: w.system("orders", categories=()), "system 'orders': names no category of data"),
    (lambda w: w.system("orders", categories=("All sorts",)), "system 'orders': a category is no code"),
    (lambda w: w.systems.update({"Bad Name": replace(w.systems["orders"], name="Bad Name")}),
     "system 'Bad Name': a name is lower-case letters, digits and hyphens, at most 32"),
    (lambda w: w.system("orders", principal="accounts"),
     "principal 'accounts' belongs to 2 systems: authorship could not be told"),
    (lambda w: w.system("orders", client_id="marketing"),
     "client_id 'marketing' belongs to 2 systems: authorship could not be told"),
]  # fmt: skip

TOPICS: list[tuple[Callable[[World], object], str]] = [
    (lambda w: w.topics.pop("replies.orders"), "system 'orders': has no topic 'replies.orders'"),
    (lambda w: w.topic("replies.orders", writer="dsr"),
     "topic 'replies.orders': its writer must be 'orders', not 'dsr'"),
    (lambda w: w.topic("replies.marketing", writer="accounts"),
     "topic 'replies.marketing': its writer must be 'dsr', not 'accounts'"),
    (lambda w: w.topic("replies.support", writer="audit"),
     "topic 'replies.support': its writer must be 'dsr', not 'audit'"),
    (lambda w: w.topic("replies.orders", readers=("audit",)), "topic 'replies.orders': dsr must read it"),
    (lambda w: w.topic("requests", readers=("consent", "notifier", "audit", "accounts")),
     "topic 'requests': system 'orders' must read it, or it never hears of a deletion"),
    (lambda w: w.topic("accounts", readers=(*w.topics["accounts"].readers, "newsletter")),
     "topic 'accounts': its reader 'newsletter' is the principal of no system"),
    (lambda w: w.systems.pop("notifier"), "topic 'accounts': its reader 'notifier' is the principal of no system"),
    (lambda w: w.topic("accounts", readers=(*w.topics["accounts"].readers, "marketing")),
     "topic 'accounts': its reader 'marketing' is the principal of no system"),
    (lambda w: w.topic("policy", writer="legal"), "topic 'policy': its writer 'legal' is the principal of no system"),
    (lambda w: w.topic("policy", readers=("audit", "press")),
     "topic 'policy': its reader 'press' is the principal of no system"),
    (lambda w: w.topic("policy", readers=("notifier",)), "topic 'policy': audit must read it"),
    (lambda w: w.topic("policy", partitions=0), "topic 'policy': partitions start at 1, retention_days at 0"),
    (lambda w: w.topic("policy", retention_days=-1), "topic 'policy': partitions start at 1, retention_days at 0"),
    (lambda w: w.topic("requests", personal=True), "topic 'requests': only 'accounts' holds personal data"),
    (lambda w: w.topic("accounts", personal=False),
     "topic 'accounts': it is personal and compacted, so that a deletion erases"),
    (lambda w: w.topic("accounts", compacted=False),
     "topic 'accounts': it is personal and compacted, so that a deletion erases"),
    (lambda w: w.topics.pop("consent"), "no topic holds the stream 'consent'"),
    (lambda w: w.topics.pop("disclosures.accounts") and w.topics.pop("disclosures.notifier")
     and w.topics.pop("disclosures.dsr"), "no topic holds the stream 'disclosures'"),
    (_new("rumours"), "topic 'rumours': no event belongs to it"),
    (_new("replies"), "topic 'replies': a topic is a stream, or one of accesses, disclosures, replies "
     "with a system of systems.toml"),
    (_new("notices.orders"), "topic 'notices.orders': a topic is a stream, or one of accesses, disclosures, replies "
     "with a system of systems.toml"),
    (_new("accesses.fax"), "topic 'accesses.fax': a topic is a stream, or one of accesses, disclosures, replies "
     "with a system of systems.toml"),
]  # fmt: skip

CALLS: list[tuple[Call, str]] = [
    (Call("consent", "audit", "x"), "call 'consent' -> 'audit': of our services only dsr calls audit"),
    (Call("notifier", "audit", "x"), "call 'notifier' -> 'audit': of our services only dsr calls audit"),
    (Call("dsr", "notifier", "x"), "call 'dsr' -> 'notifier': nobody calls notifier; it hears events"),
    (Call("website", "notifier", "x"), "call 'website' -> 'notifier': nobody calls notifier; it hears events"),
    (Call("accounts", "billing", "x"), "call 'accounts' -> 'billing': 'billing' is no system"),
    (Call("billing", "dsr", "x"), "call 'billing' -> 'dsr': nobody is called 'billing'"),
]


@pytest.mark.parametrize(("spoil", "said"), SYSTEMS + TOPICS, ids=[said for _, said in SYSTEMS + TOPICS])
def test_a_broken_rule_is_told(world: World, spoil: Callable[[World], object], said: str) -> None:
    spoil(world)
    assert said in world.faults()


@pytest.mark.parametrize(("call", "said"), CALLS, ids=[said for _, said in CALLS])
def test_a_forbidden_call_is_told(world: World, call: Call, said: str) -> None:
    world.calls.append(call)
    assert said in world.faults()


@pytest.mark.parametrize(
    "added", [[("dsr", "dsr")], [("dsr", "marketing")], [("dsr", "accounts"), ("consent", "dsr")]], ids=str
)
def test_a_circle_of_calls_is_told(world: World, added: list[tuple[str, str]]) -> None:
    world.calls += [Call(caller, called, "x") for caller, called in added]
    assert [line for line in world.faults() if line.startswith("calls go in a circle: ")]


def test_dsr_may_call_audit_and_an_auditor_outside_too(world: World) -> None:
    world.calls += [Call("dsr", "audit", "the accounting of an erased person"), Call("website", "audit", "a proof")]
    assert world.faults() == []


@pytest.mark.promise(67)
def test_each_reader_of_accounts_answers_deletions() -> None:
    """The list of systems is what a request is frozen from: no copy of a person's data is forgotten."""
    answering = {system.principal for system in systems().by_name.values()}
    assert set(topics()["accounts"].readers) | {topics()["accounts"].writer} <= answering


def test_audit_reads_every_topic_but_its_own_checkpoints() -> None:
    assert {topic.name for topic in read_by("audit")} == topics().keys() - {CHECKPOINTS}


def test_accounts_goes_last_and_company_systems_first() -> None:
    assert systems().stages == ("company", OWN_STAGE, "accounts")
    assert {s.name for s in systems().by_name.values() if s.stage == "accounts"} == {"accounts"}
    assert {s.name for s in systems().by_name.values() if s.stage == OWN_STAGE} == {
        "audit",
        "consent",
        "dsr",
        "notifier",
    }


def test_every_event_has_a_topic() -> None:
    streams = {name.partition(".")[0] for name in topics()}
    assert {event.stream for event in EVENTS.values()} <= streams


def test_the_command_prints_faults(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read = topology._read

    def without_owner(name: str) -> dict[str, object]:
        data = read(name)
        if name == "systems.toml":
            del data["systems"]["orders"]["owner"]
        return data

    monkeypatch.setattr(topology, "_read", without_owner)
    assert main() == 1
    assert capsys.readouterr().err == "system 'orders': has no owner\n"
