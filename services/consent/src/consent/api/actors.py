"""How callers are named in records: by a pseudonym that events may carry, else not at all."""

from typing import Literal

from pydantic import TypeAdapter, ValidationError

from chassis.auth import Principal
from chassis.problems import Problem
from privacy_contracts.fields import Actor, SystemName

_ACTOR: TypeAdapter[str] = TypeAdapter(Actor)
_SYSTEM: TypeAdapter[str] = TypeAdapter(SystemName)


def actor(kind: Literal["staff", "system"], principal: Principal) -> str:
    """The caller as an actor: `staff/<sub>` or `system/<sub>`."""
    return _recordable(_ACTOR, f"{kind}/{principal.subject}")


def system_name(principal: Principal) -> str:
    """The caller as a system of `systems.toml`."""
    return _recordable(_SYSTEM, principal.subject)


def _recordable(kind: TypeAdapter[str], name: str) -> str:
    try:
        return kind.validate_python(name)
    except ValidationError:
        raise Problem(403, "forbidden", "The token's subject is no name that can stand in a record") from None
