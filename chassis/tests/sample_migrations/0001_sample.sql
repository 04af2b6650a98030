-- requires code >= 1
CREATE SCHEMA dsr;
GRANT USAGE ON SCHEMA dsr TO :runtime;

-- What reactions, timers, jobs and requests brought about, in the order of their commits.
CREATE TABLE dsr.effects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    number int NOT NULL,
    trace text
);

-- The highest number of each name: a projection.
CREATE TABLE dsr.latest (
    name text PRIMARY KEY,
    number int NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON dsr.effects, dsr.latest TO :runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA dsr TO :runtime;
