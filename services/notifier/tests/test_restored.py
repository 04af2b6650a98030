"""What the notifier once said brings its restored database forward: no mail that has its end goes out again."""

from typing import Any
from uuid import UUID, uuid4

from chassis.database import Pool
from chassis.testing import deliver, restate, run_jobs
from privacy_contracts.notices import NoticeFailed, NoticeSent

from .test_requests import NOW, Notifier, closed, received


async def test_a_mail_that_waited_in_the_backup_has_its_end(
    notifier: Notifier, pool: Pool, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    await deliver(app, runtime, received(request_id))
    notice = await pool.fetchval("SELECT id FROM notifier.notices")
    failed = NoticeFailed(notice=notice, template="verification", request=request_id, reason="rejected", failed_at=NOW)
    assert await restate(app, runtime, failed) == [True]
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    assert await pool.fetchval("SELECT state || '/' || reason FROM notifier.notices") == "failed/rejected"


async def test_a_mail_of_which_nothing_is_left_is_not_written_again(
    notifier: Notifier, pool: Pool, mail_server: Any, request_id: UUID
) -> None:
    app, runtime = notifier
    first = NoticeSent(notice=uuid4(), template="unknown_address", request=request_id, sent_at=NOW)
    last = NoticeSent(notice=uuid4(), template="completion", request=request_id, account="a1", sent_at=NOW)
    about_policy = NoticeSent(notice=uuid4(), template="policy_revised", account="a1", policy_version=1, sent_at=NOW)
    assert await restate(app, runtime, first, last, about_policy) == [True, True, False]
    await deliver(app, runtime, received(request_id), closed(request_id))
    assert await run_jobs(app, runtime) == 0
    assert mail_server.taken == []
