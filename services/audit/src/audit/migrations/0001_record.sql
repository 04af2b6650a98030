-- requires code >= 1
CREATE SCHEMA audit;
GRANT USAGE ON SCHEMA audit TO :runtime;

-- The length of the record. Whoever appends locks this row; only the trigger on entries moves size.
CREATE TABLE audit.log_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    size bigint NOT NULL DEFAULT 0,
    recorded_at timestamptz NOT NULL DEFAULT '-infinity',   -- of the newest entry: times never run backwards by index
    lag_seconds double precision NOT NULL DEFAULT 0         -- how old the last batch's oldest record was when recorded
);
INSERT INTO audit.log_state DEFAULT VALUES;

CREATE TABLE audit.entries (
    index bigint PRIMARY KEY,          -- from 0, without gaps
    topic text NOT NULL,
    partition int NOT NULL,
    "offset" bigint NOT NULL,
    key text,
    ce_source text,
    ce_id text,
    ce_type text,
    subject text,                      -- the person, where the event names one
    request uuid,                      -- the request, or the case it happened for
    ce_time timestamptz,
    sequence bigint,
    broker_time timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    headers json NOT NULL,             -- [[name or null, value or null], ...]
    payload json,                      -- json, not jsonb: keeps the text as it was written
    omitted text,                      -- why there is no payload
    body_hash bytea NOT NULL,          -- SHA-256 of the body; where there is no payload, a keyed hash
    foreign_source boolean NOT NULL,
    CHECK ((payload IS NULL) = (omitted IS NOT NULL))
);
CREATE UNIQUE INDEX entries_identity ON audit.entries (topic, ce_source, ce_id);
CREATE UNIQUE INDEX entries_position ON audit.entries (topic, partition, "offset")
    WHERE ce_source IS NULL OR ce_id IS NULL;
CREATE INDEX entries_subject ON audit.entries (subject, index) WHERE subject IS NOT NULL;
CREATE INDEX entries_request ON audit.entries (request, index) WHERE request IS NOT NULL;
CREATE INDEX entries_recorded ON audit.entries (recorded_at, index);

-- An insert starts where the record ends and leaves no hole, or is refused, whoever makes it.
CREATE FUNCTION audit.grow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
    first bigint;
    last bigint;
    added bigint;
BEGIN
    SELECT min(index), max(index), count(*) INTO first, last, added FROM fresh;
    IF added = 0 THEN
        RETURN NULL;
    END IF;
    UPDATE log_state SET size = last + 1 WHERE size = first AND last - first + 1 = added;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'entries must continue the record without a gap' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION audit.grow() FROM PUBLIC;
CREATE TRIGGER grow AFTER INSERT ON audit.entries
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION audit.grow();

-- What is odd about the record. For a conflict, entry is the one that stays, and position and hash are the other's.
CREATE TABLE audit.findings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    topic text NOT NULL,
    source text,
    entry bigint REFERENCES audit.entries,
    partition int,
    "offset" bigint,
    body_hash bytea,
    missing int8multirange,            -- for a gap: the numbers that had not come
    found_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX findings_once ON audit.findings (kind, topic, partition, "offset", body_hash);

CREATE TABLE audit.resolutions (
    finding bigint PRIMARY KEY REFERENCES audit.findings,
    reason text NOT NULL,
    resolved_at timestamptz NOT NULL
);

-- The numbers seen of each source on each topic.
CREATE TABLE audit.tracks (
    topic text NOT NULL,
    source text NOT NULL,
    high bigint NOT NULL,
    missing int8multirange NOT NULL,
    marks jsonb NOT NULL,              -- [[time, high], ...]
    PRIMARY KEY (topic, source)
);

-- Nothing written is changed or taken out: not by the service, and not in passing by the owner either.
CREATE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.findings
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.resolutions
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();

GRANT SELECT, INSERT ON audit.entries, audit.findings, audit.resolutions TO :runtime;
GRANT SELECT, UPDATE (recorded_at, lag_seconds) ON audit.log_state TO :runtime;
GRANT SELECT, INSERT, UPDATE ON audit.tracks TO :runtime;
