-- Writes those tables anew from which a deletion removes something about a person, or the key to it. Nightly, in every
-- database, as its owner role: psql -qXAt -v ON_ERROR_STOP=1 -f rewrite.sql "$OWNER_DATABASE_URL"
--
-- VACUUM alone frees the space of a deleted row and leaves its bytes there until another row comes to lie on them. The
-- statistics of a column hold some of its values until they are made again. Each table is locked while it is written;
-- services wait for it, and try again.
SELECT 'VACUUM (FULL, ANALYZE) ' || name
FROM unnest(ARRAY[
    'keys.owners',              -- what opens sealed values
    'chassis.outbox',           -- the states of accounts, until they are published
    'dsr.accounts', 'dsr.requests', 'dsr.messages', 'notifier.notices',   -- keyed hashes of addresses
    'accounts.accounts',        -- from here on the company's own tables
    'orders.customers', 'orders.orders', 'orders.invoices'
]) AS name
WHERE to_regclass(name) IS NOT NULL
\gexec
VACUUM (FULL) pg_catalog.pg_statistic;
-- For Prometheus: when it was done.
SELECT format('database_rewritten_timestamp_seconds{database="%s"} %s', current_database(), extract(epoch FROM now())::bigint);
