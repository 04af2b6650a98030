-- requires code >= 1
CREATE SCHEMA IF NOT EXISTS consent;
GRANT USAGE ON SCHEMA consent TO :runtime;

-- One row per subject: the lock under which everything about the subject happens, so that the order of its events is
-- the order of commits; and, once erased, the tombstone.
CREATE TABLE consent.subjects (
    subject text PRIMARY KEY CHECK (length(subject) <= 64),
    erased_at timestamptz,
    erased_records integer CHECK (erased_records >= 0),
    CHECK ((erased_at IS NULL) = (erased_records IS NULL))
);
GRANT SELECT, INSERT, UPDATE ON consent.subjects TO :runtime;

-- The words that people were shown when they chose: the company's wording, the same for all, stored once.
CREATE TABLE consent.texts (
    hash text PRIMARY KEY,
    text text NOT NULL,
    CHECK (hash = encode(sha256(convert_to(text, 'UTF8')), 'hex'))
);
GRANT SELECT, INSERT ON consent.texts TO :runtime;

-- The versions of the policy. Nobody who runs the service may change or remove one.
CREATE TABLE consent.policies (
    policy text NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    supersedes integer,
    text text NOT NULL,
    text_hash text NOT NULL CHECK (text_hash = encode(sha256(convert_to(text, 'UTF8')), 'hex')),
    summary text NOT NULL,
    material boolean NOT NULL,
    reasons text[] NOT NULL CHECK (cardinality(reasons) >= 1),
    revised_on date NOT NULL,
    published_at timestamptz NOT NULL,
    effective_at timestamptz NOT NULL CHECK (effective_at >= published_at),
    announced_until timestamptz NOT NULL CHECK (announced_until > published_at),
    decided_by text NOT NULL,
    PRIMARY KEY (policy, version),
    FOREIGN KEY (policy, supersedes) REFERENCES consent.policies (policy, version),
    CONSTRAINT policies_without_gaps CHECK (
        CASE WHEN supersedes IS NULL THEN version = 1 ELSE version = supersedes + 1 END
    )
);
GRANT SELECT, INSERT ON consent.policies TO :runtime;

-- The lock under which versions are numbered: policies themselves grant no UPDATE, which a row lock would need.
CREATE TABLE consent.policy_heads (
    policy text PRIMARY KEY,
    version integer NOT NULL CHECK (version >= 0)
);
INSERT INTO consent.policy_heads (policy, version) VALUES ('privacy', 0);
GRANT SELECT, UPDATE ON consent.policy_heads TO :runtime;

-- Every choice, refusals like grants. The one in force is the highest version that took effect.
CREATE TABLE consent.choices (
    subject text NOT NULL REFERENCES consent.subjects,
    purpose text NOT NULL,
    version integer NOT NULL CHECK (version >= 1),
    choice text NOT NULL CHECK (choice IN ('granted', 'refused', 'withdrawn')),
    took_effect boolean NOT NULL,
    text_hash text NOT NULL REFERENCES consent.texts,
    channel text NOT NULL,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL CHECK (recorded_at >= received_at),
    recorded_by text NOT NULL,
    policy_version integer,
    PRIMARY KEY (subject, purpose, version)
);
GRANT SELECT, INSERT, DELETE ON consent.choices TO :runtime;

-- Every answer to "may this disclosure happen?".
CREATE TABLE consent.decisions (
    decision uuid PRIMARY KEY,
    subject text NOT NULL REFERENCES consent.subjects,
    recipient text NOT NULL,
    purpose text NOT NULL,
    allowed boolean NOT NULL,
    reason text NOT NULL,
    consent_version integer,
    policy_version integer,
    asked_by text NOT NULL,
    decided_at timestamptz NOT NULL,
    CHECK (allowed = (reason = 'granted')),
    CHECK (NOT allowed OR consent_version IS NOT NULL)
);
CREATE INDEX decisions_subject ON consent.decisions (subject);
GRANT SELECT, INSERT, DELETE ON consent.decisions TO :runtime;
