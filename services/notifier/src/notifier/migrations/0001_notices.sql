-- requires code >= 1
CREATE SCHEMA notifier;
GRANT USAGE ON SCHEMA notifier TO :runtime;

-- Projection of the accounts topic: where to write to. The address is sealed under account/<id>.
CREATE TABLE notifier.accounts (
    id text PRIMARY KEY,
    version bigint NOT NULL,
    email bytea NOT NULL,
    registered_at timestamptz NOT NULL
);

-- Accounts that are gone; no later state brings them back. `records` is how many values were held, so that a question
-- asked again gets the same answer.
CREATE TABLE notifier.tombstones (
    account text PRIMARY KEY,
    records int NOT NULL,
    deleted_at timestamptz NOT NULL
);

-- One row per policy version: the home-page notice and, where there is one, the mailing to every account.
-- `waiting` + `sent` + `failed` is the number of accounts in the mailing; each settling counts here under this row's lock.
CREATE TABLE notifier.revisions (
    version int PRIMARY KEY,
    revised_on date NOT NULL,
    published_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    posting uuid NOT NULL,
    posted_until timestamptz NOT NULL,
    mailing uuid,
    summary text,
    url text,
    waiting int NOT NULL DEFAULT 0,
    sent int NOT NULL DEFAULT 0,
    failed int NOT NULL DEFAULT 0,
    completed_at timestamptz
);

-- The ledger: one row per notice, and so per mail. `asked` is why the mail is due (`escalation.<system>`: which system is
-- late), `template` what was sent in answer (an unknown address gets another mail than the one asked for). `address` is a keyed fingerprint of the
-- address that was written to, for accounts only, and goes with the account. `attempts` counts the mails that were about
-- to be handed over, each committed before DATA; `unanswered` those of them whose answer is not known: one is on its way,
-- or it may have arrived and the mail was repeated. `smtp_status` is the last refusal.
CREATE TABLE notifier.notices (
    id uuid PRIMARY KEY,
    asked text NOT NULL,
    template text NOT NULL,
    request uuid,
    account text,
    policy_version int REFERENCES notifier.revisions,
    superseded_by int REFERENCES notifier.revisions,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
    reason text,
    smtp_status int,
    attempts int NOT NULL DEFAULT 0,
    unanswered int NOT NULL DEFAULT 0 CHECK (unanswered BETWEEN 0 AND attempts),
    address bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,
    UNIQUE (asked, request),
    UNIQUE (policy_version, account),
    CHECK ((request IS NULL) <> (policy_version IS NULL)),
    CHECK ((state = 'waiting') = (settled_at IS NULL))
);
CREATE INDEX notices_account ON notifier.notices (account);
CREATE INDEX notices_waiting ON notifier.notices (created_at) WHERE state = 'waiting';

GRANT SELECT, INSERT, UPDATE, DELETE ON
    notifier.accounts, notifier.tombstones, notifier.revisions, notifier.notices TO :runtime;
