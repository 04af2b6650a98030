"""What the notifier once said brings its restored database forward: no mail that has its end goes out again."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.database import Pool
from chassis.jobs import run_one
from chassis.testing import deliver, restate, run_jobs
from notifier import mailings
from privacy_contracts.notices import NoticeCompleted, NoticeFailed, NoticeSent

from .test_policy import Revised, Stated, said
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


async def test_a_mailing_that_was_under_way_in_the_backup_goes_on_to_its_end(
    notifier: Notifier, pool: Pool, peers: Any, mail_server: Any, stated: Stated, revised: Revised
) -> None:
    """Two of its mails had their end in the lost hour: the others are written, and the report counts all of them."""
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, *(stated(f"a{number}") for number in range(4)))
    await deliver(app, runtime, revised(2))
    rows = await pool.fetch("SELECT id, account FROM notifier.notices ORDER BY account LIMIT 2")
    about: dict[str, Any] = {"template": "policy_revised", "policy_version": 2}
    sent = NoticeSent(notice=rows[0]["id"], account=rows[0]["account"], sent_at=NOW, **about)
    failed = NoticeFailed(notice=rows[1]["id"], account=rows[1]["account"], reason="rejected", failed_at=NOW, **about)
    assert await restate(app, runtime, sent, failed, sent) == [True, True, True]
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert len(mail_server.taken) == 2
    (completed,) = await said(pool, "notice.completed")
    assert [completed.body[part] for part in ("total", "sent", "failed")] == [4, 3, 1]


@pytest.fixture
async def waiting(notifier: Notifier, pool: Pool, peers: Any, stated: Stated, revised: Revised) -> dict[str, Any]:
    """The one mail of a mailing about version 2, as events name it; its text is known, so no job asks for it."""
    app, runtime = notifier
    peers.policy(2, "A second courier.")
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    assert await run_one(runtime.pool, mailings.KIND, app.jobs[mailings.KIND])
    notice = await pool.fetchval("SELECT id FROM notifier.notices")
    return {"notice": notice, "template": "policy_revised", "policy_version": 2, "account": "a1"}


async def test_a_mailing_whose_report_alone_was_lost_is_reported_once(
    notifier: Notifier, pool: Pool, mail_server: Any, waiting: dict[str, Any]
) -> None:
    app, runtime = notifier
    assert await restate(app, runtime, NoticeSent(sent_at=NOW, **waiting)) == [True]
    await run_jobs(app, runtime)
    await run_jobs(app, runtime)
    assert mail_server.taken == []
    (completed,) = await said(pool, "notice.completed")
    assert [completed.body[part] for part in ("total", "sent", "failed")] == [1, 1, 0]


async def test_a_revision_whose_mail_was_merged_into_a_later_one_is_told_by_that_one(
    notifier: Notifier, peers: Any, mail_server: Any, revised: Revised, waiting: dict[str, Any]
) -> None:
    """In the lost hour the mail about 2 ended because that about 3 would say it all, and that one has not left yet."""
    app, runtime = notifier
    merged = NoticeFailed(reason="superseded", failed_at=NOW, **waiting)
    assert await restate(app, runtime, merged) == [True]
    peers.policy(3, "A new purpose.")
    await deliver(app, runtime, revised(3))
    await run_jobs(app, runtime)
    ((_, mail),) = mail_server.taken
    text = mail.get_body(("plain",)).get_content()
    assert text.index("A second courier.") < text.index("A new purpose.")


async def test_a_mailing_that_was_reported_is_not_reported_again(
    notifier: Notifier, pool: Pool, peers: Any, stated: Stated, revised: Revised
) -> None:
    app, runtime = notifier
    peers.policy(2)
    await deliver(app, runtime, stated("a1"))
    await deliver(app, runtime, revised(2))
    notice = await pool.fetchval("SELECT id FROM notifier.notices")
    sent = NoticeSent(notice=notice, template="policy_revised", account="a1", policy_version=2, sent_at=NOW)
    done = NoticeCompleted(notice=uuid4(), policy_version=2, total=1, sent=1, failed=0, completed_at=NOW)
    assert await restate(app, runtime, sent, done) == [True, True]
    assert await restate(app, runtime, done.model_copy(update={"policy_version": 7})) == [False]
    await run_jobs(app, runtime)
    assert await said(pool, "notice.completed") == []
    assert await pool.fetchval("SELECT waiting = 0 AND completed_at IS NOT NULL FROM notifier.revisions")
