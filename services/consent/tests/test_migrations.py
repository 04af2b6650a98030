"""What the runtime role may do to its own tables, and what the tables themselves refuse."""

from typing import Any

import asyncpg
import pytest

REWRITES = [
    "UPDATE consent.policies SET text = 'other'",
    "UPDATE consent.policies SET effective_at = now()",
    "DELETE FROM consent.policies",
    "TRUNCATE consent.policies CASCADE",
    "ALTER TABLE consent.policies DISABLE TRIGGER ALL",
    "DROP TABLE consent.policies CASCADE",
    "SELECT version FROM consent.policies FOR UPDATE",
    "UPDATE consent.choices SET choice = 'granted'",
    "UPDATE consent.decisions SET allowed = true",
    "UPDATE consent.texts SET text = 'other'",
    "DELETE FROM consent.texts",
    "DELETE FROM consent.subjects",
    "CREATE TABLE consent.mine (id integer)",
]


@pytest.mark.promise(4)
async def test_the_runtime_role_cannot_rewrite_history(consent: Any) -> None:
    await consent.publish()
    await consent.choose("granted")
    await consent.ask()
    for statement in REWRITES:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await consent.runtime.pool.execute(statement)


POLICY = (
    "INSERT INTO consent.policies (policy, version, supersedes, text, text_hash, summary, material, reasons,"
    " revised_on, published_at, effective_at, announced_until, decided_by) VALUES ('privacy', $1, $2, 'text',"
    " encode(sha256('{hashed}'), 'hex'), 's', false, '{{typo}}', '2026-11-20', '2026-11-20', '{effective}',"
    " '2026-12-20', 'staff/x')"
)


MISFITS = [
    (3, 1, "text", "2026-11-20"),  # a gap
    (3, 2, "text", "2026-11-20"),  # supersedes what does not exist
    (2, None, "text", "2026-11-20"),  # supersedes nothing though not the first
    (1, None, "text", "2026-11-20"),  # a number that is taken
    (2, 1, "other", "2026-11-20"),  # the hash of another text
    (2, 1, "text", "2026-11-19"),  # effective before it was published
]


@pytest.mark.promise(4)
async def test_the_table_refuses_a_version_that_does_not_fit(consent: Any) -> None:
    await consent.publish("one")
    for version, supersedes, hashed, effective in MISFITS:
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await consent.runtime.pool.execute(POLICY.format(hashed=hashed, effective=effective), version, supersedes)
    await consent.runtime.pool.execute(POLICY.format(hashed="text", effective="2026-11-20"), 2, 1)


async def test_the_table_allows_no_decision_without_a_grant(consent: Any) -> None:
    await consent.choose("granted")
    insert = (
        "INSERT INTO consent.decisions (decision, subject, recipient, purpose, allowed, reason, consent_version,"
        " asked_by, decided_at)"
        " VALUES (gen_random_uuid(), 'account/7', 'adco', 'own_marketing', true, $1, $2, 'a', now())"
    )
    for reason, version in (("no_choice", 1), ("granted", None)):
        with pytest.raises(asyncpg.CheckViolationError):
            await consent.runtime.pool.execute(insert, reason, version)
    await consent.runtime.pool.execute(insert, "granted", 1)
