"""Bring a cluster to what was generated: create, correct, remove; and refuse what cannot be done safely.

Invariant: running it again changes nothing; it removes only ACLs whose resource stands under the prefix.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from privacy_contracts.topology import topics
from privacy_topology.generated import (
    DAY_MS,
    Acl,
    TopicSettings,
    belongs,
    principals,
    reaches,
    wanted_acls,
    wanted_topics,
)

Binding = TypeVar("Binding")
Resource = TypeVar("Resource")
TIMEOUT = 60.0  # seconds for one question to the cluster
ITERATIONS = 4096  # RFC 7677, section 4: the least for SCRAM-SHA-256
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional_id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,
}
NAMES = {kind: name for name, kind in RESOURCES.items()}


class TopologyError(Exception):
    """The cluster cannot be brought to what `topics.toml` says without a person's decision."""


@dataclass(frozen=True)
class Changes:
    """What differs between the cluster and what is wanted. `foreign` reach in from outside the prefix."""

    create: list[TopicSettings] = field(default_factory=list)
    correct: dict[str, dict[str, str]] = field(default_factory=dict)
    allow: frozenset[Acl] = frozenset()
    withdraw: frozenset[Acl] = frozenset()
    foreign: frozenset[Acl] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.create or self.correct or self.allow or self.withdraw)


def converge(
    client: AdminClient,
    prefix: str,
    *,
    replication: int = 1,
    compaction_lag_ms: int = DAY_MS,
    passwords: dict[str, str] | None = None,
    check: bool = False,
) -> Changes:
    """Bring the cluster to `topics.toml` under a prefix; returns what was (or, with `check`, would be) changed.

    Raises:
        TopologyError: a change that is never made, or a password for somebody who is no principal.

    """
    declared = list(topics().values())
    wanted = wanted_topics(declared, prefix, compaction_lag_ms=compaction_lag_ms, replication=replication)
    changes = differences(client, wanted, wanted_acls(declared, prefix), prefix)
    if check:
        return changes
    unknown = set(passwords or {}) - set(principals(declared))
    if unknown:
        raise TopologyError(f"no principals of topics.toml: {', '.join(sorted(unknown))}")
    if passwords:
        set_users(client, passwords)
    apply(client, changes, replication=replication)
    _wait_until_visible(client, wanted, wanted_acls(declared, prefix), prefix)
    return changes


def differences(client: AdminClient, wanted: Mapping[str, TopicSettings], acls: frozenset[Acl], prefix: str) -> Changes:
    """Compare the cluster with what is wanted, changing nothing.

    Raises:
        TopologyError: an existing topic has another number of partitions, which never changes.

    """
    present = client.list_topics(timeout=TIMEOUT).topics
    for name, topic in wanted.items():
        if name in present and len(present[name].partitions) != topic.partitions:
            raise TopologyError(
                f"{name} has {len(present[name].partitions)} partitions and topics.toml says {topic.partitions}: "
                "a topic never changes them, since keys would lose their order; growth is a new topic"
            )
    existing = _acls(client)
    ours = frozenset(acl for acl in existing if belongs(acl, prefix))
    return Changes(
        create=[topic for name, topic in wanted.items() if name not in present],
        correct=_wrong_settings(client, [topic for name, topic in wanted.items() if name in present]),
        allow=acls - ours,
        withdraw=ours - acls,
        foreign=frozenset(acl for acl in existing - ours if reaches(acl, prefix)),
    )


def apply(client: AdminClient, changes: Changes, *, replication: int) -> None:
    """Make the changes: withdraw first, so that nobody has more than before while it runs."""
    if changes.withdraw:
        _done(client.delete_acls([_binding(acl, AclBindingFilter) for acl in sorted(changes.withdraw)]))
    if changes.create:
        new = [NewTopic(t.name, t.partitions, replication, config=t.settings) for t in changes.create]
        _done(client.create_topics(new))
    if changes.correct:
        resources = [
            ConfigResource(
                ConfigResource.Type.TOPIC,
                name,
                incremental_configs=[
                    ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                    for key, value in settings.items()
                ],
            )
            for name, settings in changes.correct.items()
        ]
        _done(client.incremental_alter_configs(resources))
    if changes.allow:
        _done(client.create_acls([_binding(acl, AclBinding) for acl in sorted(changes.allow)]))


def set_users(client: AdminClient, passwords: Mapping[str, str]) -> None:
    """Give each principal its SCRAM password; existing connections stay."""
    information = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, ITERATIONS)
    _done(
        client.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(name, information, word.encode()) for name, word in passwords.items()]
        )
    )


def _wait_until_visible(
    client: AdminClient, wanted: Mapping[str, TopicSettings], acls: frozenset[Acl], prefix: str
) -> None:
    """Wait until the broker answers by the new state: it applies the controller's changes a moment later."""
    end = time.monotonic() + TIMEOUT
    while differences(client, wanted, acls, prefix):
        if time.monotonic() > end:
            raise TopologyError("the cluster took the changes but does not show them; run again with --check")
        time.sleep(0.05)


def _acls(client: AdminClient) -> frozenset[Acl]:
    any_name = cast(str, None)  # None stands for every name; the library's own types leave it out
    everything = AclBindingFilter(
        ResourceType.ANY,
        any_name,
        ResourcePatternType.ANY,
        any_name,
        any_name,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    return frozenset(
        Acl(
            found.principal.removeprefix("User:"),
            found.operation.name.lower(),
            NAMES.get(found.restype, found.restype.name.lower()),
            found.name,
            found.resource_pattern_type.name.lower(),
        )
        for found in client.describe_acls(everything, request_timeout=TIMEOUT).result()
        if found.permission_type == AclPermissionType.ALLOW
    )


def _binding(acl: Acl, kind: Callable[..., Binding]) -> Binding:
    return kind(
        RESOURCES[acl.resource],
        acl.name,
        ResourcePatternType[acl.pattern.upper()],
        f"User:{acl.principal}",
        "*",
        AclOperation[acl.operation.upper()],
        AclPermissionType.ALLOW,
    )


def _wrong_settings(client: AdminClient, topics: Iterable[TopicSettings]) -> dict[str, dict[str, str]]:
    wanted = {ConfigResource(ConfigResource.Type.TOPIC, topic.name): topic for topic in topics}
    if not wanted:
        return {}
    wrong = {}
    for resource, future in client.describe_configs(list(wanted), request_timeout=TIMEOUT).items():
        found = future.result()
        topic = wanted[resource]
        differing = {key: value for key, value in topic.settings.items() if found[key].value != value}
        if differing:
            wrong[topic.name] = differing
    return wrong


def _done(futures: Mapping[Resource, Future[Any]]) -> None:
    for future in futures.values():
        future.result()
