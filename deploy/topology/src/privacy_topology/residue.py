"""How long what was deleted may still stand somewhere.

Every bound counts from the deletion's commit, or, on a topic, from the event that overwrites. Each is an upper one, for
as long as the operator keeps to what `docs/operations.md` asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from privacy_topology.generated import AHEAD_MS


@dataclass(frozen=True)
class Promised:
    """What the operator keeps to, beside the settings of topics that this package makes."""

    transaction: timedelta = timedelta(minutes=15)
    """`transaction.max.timeout.ms`: no record behind an open transaction is compacted."""
    cleaning: timedelta = timedelta(hours=1)
    """The cleaner's turn: its pause, one pass over the topic, and `file.delete.delay.ms`."""
    rewrite: timedelta = timedelta(days=1)
    """From one run of `deploy/postgres/rewrite.sql` to the next."""
    archive_timeout: timedelta = timedelta(hours=1)
    checkpoint_timeout: timedelta = timedelta(minutes=5)
    backups: timedelta = timedelta(days=30)
    key_backups: timedelta = timedelta(days=7)
    last_mail: timedelta = timedelta(days=7)
    """How long dsr holds, sealed, where the last mail goes, should no mail server answer."""


def on_compacted_topic(settings: Mapping[str, str], heartbeat: timedelta, promised: Promised) -> timedelta:
    """From a record that overwrites another to the moment at which no segment holds the overwritten one.

    The segment of the newer record is closed by the first append after `segment.ms`, and the cleaner must take it once
    its first record is older than `max.compaction.lag.ms`; clocks of writers may be ahead.
    """
    closed = _ms(settings["segment.ms"]) + heartbeat
    due = max(_ms(settings["max.compaction.lag.ms"]), closed)
    return due + timedelta(milliseconds=AHEAD_MS) + promised.transaction + promised.cleaning


def in_files(promised: Promised) -> timedelta:
    """From a row's deletion to the moment at which neither the database's files nor its write-ahead log have it.

    A rewrite leaves what an open transaction may still see; the next one takes it. Until then a page may be written to
    the log, whose segment is closed after a while, and removed at the end of the checkpoint that begins after that.
    """
    return 2 * promised.rewrite + promised.archive_timeout + 2 * promised.checkpoint_timeout


def longest(topic: timedelta, promised: Promised) -> dict[str, int]:
    """Whole days by what holds it; `topic` is the bound `on_compacted_topic`.

    Keys are backed up by `pg_dump`, which takes what is not deleted; a backup of files takes what they still hold.
    """
    files, keys = in_files(promised), promised.key_backups
    return {
        "the topic `accounts`": days(topic),
        "a database's files and write-ahead log": days(files),
        "what is sealed: backups of the keys": days(keys),
        "the address of the last mail, sealed: backups of its key": days(promised.last_mail + keys),
        "what is not sealed, in the company's own systems: their backups": days(files + promised.backups),
    }


def days(bound: timedelta) -> int:
    """Whole days, rounded up."""
    return ceil(bound / timedelta(days=1))


def _ms(text: str) -> timedelta:
    return timedelta(milliseconds=int(text))
