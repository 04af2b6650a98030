"""A deletion and its systems, from the point of no return to the closing. Each step locks the request's row first.

Every function runs in its caller's transaction: rows, events and timers commit together or not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7

from chassis import timers
from chassis.database import Connection
from chassis.outbox import emit, emit_all
from chassis.telemetry import about
from dsr import case
from dsr.domain import deletion
from dsr.domain import requests as decide
from dsr.domain.deletion import SYSTEM, Deletion, Effect, Step
from dsr.domain.requests import Refused, Request
from dsr.domain.tasks import freeze, thaw
from dsr.queries import accounts, requests, tasks
from dsr.queries.personal import FINAL, Access, account_address, owner_of_account, owner_of_request, typed_address
from dsr.settings import Desk
from privacy_contracts.accounts import AccountDeleted
from privacy_contracts.replies import Reply
from privacy_contracts.topology import systems


async def begin(tx: Connection, desk: Desk, request_id: UUID, now: datetime, *, said: bool = False) -> None:
    """The cooling-off is over: hold the final address, make the tasks, ask the first stage. No way back from here.

    The last moment at which the request can become an account's that was stated meanwhile. With `said` all of this was
    said before: the state is put back, and nothing is emitted about it.
    """
    request = await requests.lock(tx, request_id)
    if request is None:
        return
    request = request if said else await case.matched(tx, desk, request, now)
    stages, listed = thaw(await requests.frozen_systems(tx, request_id))
    before = Deletion(request, stages, listed)
    step = deletion.begin(before, now)
    if step.deletion is None:
        return
    held = await _hold_final_address(tx, desk, request, now)
    if request.account is None and not held and not said:
        return await case.give_up(tx, request, now)
    await _make(tx, desk, before, replace(step, events=()) if said else step, now)


async def account_closed(tx: Connection, desk: Desk, gone: AccountDeleted, now: datetime) -> None:
    """The accounts system says that an account is gone. What is left of it elsewhere is asked for; then it goes here.

    It starts the account's own request, or a new one. Where this service has buried the account before, nothing starts:
    a deletion has come to its end, or the event again. The clock runs from when the account was closed.
    """
    standing = await requests.lock_of_account(tx, gone.id)
    await accounts.lock(tx, gone.id)
    if not (await accounts.held(tx, gone.id)).deleted:
        request = decide.overtaken(standing)
        if request is None and not standing:
            request = await _open(tx, desk, gone, now)
        if request is not None:
            await begin_without_account(tx, desk, request, gone.deleted_at, now)
    await bury(tx, desk, gone.id, gone.deleted_at)


async def _open(tx: Connection, desk: Desk, gone: AccountDeleted, now: datetime) -> Request:
    decided = decide.receive(uuid7(), "delete", "profile", desk.zone, min(gone.deleted_at, now), gone.id)
    about(request_id=str(decided.request.id))
    await requests.insert(tx, decided.request)
    await emit_all(tx, decided.events, now)
    return decided.request


async def begin_without_account(
    tx: Connection, desk: Desk, request: Request, closed_at: datetime, now: datetime, *, said: bool = False
) -> None:
    """Ask every system but accounts, whose account is closed. What was `said` before a restore is not said again."""
    frozen = await requests.frozen_systems(tx, request.id)
    if frozen is None:
        frozen = freeze(systems())
        await requests.freeze_systems(tx, request.id, frozen)
    before = Deletion(request, *thaw(frozen))
    step = deletion.begin_without_account(before, closed_at, now)
    if step.deletion is not None:
        await _hold_final_address(tx, desk, request, now)
        await _make(tx, desk, before, replace(step, events=()) if said else step, now)


async def answered(tx: Connection, desk: Desk, system: str, reply: Reply, now: datetime) -> Effect:
    """A reply came from `system`, by whichever way. Returns what it changed."""
    before = await _locked(tx, reply.request)
    step = deletion.answer(before, system, reply, desk.retry_after, now)
    await _take(tx, desk, before, step, now)
    return step.effect


async def left_outstanding(
    tx: Connection, desk: Desk, request_id: UUID, names: Sequence[str], officer: str, reason: str, now: datetime
) -> Deletion | Refused | None:
    """An officer goes on without the answer of these systems; how the deletion stands then. None: no such request."""
    before = await _locked(tx, request_id)
    if before is None:
        return None
    step = deletion.leave_outstanding(before, names, officer, reason, desk.zone, now)
    if isinstance(step, Refused):
        return step
    await _take(tx, desk, before, step, now)
    return step.deletion


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
    stages, _ = thaw(await requests.frozen_systems(tx, request_id))
    return Deletion(request, stages, await tasks.of_request(tx, request_id))


async def _make(tx: Connection, desk: Desk, before: Deletion, step: Step, now: datetime) -> None:
    """The point of no return: the tasks are made, and the first are asked."""
    made = {task.system for task in step.deletion.tasks} if step.deletion else set()
    await tasks.insert(tx, before.request.id, [task for task in before.tasks if task.system in made])
    await _take(tx, desk, before, step, now)


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
        if own.account is not None:
            await bury(tx, desk, own.account, now)
        await emit(tx, own, now)


async def bury(tx: Connection, desk: Desk, account: str, at: datetime) -> None:
    """Delete what is held about an account and leave a tombstone that no later state gets past.

    The key goes whether or not the account was known here: states that were put aside are sealed under it too.
    """
    await accounts.lock(tx, account)
    await accounts.bury(tx, account, at)
    await requests.clear_fingerprints_of(tx, account)
    await desk.sealing.erase(tx, owner_of_account(account))


async def _hold_final_address(tx: Connection, desk: Desk, request: Request, now: datetime) -> bool:
    """Seal the address onto the request: systems look for it, and the last mail goes to it when every copy is gone.

    It is the one that a person typed and proved without an account then, else the account's; held once from here on.
    False where there is none any more.
    """
    access, address = Access(f"service/{SYSTEM}", "request", request.id), None
    if request.verified_at is not None:
        address = await typed_address(tx, desk.sealing, request.id, access, now)
    if address is None and request.account is not None:
        address = await account_address(tx, desk.sealing, request.account, access, now)
    if address is None:
        await case.forget_typed_address(tx, desk, request.id)
        return False
    sealed = await desk.sealing.seal(tx, owner_of_request(request.id), address, FINAL)
    proven = decide.proves(request, await requests.fingerprint(tx, request.id), desk.fingerprint(address))
    await requests.set_final_address(tx, request.id, sealed, proven=proven)
    await requests.clear_typed_address(tx, request.id)
    await requests.clear_fingerprint(tx, request.id)
    return True
