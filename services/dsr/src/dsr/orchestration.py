"""A deletion and its systems, from the point of no return to the closing. Each step locks the request's row first.

Every function runs in its caller's transaction: rows, events and timers commit together or not at all.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chassis import timers
from chassis.database import Connection
from chassis.outbox import emit, emit_all
from dsr.domain import deadlines, deletion
from dsr.domain.deletion import Deletion, Effect, Step
from dsr.domain.requests import Refused, Request, start
from dsr.personal import FINAL, SYSTEM, Access, account_address, owner_of_account, owner_of_request
from dsr.queries import accounts, requests, tasks
from dsr.settings import Desk
from privacy_contracts.replies import Reply


async def begin(tx: Connection, desk: Desk, request_id: UUID, now: datetime) -> None:
    """The cooling-off is over: hold the final address, make the tasks, ask the first stage. No way back from here."""
    request = await requests.lock(tx, request_id)
    decided = start(request, now) if request else None
    if decided is None or isinstance(decided, Refused):
        return
    await requests.store(tx, decided.request)
    await _hold_final_address(tx, desk, decided.request, now)
    frozen = await requests.frozen_systems(tx, request_id)
    await tasks.insert(tx, request_id, [deletion.thawed(each) for each in frozen["systems"]])
    before = await _deletion(tx, decided.request)
    await _take(tx, desk, decided.request, before, deletion.begin(before, now), now)


async def answered(tx: Connection, desk: Desk, system: str, reply: Reply, now: datetime) -> Effect:
    """A reply came from `system`, by whichever way. Returns what it changed."""
    request = await requests.lock(tx, reply.request)
    if request is None or reply.system != system:
        return "none"
    before = await _deletion(tx, request)
    step = deletion.answer(before, reply, desk.retry_after, now)
    await _take(tx, desk, request, before, step, now)
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
    request = await requests.lock(tx, request_id)
    if request is None:
        return
    before = await _deletion(tx, request)
    await _take(tx, desk, request, before, decide(before, system, now), now)


async def _deletion(tx: Connection, request: Request) -> Deletion:
    frozen = await requests.frozen_systems(tx, request.id)
    return Deletion(
        request=request.id,
        account=request.account or "",
        stages=tuple(frozen["stages"]) if frozen else (),
        tasks=await tasks.of_request(tx, request.id),
        closed=request.status != "deleting",
    )


async def _take(tx: Connection, desk: Desk, request: Request, before: Deletion, step: Step, now: datetime) -> None:
    after = step.deletion
    await tasks.store(tx, request.id, [task for task in after.tasks if task not in before.tasks])
    await emit_all(tx, step.events, now)
    for alarm in step.alarms:
        key = f"{request.id}/{alarm.system}" if alarm.system else str(request.id)
        await timers.put(tx, alarm.kind, key, alarm.due_at)
    if after.closed and not before.closed:
        await requests.store(tx, replace(request, status="closed", outcome="completed", closed_at=now))
    if deletion.asks(step.events, SYSTEM):
        await _answer_ourselves(tx, desk, request, after, now)


async def _answer_ourselves(tx: Connection, desk: Desk, request: Request, asked: Deletion, now: datetime) -> None:
    """This service is a system too: its copy of the address goes, the record stays, and it says so like any other."""
    await bury(tx, desk, asked.account, now)
    kept_until = deadlines.record_kept_until(request.due_at, now, desk.zone)
    await emit(tx, deletion.own_answer(asked, SYSTEM, kept_until, now), now)


async def bury(tx: Connection, desk: Desk, account: str, at: datetime) -> None:
    """Delete what is held about an account and leave a tombstone that no later state gets past."""
    await accounts.lock(tx, account)
    if await accounts.bury(tx, account, at):
        await desk.sealing.erase(tx, owner_of_account(account))


async def _hold_final_address(tx: Connection, desk: Desk, request: Request, now: datetime) -> None:
    """Seal the address onto the request, so that the last mail finds its way when every other copy is gone."""
    access = Access(f"service/{SYSTEM}", "request", request.id)
    address = await account_address(tx, desk.sealing, request.account or "", access, now)
    if address is not None:
        sealed = await desk.sealing.seal(tx, owner_of_request(request.id), address, FINAL)
        await requests.set_final_address(tx, request.id, sealed)
