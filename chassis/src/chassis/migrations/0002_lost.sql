-- requires code >= 1
-- Numbers that Kafka lost, and an operator has said so: those of a topic behind `log`, up to `given`.
CREATE TABLE chassis.lost (
    topic text PRIMARY KEY,
    log bigint NOT NULL,
    given bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON chassis.lost TO :runtime;
