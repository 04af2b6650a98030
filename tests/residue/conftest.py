"""A deployment with servers of its own, whose disks can be read; and what the scanner saw before anything ran."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from local_stack import servers
from local_stack.layout import PROCESSES
from local_stack.stack import Stack

from ..deployment import ON_KAFKA, made, remove_stale
from .places import Found, look
from .planted import VALUE, plant, uproot
from .scanner import Scanner
from .story import Story, told

COMPACTION_SECONDS = 4
"""What stands for the day of production."""
RUNNING = [name for name in PROCESSES if name != "website"]


@dataclass(frozen=True)
class World:
    """A running deployment, and what the scanner saw of the planted value before anything ran."""

    stack: Stack
    sight: Found


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """Shared by all tests of this folder."""
    remove_stale()
    spans = {"PYTHONPATH": str(Path(__file__).parent / "spans")}
    more = {name: dict(spans) for name in ON_KAFKA}
    more["accounts"]["COMPACTION_LAG_SECONDS"] = str(COMPACTION_SECONDS)
    with made("residue", more=more, servers=None) as stack:
        for name in ON_KAFKA:
            stack.overrides[name]["SPANS"] = str(stack.directory / "spans" / name)
        stack.prepare()
        shorten(stack)
        asyncio.run(plant(stack))
        sight = asyncio.run(look(stack, Scanner({"planted": VALUE})))
        asyncio.run(uproot(stack))
        stack.start(*RUNNING)
        stack.wait(*RUNNING, seconds=90)
        yield World(stack, sight)


def shorten(stack: Stack) -> None:
    """Have `accounts` compacted in seconds, and what was compacted leave the disk at once."""
    deployment = stack.deployment
    servers.converge(deployment.servers, deployment.prefix, compaction_lag_ms=COMPACTION_SECONDS * 1000)
    at_once = ConfigEntry("file.delete.delay.ms", "100", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ConfigResource.Type.TOPIC, f"{deployment.prefix}accounts", incremental_configs=[at_once])
    client = servers.admin(deployment.servers)
    for future in client.incremental_alter_configs([topic]).values():
        future.result()


@pytest.fixture(scope="package")
def story(world: World) -> Story:
    """One person's coming and going."""
    return asyncio.run(told(world.stack))
