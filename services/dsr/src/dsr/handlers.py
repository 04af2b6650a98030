"""What arrives on Kafka: accounts into the projection, replies into the state machine, the fate of mails."""

from chassis.clock import Clock
from chassis.consumer import Handlers, Received
from chassis.database import Connection
from dsr import case, orchestration
from dsr.domain import requests as decide
from dsr.domain.accounts import supersedes
from dsr.domain.deletion import SYSTEM, Deletion
from dsr.queries import accounts, requests, tasks
from dsr.queries.personal import EMAIL, owner_of_account
from dsr.settings import Desk
from privacy_contracts.accounts import AccountDeleted, AccountStated
from privacy_contracts.notices import NoticeFailed, NoticeSent
from privacy_contracts.replies import Reply, ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained
from privacy_contracts.topology import read_by


def build(desk: Desk, clock: Clock) -> Handlers:
    """Every handler of the service."""
    handlers = Handlers(read_by(SYSTEM), projected_tables=("dsr.accounts",))

    @handlers.projection(AccountStated)
    async def account_stated(received: Received[AccountStated], tx: Connection) -> None:
        await project(tx, desk, received.event)

    @handlers.reaction(AccountStated)
    async def account_known(received: Received[AccountStated], tx: Connection) -> None:
        await case.match_all(tx, desk, received.event.email.get_secret_value(), clock.now())

    @handlers.reaction(AccountDeleted)
    async def account_deleted(received: Received[AccountDeleted], tx: Connection) -> None:
        await orchestration.account_closed(tx, desk, received.event, clock.now())

    @handlers.reaction(ReplyDone, ReplyRetained, ReplyNotFound, ReplyFailed)
    async def replied(received: Received[Reply], tx: Connection) -> None:
        reply, system, now = received.event, received.topic.removeprefix("replies."), clock.now()
        effect = await orchestration.answered(tx, desk, system, reply, now)
        await tasks.record_reply(
            tx,
            source=received.source,
            event_id=received.id,
            request_id=reply.request,
            system=system,
            outcome=reply.type.removeprefix("reply."),
            effect=effect,
            answered_by=reply.answered_by,
            answered_at=reply.answered_at,
            evidence=reply.evidence,
            recorded_at=now,
        )

    @handlers.reaction(NoticeSent, NoticeFailed)
    async def notice_ended(received: Received[NoticeSent | NoticeFailed], tx: Connection) -> None:
        notice = received.event
        request = await requests.lock(tx, notice.request) if notice.request else None
        if request is None:
            return
        after = Deletion(request, (), await tasks.of_request(tx, request.id))
        match decide.spent(request, notice, looked_for=after.looked_for):
            case "final":
                await case.forget_final_address(tx, desk, request.id)
            case "final_for_mail":
                await requests.note_told(tx, request.id, received.time)
            case "typed":
                await case.forget_typed_address(tx, desk, request.id)

    return handlers


async def project(tx: Connection, desk: Desk, stated: AccountStated) -> None:
    """Hold what an account states, if it supersedes what is held. Of one that is gone no key comes back to stay."""
    await accounts.lock(tx, stated.id)
    held = await accounts.held(tx, stated.id)
    if held.deleted:
        await desk.sealing.erase(tx, owner_of_account(stated.id))
    if not supersedes(held, stated.version):
        return
    email = stated.email.get_secret_value()
    await accounts.put(
        tx,
        stated.id,
        stated.version,
        await desk.sealing.seal(tx, owner_of_account(stated.id), email, EMAIL),
        desk.fingerprint(email),
        stated.registered_at,
    )
