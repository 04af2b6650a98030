-- requires code >= 1
CREATE SCHEMA IF NOT EXISTS accounts;
GRANT USAGE ON SCHEMA accounts TO :runtime;

-- The company's customers. `version` counts the states that were published; `offers` is whether the company itself may
-- write to them about its own goods.
CREATE TABLE accounts.accounts (
    id text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,48}$'),
    version bigint NOT NULL CHECK (version >= 1),
    email text NOT NULL,
    name text NOT NULL,
    region text,
    offers boolean NOT NULL,
    registered_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX accounts_by_email ON accounts.accounts (lower(email));
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.accounts TO :runtime;

-- What is gone, and for which request: a reminder gets the same answer again.
CREATE TABLE accounts.deletions (
    id text PRIMARY KEY,
    version bigint NOT NULL,
    request uuid NOT NULL,
    deleted_at timestamptz NOT NULL
);
GRANT SELECT, INSERT ON accounts.deletions TO :runtime;

-- A feed to an advertising partner. `pending` counts the accounts about which consent has not answered yet.
CREATE TABLE accounts.feeds (
    id uuid PRIMARY KEY,
    recipient text NOT NULL,
    purpose text NOT NULL,
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    pending integer NOT NULL CHECK (pending >= 0),
    written_at timestamptz
);
GRANT SELECT, INSERT, UPDATE ON accounts.feeds TO :runtime;

-- What consent answered about an account for a feed. The partner's file is written from the rows that are allowed.
CREATE TABLE accounts.deliveries (
    feed uuid NOT NULL REFERENCES accounts.feeds,
    account text NOT NULL REFERENCES accounts.accounts ON DELETE CASCADE,
    allowed boolean NOT NULL,
    reason text NOT NULL,
    decision uuid,
    PRIMARY KEY (feed, account),
    CHECK (decision IS NOT NULL OR NOT allowed)
);
CREATE INDEX deliveries_by_account ON accounts.deliveries (account);
GRANT SELECT, INSERT, UPDATE, DELETE ON accounts.deliveries TO :runtime;
