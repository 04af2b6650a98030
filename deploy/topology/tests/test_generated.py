"""What `topics.toml` calls for, without a cluster."""

from privacy_contracts.topology import Topic
from privacy_contracts.topology import topics as declared
from privacy_topology.generated import Acl, belongs, principals, reaches, wanted_acls, wanted_topics

STREAM = Topic("stream", "key", "writer", ("reader",), 3, 400, True, True, False)
STATE = Topic("state", "key", "writer", (), 6, 400, True, True, True, compacted=True)


def test_a_writer_and_a_reader_get_exactly_what_they_need() -> None:
    assert wanted_acls([STREAM], "p.") == {
        Acl("writer", "write", "topic", "p.stream"),
        Acl("writer", "read", "topic", "p.stream"),
        Acl("writer", "write", "transactional_id", "p.writer-relay"),
        Acl("writer", "describe", "transactional_id", "p.writer-relay"),
        Acl("reader", "read", "topic", "p.stream"),
        Acl("reader", "read", "group", "p.reader"),
    }


def test_a_topic_keeps_its_days_and_a_compacted_one_its_newest_values() -> None:
    topics = wanted_topics([STREAM, STATE], "p.", compaction_lag_ms=10_000, replication=3)

    assert topics["p.stream"].settings["retention.ms"] == str(400 * 86_400_000)
    assert topics["p.stream"].settings["cleanup.policy"] == "delete"
    assert topics["p.state"].settings["cleanup.policy"] == "compact"
    assert topics["p.state"].settings["max.compaction.lag.ms"] == "10000"
    assert topics["p.state"].settings["min.insync.replicas"] == "2"
    assert topics["p.state"].partitions == 6


def test_zero_days_keep_for_ever() -> None:
    [policy] = wanted_topics([declared()["policy"]], "", compaction_lag_ms=1, replication=1).values()

    assert policy.settings["retention.ms"] == "-1"


def test_every_topic_has_one_writing_principal() -> None:
    acls = wanted_acls(declared().values(), "p.")
    writers = [acl.name for acl in acls if (acl.operation, acl.resource) == ("write", "topic")]

    assert sorted(writers) == sorted(f"p.{name}" for name in declared())


def test_only_its_writer_and_declared_readers_may_read_personal_data() -> None:
    allowed = [a for a in wanted_acls(declared().values(), "p.") if (a.resource, a.name) == ("topic", "p.accounts")]
    readers = {acl.principal for acl in allowed if acl.operation == "read"}

    assert readers == {declared()["accounts"].writer, *declared()["accounts"].readers}


def test_everyone_who_writes_or_reads_is_a_principal() -> None:
    assert principals([STREAM, STATE]) == ["reader", "writer"]


def test_an_allowance_by_wildcard_or_shorter_prefix_reaches_in_but_is_not_ours() -> None:
    wildcard = Acl("x", "read", "topic", "*")
    wider = Acl("x", "read", "topic", "priv", "prefixed")

    assert all(reaches(acl, "privacy.") and not belongs(acl, "privacy.") for acl in (wildcard, wider))
    assert not reaches(Acl("x", "read", "topic", "other"), "privacy.")
    assert belongs(Acl("x", "read", "topic", "privacy.a"), "privacy.")
