"""Each way in which a subscriber was seen to lose messages, tried on every subscriber that there is.

What makes them lose nothing stands in one place, but what runs is each service's own: its handlers, topics and rights.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from chassis.database import Connection
from chassis.testing import until
from privacy_contracts.topology import topics

from .conftest import KINDS, Subscriber

UNREADABLE: dict[str, dict[str, Any]] = {
    "a header that is null": {"headers": {"ce_type": None}},
    "a header that is no UTF-8": {"headers": {"ce_type": b"\xff\xfe"}},
    "a body that is no JSON but says so": {"value": b"\x00{", "headers": {"content-type": b"application/json"}},
}


def test_every_subscriber_on_chassis_is_tried() -> None:
    """Orders takes part with a client of its own."""
    readers = {reader for topic in topics().values() for reader in topic.readers}
    assert {kind.name for kind in KINDS} == readers - {"orders"}


@pytest.mark.parametrize("spoilt", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_stands_behind_an_unreadable_record_is_applied_and_that_one_is_kept(
    subscriber: Subscriber, spoilt: dict[str, Any]
) -> None:
    await subscriber.tell(subscriber.good(9, **spoilt), subscriber.good(1))
    async with subscriber.running():
        assert await subscriber.reached(1) == [1]
    assert await subscriber.aside() == [9]


async def test_a_batch_that_is_given_up_in_a_rebalance_is_applied_once_by_its_next_owner(
    subscriber: Subscriber,
) -> None:
    held = asyncio.Event()

    async def hold(_: int, __: Connection) -> None:
        held.set()
        raise OSError("the database went away")

    numbers = range(1, 7)
    await subscriber.tell(*(subscriber.good(number, partition=number % 3) for number in numbers))
    async with AsyncExitStack() as first:
        await first.enter_async_context(subscriber.running(hold))
        await until(lambda: asyncio.sleep(0, held.is_set()))
        async with subscriber.running():
            await subscriber.reached(1)
            await first.aclose()
            applied = await subscriber.reached(len(numbers))
    assert sorted(applied) == [*numbers]
    assert all(applied.index(number) < applied.index(number + 3) for number in (1, 2, 3))
    assert await subscriber.aside() == []


async def test_a_batch_that_fails_is_not_passed_by_a_later_one(subscriber: Subscriber) -> None:
    failures = 0

    async def away(number: int, _: Connection) -> None:
        nonlocal failures
        if number == 1 and failures < 2:
            failures += 1
            raise OSError("the database went away")

    await subscriber.tell(subscriber.good(1))
    async with subscriber.running(away):
        await until(lambda: asyncio.sleep(0, failures))
        await subscriber.tell(subscriber.good(2), subscriber.good(3, partition=1))
        applied = await subscriber.reached(3)
    assert sorted(applied) == [1, 2, 3]
    assert applied.index(1) < applied.index(2)
    assert await subscriber.aside() == []


async def test_what_kafka_holds_as_read_is_applied_when_our_positions_do_not_say_so(subscriber: Subscriber) -> None:
    """First without any stored position, then with one that Kafka's is ahead of."""
    for number in (1, 2):
        await subscriber.tell(subscriber.good(number))
        await subscriber.commit_to_the_end()
        async with subscriber.running():
            assert await subscriber.reached(number) == [*range(1, number + 1)]


async def test_a_handler_that_swallows_an_sql_error_does_not_undo_its_batch_unseen(subscriber: Subscriber) -> None:
    swallowed = 0

    async def careless(number: int, tx: Connection) -> None:
        nonlocal swallowed
        if number == 2 and swallowed < 2:
            swallowed += 1
            try:
                await tx.execute("SELECT 1 / 0")
            except asyncpg.PostgresError:
                pass

    await subscriber.tell(subscriber.good(1), subscriber.good(2))
    async with subscriber.running(careless):
        assert await subscriber.reached(2) == [1, 2]
    assert swallowed == 2
    assert await subscriber.aside() == []


async def test_a_record_cannot_have_the_subscriber_write_to_a_topic(subscriber: Subscriber) -> None:
    """Not even to one that the service has the right to write."""
    writable = next(
        topic.name for topic in topics().values() if topic.writer == subscriber.kind.name and not topic.compacted
    )
    before = await subscriber.ends(writable)
    async with subscriber.running():
        for number in (1, 2, 3):
            wish = {"reply_to": subscriber.full(writable).encode()}
            await subscriber.tell(subscriber.good(number, headers=wish))
            assert await subscriber.reached(number) == [*range(1, number + 1)]
    assert await subscriber.ends(writable) == before
