"""Writes that may be repeated: the first answer to an `Idempotency-Key` is kept for a day and given again.

The key counts per caller and route. It commits with the effect, so a crash leaves either both or none; a second
request that comes meanwhile waits for the first.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from chassis.auth import Principal
from chassis.database import Connection
from chassis.problems import Problem

_LONGEST_KEY = 128


@dataclass(frozen=True)
class OnceKey:
    """The key of one request, if it has one."""

    route: str
    key: str | None
    body_hash: bytes

    async def answer(
        self, tx: Connection, caller: Principal, status: int, work: Callable[[], Awaitable[BaseModel]]
    ) -> JSONResponse:
        """Do the work, or give the answer it had. 422 when the same key comes with another body."""
        if self.key is None:
            return JSONResponse((await work()).model_dump(mode="json"), status)
        name = (caller.subject, self.route, self.key)
        first = await tx.fetchval(
            "INSERT INTO chassis.answers (caller, route, key, body_hash) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT DO NOTHING RETURNING true",
            *(*name, self.body_hash),
        )
        if first:
            body = (await work()).model_dump(mode="json")
            answered = "UPDATE chassis.answers SET status = $4, body = $5 WHERE caller = $1 AND route = $2 AND key = $3"
            await tx.execute(answered, *name, status, body)
            return JSONResponse(body, status)
        earlier = await tx.fetchrow(
            "SELECT body_hash, status, body FROM chassis.answers WHERE caller = $1 AND route = $2 AND key = $3", *name
        )
        if earlier is None or earlier["body_hash"] != self.body_hash:
            raise Problem(422, "key-reused", "This Idempotency-Key was used with another body")
        return JSONResponse(earlier["body"], earlier["status"], {"Idempotency-Replayed": "true"})


async def _once(request: Request) -> OnceKey:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
        raise Problem(400, "invalid-key", "An Idempotency-Key has 1 to 128 printable ASCII characters")
    # keyed: a plain hash of a body with an address would be a pseudonym of the person
    body_hash: bytes = request.app.state.fingerprint("answers", (await request.body()).decode("latin-1"))
    return OnceKey(f"{request.method} {request.url.path}", key, body_hash)


Once = Annotated[OnceKey, Depends(_once)]


async def forget(tx: Connection) -> None:
    """Drop answers older than a day."""
    await tx.execute("DELETE FROM chassis.answers WHERE answered_at < now() - interval '1 day'")
