"""`python -m tests.soak.table`: write `docs/faults.md` from the rounds and cells that stand in `docs/faults/`."""

from collections import Counter
from collections.abc import Iterable, Mapping

from local_stack import ROOT
from local_stack.layout import EVERY

from ..crash.plan import REACHED, TIMES
from ..crash.watching import Seen, together
from ..faults.matrix import ALL, FAULTS, MOMENTS, VICTIMS, Cell
from .results import KILLS, ROUNDS, Round, Timing, cells, rounds, timings

PAGE = ROOT / "docs" / "faults.md"
SHORT_WORDS = {fault: words.partition(";")[0].partition(":")[0] for fault, words in FAULTS.items()}
SEEN = {
    "inbox_skips": "events recognised by an inbox as applied already, at least",
    "relay_repeats": "records that stand on a topic once more, with the same id and number",
    "relay_takeovers": "times that a service's relay went to the other instance",
    "rebalances": "times that partitions went from one instance to the other, at least",
    "timer_takeovers": "timers that a dead instance had in hand, fired by the other",
    "job_takeovers": "jobs that an instance had in hand which stayed dead, done by the other",
}
HEAD = """# Faults

What became of persons' requests while processes died. `tests/soak/` makes this page; nobody edits it.

Each round is a company of its own: every service runs twice, deletions are under way all the while, and processes are
killed by SIGKILL, some of them at a named point of the code (`chassis/src/chassis/crash.py`), the others at a moment
drawn from the round's seed, Kafka and Postgres among them. At the end everything is counted from
outside (`tests/invariants.py`): each request closed once, each system asked and answered once, nothing lost, nothing
done twice, no number missing, every record in the audit trail, nothing left of the persons.

```
make soak SHARD=1/{shards}     # and 2/{shards}, one after the other or on two machines
make soak-table         # write this page anew once the shards' files are in one docs/faults/; commit both
```

A shard does its rounds in less than an hour on two cores that do nothing else, and starts no round that would end
later (`SECONDS=3600`). A round that came to its end is a line in `docs/faults/`, so a shard that was killed or out of
time goes on when the same command is given again. Rounds that are done stay done whatever the code is by then: the
table names the revision, and a `+` means with changes that were not committed. To begin anew, remove
`docs/faults/*.jsonl`.
"""


def page(found: list[tuple[str, Round]], timed: list[Timing], played: Mapping[str, float], shards: int = 2) -> str:
    """The page as text."""
    last = {each.number: each for _, each in found}
    done = [each for each in last.values() if not each.broken]
    parts = [HEAD.format(shards=shards), _summary(done, found), _seen(done), _matrix(done), _killed(done)]
    return "\n".join([*parts, _rounds(found), _cells(played), _timings(timed)])


def _summary(done: list[Round], found: list[tuple[str, Round]]) -> str:
    kills = sum(sum(each.kills.values()) for each in done)
    points, planned = sum(len(each.points) for each in done), TIMES * sum(map(len, REACHED.values()))
    minutes = sum(each.dying_seconds for each in done) / 60
    rate = f"{(kills + points) / minutes:.1f} a minute while processes died" if minutes else "none yet"
    rows = [
        ("rounds done, with every invariant", f"{len(done)} of {ROUNDS}"),
        ("rounds in which something was broken", f"{sum(bool(each.broken) for _, each in found)}"),
        ("kills at random", f"{kills} of {ROUNDS * KILLS}"),
        ("deaths at named points", f"{points} of {planned}"),
        ("deletions seen through", f"{sum(each.deletions for each in done)}"),
        ("requests for addresses without an account", f"{sum(each.unknown for each in done)}"),
        ("mails that arrived once more", f"{sum(each.repeated_mails for each in done)}"),
        ("kills and deaths", rate),
        ("time of all rounds", f"{sum(each.seconds for each in done) / 60:.0f} minutes"),
        ("revisions of the code", ", ".join(sorted({each.revision for each in done})) or "none"),
    ]
    return "## In all\n\n" + _table(("what", "how much"), rows)


def _seen(done: list[Round]) -> str:
    counts = together(Seen(**each.seen) for each in done).as_dict()
    return "## What the other instance was there for\n\n" + _table(
        ("seen", "times"), [(words, str(counts[name])) for name, words in SEEN.items()]
    )


def _matrix(done: list[Round]) -> str:
    died = Counter((EVERY[name].service, point) for each in done for name, point in each.points)
    points = sorted({point for reached in REACHED.values() for point in reached})
    rows = [
        (f"`{point}`", *(str(died[service, point]) if point in REACHED[service] else "" for service in REACHED))
        for point in points
    ]
    about = f"Deaths of each service at each point that it passes in its daily work; {TIMES} of each are planned."
    return f"## Where they died\n\n{about}\n\n" + _table(("point", *REACHED), rows)


def _killed(done: list[Round]) -> str:
    kills = sum((Counter(each.kills) for each in done), Counter[str]())
    return "## Who was killed at random\n\n" + _table(
        ("process", "kills"), [(name, str(times)) for name, times in sorted(kills.items())]
    )


def _rounds(found: list[tuple[str, Round]]) -> str:
    rows = [
        (
            *(str(each.number), str(each.seed), shard, each.revision),
            *(str(sum(each.kills.values())), f"{len(each.points)} of {each.planned}", str(each.deletions)),
            *(str(each.repeated_mails), f"{each.seconds} s", "; ".join(each.broken).replace("|", "/") or "hold"),
        )
        for shard, each in found
    ]
    names = ("round", "seed", "shard", "revision", "kills", "points", "deletions", "mails again", "took", "invariants")
    return "## The rounds\n\n" + _table(names, rows)


def _cells(played: Mapping[str, float]) -> str:
    names = {str(cell) for cell in ALL}
    possible = sum(not cell.makes_no_sense for cell in ALL)
    others = ", ".join(f"{name} ({seconds:.0f} s)" for name, seconds in sorted(played.items()) if name not in names)
    about = (
        "`make faults`: who fails, how, and at which moment of the work of all others (`tests/faults/matrix.py`); the\n"
        "seconds until everybody was ready again. Then too everything is counted. A dash is a combination that makes\n"
        f"no sense, an empty field one that has not been played. {len(names & played.keys())} of {possible} are played"
        f"{f'; further cases: {others}' if others else ''}.\n"
    )
    rows = [
        (victim, words, *(_took(Cell(victim, fault, moment), played) for moment in MOMENTS))
        for victim in VICTIMS
        for fault, words in SHORT_WORDS.items()
    ]
    return f"## Faults at moments\n\n{about}\n" + _table(("who", "fault", *MOMENTS), rows)


def _took(cell: Cell, played: Mapping[str, float]) -> str:
    if cell.makes_no_sense:
        return "-"
    return f"{played[str(cell)]:.0f}" if str(cell) in played else ""


def _timings(timed: list[Timing]) -> str:
    about = (
        "Whether the time of an answer tells if an address has an account: known and unknown addresses in an order\n"
        "drawn at random, each once. Delta is Cliff's: the chance that a known address takes longer, less that of the\n"
        "reverse; below 0.147 it is called negligible (Romano et al., 2006). p is of the test of Mann and Whitney,\n"
        "two-sided.\n"
    )
    rows = [
        (
            *(each.way, f"{each.known} and {each.unknown}"),
            *(f"{each.median_known * 1000:.1f} ms", f"{each.median_unknown * 1000:.1f} ms"),
            *(f"{each.delta:+.3f}", f"{each.p:.3f}", each.revision),
        )
        for each in timed
    ]
    names = ("way", "known and unknown", "median known", "median unknown", "delta", "p", "revision")
    return f"## Timings\n\n{about}\n" + _table(names, rows)


def _table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(names)
    lines = [names, ["---"] * len(names), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(rounds(), timings(), cells()), "utf-8")


if __name__ == "__main__":
    write()
    print(f"{PAGE.relative_to(ROOT)} is written")
