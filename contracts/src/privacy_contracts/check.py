"""The topology's rules: `topics.toml`, `systems.toml` and the events agree, and nobody holds what they must not.

    python -m privacy_contracts.check

Every system answers deletions on a topic that only the right principal may write; whoever reads personal data is such
a system; calls cannot wait for each other in a circle. Run it after a change of either file; what deploys the topology
runs it first.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import get_args

from privacy_contracts import EVENTS
from privacy_contracts.fields import CODE
from privacy_contracts.topology import Call, System, Systems, Topic, Transport, calls, systems, topics

DSR = "dsr"
"""Asks the systems, collects their replies, and writes for those without Kafka."""
AUDIT = "audit"
NOTIFIER = "notifier"
ACCOUNTS = "accounts"
"""The one topic with personal data."""
CHECKPOINTS = "checkpoints"
"""What audit says about its own log, and so does not record in it."""
WEBSITE = "website"
"""Calls over HTTP and holds nothing, so it is no system."""
OWN_STAGE = "own"
"""The stage of the platform's own services."""

STREAMS = {event.stream for event in EVENTS.values()}
PER_SYSTEM = {"replies", "disclosures", "accesses"}
"""Streams with a topic for each system: `<stream>.<system>`."""
SYSTEM = re.compile(r"[a-z][a-z0-9-]{0,31}")
MAILBOX = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
"""A role's mail address, in ASCII (RFC 5322's dot-atom, loosely)."""


def faults(topics: Mapping[str, Topic], systems: Systems, calls: Iterable[Call]) -> list[str]:
    """Everything that is wrong, one line each, naming the entry to change; empty when the rules hold."""
    principals = {system.principal for system in systems.by_name.values() if system.principal}
    return [
        *(line for system in systems.by_name.values() for line in _system(system, systems.stages)),
        *_shared_identities(systems),
        *(line for system in systems.by_name.values() for line in _replies(system, topics)),
        *(line for topic in topics.values() for line in _topic(topic, systems, principals)),
        *_personal(topics),
        *(f"no topic holds the stream {stream!r}" for stream in STREAMS if not _has_topic(stream, topics)),
        *_calls(list(calls), systems),
    ]


def _system(system: System, stages: tuple[str, ...]) -> Iterator[str]:
    transports = get_args(Transport)
    rules = (
        (bool(SYSTEM.fullmatch(system.name)), "a name is lower-case letters, digits and hyphens, at most 32"),
        (system.transport in transports, f"transport {system.transport!r} is none of {', '.join(transports)}"),
        (system.transport != "kafka" or system.principal, "takes part over Kafka but has no principal"),
        (system.transport != "http" or system.client_id, "takes part over HTTP but has no client_id"),
        (
            system.transport != "manual" or not (system.principal or system.client_id),
            "its tasks are done by staff, yet it has a principal or a client_id",
        ),
        (system.owner.strip(), "has no owner"),
        (
            MAILBOX.fullmatch(system.owner_mailbox),
            "owner_mailbox is no mail address: nobody would hear that it is late",
        ),
        (system.stage in stages, f"stage {system.stage!r} is none of {', '.join(stages)}"),
        (system.deadline_days >= 1, "deadline_days is below 1"),
        (system.categories, "names no category of data"),
        (all(re.fullmatch(CODE, category) for category in system.categories), "a category is no code"),
    )
    yield from (f"system {system.name!r}: {otherwise}" for holds, otherwise in rules if not holds)


def _shared_identities(systems: Systems) -> Iterator[str]:
    every = systems.by_name.values()
    for kind, used in (
        ("principal", Counter(system.principal for system in every if system.principal)),
        ("client_id", Counter(system.client_id for system in every if system.client_id)),
    ):
        for identity, count in used.items():
            if count > 1:
                yield f"{kind} {identity!r} belongs to {count} systems: authorship could not be told"


def _replies(system: System, topics: Mapping[str, Topic]) -> Iterator[str]:
    replies = topics.get(f"replies.{system.name}")
    writer = system.principal if system.transport == "kafka" else DSR
    if replies is None:
        yield f"system {system.name!r}: has no topic 'replies.{system.name}'"
        return
    if replies.writer != writer:
        yield f"topic {replies.name!r}: its writer must be {writer!r}, not {replies.writer!r}"
    if DSR not in replies.readers:
        yield f"topic {replies.name!r}: {DSR} must read it"
    requests = topics.get("requests")
    if requests and system.transport == "kafka" and system.principal not in (requests.writer, *requests.readers):
        yield f"topic 'requests': system {system.name!r} must read it, or it never hears of a deletion"


def _topic(topic: Topic, systems: Systems, principals: set[str]) -> Iterator[str]:
    name = f"topic {topic.name!r}"
    stream, _, system = topic.name.partition(".")
    if stream not in STREAMS:
        yield f"{name}: no event belongs to it"
    if (stream in PER_SYSTEM) != bool(system) or (system and system not in systems.by_name):
        yield f"{name}: a topic is a stream, or one of {', '.join(sorted(PER_SYSTEM))} with a system of systems.toml"
    for role, principal in (("writer", topic.writer), *(("reader", reader) for reader in topic.readers)):
        if principal not in principals:
            yield f"{name}: its {role} {principal!r} is the principal of no system"
    if topic.name != CHECKPOINTS and AUDIT not in topic.readers:
        yield f"{name}: {AUDIT} must read it"
    if topic.partitions < 1 or topic.retention_days < 0:
        yield f"{name}: partitions start at 1, retention_days at 0"


def _personal(topics: Mapping[str, Topic]) -> Iterator[str]:
    """Readers of `accounts` are covered by the rule that every reader is a system: a system answers deletions."""
    for topic in topics.values():
        if topic.personal and topic.name != ACCOUNTS:
            yield f"topic {topic.name!r}: only {ACCOUNTS!r} holds personal data"
    accounts = topics.get(ACCOUNTS)
    if accounts and not (accounts.personal and accounts.compacted):
        yield f"topic {ACCOUNTS!r}: it is personal and compacted, so that a deletion erases"


def _has_topic(stream: str, topics: Mapping[str, Topic]) -> bool:
    return any(name.startswith(f"{stream}.") if stream in PER_SYSTEM else name == stream for name in topics)


def _calls(calls: list[Call], systems: Systems) -> Iterator[str]:
    own = {system.name for system in systems.by_name.values() if system.stage == OWN_STAGE}
    for call in calls:
        name = f"call {call.caller!r} -> {call.called!r}"
        if call.caller not in {WEBSITE, *systems.by_name}:
            yield f"{name}: nobody is called {call.caller!r}"
        if call.called not in systems.by_name:
            yield f"{name}: {call.called!r} is no system"
        if call.called == NOTIFIER:
            yield f"{name}: nobody calls {NOTIFIER}; it hears events"
        if call.called == AUDIT and call.caller in own - {DSR}:
            yield f"{name}: of our services only {DSR} calls {AUDIT}"
    graph: dict[str, set[str]] = {}
    for call in calls:
        graph.setdefault(call.caller, set()).add(call.called)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"calls go in a circle: {' -> '.join(reversed(error.args[1]))}"


def main() -> int:
    """Print every fault; 1 when there is one."""
    found = faults(topics(), systems(), calls())
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
