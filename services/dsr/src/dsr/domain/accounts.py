"""Which state of an account is held: the highest version, in whatever order they come, and none after its deletion."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Held:
    """What is known of an account: the version held, 0 for none, and whether it was deleted."""

    version: int = 0
    deleted: bool = False


def supersedes(held: Held, version: int) -> bool:
    """Whether a stated version replaces what is held. A repeat does not; nothing brings a deleted account back."""
    return not held.deleted and version > held.version
