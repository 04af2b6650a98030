"""The local stack: a real Kafka, a real Postgres, a mail sink, a token issuer and a supervisor; in no image.

Invariant: everything that is started is written down before it is waited for (pid and start time), so that any
later run finds it, uses it or stops it, and never stops a process that only has the same number.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
JARS = ROOT / ".cache" / "kafka"
DEFAULT_DIRECTORY = ROOT / ".local"


class LocalStackError(Exception):
    """Something that the person at the keyboard can put right; the message says how."""


class Misuse(LocalStackError):
    """An argument or a variable that nothing can be done with; the exit status is 2."""
