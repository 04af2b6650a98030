"""Convergence on a real broker, whose answers to principals are the proof."""

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AclBinding, AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions

from local_stack import DEFAULT_DIRECTORY, kafka, servers
from local_stack.processes import wait_for
from local_stack.servers import Servers
from privacy_topology.converge import Changes, TopologyError, _acls, _binding, apply, converge, differences
from privacy_topology.generated import Acl


@pytest.fixture(scope="module")
def running() -> Servers:
    return servers.start(DEFAULT_DIRECTORY / "test")


@pytest.fixture(scope="module")
def client(running: Servers) -> AdminClient:
    return servers.admin(running)


@pytest.fixture
def prefix(running: Servers, client: AdminClient) -> Iterator[str]:
    name = f"topology-{uuid.uuid4().hex[:8]}."
    converge(client, name, passwords=running.kafka.users)
    yield name
    servers.remove_topics(running, name)


def produce(running: Servers, principal: str, topic: str, key: bytes = b"k", value: bytes = b"{}") -> KafkaError | None:
    """Publish as a principal, with nothing but its own rights; returns the broker's refusal."""
    settings = kafka.client_configuration(running.kafka.bootstrap, principal, running.kafka.users[principal])
    outcome: list[KafkaError | None] = []
    producer = Producer({**settings, "message.timeout.ms": 60_000, "message.max.bytes": 4_000_000})
    producer.produce(topic, value, key, on_delivery=lambda error, _: outcome.append(error))
    producer.flush(90)
    return outcome[0]


def test_a_second_run_changes_nothing(client: AdminClient, prefix: str) -> None:
    assert not converge(client, prefix)


def test_a_writer_may_write_its_topic_and_nobody_else_may(running: Servers, prefix: str) -> None:
    assert produce(running, "consent", f"{prefix}policy") is None

    refusal = produce(running, "orders", f"{prefix}policy")

    assert refusal is not None
    assert refusal.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_record_over_the_limit_is_refused_by_the_broker(running: Servers, prefix: str) -> None:
    refusal = produce(running, "consent", f"{prefix}policy", value=b"x" * 200_000)

    assert refusal is not None
    assert refusal.code() == KafkaError.MSG_SIZE_TOO_LARGE


def test_a_wrong_password_opens_nothing(running: Servers) -> None:
    settings = kafka.client_configuration(running.kafka.bootstrap, "consent", "guess")
    with pytest.raises(KafkaException):
        AdminClient(settings).list_topics(timeout=2)


def test_a_stale_allowance_is_withdrawn(running: Servers, client: AdminClient, prefix: str) -> None:
    stale = Acl("orders", "write", "topic", f"{prefix}policy")
    allow(client, stale)

    changes = converge(client, prefix)

    assert changes.withdraw == {stale}
    assert produce(running, "orders", f"{prefix}policy") is not None


def test_a_missing_allowance_is_given_back(client: AdminClient, prefix: str) -> None:
    missing = Acl("consent", "write", "topic", f"{prefix}policy")
    apply(client, Changes(withdraw=frozenset({missing})), replication=1)
    assert wait_for(lambda: missing not in _acls(client), 60)

    assert converge(client, prefix).allow == {missing}


def test_an_allowance_that_reaches_in_from_outside_is_named_and_left(client: AdminClient, prefix: str) -> None:
    wider = Acl("somebody", "read", "topic", prefix[:-3], "prefixed")
    allow(client, wider)

    assert wider in converge(client, prefix).foreign
    assert wider in _acls(client)

    apply(client, differences(client, {}, frozenset(), wider.name), replication=1)


def test_a_changed_setting_is_corrected(client: AdminClient, prefix: str) -> None:
    entry = ConfigEntry("retention.ms", "60000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, f"{prefix}policy", incremental_configs=[entry])
    for future in client.incremental_alter_configs([resource]).values():
        future.result()

    expected = {f"{prefix}policy": {"retention.ms": "-1"}}
    assert wait_for(lambda: converge(client, prefix, check=True).correct == expected, 60)
    assert converge(client, prefix).correct == expected
    assert not converge(client, prefix).correct


def test_a_partition_count_is_never_changed(client: AdminClient, prefix: str) -> None:
    for future in client.create_partitions([NewPartitions(f"{prefix}policy", 4)]).values():
        future.result()
    assert wait_for(lambda: len(client.list_topics(timeout=60).topics[f"{prefix}policy"].partitions) == 4, 60)

    with pytest.raises(TopologyError, match="never changes"):
        converge(client, prefix)


def test_a_password_for_no_principal_is_refused(client: AdminClient, prefix: str) -> None:
    with pytest.raises(TopologyError, match="no principals"):
        converge(client, prefix, passwords={"mallory": "x"})


def allow(client: AdminClient, acl: Acl) -> None:
    for future in client.create_acls([_binding(acl, AclBinding)]).values():
        future.result()
    assert wait_for(lambda: acl in _acls(client), 60)
