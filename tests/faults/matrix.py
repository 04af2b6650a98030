"""Who is hit, by what, at which moment: every cell of the matrix, and why some make no sense.

Victims are the platform's own services and the two servers; systems of the sample company die in `tests/crash`.

A cell's id is `<victim>-<fault>-<moment>`, as in `kafka-kill-relay`.
"""

import random
from dataclasses import dataclass
from itertools import product

SERVICES = ("consent", "dsr", "notifier", "audit")
SERVERS = ("kafka", "postgres")
VICTIMS = (*SERVICES, *SERVERS)
FAULTS = {
    "kill": "SIGKILL",
    "freeze": "SIGSTOP for longer than session and lease; a second instance of a service takes over meanwhile",
    "restart": "an orderly end and a start",
    "absent": "not there while all others are started",
    "full": "its disk takes nothing more: RLIMIT_FSIZE of 0, so that every write to a file fails",
    "reset": "its connections are reset",
}
MOMENTS = {
    "idle": "nothing is under way; a deletion comes afterwards",
    "intake": "a request of HTTP is in its transaction",
    "batch": "records are in their transaction, in the middle of a deletion",
    "relay": "events are published and not deleted from the outbox yet",
    "mail": "the mail server has a mail and has not said so yet",
}


@dataclass(frozen=True)
class Cell:
    """One combination."""

    victim: str
    fault: str
    moment: str

    def __str__(self) -> str:
        return f"{self.victim}-{self.fault}-{self.moment}"

    @property
    def actor(self) -> str:
        """The service whose work is under way: the victim's own, where it does such work."""
        if self.moment == "mail":
            return "notifier"
        if self.victim in SERVERS or (self.moment == "intake" and self.victim != "consent"):
            return "dsr"
        return self.victim

    @property
    def makes_no_sense(self) -> str | None:
        """Why there is no such case."""
        if self.fault != "full" or self.victim in SERVERS:
            return None
        if self.victim in ("consent", "audit"):
            return "it seals nothing of its own, so it erases no key and writes no file"
        if self.moment != "batch":
            return "the one file of a service is its erasure ledger, which it writes while it applies a batch"
        return None

    @property
    def takes_long(self) -> bool:
        """Whether it lasts a dozen seconds or more: leases of a frozen server's clients run out in real time only."""
        frozen = self.fault == "freeze" and (self.victim in SERVERS or self.moment in ("batch", "relay"))
        return frozen or (self.fault == "absent" and self.victim == "postgres")


ALL = tuple(Cell(*each) for each in product(VICTIMS, FAULTS, MOMENTS))
CELLS = tuple(cell for cell in ALL if not cell.makes_no_sense)


def drawn(seed: int) -> list[Cell]:
    """Six short cells in which every victim and every fault comes once, and every moment at least once."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, and nothing is secret here
    while True:
        moments = [*MOMENTS, chance.choice(list(MOMENTS))]
        columns = [chance.sample(each, k=len(each)) for each in (VICTIMS, tuple(FAULTS), moments)]
        cells = [Cell(*each) for each in zip(*columns, strict=True)]
        if not any(cell.makes_no_sense or cell.takes_long for cell in cells):
            return cells
