-- requires code >= 1
CREATE SCHEMA chassis;
GRANT USAGE ON SCHEMA chassis TO :runtime;

-- How far each partition is applied; next_offset commits with what was applied.
CREATE TABLE chassis.positions (
    topic text NOT NULL,
    partition int NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

-- Which events were seen, by their writer's name for them; covers producers' repeats for 30 days.
CREATE TABLE chassis.inbox (
    source text NOT NULL,
    id text NOT NULL,
    seen date NOT NULL DEFAULT current_date,
    PRIMARY KEY (source, id, seen)
) PARTITION BY RANGE (seen);

-- Keeps partitions from yesterday to a week ahead and drops those older than 30 days; run as its owner.
CREATE FUNCTION chassis.roll_inbox() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = chassis, pg_temp AS $$
DECLARE
    day date;
    old text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('chassis.roll_inbox'));
    FOR day IN SELECT generate_series(current_date - 1, current_date + 7, interval '1 day')::date LOOP
        IF to_regclass(format('chassis.inbox_%s', to_char(day, 'YYYYMMDD'))) IS NULL THEN
            EXECUTE format('CREATE TABLE chassis.inbox_%s PARTITION OF chassis.inbox FOR VALUES FROM (%L) TO (%L)',
                           to_char(day, 'YYYYMMDD'), day, day + 1);
        END IF;
    END LOOP;
    FOR old IN
        SELECT child.relname FROM pg_inherits
        JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
        WHERE pg_inherits.inhparent = 'chassis.inbox'::regclass
          AND child.relname < format('inbox_%s', to_char(current_date - 30, 'YYYYMMDD'))
    LOOP
        EXECUTE format('DROP TABLE chassis.%I', old);
    END LOOP;
END $$;
SELECT chassis.roll_inbox();

-- What could not be applied (reason), and what waits behind it on the same key (reason null), in order.
CREATE TABLE chassis.dead_letters (
    id uuid PRIMARY KEY,
    topic text NOT NULL,
    partition int NOT NULL,
    "offset" bigint NOT NULL,
    key bytea,
    headers bytea NOT NULL,            -- JSON, [[name, hex or null], ...]
    body bytea,
    sealed_for text,
    reason text,
    written_at timestamptz NOT NULL,   -- by the broker's clock
    recorded_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, partition, "offset")
);
CREATE INDEX dead_letters_key ON chassis.dead_letters USING hash (key);   -- keys may be longer than a B-tree takes

-- Records that an operator dropped; a replay leaves them out too.
CREATE TABLE chassis.discarded (
    topic text NOT NULL,
    partition int NOT NULL,
    "offset" bigint NOT NULL,
    PRIMARY KEY (topic, partition, "offset")
);

-- What is to be published, in commit order for a key.
CREATE TABLE chassis.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    sequence bigint,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_numbered ON chassis.outbox (topic, sequence) WHERE sequence IS NOT NULL;
CREATE INDEX outbox_fresh ON chassis.outbox (id) WHERE sequence IS NULL;

-- The last ce_sequence given, per topic.
CREATE TABLE chassis.sequences (
    topic text PRIMARY KEY,
    last bigint NOT NULL
);

-- Who may publish; a higher epoch fences a lower one.
CREATE TABLE chassis.leases (
    name text PRIMARY KEY,
    holder text NOT NULL,
    epoch bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE chassis.timers (
    kind text NOT NULL,
    key text NOT NULL,
    due_at timestamptz NOT NULL,
    payload jsonb NOT NULL,
    trace jsonb NOT NULL,
    not_before timestamptz NOT NULL DEFAULT '-infinity',
    failures int NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, key)
);
CREATE INDEX timers_due ON chassis.timers (due_at);

CREATE TABLE chassis.jobs (
    kind text NOT NULL,
    key text NOT NULL,
    payload jsonb NOT NULL,
    run_at timestamptz NOT NULL DEFAULT now(),
    deadline timestamptz NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    claim uuid,
    holder text,
    trace jsonb NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE INDEX jobs_due ON chassis.jobs (kind, run_at);

-- The first answer to a write, by caller, route and Idempotency-Key.
CREATE TABLE chassis.answers (
    caller text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,
    status int,
    body jsonb,
    answered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, route, key)
);
CREATE INDEX answers_age ON chassis.answers (answered_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON
    chassis.positions, chassis.inbox, chassis.dead_letters, chassis.discarded, chassis.outbox, chassis.sequences, chassis.leases,
    chassis.timers, chassis.jobs, chassis.answers TO :runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA chassis TO :runtime;
REVOKE ALL ON FUNCTION chassis.roll_inbox() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chassis.roll_inbox() TO :runtime;

-- One key per person, wrapped by a master key; in a schema of its own, so that its backups can live shorter.
CREATE SCHEMA keys;
GRANT USAGE ON SCHEMA keys TO :runtime;
CREATE TABLE keys.owners (
    owner text PRIMARY KEY,
    master_version int NOT NULL,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()   -- not the transaction's: an erasure may have come between
);
GRANT SELECT, INSERT, UPDATE, DELETE ON keys.owners TO :runtime;

-- By which a master key is known again: another one under its version would open nothing.
CREATE TABLE keys.masters (
    version int PRIMARY KEY,
    mark bytea NOT NULL
);
GRANT SELECT, INSERT, DELETE ON keys.masters TO :runtime;
