"""`topics.toml` and `systems.toml` as values: who writes and reads what, and who must answer deletions."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

Transport = Literal["kafka", "http", "manual"]


@dataclass(frozen=True)
class Topic:
    """A topic, named without the deployment's prefix. `retention_days` 0 keeps for ever."""

    name: str
    key: str
    writer: str
    readers: tuple[str, ...]
    partitions: int
    retention_days: int
    ordered: bool
    sequenced: bool
    personal: bool
    compacted: bool = False


@dataclass(frozen=True)
class Call:
    """A synchronous HTTP call between a caller and a called service or system."""

    caller: str
    called: str
    asks: str


@dataclass(frozen=True)
class System:
    """A system that holds personal data. `deadline_days` are calendar days for an answer.

    `owner_mailbox` is a role's, not a person's: it is written to when the deadline has passed. What is required of it,
    and by a transport of `principal`, `client_id` and `owner`, is checked by `privacy_contracts.check`.
    """

    name: str
    transport: Transport
    stage: str
    deadline_days: int
    categories: tuple[str, ...]
    owner: str = ""
    owner_mailbox: str = ""
    principal: str | None = None
    client_id: str | None = None


@dataclass(frozen=True)
class Systems:
    """The systems, and the order of their stages."""

    stages: tuple[str, ...]
    by_name: dict[str, System]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(files("privacy_contracts").joinpath(name).read_text("utf-8"))


def topics() -> dict[str, Topic]:
    """All topics by name."""
    data = _read("topics.toml")
    return {
        name: Topic(name=name, readers=tuple(given.pop("readers")), **(data["defaults"] | given))
        for name, given in data["topics"].items()
    }


def read_by(reader: str) -> list[Topic]:
    """The topics that a principal may read."""
    return [topic for topic in topics().values() if reader in topic.readers]


def calls() -> list[Call]:
    """The synchronous calls."""
    return [Call(**call) for call in _read("topics.toml")["calls"]]


def systems() -> Systems:
    """The systems of `systems.toml`."""
    data = _read("systems.toml")
    named = {
        name: System(name=name, categories=tuple(given.pop("categories")), **given)
        for name, given in data["systems"].items()
    }
    return Systems(stages=tuple(data["stages"]), by_name=named)
