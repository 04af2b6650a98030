"""How callers are named in records: by a pseudonym that events may carry, else not at all."""

from typing import Literal

from pydantic import TypeAdapter, ValidationError

from chassis.auth import Principal
from chassis.problems import Problem
from privacy_contracts.fields import Actor

_ACTOR: TypeAdapter[str] = TypeAdapter(Actor)


def actor(kind: Literal["staff", "system"], caller: Principal) -> str:
    """`staff/<sub>` or `system/<sub>`. Raises a 403 problem for a name that can stand in no record."""
    try:
        return _ACTOR.validate_python(f"{kind}/{caller.subject}")
    except ValidationError:
        raise Problem(403, "forbidden", "The token's subject is no name that can stand in a record") from None
