"""After a deletion nothing is left of the person but what is listed here; and everything that is listed is needed."""

from collections.abc import Iterable
from fnmatch import fnmatch

import httpx
import pytest

from local_stack.databases import SERVICES

from ..people import Company
from .conftest import COMPACTION_SECONDS, World
from .places import Found
from .story import Story

INVOICED = ("name", "postal address", "guest's name", "guest's postal address")
KEPT = {
    "dump orders orders.invoices": INVOICED,
    "heap orders orders.invoices": INVOICED,
    "statistics orders": INVOICED,
    "heap orders pg_catalog.pg_statistic": INVOICED,
    "wal": INVOICED,
    "file mail/*": ("address", "nobody's address", "guest's address"),
}
"""What stays, by place: the fields of an invoice, for the tax office (26 U.S.C. 6001), in their table, in what the
database's planner knows of it, and in its log whenever they are written; and what the mail server delivered."""
STOOD = {
    "dump accounts accounts.accounts": ("address", "name"),
    "heap accounts accounts.accounts": ("address", "name"),
    "index accounts accounts.accounts_by_email": ("address",),
    "statistics accounts": ("address", "name"),
    "heap accounts pg_catalog.pg_statistic": ("address", "name"),
    "dump orders orders.customers": ("address", "name"),
    "dump orders orders.orders": ("postal address", "guest's address", "guest's name", "guest's postal address"),
    "wal": ("address", "name", "postal address", "dsr's keyed hash of address", "notifier's key"),
    "topic accounts": ("address", "name"),
    "file feeds/*": ("address", "name"),
    "file marketing/*": ("address",),
    "dump dsr dsr.accounts": ("dsr's keyed hash of address",),
    "dump dsr dsr.messages": ("dsr's keyed hash of address",),
    "dump dsr keys.owners": ("dsr's key",),
    "heap notifier keys.owners": ("notifier's key",),
    "dump orders orders.invoices": INVOICED,
    "file mail/*": ("address", "nobody's address"),
}
"""Where the person stood before: all of it is searched again afterwards."""
ON_CHASSIS = tuple(each for each in SERVICES if each != "orders")


def told_of(found: Found, among: Iterable[str]) -> set[tuple[str, str]]:
    """Which place of these holds which value."""
    return {
        (pattern, hit.value)
        for place, hits in found.items()
        for pattern in among
        for hit, _ in hits
        if fnmatch(place, pattern)
    }


def listed(places: dict[str, tuple[str, ...]]) -> set[tuple[str, str]]:
    """The same for a list."""
    return {(place, value) for place, values in places.items() for value in values}


def unlisted(found: Found) -> list[str]:
    """What is left and should not be."""
    return sorted(
        f"{hit.value} ({hit.kind}) in {place}"
        for place, hits in found.items()
        for hit, _ in hits
        if hit.value != "who stays"
        and not any(fnmatch(place, kept) and hit.value in values for kept, values in KEPT.items())
    )


@pytest.mark.parametrize(("place", "value"), sorted(listed(STOOD)))
def test_before_the_deletion_it_stood_there(story: Story, place: str, value: str) -> None:
    assert (place, value) in told_of(story.before, STOOD)


def test_after_the_deletion_nothing_is_left_but_what_is_listed(story: Story) -> None:
    assert unlisted(story.after) == []


def test_what_is_listed_is_there(story: Story) -> None:
    assert told_of(story.after, KEPT) - {(place, "who stays") for place in KEPT} == listed(KEPT)


def test_who_stays_is_found_as_before(story: Story) -> None:
    where = {place for place, hits in story.after.items() if any(hit.value == "who stays" for hit, _ in hits)}
    assert {"dump accounts accounts.accounts", "dump orders orders.customers", "topic accounts"} <= where


def test_the_topic_loses_the_person_in_time_without_other_traffic(story: Story) -> None:
    assert story.compacted_in < COMPACTION_SECONDS + 20


@pytest.mark.parametrize("service", ON_CHASSIS)
def test_spans_were_searched(world: World, story: Story, service: str) -> None:
    written = [file.read_text("utf-8") for file in (world.stack.directory / "spans" / service).glob("*.jsonl")]
    assert any(story.request in text for text in written)


def test_the_nightly_job_says_for_which_database_it_was_done(story: Story) -> None:
    said = [line.split()[0] for line in story.said]
    names = [f"{each}{story.suffix}" for each in SERVICES]
    assert said == [f'database_rewritten_timestamp_seconds{{database="{name}"}}' for name in names]


async def test_a_dead_letter_of_the_person_is_an_empty_shell(world: World, story: Story) -> None:
    async with httpx.AsyncClient(timeout=15) as http:
        company = Company(http, world.stack)
        for service in ("dsr", "notifier"):
            items = (await company.get(service, "/v1/dead-letters", "operator-01"))["items"]
            shown = [await company.get(service, f"/v1/dead-letters/{each['id']}", "operator-01") for each in items]
            assert [(each["key"], each["erased"], each["body"]) for each in shown] == [(story.account, True, None)]
