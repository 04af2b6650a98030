-- requires code >= 1
CREATE SCHEMA dsr;
GRANT USAGE ON SCHEMA dsr TO :runtime;

-- Projection of `accounts`: where a person's known primary address stands. The name is not kept: nothing needs it.
CREATE TABLE dsr.accounts (
    id text PRIMARY KEY,
    version bigint NOT NULL,
    email bytea NOT NULL,
    fingerprint bytea NOT NULL,
    registered_at timestamptz NOT NULL
);
CREATE INDEX accounts_fingerprint ON dsr.accounts (fingerprint, registered_at, id);

-- Tombstones. Not a projection, so that no replay can forget that an account is gone.
CREATE TABLE dsr.deleted_accounts (
    id text PRIMARY KEY,
    deleted_at timestamptz NOT NULL
);

-- One row per request, kept as evidence (11 CCR 7101). Sealed columns are emptied as soon as they have no use.
CREATE TABLE dsr.requests (
    id uuid PRIMARY KEY,
    type text NOT NULL,
    channel text NOT NULL,
    status text NOT NULL CHECK (status IN ('received', 'verified', 'confirmed', 'deleting', 'closed', 'withdrawn')),
    account text,
    typed_address bytea,
    fingerprint bytea,
    mailbox bytea,
    final_address bytea,
    received_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    verified_at timestamptz,
    confirmed_at timestamptz,
    irrevocable_at timestamptz,
    started_at timestamptz,
    closed_at timestamptz,
    outcome text,
    systems jsonb
);
CREATE INDEX requests_open ON dsr.requests (due_at) WHERE status NOT IN ('closed', 'withdrawn');

-- The links that open a request, as SHA-256 of their secrets, and the trace (W3C) in which each was made.
CREATE TABLE dsr.links (
    request_id uuid NOT NULL REFERENCES dsr.requests,
    secret_hash bytea NOT NULL,
    minted_at timestamptz NOT NULL,
    traceparent text,
    PRIMARY KEY (request_id, secret_hash)
);

-- Requests that led to a mail within the last hour, by fingerprint: of an account's address, or of another's mailbox.
CREATE TABLE dsr.messages (
    fingerprint bytea NOT NULL,
    request_id uuid NOT NULL,
    written_at timestamptz NOT NULL,
    PRIMARY KEY (fingerprint, request_id)
);
CREATE INDEX messages_age ON dsr.messages (written_at);

-- What each system of a frozen list was asked and answered; made at the point of no return.
CREATE TABLE dsr.tasks (
    id uuid PRIMARY KEY,
    request_id uuid NOT NULL REFERENCES dsr.requests,
    position int NOT NULL,
    system text NOT NULL,
    stage text NOT NULL,
    transport text NOT NULL,
    client_id text,
    deadline_days int NOT NULL,
    categories text[] NOT NULL,
    status text NOT NULL CHECK (status IN ('waiting', 'asked', 'failed', 'done', 'retained', 'not_found')),
    attempt int NOT NULL,
    due_at timestamptz,
    escalated_at timestamptz,
    answered_at timestamptz,
    items jsonb NOT NULL,
    replied_attempt int NOT NULL DEFAULT 0,
    UNIQUE (request_id, system)
);
CREATE INDEX tasks_by_client ON dsr.tasks (client_id, request_id) WHERE status = 'asked';

-- Every reply as it came, and whether it changed anything.
CREATE TABLE dsr.replies (
    source text NOT NULL,
    event_id text NOT NULL,
    request_id uuid NOT NULL,
    system text NOT NULL,
    outcome text NOT NULL,
    effect text NOT NULL CHECK (effect IN ('final', 'again', 'none')),
    answered_by text NOT NULL,
    answered_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (source, event_id)
);
CREATE INDEX replies_by_request ON dsr.replies (request_id, recorded_at);

-- Wrong secrets per link and network, by minute, for an hour. `about` is the request that a link names (`malformed` where
-- it names none), and a keyed hash of a network.
CREATE TABLE dsr.wrong_secrets (
    scope text NOT NULL CHECK (scope IN ('link', 'network')),
    about text NOT NULL,
    minute timestamptz NOT NULL,
    count int NOT NULL,
    PRIMARY KEY (scope, about, minute)
);
CREATE INDEX wrong_secrets_age ON dsr.wrong_secrets (minute);

-- What somebody must look at. One per kind, scope, thing and hour; `about` as above.
CREATE TABLE dsr.findings (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    scope text NOT NULL,
    about text NOT NULL,
    hour timestamptz NOT NULL,
    count int NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    UNIQUE (kind, scope, about, hour)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON
    dsr.accounts, dsr.links, dsr.messages, dsr.tasks, dsr.wrong_secrets, dsr.findings TO :runtime;
GRANT SELECT, INSERT, UPDATE ON dsr.requests TO :runtime;
GRANT SELECT, INSERT ON dsr.deleted_accounts, dsr.replies TO :runtime;
