-- requires code >= 1
-- The tasks that staff list: those of systems that are paper.
CREATE INDEX tasks_by_staff ON dsr.tasks (id) WHERE transport = 'manual' AND status = 'asked';

-- Where it can be looked up that staff did what they replied: a ticket, or the SHA-256 of a document.
ALTER TABLE dsr.replies ADD COLUMN evidence text;

-- When the accounts system said by itself that the account is gone; it is not asked then.
ALTER TABLE dsr.requests ADD COLUMN account_closed_at timestamptz;
CREATE INDEX requests_of_account ON dsr.requests (account) WHERE status NOT IN ('closed', 'withdrawn');

-- An officer went on without the system's answer: when, who (staff/<pseudonym>) and why. Beside `status`, which stays as
-- it was, so that older code still knows it and a real answer can still come.
ALTER TABLE dsr.tasks ADD COLUMN left_at timestamptz, ADD COLUMN left_by text, ADD COLUMN left_reason text;
