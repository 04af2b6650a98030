"""The days, the settings and the alarms of `docs/operations.md` are those of the code."""

import re
from datetime import timedelta
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from accounts.settings import Settings
from dsr.domain.deadlines import KEEP_FINAL_ADDRESS, KEEP_FOR_OUTSTANDING
from local_stack import ROOT
from local_stack.postgres import SETTINGS
from privacy_contracts.topology import topics
from privacy_topology.generated import DAY_MS, wanted_topics
from privacy_topology.residue import Promised, longest, on_compacted_topic

SECTION = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("\n## How long it can still be read\n")[2]
PROMISED = Promised()


def bound() -> timedelta:
    """For the topic that is compacted, with its production settings and the accounts system's heartbeat."""
    wanted = wanted_topics(topics().values(), "", compaction_lag_ms=DAY_MS, replication=3)
    heartbeat = timedelta(seconds=Settings.model_fields["compaction_lag_seconds"].default) / 2
    return on_compacted_topic(wanted["accounts"].settings, heartbeat, PROMISED)


def rules() -> list[dict[str, Any]]:
    read = yaml.safe_load((ROOT / "deploy" / "prometheus" / "residue.yaml").read_text("utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


def test_the_days_are_those_that_follow_from_the_settings() -> None:
    days = {row[1]: int(row[2]) for row in re.finditer(r"^\| (.+) \| (\d+) \|$", SECTION, re.MULTILINE)}
    assert days == longest(bound(), PROMISED)
    ours = max(number for what, number in days.items() if "company" not in what)
    assert f"So **{max(days.values())} days** at most, and {ours} in what is ours." in SECTION


@pytest.mark.parametrize(
    ("said", "promised"),
    [
        ("`transaction.max.timeout.ms` of at most 15 minutes", PROMISED.transaction == timedelta(minutes=15)),
        ("a cleaner that gets round within an hour", PROMISED.cleaning == timedelta(hours=1)),
        ("every night in each database", PROMISED.rewrite == timedelta(days=1)),
        ("`archive_timeout` of at most an hour", PROMISED.archive_timeout == timedelta(hours=1)),
        ("`checkpoint_timeout` of at most 5 minutes", PROMISED.checkpoint_timeout == timedelta(minutes=5)),
        ("at most 30 days, without the schema", PROMISED.backups == timedelta(days=30)),
        ("at least daily, and at most 7 days", PROMISED.key_backups == timedelta(days=7)),
    ],
)
def test_what_is_asked_of_the_operator_is_what_is_computed_with(said: str, promised: bool) -> None:
    assert promised
    assert said in re.sub(r"\s+", " ", SECTION)


def test_the_last_mail_is_held_as_long_as_is_computed_with() -> None:
    assert PROMISED.last_mail == KEEP_FINAL_ADDRESS
    assert f"until it answers, {KEEP_FOR_OUTSTANDING.days} days at most" in SECTION


def test_the_local_stack_keeps_to_what_is_asked_of_postgres() -> None:
    asked = dict(re.findall(r"`(\w+) = (\w+)`", SECTION))
    local = {name: SETTINGS[name] for name in ("wal_recycle", "log_error_verbosity", "log_min_error_statement")}
    assert local.items() <= asked.items()


def test_the_alarm_goes_off_at_the_bound() -> None:
    [late] = [rule["expr"] for rule in rules() if rule["alert"] == "OverwrittenValuesStand"]
    assert late == f"topic_oldest_overwritten_seconds > {bound().total_seconds():.0f}"


def test_the_alarms_about_backups_go_off_at_their_lives() -> None:
    [late] = [rule["expr"] for rule in rules() if rule["alert"] == "BackupsStand"]
    lives = {"data": PROMISED.backups, "keys": PROMISED.key_backups}
    assert late == " or ".join(
        f'time() - backup_oldest_timestamp_seconds{{kind="{kind}"}} > {life.total_seconds():.0f}'
        for kind, life in lives.items()
    )


def test_each_metric_of_an_alarm_is_in_the_table() -> None:
    """That each is printed, `tests/residue` and the tests of the topology job show; the last is for the operator."""
    used = {name for rule in rules() for name in re.findall(r"\b[a-z]+(?:_[a-z]+)+_seconds\b", rule["expr"])}
    assert used == set(re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE))
