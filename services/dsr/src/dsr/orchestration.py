"""A deletion and its systems, from the point of no return to the closing. Each step locks the request's row first.

Every function runs in its caller's transaction: rows, events and timers commit together or not at all.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from chassis import timers
from chassis.database import Connection
from chassis.outbox import emit, emit_all
from dsr.domain import deletion
from dsr.domain.deletion import SYSTEM, Deletion, Effect, Step
from dsr.domain.requests import Request
from dsr.queries import accounts, requests, tasks
from dsr.queries.personal import FINAL, Access, account_address, owner_of_account, owner_of_request
from dsr.settings import Desk
from privacy_contracts.replies import Reply


async def begin(tx: Connection, desk: Desk, request_id: UUID, now: datetime) -> None:
    """The cooling-off is over: hold the final address, make the tasks, ask the first stage. No way back from here."""
    request = await requests.lock(tx, request_id)
    if request is None:
        return
    stages, listed = deletion.thaw(await requests.frozen_systems(tx, request_id))
    before = Deletion(request, stages, listed)
    step = deletion.begin(before, now)
    if step.deletion is None:
        return
    await _hold_final_address(tx, desk, request, now)
    await tasks.insert(tx, request_id, listed)
    await _take(tx, desk, before, step, now)


async def answered(tx: Connection, desk: Desk, system: str, reply: Reply, now: datetime) -> Effect:
    """A reply came from `system`, by whichever way. Returns what it changed."""
    before = await _locked(tx, reply.request)
    step = deletion.answer(before, system, reply, desk.retry_after, now)
    await _take(tx, desk, before, step, now)
    return step.effect


async def look_again(
    tx: Connection,
    desk: Desk,
    decide: Callable[[Deletion, str, datetime], Step],
    request_id: UUID,
    system: str,
    now: datetime,
) -> None:
    """A time has come for one system: `decide` is `remind`, `escalate` or `ask_again`."""
    before = await _locked(tx, request_id)
    if before is not None:
        await _take(tx, desk, before, decide(before, system, now), now)


async def _locked(tx: Connection, request_id: UUID) -> Deletion | None:
    request = await requests.lock(tx, request_id)
    if request is None:
        return None
    stages, _ = deletion.thaw(await requests.frozen_systems(tx, request_id))
    return Deletion(request, stages, await tasks.of_request(tx, request_id))


async def _take(tx: Connection, desk: Desk, before: Deletion | None, step: Step, now: datetime) -> None:
    after = step.deletion
    if before is None or after is None:
        return
    if after.request != before.request:
        await requests.store(tx, after.request)
    await tasks.store(tx, after.request.id, [task for task in after.tasks if task not in before.tasks])
    await emit_all(tx, step.events, now)
    for alarm in step.alarms:
        key = f"{after.request.id}/{alarm.system}" if alarm.system else str(after.request.id)
        await timers.put(tx, alarm.kind, key, alarm.due_at)
    own = deletion.own_answer(step, desk.zone, now)
    if own is not None:
        await bury(tx, desk, own.account, now)
        await emit(tx, own, now)


async def bury(tx: Connection, desk: Desk, account: str, at: datetime) -> None:
    """Delete what is held about an account and leave a tombstone that no later state gets past.

    The key goes whether or not the account was known here: states that were put aside are sealed under it too.
    """
    await accounts.lock(tx, account)
    await accounts.bury(tx, account, at)
    await desk.sealing.erase(tx, owner_of_account(account))


async def _hold_final_address(tx: Connection, desk: Desk, request: Request, now: datetime) -> None:
    """Seal the address onto the request, so that the last mail finds its way when every other copy is gone."""
    access = Access(f"service/{SYSTEM}", "request", request.id)
    address = await account_address(tx, desk.sealing, request.account or "", access, now)
    if address is not None:
        sealed = await desk.sealing.seal(tx, owner_of_request(request.id), address, FINAL)
        await requests.set_final_address(tx, request.id, sealed)
